"""Seating: how anybody gets a session, whether over the session socket or by requests."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from pydantic import ValidationError

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotFound
from avatars.persona import Persona
from pipeline.push import Push
from pipeline.turn_context import Change
from pipeline.types import Message
from portal.api.allowances import SocketAllowances
from portal.api.event_messages import ServerMessage
from portal.api.live_session import LiveSession
from portal.api.messages import SessionWish
from portal.api.restoring import Kept
from portal.api.seats import Seat, Seats, unknown_token
from portal.api.transports import Transports
from portal.http.people import Person
from portal.webhooks import Tell, tell_nobody

__all__ = ["Seating", "Sessions", "Streams", "shown_facts"]

logger = logging.getLogger(__name__)


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


class Streams(Protocol):
    """To which streaming servers sessions may be sent (portal/pushes.py)."""

    def check(self, address: str) -> None:
        """Raises BadRequest: not there."""

    def new(self, address: str, bundle: AvatarBundle, tell: Callable[[], None]) -> Push:
        """Connects at once. tell: see Push."""
        ...


@dataclass(frozen=True)
class Seating:
    """What sessions are opened with, and the seats in which they are kept."""

    sessions: Sessions
    seats: Seats
    transports: Transports
    allowances: SocketAllowances
    streams: Streams
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
        return await self._seat(wish, address, person, report)

    async def restored_seat(
        self,
        token: str,
        address: str,
        person: Person,
        report: Callable[[int], Awaitable[None]] | None = None,
    ) -> tuple[Seat, str | None]:
        """A seat with a new session that goes on where one of another node broke off; and where that was, as Kept has
        it. For the arguments see new_seat().

        Raises UnknownToken (the token leads to nothing of this person's), and what new_seat() raises; then the viewer
        may try again.
        """
        self.allowances.charge_greeting(address)
        claimed = await self.seats.keeper.claim(token, person.name)
        if claimed is None:
            raise unknown_token()
        try:
            kept = Kept.model_validate_json(claimed.state)
        except ValidationError as error:
            logger.warning("A newer portal has kept a session in a way that is not known here: %s", error)
            raise unknown_token() from error
        try:
            return await self._seat(kept.wish, address, person, report), kept.cut_at
        except AvatarNotFound:  # for ever
            raise
        except BaseException:  # a viewer who does not wait any longer, too
            self.seats.keeper.give_back(claimed)
            raise

    async def _seat(
        self, wish: SessionWish, address: str, person: Person, report: Callable[[int], Awaitable[None]] | None
    ) -> Seat:
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
        seat = Seat(
            session,
            self.transports,
            self.tell,
            owner=person.name,
            identity=wish.identity or {},
            keeper=self.seats.keeper,
        )
        self.seats.add(seat)
        try:
            session.recall(Message(remark.role, remark.content) for remark in wish.history)
        except BaseException:  # nobody would have the session, and its place would be taken until it is idle
            await self.seats.close(seat)
            raise
        return seat

    def push(self, seat: Seat, to: str, address: str, person: Person) -> Push:
        """Send a session's pictures and sound to a streaming server as well, in the place of another.

        address: who asks, as limits count. Raises BadRequest, TooOften, SessionClosed.
        """
        self.streams.check(to)
        self.allowances.charge_push(seat.session.id, address, person.name)
        return seat.start_push(partial(self.streams.new, to, seat.session.bundle))

    async def change(self, seat: Seat, given: Change, person: Person) -> None:
        """Change a session as SessionManager.change() does. Whoever gets its messages learns what is in force then: of
        another avatar by `avatar`, of what else was to change by `choice`, also where that could not be had.
        """
        has_changed = False
        try:
            await self.sessions.change(seat.session, given, person)
            has_changed = True
        finally:
            self.seats.keeper.changed(seat.session.id)
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
