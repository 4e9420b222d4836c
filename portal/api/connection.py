"""Connection: one session socket, from its first message to its last.

The socket is read all the time. Commands that may take long wait in a lane, and answers wait in an outbox. So even
while a network loads, or while the viewer reads nothing, a ping is answered, an interrupt stops the avatar, and a bye
ends the session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from models.errors import VivavoceError
from pipeline.clock import Clock
from pipeline.errors import BadRequest
from pipeline.transports.incoming import IncomingSound
from pipeline.transports.whereabouts import Whereabouts
from pipeline.turn_context import Change
from pipeline.types import FPS, LISTEN_RATE_HZ, PLAYOUT_RATE_HZ
from portal.api import messages
from portal.api.event_messages import ServerMessage, error_message
from portal.api.lane import Lane
from portal.api.outbox import Outbox
from portal.api.seating import Seating, shown_facts
from portal.api.seats import SUPERSEDED, Seat, UnknownToken
from portal.api.sound_messages import Sound, SpokenSound, parse_sound
from portal.api.viewer_socket import ViewerSocket
from portal.http.limits import Allowance
from portal.http.people import Person, require_entry, require_stay
from portal.recordings import Recording, Recordings

__all__ = ["EXPIRES_S", "GREETED_WITHIN_S", "SESSION_ENDED", "Connection", "Shared"]

logger = logging.getLogger(__name__)

GREETED_WITHIN_S = 12.0
"""How long a new socket may stay open without sending a hello."""
EXPIRES_S = 600.0
"""How long a socket may stay open without a session after its hello was refused, after a bye, or after its session
ended by itself."""
SESSION_ENDED = "The session has ended."
"""Reason with which a socket is closed whose session ended by itself. The clients know it by this text as no fault."""
SPEECH_AHEAD_S, SPEECH_PER_S = 60.0, 2.0
"""Seconds of sound for the avatar to speak that a client may send free of charge: in one burst, and per second of time.
The rate is above 1 because a client also sends sound that an interrupt then throws away."""


@dataclass(frozen=True)
class Shared:
    """Objects and settings that all connections of a server share."""

    seating: Seating
    recordings: Recordings
    clock: Clock
    ice_servers: Callable[[], list[dict[str, object]]]
    "Returns the ICE servers in the form that RTCPeerConnection expects."
    watch_links: bool
    "True: viewers are sent a token with which others may watch their session."


class Connection:
    """Serves one session socket: call run().

    address: the client's address, which limits count by; "" if it is not known. person: the person who has logged in.
    local: whether the viewer is on this machine.

    Media commands have a lane of their own. Otherwise a viewer would get no pictures while an avatar loads. Commands in
    the same lane keep their order.
    """

    def __init__(self, shared: Shared, socket: ViewerSocket, address: str, person: Person, *, local: bool) -> None:
        self._shared = shared
        self._socket = socket
        self._address = address
        self._person = person
        self._at = Whereabouts(address, local)
        self._seat: Seat | None = None
        self._greeting = False  # a hello is being answered
        self._in_line = False  # it waits for a place
        self._microphone = IncomingSound(LISTEN_RATE_HZ, shared.clock)
        self._free_speech = Allowance(shared.clock, burst=SPEECH_AHEAD_S, per_s=SPEECH_PER_S)
        self._answers = Outbox()
        self._delivery: asyncio.Task[None] | None = None  # of the seat's events
        self._lane = Lane(self._obey)
        self._media_lane = Lane(self._obey)
        self._expect_hello(GREETED_WITHIN_S, "Nobody said hello.")

    async def run(self) -> None:
        """Serve the socket until the viewer or the server closes it."""
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

    @property
    def has_seat(self) -> bool:
        """Whether this socket has a session. A socket without one is closed sooner."""
        return self._seat is not None

    async def dismiss(self, code: int, reason: str, error: ServerMessage | None = None) -> None:
        """See Occupant. If the other end is dead, sending `error` takes until that is noticed."""
        if error is not None:
            await self._socket.send_json(error)
        self._socket.abandon(code, reason)
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
        """Pass on a piece of sound. It is free of charge unless it arrives faster than it can be spoken."""
        is_free = False
        with self._faults_answered():
            sound = parse_sound(raw)
            is_free = self._take_speech(sound) if isinstance(sound, SpokenSound) else self._hear(sound)
        if not is_free:
            await self._socket.pay(messages.cost_of(raw, None))
            return
        # Messages that have already arrived are read without waiting, so other tasks would get no turn without this.
        await asyncio.sleep(0)

    def _hear(self, sound: Sound) -> bool:
        samples = self._microphone.take(sound.position, sound.samples)
        if samples is None:
            return False
        if self._seat is not None and self._seat.occupant is self:  # sound for a session that is over is dropped
            self._seat.session.hear(samples)
        return True

    def _take_speech(self, sound: SpokenSound) -> bool:
        weight_s = self._require_seat().sounds.take(sound)
        return weight_s is not None and not self._free_speech.take("", weight_s)

    async def _route(self, message: messages.ClientMessage) -> None:
        """Serve a quick message at once; put one that may take long into its lane."""
        match message:
            case messages.Ping(t=t):
                self._answers.post({"type": "pong", "t": t, "media": self._media_s()})
            case messages.Interrupt():
                self._interrupt()
            case messages.Listen(mode=mode, language=language):
                self._require_seat().session.listen(mode, language)
            case messages.Gesture(name=name):
                session = self._require_seat().session
                if name is None:
                    session.end_gesture()
                else:
                    session.begin_gesture(name)
            case messages.Places(on=on):
                self._require_seat().report_places(on)
            case messages.Bye():
                await self._leave()
            case messages.Reached(at=at):
                self._require_seat().session.note_reached(at)
            case messages.Seen(turn=turn, delayMs=delay_ms):
                self._require_seat().session.note_seen(turn, delay_ms / 1000)
            case messages.Stats(delayMs=delay_ms):
                session = self._require_seat().session
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
                self._require_seat()  # always raises: a viewer who waits in line has no session yet
            case messages.Offer() | messages.Candidate() | messages.MediaUse() if not self._greeting:
                self._media_lane.put(message)
            case _:
                self._lane.put(message)

    def _interrupt(self) -> None:
        """Stop all speech at once, also texts that were sent earlier and still wait behind a slow command."""
        said: list[messages.Say | messages.Speak] = self._lane.take_back((messages.Say, messages.Speak))
        if self._greeting:
            return
        seat = self._require_seat()
        for message in said:  # they become turns first, so that each is reported as queued and then as interrupted
            with self._faults_answered():
                _speak(seat, message)
        seat.session.interrupt()

    async def _leave(self) -> None:
        if not self._greeting:
            self._require_seat()
        await self._break_off()
        seat, self._seat = self._seat, None
        if seat is not None and seat.occupant is self:
            await self._shared.seating.seats.close(seat)
        self._expect_hello(EXPIRES_S, "Nobody said hello again after bye.")

    async def _obey(self, message: messages.ClientMessage) -> None:
        with self._faults_answered():
            if isinstance(message, messages.Hello):
                await self._greet(message)
            else:
                require_stay(self._person)
                await self._serve(self._require_seat(), message)

    async def _serve(self, seat: Seat, message: messages.ClientMessage) -> None:
        match message:
            case messages.Offer(sdp=sdp):
                self._shared.seating.allowances.charge_offer(seat.session.id, self._address)
                self._answers.post({"type": "answer", "sdp": await seat.answer(sdp, self._at)})
            case messages.Candidate(candidate=candidate, sdpMid=mid, sdpMLineIndex=index):
                await seat.add_candidate(candidate, mid, index)
            case messages.MediaUse(use=use, reason=reason):
                # The reason is quoted, so that a client cannot write lines of its own into the log.
                logger.info("session %s: media over %s%s", seat.session.id, use, f" ({reason!r})" if reason else "")
                if use == "websocket":
                    await seat.use_websocket(self._socket.send_bytes)
                else:
                    await seat.leave_websocket()
            case messages.Say() | messages.Speak():
                _speak(seat, message)
            case messages.RecordSession(on=True):
                recording = self._shared.recordings.begin(
                    seat.session,
                    lambda ended: seat.outbox.post(_recording_facts(ended)),
                    owner=self._person.name,
                    address=self._address,
                )
                self._answers.post({"type": "recording", "state": "on", "id": recording.id, "name": recording.name})
            case messages.RecordSession():
                self._shared.recordings.stop(seat.session)  # its files may take minutes; other commands go on
            case messages.SendStream(to=None):
                seat.end_push()
            case messages.SendStream(to=str(to)):
                self._shared.seating.push(seat, to, self._address, self._person)
            case messages.SwapAvatar(id=avatar_id):
                await self._change(seat, {"avatar": avatar_id})
            case messages.Change():
                await self._change(seat, messages.explicit_fields(message))

    async def _change(self, seat: Seat, given: Change) -> None:
        if given.keys() & {"avatar", "lipsync"}:  # these may load files; other changes are charged as messages only
            self._shared.seating.allowances.charge_change(seat.session.id, self._address, self._person.name)
        await self._shared.seating.change(seat, given, self._person)

    async def _greet(self, hello: messages.Hello) -> None:
        try:
            require_entry(self._person)
            if hello.token is not None:
                await self._come_back(hello, hello.token)
            else:
                await self._sit(await self._new_seat(hello), resumed=False)
        finally:
            self._greeting = self._in_line = False
            if self._seat is None:
                self._expect_hello(EXPIRES_S, "The hello was refused, and nobody said another.")

    async def _come_back(self, hello: messages.Hello, token: str) -> None:
        """Resume the session that the token leads to, or restore it from what another node has stored of it."""
        try:
            seat = await self._resume(token)
        except UnknownToken:
            seat, cut_at = await self._shared.seating.restored_seat(
                token, self._address, self._person, self._report_of(hello)
            )
            await self._sit(seat, resumed=False, restored={"cut": cut_at})
        else:
            await self._sit(seat, resumed=True)

    async def _new_seat(self, hello: messages.Hello) -> Seat:
        """Return a seat with a new session. Raises the same errors as Seating.new_seat()."""
        return await self._shared.seating.new_seat(hello, self._address, self._person, self._report_of(hello))

    def _report_of(self, hello: messages.Hello) -> Callable[[int], Awaitable[None]] | None:
        return self._report_waiting if hello.wait else None

    async def _report_waiting(self, position: int) -> None:
        self._in_line = True
        await self._socket.send_json({"type": "waiting", "place": position})

    async def _resume(self, token: str) -> Seat:
        seat = self._seat = self._shared.seating.seats.redeem(token, self._person.name)
        stale, seat.occupant = seat.occupant, self
        if stale is not None:  # the old socket's other end is dead, and the server has not noticed that yet
            await stale.dismiss(SUPERSEDED, "The session goes on elsewhere.")
            await seat.leave_websocket()
        return seat

    async def _sit(self, seat: Seat, *, resumed: bool, restored: ServerMessage | None = None) -> None:
        """Welcome the viewer. From then on the seat's events are delivered to this socket.

        restored: for a session that continues one that another node lost, what was cut off. None: for any other.
        """
        seat.occupant = self
        self._seat = seat
        self._in_line = False
        if await self._socket.send_json(self._welcome(seat, resumed=resumed, restored=restored)):
            self._delivery = asyncio.create_task(seat.outbox.deliver(self._send), name=f"deliver-{seat.session.id}")
        else:  # the welcome with the token did not arrive, so nobody could come back to this session
            await self._shared.seating.seats.close(seat)

    def _welcome(self, seat: Seat, *, resumed: bool, restored: ServerMessage | None) -> ServerMessage:
        return {
            "type": "welcome",
            "session": seat.session.id,
            "resumed": resumed,
            "restored": restored,
            "token": self._shared.seating.seats.issue_token(seat),
            "iceServers": self._shared.ice_servers(),
            "fps": FPS,
            "sampleRate": PLAYOUT_RATE_HZ,
            "watch": seat.watchers.token if self._shared.watch_links else "",
            **shown_facts(seat.session),
        }

    @contextmanager
    def _faults_answered(self) -> Iterator[None]:
        """Answer an error in one message with an `error` message, and let the session continue."""
        try:
            yield
        except VivavoceError as error:
            self._answers.post(error_message(error))
        except Exception:  # whatever went wrong with this message, the viewer has to learn of it
            logger.exception("session socket: a message could not be served")
            fault = VivavoceError("Something went wrong in the server.", "The server's log has the details.")
            self._answers.post(error_message(fault))

    async def _send(self, event: ServerMessage) -> bool:
        """Send an event of the seat. Once the session has ended, the socket gets a deadline to say hello again."""
        if self._seat is not None and self._seat.session.closed and self._socket.expires_s is None:
            self._expect_hello(EXPIRES_S, SESSION_ENDED)
        return await self._socket.send_json(event)

    def _require_seat(self) -> Seat:
        if self._seat is None or self._seat.occupant is not self:
            raise BadRequest("There is no session on this socket yet.", "Send hello first.")
        return self._seat

    def _media_s(self) -> float | None:
        """Return the current time of the media clock in seconds, or None without a session."""
        return None if self._seat is None else self._seat.session.stats()["pts"] / FPS

    def _expect_hello(self, within_s: float, because: str) -> None:
        """because: what the client is told if no hello comes."""
        self._socket.expires_s, self._socket.expires_because = self._shared.clock.now_s() + within_s, because

    async def _break_off(self) -> None:
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None
        await self._media_lane.clear()
        await self._lane.clear()


def _speak(seat: Seat, message: messages.Say | messages.Speak) -> None:
    if isinstance(message, messages.Say):
        seat.say(message.text, message.mode, message.event)
    else:
        seat.speak(message.rate, message.event)


def _recording_facts(recording: Recording) -> ServerMessage:
    """Return the message that tells a viewer about a recording that has ended."""
    facts: ServerMessage = {"type": "recording", "id": recording.id, "name": recording.name}
    state = "done" if recording.trouble is None else "failed"
    told = recording.trouble or recording.unsigned
    if told is None:
        return {**facts, "state": state}
    return {**facts, "state": state, "code": told.code, "message": told.message, "hint": told.hint}
