"""Decides which idle clip an avatar shows, and when."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pipeline.types import FPS

__all__ = ["IdleClips"]

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 8.0, 20.0
"""Time with the loop alone, between two idle clips and before the first."""


class IdleClips:
    """Chooses clips in a random order of each session's own, never one twice in a row if there are several."""

    def __init__(self, names: Sequence[str], seed: int) -> None:
        self._names = tuple(names)
        self._random = Random(seed)  # noqa: S311 - nothing depends on nobody guessing it
        self._last = ""
        self._quiet_pictures = 0
        self._pause_pictures = self._next_pause()

    def interrupted(self) -> None:
        """Start the pause again, because something other than the loop is shown, or somebody speaks."""
        self._quiet_pictures = 0

    def due(self) -> str | None:
        """Return the name of the clip to show now, if any. Call it before each loop picture of an idle avatar."""
        self._quiet_pictures += 1
        if not self._names or self._quiet_pictures <= self._pause_pictures:
            return None
        self._pause_pictures = self._next_pause()
        self._quiet_pictures = 0
        others = [name for name in self._names if name != self._last] or self._names
        self._last = self._random.choice(others)
        return self._last

    def _next_pause(self) -> int:
        return round(FPS * self._random.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S))
