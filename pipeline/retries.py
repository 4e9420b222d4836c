"""A language model that fails before its first word is asked again; a person who waits sees only a longer wait."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from pipeline.clock import Clock
from pipeline.errors import LanguageModelError

__all__ = ["PAUSES_S", "asked_again"]

logger = logging.getLogger(__name__)

PAUSES_S = (0.4, 1.2)
"""Before the second try and the third, which is the last. A service that restarts or sheds load is back by then."""
LONGEST_S = 10.0
"""After so long the person has waited enough, and is told instead."""


async def asked_again(ask: Callable[[], AsyncGenerator[str, None]], clock: Clock) -> AsyncGenerator[str, None]:
    """The pieces of an answer.

    ask: begins an answer, anew each time. Raises LanguageModelError: the last failure before the first word, one that
    another try would not mend, or any after the first word, for what was said cannot be taken back.
    """
    begun_s = clock.now_s()
    for pause_s in (*PAUSES_S, None):
        said_something = False
        try:
            async with aclosing(ask()) as pieces:
                async for piece in pieces:
                    said_something = True
                    yield piece
                return
        except LanguageModelError as error:
            if pause_s is None or said_something or not error.retryable:
                raise
            if clock.now_s() + pause_s - begun_s > LONGEST_S:
                raise
            logger.info("the language model is asked again in %g s: %s", pause_s, error.message)
        await clock.sleep_until(clock.now_s() + pause_s)
