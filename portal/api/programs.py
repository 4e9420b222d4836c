"""Programs: bots, pipelines and command-line tools that open a session by an HTTP request and drive it by its token."""

from __future__ import annotations

import secrets
from typing import Final

from pipeline.clock import Clock
from pipeline.push import Push
from pipeline.turn_context import Change
from portal.api.callers import Caller, Callers, first_of
from portal.api.messages import SessionWish
from portal.api.seating import Seating
from portal.api.seats import Seat, UnknownToken
from portal.errors import SessionNotFound
from portal.http.people import Person

__all__ = ["UNATTENDED_S", "Program", "Programs", "TokenRefused"]

UNATTENDED_S: Final = 120.0
"""How long a session lasts that nobody watches or follows and no request is made for. Its program is gone then."""
LOOKED_EVERY_S: Final = 5.0


class TokenRefused(UnknownToken):
    """Raised when a request for a session does not carry the session's token."""

    http_status = 401


class Program(Caller):
    """One session of a program. Its id is no secret; its token is one."""

    def __init__(self, seat: Seat, clock: Clock, person: Person) -> None:
        """person: the person who opened the session."""
        super().__init__(seat.session.id, seat)
        self.person = person
        self.token = secrets.token_urlsafe(24)
        self._clock = clock
        self._attended_s = clock.now_s()

    def attend(self) -> None:
        """Note that a request for this session came, so that it does not end as unattended."""
        self._attended_s = self._clock.now_s()

    async def until_over(self) -> None:
        await first_of(super().until_over(), self._until_unattended())

    async def _until_unattended(self) -> None:
        while self._clock.now_s() - self._attended_s < UNATTENDED_S:
            await self._clock.sleep_until(self._clock.now_s() + LOOKED_EVERY_S)
            push = self.seat.push
            is_pushed = push is not None and push.state == "live"
            if is_pushed or len(self.seat.watchers) or len(self.followers):
                self.attend()


class Programs:
    """All sessions of programs in this process."""

    def __init__(self, seating: Seating, clock: Clock) -> None:
        self._seating = seating
        self._clock = clock
        self._callers: Callers[Program] = Callers(seating.seats)

    async def open(self, wish: SessionWish, address: str, person: Person) -> Program:
        """Open a session for a program. Raises the same errors as Seating.new_seat()."""
        seat = await self._seating.new_seat(wish, address, person)
        program = Program(seat, self._clock, person)
        self._callers.add(program)
        return program

    def find(self, session_id: str, token: str) -> Program:
        """Return the program with this session, if the token is the session's. Raises SessionNotFound, TokenRefused."""
        program = self._callers.get(session_id)
        if program is None:
            raise SessionNotFound("There is no session of this id.", "It has ended, or never was; open another one.")
        if not secrets.compare_digest(program.token.encode(), token.encode()):
            raise TokenRefused(
                "Only who has the session's token may use it.",
                "Send the token that came when it was opened, as `Authorization: Bearer TOKEN`.",
            )
        program.attend()
        return program

    async def change(self, program: Program, given: Change, address: str) -> None:
        """Change a program's session; see SessionManager.change(). address: the client's, which limits count by.

        Raises TooOften, and the errors of SessionManager.change().
        """
        self._seating.allowances.charge_change(program.id, address, program.person.name)
        await self._seating.change(program.seat, given, program.person)

    def find_watched(self, watch_token: str) -> Seat:
        """Return the seat, of a program or of a viewer, that may be watched with this token. Raises SessionNotFound."""
        seat = self._seating.seats.watched(watch_token)
        if seat is None:
            raise SessionNotFound("There is nothing to watch here.", "The session has ended; ask for another link.")
        return seat

    async def watch(self, seat: Seat, offer_sdp: str, address: str, *, local: bool, is_guest: bool) -> tuple[str, str]:
        """Send the session's pictures and sound to one more watcher. Return the connection's id and the SDP answer.

        local: whether the watcher is on this machine. is_guest: whether they have only the link to watch it.

        Raises TooOften, and the errors of Watchers.join().
        """
        self._seating.allowances.charge_offer(f"{seat.session.id} {address}", address)
        return await seat.watchers.join(offer_sdp, local=local, is_guest=is_guest, address=address)

    def push(self, program: Program, to: str, address: str) -> Push:
        """Send a program's session to a streaming server; see Seating.push()."""
        return self._seating.push(program.seat, to, address, program.person)

    async def close(self, program: Program) -> None:
        """End the session. Idempotent."""
        await self._callers.close(program)

    async def aclose(self) -> None:
        await self._callers.aclose()
