"""Seating: opens sessions for everybody, whether they come over the session socket or by HTTP requests."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
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
from portal.api.watchers import WatcherPlaces
from portal.http.people import Person
from portal.webhooks import Tell, tell_nobody

__all__ = ["Seating", "Sessions", "Streams", "shown_facts"]

logger = logging.getLogger(__name__)


class Sessions(Protocol):
    """The part of portal.sessions.SessionManager that is used here."""

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
    """The streaming servers that sessions may be sent to (portal/pushes.py)."""

    def check(self, address: str) -> None:
        """Raise BadRequest if sessions may not be sent to this address."""

    def new(self, address: str, bundle: AvatarBundle, tell: Callable[[], None]) -> Push:
        """Start a push, which connects at once. tell: see Push."""
        ...


@dataclass(frozen=True)
class Seating:
    """Opens sessions, puts them into seats, and changes them, within the allowances of an address."""

    sessions: Sessions
    seats: Seats
    transports: Transports
    allowances: SocketAllowances
    streams: Streams
    tell: Tell = tell_nobody
    "Tells webhooks about the turns of sessions."
    watcher_places: WatcherPlaces = field(default_factory=WatcherPlaces)

    async def new_seat(
        self,
        wish: SessionWish,
        address: str,
        person: Person,
        report: Callable[[int], Awaitable[None]] | None = None,
    ) -> Seat:
        """Return a seat with a new session. The caller must close it with `seats.close()`.

        address: the client's address, which limits count by. person, report: see SessionManager.open().

        Raises TooOften, and the errors of SessionManager.open().
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
        """Continue a session that broke off on another node: return a seat with a new session, and where it was cut.

        The second value is Kept.cut_at. For the arguments see new_seat().

        Raises UnknownToken if the token leads to no session of this person, and the errors of new_seat(). After an
        error of new_seat() other than AvatarNotFound, the viewer may try again with the same token.
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
        except AvatarNotFound:  # trying again cannot help, so the stored state is not given back
            raise
        except BaseException:  # cancellation too, when the viewer stops waiting
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
            watcher_places=self.watcher_places,
        )
        self.seats.add(seat)
        try:
            session.recall(Message(remark.role, remark.content) for remark in wish.history)
        except BaseException:  # nobody would use the session, and it would hold its place until it times out as idle
            await self.seats.close(seat)
            raise
        return seat

    def push(self, seat: Seat, to: str, address: str, person: Person) -> Push:
        """Send a session's pictures and sound to a streaming server as well. It replaces the one before.

        to: address of the streaming server. address: the client's address, which limits count by. Raises BadRequest,
        TooOften, SessionClosed.
        """
        self.streams.check(to)
        self.allowances.charge_push(seat.session.id, address, person.name)
        return seat.start_push(partial(self.streams.new, to, seat.session.bundle))

    async def change(self, seat: Seat, given: Change, person: Person) -> None:
        """Change a session as SessionManager.change() does, and send the seat what is in force afterwards.

        An `avatar` message reports a new avatar. A `choice` message reports everything else, also if the change failed.
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
    """Return the facts that messages give about a session's avatar, and about the backends in force."""
    bundle = session.bundle
    return {
        "width": bundle.width,
        "height": bundle.height,
        "avatar": {"id": bundle.id, "name": bundle.name},
        "gestures": bundle.gesture_names,
        "choice": session.in_force,
    }
