"""A line in which those who ask take turns, and who it is that asks."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

__all__ = ["ASKER", "FairLine"]

ASKER: Final[ContextVar[str]] = ContextVar("asker", default="")
"""For whom the running task works, as limits count: an address, or one session; "" outside sessions."""
_REMEMBERED: Final = 1000
"""Askers whose last turn is known. One who is forgotten comes first, as a new one does."""


@dataclass(eq=False)
class _Waiting:
    asker: str
    granted: asyncio.Future[None]


class FairLine:
    """Whoever was served longest ago comes first. So nobody waits long because somebody else asks for a lot.

    at_once: how many are served at one time. Whoever uses it says how many may wait.
    """

    def __init__(self, at_once: Callable[[], int]) -> None:
        self._at_once = at_once
        self._running: Counter[str] = Counter()  # by asker
        self._line: list[_Waiting] = []  # in order of arrival
        self._served: OrderedDict[str, None] = OrderedDict()  # askers; the one served last is the last

    @property
    def is_idle(self) -> bool:
        """Whether nobody would have to wait."""
        return not self._line and self._has_room

    @property
    def waiting(self) -> int:
        return len(self._line)

    def waiting_of(self, asker: str) -> int:
        return sum(waiting.asker == asker for waiting in self._line)

    async def enter(self, asker: str) -> None:
        """Wait for a turn. leave() follows, unless this was cancelled."""
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
            elif not waiting.granted.cancelled():  # its turn came in the same moment
                self.leave(asker)
            raise

    def leave(self, asker: str) -> None:
        """The turn has ended."""
        self._running[asker] -= 1
        self._running += Counter()  # forgets those at zero
        # Who gives up is cancelled at once, and leaves the line in a later turn of the event loop.
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
