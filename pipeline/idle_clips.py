"""Which clip an idle avatar shows beside its loop, and when."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pipeline.types import FPS

__all__ = ["IdleClips"]

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 8.0, 20.0
"""Of the loop alone, between two of them and before the first."""


class IdleClips:
    """In an order of each session's own, and never one twice in a row where there are several."""

    def __init__(self, names: Sequence[str], seed: int) -> None:
        self._names = tuple(names)
        self._random = Random(seed)  # noqa: S311 - nothing depends on nobody guessing it
        self._last = ""
        self._quiet_pictures = 0
        self._pause_pictures = self._next_pause()

    def interrupted(self) -> None:
        """Something other than the loop is shown, or somebody speaks: the pause begins anew."""
        self._quiet_pictures = 0

    def due(self) -> str | None:
        """Call it before each picture of the loop that an idle avatar shows. The name of what it is to show instead."""
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
