"""Asks a service again if it fails before its answer has begun. To the person it only takes longer."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

from models.errors import VivavoceError
from pipeline.clock import Clock
from pipeline.errors import LanguageModelError

__all__ = ["PAUSES_S", "Patience", "patience_with_models", "with_retries"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAUSES_S = (0.4, 1.2)
"""Pauses before a language model is asked a second and a third, last, time. By then a service that restarts or sheds
load has recovered."""
LONGEST_S = 10.0
"""After this long there are no more tries: the person has waited enough, and is told what failed."""

Patience = Callable[[VivavoceError, int, float], float | None]
"""Takes the error, the number of tries, and the seconds since the first try. Returns the pause before the next try, or
None to give up."""


async def with_retries(
    ask: Callable[[], AsyncGenerator[T, None]], clock: Clock, patience: Patience
) -> AsyncGenerator[T, None]:
    """Yield the pieces of an answer.

    ask: begins an answer, anew each time. Raises the VivavoceError when patience() gives up. Also raises any error
    after the first piece, because pieces cannot be taken back.
    """
    begun_s = clock.now_s()
    tries = 0
    while True:
        tries += 1
        has_begun = False
        try:
            async with aclosing(ask()) as pieces:
                async for piece in pieces:
                    has_begun = True
                    yield piece
                return
        except VivavoceError as error:
            pause_s = None if has_begun else patience(error, tries, clock.now_s() - begun_s)
            if pause_s is None:
                raise
            logger.info("asked again in %g s: %s", pause_s, error.message)
        await clock.sleep_until(clock.now_s() + pause_s)


def patience_with_models(error: VivavoceError, tries: int, waited_s: float) -> float | None:
    """A Patience: allow a language model two more tries, if the error is retryable."""
    if not isinstance(error, LanguageModelError) or not error.retryable or tries > len(PAUSES_S):
        return None
    pause_s = PAUSES_S[tries - 1]
    return pause_s if waited_s + pause_s <= LONGEST_S else None
