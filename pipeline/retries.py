"""A service that fails before it has given anything is asked again: who waits notices only that it takes longer."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

from models.errors import VivavoceError
from pipeline.clock import Clock
from pipeline.errors import LanguageModelError

__all__ = ["PAUSES_S", "Patience", "asked_again", "patience_with_models"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAUSES_S = (0.4, 1.2)
"""Before a language model is asked for the second time and the third, which is the last. A service that restarts or
sheds load is back by then."""
LONGEST_S = 10.0
"""After so long the person has waited enough, and reads what failed instead."""

Patience = Callable[[VivavoceError, int, float], float | None]
"""The error, how often was asked, and the seconds since the first time -> seconds until the next; None: enough."""


async def asked_again(
    ask: Callable[[], AsyncGenerator[T, None]], clock: Clock, patience: Patience
) -> AsyncGenerator[T, None]:
    """The pieces of an answer.

    ask: begins an answer, anew each time. Raises the VivavoceError that patience() bears no longer, or any that comes
    after the first piece, because what was given cannot be taken back.
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
    """A Patience: a language model gets two more tries, unless another would not mend it."""
    if not isinstance(error, LanguageModelError) or not error.retryable or tries > len(PAUSES_S):
        return None
    pause_s = PAUSES_S[tries - 1]
    return pause_s if waited_s + pause_s <= LONGEST_S else None
