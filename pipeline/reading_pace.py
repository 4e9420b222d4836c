"""Limits how fast the texts of a session are cut into sentences.

What is spoken holds a turn back by itself. Code, tables and signs are not spoken, and go through as fast as they come.
"""

from __future__ import annotations

from typing import Final

from pipeline.clock import Clock

__all__ = ["ReadingPace"]

AHEAD_CHARACTERS: Final = 2000
"""What may be read at once, after a pause."""
CHARACTERS_PER_S: Final = 2000
"""More than language models write, and a hundred times as much as is spoken."""


class ReadingPace:
    """Shared by the turns of a session, so that an interrupt does not allow more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read_until_s = float("-inf")  # the time at which what was read would have been read at the pace

    async def read(self, characters: int) -> None:
        """Count characters that were read, and wait if they were too many. Lets other tasks run in any case."""
        earliest_s = self._clock.now_s() - AHEAD_CHARACTERS / CHARACTERS_PER_S
        self._read_until_s = max(self._read_until_s, earliest_s) + characters / CHARACTERS_PER_S
        await self._clock.sleep_until(self._read_until_s)
