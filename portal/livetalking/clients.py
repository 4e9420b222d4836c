"""Clients of LiveTalking's API: each has a session, found by the id that it got with the answer to its offer.

The session of such a client ends with its peer connection, as in LiveTalking, or when it asks for that. The id is a
random UUID that only this client knows, so whoever sends it may speak for the session.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.errors import AtCapacity
from pipeline.recording import Recording
from portal.api.callers import Caller, Callers, first_of
from portal.api.event_streams import Event
from portal.api.messages import ServerMessage, SessionWish
from portal.api.seating import Seating
from portal.api.seats import Seat
from portal.errors import SessionNotFound
from portal.http.people import Person
from portal.livetalking.speech_events import SpeechEvents

__all__ = ["Client", "Clients"]

logger = logging.getLogger(__name__)


class Client(Caller):
    """One client's session, and the recordings that it has yet to speak."""

    def __init__(self, seat: Seat) -> None:
        super().__init__(str(uuid.uuid4()), seat)
        self.recording = ""
        "id of the last one"
        self._speech = SpeechEvents()
        self._recordings: dict[int, Path] = {}  # by the turns that speak them

    @property
    def is_speaking(self) -> bool:
        return self.facts()["state"] == "speaking"

    def facts(self) -> dict[str, object]:
        """See Session.stats()."""
        return self.session.stats()

    def say(self, text: str, mode: str, extra: Mapping[str, object]) -> None:
        """Speak a text (echo) or answer it (chat), after what is being said. Raises what Session.say() raises."""
        turn = self.session.say(text, mode, interrupts=False)
        if mode == "echo":
            self._speech.expect(turn, unit="whole", text=text, extra=extra)
        else:
            self._speech.expect(turn, unit="sentences", extra=extra)

    def speak(self, recording: Recording) -> None:
        """Speak a recording, after what is being said; its file is removed afterwards. Raises BadRequest."""
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
    """All clients of this process.

    places: how many sessions the portal has, for the words in which LiveTalking refuses one more.
    """

    def __init__(self, seating: Seating, places: int) -> None:
        super().__init__(seating.seats)
        self._seating = seating
        self._places = places

    def find(self, client_id: str) -> Client:
        """Raises SessionNotFound, in LiveTalking's words."""
        client = self.get(client_id)
        if client is None:
            raise SessionNotFound("session not found")
        return client

    async def open(
        self, sdp: str, wish: SessionWish, *, address: str, person: Person, local: bool
    ) -> tuple[Client, str]:
        """A client with a new session, and the answer to its offer.

        Raises AtCapacity, TooOften, BadSignalling, and what Seating.new_seat() raises.
        """
        try:
            seat = await self._seating.new_seat(wish, address, person)
        except AtCapacity as error:
            # Clients compare these words.
            raise AtCapacity(f"Maximum session limit reached ({self._places}/{self._places})") from error
        try:
            self._seating.allowances.charge_offer(seat.session.id, address)
            answer = await seat.answer(sdp, local)
        except BaseException:  # a client that hangs up too: nobody else would close the seat
            await self._seating.seats.close(seat)
            raise
        client = Client(seat)
        self.add(client)
        logger.info("session %s: a client of LiveTalking's API", seat.session.id)
        return client, answer
