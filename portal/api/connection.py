"""Connection: one session socket, from its first message to its last.

It is always reading. A command that may take long waits in a lane, and what is answered waits in an outbox. So a ping
is answered, an interrupt stops the avatar and a bye ends the session while a network loads, or while the viewer takes
nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from models.errors import VivavoceError
from pipeline.clock import Clock
from pipeline.errors import BadRequest
from pipeline.transports.incoming import IncomingSound
from pipeline.types import FPS, LISTEN_RATE_HZ, PLAYOUT_RATE_HZ
from portal.api import messages
from portal.api.lane import Lane
from portal.api.seating import Seating, shown_facts
from portal.api.seats import Outbox, Seat
from portal.api.viewer_socket import ViewerSocket
from portal.http.people import Person
from portal.recordings import Recording, Recordings

__all__ = ["EXPIRES_S", "GREETED_WITHIN_S", "SUPERSEDED", "Connection", "Shared"]

logger = logging.getLogger(__name__)

GREETED_WITHIN_S = 15.0
"""So long a new socket may be without a hello."""
EXPIRES_S = 600.0
"""So long a socket may be without a session after a hello that was refused, a bye, or the session's own end."""
SUPERSEDED = 4000
"""Close code of a socket whose session was resumed on another one."""


@dataclass(frozen=True)
class Shared:
    """What all connections of a server use."""

    seating: Seating
    recordings: Recordings
    clock: Clock
    ice_servers: Callable[[], list[dict[str, object]]]
    "as RTCPeerConnection takes them"
    watch_links: bool
    "viewers are told how others may watch their session"


class Connection:
    """Serves one socket with run().

    address: who connects, as limits count; "" if that is not known. person: who has logged in. local: the viewer is on
    this machine.

    Media has a lane of its own, or a viewer would be without pictures while an avatar loads. Within a lane commands
    keep their order.
    """

    def __init__(self, shared: Shared, socket: ViewerSocket, address: str, person: Person, *, local: bool) -> None:
        self._shared = shared
        self._socket = socket
        self._address = address
        self._person = person
        self._local = local
        self._seat: Seat | None = None
        self._greeting = False  # a hello is being answered
        self._in_line = False  # it waits for a place
        self._microphone = IncomingSound(LISTEN_RATE_HZ, shared.clock)
        self._answers = Outbox()
        self._delivery: asyncio.Task[None] | None = None  # of the seat's events
        self._lane = Lane(self._obey)
        self._media_lane = Lane(self._obey)
        self._expect_hello(GREETED_WITHIN_S)

    async def run(self) -> None:
        """Until the viewer or the server closes the socket."""
        deadlines = asyncio.create_task(self._socket.keep_deadlines(), name="deadlines of a session socket")
        answering = asyncio.create_task(
            self._answers.deliver(self._socket.send_json), name="answers of a session socket"
        )
        try:
            async for raw in self._socket.messages():
                await self._take(raw)
        finally:
            deadlines.cancel()
            answering.cancel()
            await self._break_off()
            if self._seat is not None:
                await self._shared.seating.seats.vacate(self._seat, self, for_good=self._socket.for_good)

    async def give_up_seat(self) -> None:
        """Another socket speaks for the session now. The other end of this one may be dead."""
        self._socket.abandon(SUPERSEDED, "The session goes on elsewhere.")
        await self._break_off()

    async def _take(self, raw: str | bytes) -> None:
        if isinstance(raw, bytes):
            await self._take_sound(raw)
            return
        message: messages.ClientMessage | None = None
        with self._faults_answered():
            message = messages.parse(raw)
        await self._socket.pay(messages.cost_of(raw, message))
        if message is not None:
            with self._faults_answered():
                await self._route(message)

    async def _take_sound(self, raw: bytes) -> None:
        """Hand on a piece of the microphone's sound. It costs nothing unless it comes faster than it can be spoken."""
        sound: messages.Sound | None = None
        with self._faults_answered():
            sound = messages.parse_sound(raw)
        samples = None if sound is None else self._microphone.take(sound.position, sound.samples)
        if samples is None:
            await self._socket.pay(messages.cost_of(raw, None))
            return
        if self._seat is not None and self._seat.occupant is self:  # sound on its way to a session that is over is lost
            self._seat.session.hear(samples)
        await asyncio.sleep(0)  # messages that have come already are read without waiting; others get their turn here

    async def _route(self, message: messages.ClientMessage) -> None:
        """Serve what is quick; put what may take long into its lane."""
        match message:
            case messages.Ping(t=t):
                self._answers.post({"type": "pong", "t": t, "media": self._media_s()})
            case messages.Interrupt():
                self._interrupt()
            case messages.Listen(mode=mode, language=language):
                self._seated().session.listen(mode, language)
            case messages.Gesture(name=name):
                session = self._seated().session
                if name is None:
                    session.end_gesture()
                else:
                    session.begin_gesture(name)
            case messages.Places(on=on):
                self._seated().report_places(on)
            case messages.Bye():
                await self._leave()
            case messages.Reached(at=at):
                self._seated().session.note_reached(at)
            case messages.Seen(turn=turn, delayMs=delay_ms):
                self._seated().session.note_seen(turn, delay_ms / 1000)
            case messages.Stats(delayMs=delay_ms):
                session = self._seated().session
                if delay_ms is not None:
                    session.note_delay(delay_ms / 1000)
                logger.debug("session %s sees %s", session.id, message.model_dump(exclude={"type"}))
            case messages.Hello():
                if self._seat is not None or self._greeting:
                    raise BadRequest("This socket has a session already.", "Open another socket for another session.")
                self._lane.put(message)
                self._greeting = True
                self._socket.expires_s = None
            case _ if self._in_line:
                self._seated()  # raises: who waits in line has no session yet
            case messages.Offer() | messages.Candidate() | messages.MediaUse() if not self._greeting:
                self._media_lane.put(message)
            case _:
                self._lane.put(message)

    def _interrupt(self) -> None:
        """Stop at once, also what was said before and still waits behind a slow command."""
        said = self._lane.take_back(messages.Say)
        if self._greeting:
            return
        seat = self._seated()
        for say in said:  # so that each of these turns is reported, as queued and as interrupted
            with self._faults_answered():
                seat.say(say.text, say.mode, say.event)
        seat.session.interrupt()

    async def _leave(self) -> None:
        if not self._greeting:
            self._seated()
        await self._break_off()
        seat, self._seat = self._seat, None
        if seat is not None and seat.occupant is self:
            await self._shared.seating.seats.close(seat)
        self._expect_hello(EXPIRES_S)

    async def _obey(self, message: messages.ClientMessage) -> None:
        with self._faults_answered():
            if isinstance(message, messages.Hello):
                await self._greet(message)
            else:
                await self._serve(self._seated(), message)

    async def _serve(self, seat: Seat, message: messages.ClientMessage) -> None:
        match message:
            case messages.Offer(sdp=sdp):
                self._shared.seating.allowances.charge_offer(seat.session.id, self._address)
                self._answers.post({"type": "answer", "sdp": await seat.answer(sdp, self._local)})
            case messages.Candidate(candidate=candidate, sdpMid=mid, sdpMLineIndex=index):
                await seat.add_candidate(candidate, mid, index)
            case messages.MediaUse(use=use, reason=reason):
                # Quoted, so that nobody writes lines of their own into the log.
                logger.info("session %s: media over %s%s", seat.session.id, use, f" ({reason!r})" if reason else "")
                if use == "websocket":
                    await seat.use_websocket(self._socket.send_bytes)
                else:
                    await seat.leave_websocket()
            case messages.Say(text=text, mode=mode, event=event):
                seat.say(text, mode, event)
            case messages.RecordSession(on=True):
                recording = self._shared.recordings.begin(
                    seat.session,
                    lambda ended: seat.outbox.post(_recording_facts(ended)),
                    owner=self._person.name,
                )
                self._answers.post({"type": "recording", "state": "on", "id": recording.id, "name": recording.name})
            case messages.RecordSession():
                await self._shared.recordings.end(seat.session)
            case messages.SwapAvatar(id=avatar_id):
                await self._shared.seating.change(seat, {"avatar": avatar_id}, self._person)
            case messages.Change():
                await self._shared.seating.change(seat, messages.given(message), self._person)

    async def _greet(self, hello: messages.Hello) -> None:
        try:
            if hello.token is not None:
                await self._sit(await self._resume(hello.token), resumed=True)
            else:
                await self._sit(await self._new_seat(hello), resumed=False)
        finally:
            self._greeting = False
            if self._seat is None:
                self._expect_hello(EXPIRES_S)

    async def _new_seat(self, hello: messages.Hello) -> Seat:
        """A seat with a new session. Raises what Seating.new_seat() raises."""
        try:
            report = self._report_waiting if hello.wait else None
            return await self._shared.seating.new_seat(hello, self._address, self._person, report)
        finally:
            self._in_line = False

    async def _report_waiting(self, position: int) -> None:
        self._in_line = True
        await self._socket.send_json({"type": "waiting", "place": position})

    async def _resume(self, token: str) -> Seat:
        seat = self._seat = self._shared.seating.seats.redeem(token)
        stale, seat.occupant = seat.occupant, self
        if isinstance(stale, Connection):  # its other end is dead, which the server has not noticed yet
            await stale.give_up_seat()
            await seat.leave_websocket()
        return seat

    async def _sit(self, seat: Seat, *, resumed: bool) -> None:
        """Welcome the viewer; from then on the seat's events are delivered here."""
        seat.occupant = self
        self._seat = seat
        if await self._socket.send_json(self._welcome(seat, resumed=resumed)):
            self._delivery = asyncio.create_task(seat.outbox.deliver(self._send), name=f"deliver-{seat.session.id}")
        else:  # nobody holds the token, so nobody can come back
            await self._shared.seating.seats.close(seat)

    def _welcome(self, seat: Seat, *, resumed: bool) -> messages.ServerMessage:
        return {
            "type": "welcome",
            "session": seat.session.id,
            "resumed": resumed,
            "token": self._shared.seating.seats.issue_token(seat),
            "iceServers": self._shared.ice_servers(),
            "fps": FPS,
            "sampleRate": PLAYOUT_RATE_HZ,
            "watch": seat.watchers.token if self._shared.watch_links else "",
            **shown_facts(seat.session),
        }

    @contextmanager
    def _faults_answered(self) -> Iterator[None]:
        """A fault of one message is answered with `error`, and the session goes on."""
        try:
            yield
        except VivavoceError as error:
            self._answers.post(messages.error_message(error))
        except Exception:  # the border of a message: whatever it is, the viewer has to learn of it
            logger.exception("session socket: a message could not be served")
            fault = VivavoceError("Something went wrong in the server.", "The server's log has the details.")
            self._answers.post(messages.error_message(fault))

    async def _send(self, event: messages.ServerMessage) -> bool:
        """An event of the seat. Whoever has the last ones of a session that has ended must leave after a while."""
        if self._seat is not None and self._seat.session.closed and self._socket.expires_s is None:
            self._expect_hello(EXPIRES_S)
        return await self._socket.send_json(event)

    def _seated(self) -> Seat:
        if self._seat is None or self._seat.occupant is not self:
            raise BadRequest("There is no session on this socket yet.", "Send hello first.")
        return self._seat

    def _media_s(self) -> float | None:
        """Where the media clock is, in seconds: what is released now."""
        return None if self._seat is None else self._seat.session.stats()["pts"] / FPS

    def _expect_hello(self, within_s: float) -> None:
        self._socket.expires_s = self._shared.clock.now_s() + within_s

    async def _break_off(self) -> None:
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None
        await self._media_lane.clear()
        await self._lane.clear()


def _recording_facts(recording: Recording) -> messages.ServerMessage:
    """What a viewer is told of a recording that has ended."""
    facts: messages.ServerMessage = {"type": "recording", "id": recording.id, "name": recording.name}
    state = "done" if recording.trouble is None else "failed"
    told = recording.trouble or recording.unsigned
    if told is None:
        return {**facts, "state": state}
    return {**facts, "state": state, "code": told.code, "message": told.message, "hint": told.hint}
