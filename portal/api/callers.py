"""Callers: they drive a session by HTTP requests, without a session socket.

A caller has a seat like a viewer's, and the same limits. Its events go to its followers. LiveTalking's clients
(`portal/livetalking`) and programs (`programs.py`) are callers. They differ in who may drive a session, in the form of
the events, and in when the session ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Generic, TypeVar

from portal.api.event_messages import ServerMessage
from portal.api.event_streams import Event, Followers
from portal.api.live_session import LiveSession
from portal.api.seats import Seat, Seats

__all__ = ["Caller", "Callers", "first_of"]

ENDED = "session_closed"


class Caller:
    """A session that is driven by requests."""

    def __init__(self, caller_id: str, seat: Seat) -> None:
        self.id = caller_id
        self.seat = seat
        self.followers = Followers()
        self._ended = asyncio.Event()  # the session has ended by itself, e.g. because it was idle for too long
        self._delivery = asyncio.create_task(seat.outbox.deliver(self._take), name=f"events-of-{caller_id}")

    @property
    def session(self) -> LiveSession:
        return self.seat.session

    def events_of(self, message: ServerMessage) -> Iterable[Event]:
        """Return the events that followers are sent for a message of the session."""
        return (message,)

    async def until_over(self) -> None:
        """Wait until the session should be closed."""
        await self._ended.wait()

    async def aclose(self) -> None:
        """Release what belongs to the caller, whose seat is already closed. Idempotent."""
        self._delivery.cancel()
        await asyncio.gather(self._delivery, return_exceptions=True)
        self.followers.close()

    async def _take(self, message: ServerMessage) -> bool:
        for event in self.events_of(message):
            self.followers.tell(event)
        if message.get("type") == "error" and message.get("code") == ENDED:
            self._ended.set()
        return True


Kind = TypeVar("Kind", bound=Caller)


class Callers(Generic[Kind]):
    """All callers of one kind, by id. Each is closed when its session is over."""

    def __init__(self, seats: Seats) -> None:
        self._seats = seats
        self._callers: dict[str, Kind] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    def add(self, caller: Kind) -> None:
        self._callers[caller.id] = caller
        self._ending[caller.id] = asyncio.create_task(self._close_when_over(caller), name=f"end-of-{caller.id}")

    def get(self, caller_id: str) -> Kind | None:
        """Return the caller with this id; None if its session has ended or never existed."""
        return self._callers.get(caller_id)

    def all(self) -> tuple[Kind, ...]:
        return tuple(self._callers.values())

    async def close(self, caller: Kind) -> None:
        """End the caller's session. Idempotent."""
        if self._callers.pop(caller.id, None) is None:
            return
        ending = self._ending.pop(caller.id)
        if ending is not asyncio.current_task():  # that task calls close() itself, and must not cancel itself
            ending.cancel()
        await self._seats.close(caller.seat)
        await caller.aclose()

    async def aclose(self) -> None:
        for caller in self.all():
            await self.close(caller)

    async def _close_when_over(self, caller: Kind) -> None:
        await caller.until_over()
        await self.close(caller)


async def first_of(*waits: Coroutine[object, object, object]) -> None:
    """Wait until the first of `waits` returns, then cancel the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
