"""Clients of LiveTalking's API. Each has a session, and gets the session's id in the answer to its offer.

As in LiveTalking, the session ends with the client's peer connection, or when the client asks for that. The id is a
random UUID that only this client knows, so whoever sends it may drive the session.

In older versions of LiveTalking ids were numbers, and pages written for those send `parseInt(sessionid)`. So each UUID
here begins with a unique decimal number, and the session is also found by that number alone.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pipeline.errors import AtCapacity
from pipeline.recording import Recording
from pipeline.transports.whereabouts import Whereabouts
from pipeline.types import SessionStats
from portal.api.callers import Caller, Callers, first_of
from portal.api.event_messages import ServerMessage
from portal.api.event_streams import Event
from portal.api.messages import SessionWish
from portal.api.seating import Seating
from portal.api.seats import Seat
from portal.errors import SessionNotFound
from portal.http.people import Person
from portal.livetalking.speech_events import SpeechEvents

__all__ = ["Client", "Clients"]

logger = logging.getLogger(__name__)

NUMBER_DIGITS: Final = 15
"Digits of the number that a UUID begins with: as many as a JavaScript number holds exactly. 14 of them are random."


class Client(Caller):
    """A client's session, and the recordings that it has still to speak."""

    def __init__(self, seat: Seat) -> None:
        super().__init__(_new_id(), seat)
        self.recording = ""
        "Id of the latest recording of the session; empty if there is none."
        self._speech = SpeechEvents()
        self._recordings: dict[int, Path] = {}  # by the turns that speak them

    @property
    def is_speaking(self) -> bool:
        return self.facts()["state"] == "speaking"

    def facts(self) -> SessionStats:
        """See Session.stats()."""
        return self.session.stats()

    def say(self, text: str, mode: str, extra: Mapping[str, object]) -> None:
        """Speak a text (echo) or answer it (chat), after what is being said. Raises as Session.say() does."""
        turn = self.session.say(text, mode, interrupts=False)
        if mode == "echo":
            self._speech.expect(turn, unit="whole", text=text, extra=extra)
        else:
            self._speech.expect(turn, unit="sentences", extra=extra)

    def speak(self, recording: Recording) -> None:
        """Speak a recording after what is being said, and then remove its file. Raises BadRequest."""
        turn = self.session.speak(recording.speech())
        self._recordings[turn] = recording.path
        self._speech.expect(turn, unit="whole")

    def interrupt(self) -> None:
        self.session.interrupt()

    def events_of(self, message: ServerMessage) -> Iterator[Event]:
        yield from self._speech.of(message)
        match message:
            case {"type": "turn", "turn": int(turn), "state": "done" | "interrupted"}:
                path = self._recordings.pop(turn, None)
                if path is not None:
                    path.unlink(missing_ok=True)

    async def until_over(self) -> None:
        await first_of(super().until_over(), self.seat.until_peer_is_gone())

    async def aclose(self) -> None:
        await super().aclose()
        for path in self._recordings.values():
            path.unlink(missing_ok=True)


class Clients(Callers[Client]):
    """All clients of this process. places: most sessions of the portal, which LiveTalking's refusal mentions."""

    def __init__(self, seating: Seating, places: int) -> None:
        super().__init__(seating.seats)
        self._seating = seating
        self._places = places

    def find(self, client_id: str) -> Client:
        """Find a client by its UUID, or by the number that the UUID begins with.

        Raises SessionNotFound with LiveTalking's wording.
        """
        client = self.get(client_id)
        if client is None and len(client_id) == NUMBER_DIGITS and client_id.isdecimal():
            client = next((one for one in self.all() if one.id.startswith(client_id)), None)
        if client is None:
            raise SessionNotFound("session not found")
        return client

    def charge(self, address: str) -> None:
        """Charge a request that costs as much as opening a session. Raises TooOften."""
        self._seating.allowances.charge_greeting(address)

    async def open(
        self, sdp: str, wish: SessionWish, *, address: str, person: Person, local: bool
    ) -> tuple[Client, str]:
        """Open a session for a client. Return the client and the SDP answer to its offer.

        Raises AtCapacity, TooOften, BadSignalling, and the errors of Seating.new_seat().
        """
        try:
            seat = await self._seating.new_seat(wish, address, person)
        except AtCapacity as error:
            # Clients compare the message with exactly this text.
            raise AtCapacity(f"Maximum session limit reached ({self._places}/{self._places})") from error
        try:
            self._seating.allowances.charge_offer(seat.session.id, address)
            answer = await seat.answer(sdp, Whereabouts(address, local))
        except BaseException:  # cancellation too, when the client hangs up: nobody else would close the seat
            await self._seating.seats.close(seat)
            raise
        client = Client(seat)
        self.add(client)
        logger.info("session %s: a client of LiveTalking's API", seat.session.id)
        return client, answer


def _new_id() -> str:
    """Return a UUID of version 4 as 32 hexadecimal digits without hyphens.

    It begins with a decimal number of 15 digits, which a letter ends, so that parseInt() reads exactly that number.
    """
    begins = secrets.randbelow(9 * 10**11) + 10**11  # no leading zero, which parseInt() would drop
    number = f"{begins}4{secrets.randbelow(100):02}"  # the 4, at the 13th place, is the version of the UUID
    return f"{number}{secrets.choice('abcdef')}{secrets.choice('89ab')}{secrets.token_hex(8)[1:]}"
