"""Seating: how anybody gets a session, whether over the session socket or by requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from avatars.persona import Persona
from pipeline.turn_context import Change
from pipeline.types import Message
from portal.api.allowances import SocketAllowances
from portal.api.messages import ServerMessage, SessionWish
from portal.api.seats import LiveSession, Seat, Seats
from portal.api.transports import Transports
from portal.http.people import Person
from portal.webhooks import Tell, tell_nobody

__all__ = ["Seating", "Sessions", "shown_facts"]


class Sessions(Protocol):
    """What is needed here of portal.sessions.SessionManager."""

    async def open(
        self,
        *,
        avatar: str | None,
        voice: str | None,
        lipsync: str | None,
        tts: str | None,
        speed: float | None,
        persona: Persona,
        address: str,
        person: Person,
        identity: Mapping[str, str],
        report: Callable[[int], Awaitable[None]] | None,
    ) -> LiveSession: ...
    async def change(self, session: Any, given: Change, person: Person) -> None: ...
    async def close(self, session: Any) -> None: ...


@dataclass(frozen=True)
class Seating:
    """What sessions are opened with, and the seats in which they are kept."""

    sessions: Sessions
    seats: Seats
    transports: Transports
    allowances: SocketAllowances
    tell: Tell = tell_nobody
    "tells webhooks of their turns"

    async def new_seat(
        self,
        wish: SessionWish,
        address: str,
        person: Person,
        report: Callable[[int], Awaitable[None]] | None = None,
    ) -> Seat:
        """A seat with a new session; whoever gets it closes it by `seats`.

        address: who asks, as limits count. person, report: see SessionManager.open().

        Raises TooOften, and what that raises.
        """
        self.allowances.charge_greeting(address)
        session = await self.sessions.open(
            avatar=wish.avatar,
            voice=wish.voice,
            lipsync=wish.lipsync,
            tts=wish.tts,
            speed=wish.speed,
            persona=Persona(wish.prompt, wish.greeting),
            address=address,
            person=person,
            identity=wish.identity or {},
            report=report,
        )
        seat = Seat(session, self.transports, self.tell)
        self.seats.add(seat)
        try:
            session.recall(Message(remark.role, remark.content) for remark in wish.history)
        except BaseException:  # nobody would have the session, and its place would be taken until it is idle
            await self.seats.close(seat)
            raise
        return seat

    async def change(self, seat: Seat, given: Change, person: Person) -> None:
        """Change a session as SessionManager.change() does. Whoever gets its messages learns what is in force then: of
        another avatar by `avatar`, of what else was to change by `choice`, also where that could not be had.
        """
        has_changed = False
        try:
            await self.sessions.change(seat.session, given, person)
            has_changed = True
        finally:
            if has_changed and given.get("avatar"):
                seat.outbox.post({"type": "avatar", **shown_facts(seat.session)})
            if given.keys() - {"avatar"}:
                seat.outbox.post({"type": "choice", "changed": has_changed, "choice": seat.session.in_force})


def shown_facts(session: LiveSession) -> ServerMessage:
    """What is seen of a session, and what it talks with."""
    bundle = session.bundle
    return {
        "width": bundle.width,
        "height": bundle.height,
        "avatar": {"id": bundle.id, "name": bundle.name},
        "gestures": bundle.gesture_names,
        "choice": session.in_force,
    }
