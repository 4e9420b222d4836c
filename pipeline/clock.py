"""Time, injected: the engine reads it from a Clock, never from the system."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """The source of time of an engine."""

    def now_s(self) -> float:
        """Monotonic seconds."""
        ...

    async def sleep_until(self, when_s: float) -> None:
        """Return when now_s() >= when_s; yields to the loop at least once."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now_s(self) -> float:
        return time.monotonic()

    async def sleep_until(self, when_s: float) -> None:
        await asyncio.sleep(max(0.0, when_s - self.now_s()))


SAME_TIME_S = 1e-9
"""Times that differ by less count as equal: 25 steps of 0.04 s do not add up to exactly a second."""


class ManualClock:
    """A clock that moves only when told to. advance() wakes the sleepers in order of their times."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now_s(self) -> float:
        return self._now_s

    async def sleep_until(self, when_s: float) -> None:
        if when_s <= self._now_s:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (when_s, next(self._order), future))
        await future

    @property
    def sleepers(self) -> int:
        """Number of tasks that wait for a time."""
        return sum(not future.done() for _when_s, _order, future in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Move time forward by `seconds`, letting each sleeper run at its own moment."""
        target = self._now_s + seconds
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= target + SAME_TIME_S:
            when_s, _, future = heapq.heappop(self._sleepers)
            self._now_s = max(self._now_s, when_s)
            if not future.done():
                future.set_result(None)
            await _settle()
        self._now_s = max(self._now_s, target)


async def _settle() -> None:
    # Tasks woken by a future may wake others in turn; a few passes let such chains run before time moves on.
    for _ in range(20):
        await asyncio.sleep(0)
