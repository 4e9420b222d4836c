"""A queue that serves askers in turn, and the context variable that says who asks."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

__all__ = ["ASKER", "FairLine"]

ASKER: Final[ContextVar[str]] = ContextVar("asker", default="")
"""Says for whom the current task works, as limits count: an address or one session. Empty outside sessions."""
_REMEMBERED: Final = 1000
"""Number of askers whose last turn is remembered. A forgotten asker comes first, like a new one."""


@dataclass(eq=False)
class _Waiting:
    asker: str
    granted: asyncio.Future[None]


class FairLine:
    """Serves first whoever was served longest ago. So nobody waits long because somebody else asks for a lot.

    at_once: returns how many are served at a time. The line is not bounded: its user limits how many may wait.
    """

    def __init__(self, at_once: Callable[[], int]) -> None:
        self._at_once = at_once
        self._running: Counter[str] = Counter()  # by asker
        self._line: list[_Waiting] = []  # in order of arrival
        self._served: OrderedDict[str, None] = OrderedDict()  # askers, the one served last at the end

    @property
    def is_idle(self) -> bool:
        """Whether the next one to enter would be served at once."""
        return not self._line and self._has_room

    @property
    def waiting(self) -> int:
        """Number of those who wait."""
        return len(self._line)

    def waiting_of(self, asker: str) -> int:
        """Return how many requests of that asker wait."""
        return sum(waiting.asker == asker for waiting in self._line)

    async def enter(self, asker: str) -> None:
        """Wait for a turn. Call leave() afterwards, unless this was cancelled."""
        if self.is_idle:
            self._begin(asker)
            return
        waiting = _Waiting(asker, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        try:
            await waiting.granted
        except asyncio.CancelledError:
            if waiting in self._line:
                self._line.remove(waiting)
            elif not waiting.granted.cancelled():  # its turn was granted at the moment of the cancellation
                self.leave(asker)
            raise

    def leave(self, asker: str) -> None:
        """End the turn, and grant the next ones."""
        self._running[asker] -= 1
        self._running += Counter()  # removes the askers that are at zero
        # A waiter that gives up has a cancelled future at once, but removes itself only in a later step of the loop.
        self._line = [waiting for waiting in self._line if not waiting.granted.cancelled()]
        while self._line and self._has_room:
            order = {asker: place for place, asker in enumerate(self._served)}
            following = min(
                self._line, key=lambda waiting: (self._running[waiting.asker], order.get(waiting.asker, -1))
            )
            self._line.remove(following)
            self._begin(following.asker)
            following.granted.set_result(None)

    @property
    def _has_room(self) -> bool:
        return self._running.total() < self._at_once()

    def _begin(self, asker: str) -> None:
        self._running[asker] += 1
        self._served[asker] = None
        self._served.move_to_end(asker)
        if len(self._served) > _REMEMBERED:
            self._served.popitem(last=False)
