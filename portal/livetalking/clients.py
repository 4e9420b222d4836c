"""Clients of LiveTalking's API: each has a session, found by the id that it got with the answer to its offer.

Such a client has no session socket. Its session ends with its peer connection, as in LiveTalking, or when it asks for
that. The id is a random UUID that only this client knows, so whoever sends it may speak for the session.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from models.errors import VivavoceError
from pipeline.channel import Channel
from pipeline.errors import AtCapacity
from pipeline.recording import Recording
from pipeline.types import AudioChunk
from portal.api.allowances import SocketAllowances
from portal.api.messages import ServerMessage
from portal.api.seats import LiveSession, Seat, Seats
from portal.api.transports import Transports
from portal.livetalking.speech_events import SpeechEvent, SpeechEvents

__all__ = ["FOLLOWERS", "Client", "Clients", "SessionNotFound", "SpeakingSession", "TooManyFollowers"]

logger = logging.getLogger(__name__)

FOLLOWERS = 4
"""Streams of events that one session may have open."""
EVENTS_BOUND = 100
"""Events that may wait for one stream; beyond it the oldest is forgotten."""
ENDED = "session_closed"


class SessionNotFound(VivavoceError):
    code = "session_not_found"
    http_status = 404


class TooManyFollowers(VivavoceError):
    code = "too_many"
    http_status = 429


class SpeakingSession(LiveSession, Protocol):
    """What is needed here of pipeline.session.Session."""

    def say(self, text: str, mode: str = "chat", *, interrupts: bool = True) -> int: ...
    def speak(self, speech: AsyncIterator[AudioChunk]) -> int: ...


class Sessions(Protocol):
    """What is needed here of portal.sessions.SessionManager."""

    async def open(
        self, *, avatar: str | None = None, voice: str | None = None, address: str = ""
    ) -> SpeakingSession: ...


class Client:
    """One client's session, and the recordings that it has yet to speak."""

    def __init__(self, seat: Seat, session: SpeakingSession) -> None:
        self.id = str(uuid.uuid4())
        self.seat = seat
        self.ended = asyncio.Event()
        "set when the session has ended by itself, e.g. because nobody had said anything for a long time"
        self.session = session
        self.recording = ""
        "id of the last one"
        self._speech = SpeechEvents()
        self._followers: list[Channel[SpeechEvent]] = []
        self._recordings: dict[int, Path] = {}  # by the turns that speak them
        self._delivery = asyncio.create_task(seat.outbox.deliver(self._take), name=f"livetalking-{self.id}")

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

    def follow(self) -> Channel[SpeechEvent]:
        """A new stream of events, closed at the end of the session. Raises TooManyFollowers."""
        if len(self._followers) >= FOLLOWERS:
            raise TooManyFollowers(f"This session has {FOLLOWERS} streams of events already.", "Close one of them.")
        follower: Channel[SpeechEvent] = Channel(EVENTS_BOUND)
        self._followers.append(follower)
        return follower

    def leave(self, follower: Channel[SpeechEvent]) -> None:
        """A stream was closed by its reader."""
        with suppress(ValueError):
            self._followers.remove(follower)

    async def aclose(self) -> None:
        self._delivery.cancel()
        await asyncio.gather(self._delivery, return_exceptions=True)
        for follower in self._followers:
            follower.close()
        for path in self._recordings.values():
            path.unlink(missing_ok=True)

    async def _take(self, message: ServerMessage) -> bool:
        for event in self._speech.of(message):
            for follower in self._followers:
                follower.push(event)
        match message:
            case {"type": "turn", "turn": int(turn), "state": "done" | "interrupted"}:
                path = self._recordings.pop(turn, None)
                if path is not None:
                    path.unlink(missing_ok=True)
            case {"type": "error", "code": str(code)} if code == ENDED:
                self.ended.set()
        return True


class Clients:
    """All clients of this process.

    places: how many sessions the portal has, for the words in which LiveTalking refuses one more.
    """

    def __init__(
        self,
        sessions: Sessions,
        seats: Seats,
        transports: Transports,
        allowances: SocketAllowances,
        places: int,
    ) -> None:
        self._sessions = sessions
        self._seats = seats
        self._transports = transports
        self._allowances = allowances
        self._places = places
        self._clients: dict[str, Client] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}

    async def open(
        self, sdp: str, *, avatar: str | None, voice: str | None, address: str, local: bool
    ) -> tuple[Client, str]:
        """A client with a new session, and the answer to its offer.

        Raises AtCapacity, TooOften, BadSignalling, and what Sessions.open() raises.
        """
        self._allowances.charge_greeting(address)
        try:
            session = await self._sessions.open(avatar=avatar, voice=voice, address=address)
        except AtCapacity as error:
            # Clients compare these words.
            raise AtCapacity(f"Maximum session limit reached ({self._places}/{self._places})") from error
        seat = Seat(session, self._transports)
        seat.occupant = self
        self._seats.add(seat)
        try:
            self._allowances.charge_offer(session.id, address)
            answer = await seat.answer(sdp, local)
        except BaseException:  # a client that hangs up too: nobody else would close the seat
            await self._seats.close(seat)
            raise
        client = Client(seat, session)
        self._clients[client.id] = client
        self._watching[client.id] = asyncio.create_task(self._watch(client), name=f"livetalking-end-{client.id}")
        logger.info("session %s: a client of LiveTalking's API", session.id)
        return client, answer

    def find(self, client_id: str) -> Client:
        """Raises SessionNotFound, in LiveTalking's words."""
        client = self._clients.get(client_id)
        if client is None:
            raise SessionNotFound("session not found")
        return client

    def all(self) -> tuple[Client, ...]:
        return tuple(self._clients.values())

    async def close(self, client: Client) -> None:
        """End the client's session. Idempotent."""
        if self._clients.pop(client.id, None) is None:
            return
        watching = self._watching.pop(client.id)
        if watching is not asyncio.current_task():
            watching.cancel()
        await self._seats.close(client.seat)
        await client.aclose()

    async def aclose(self) -> None:
        for client in self.all():
            await self.close(client)

    async def _watch(self, client: Client) -> None:
        """End the session with its connection, or tidy up after a session that has ended."""
        waits = [
            asyncio.create_task(client.seat.until_peer_is_gone()),
            asyncio.create_task(_until(client.ended)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        await self.close(client)


async def _until(event: asyncio.Event) -> None:
    await event.wait()
