"""A session socket over a real ASGI WebSocket, with fake sessions that record what they are asked to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from fastapi import FastAPI

from avatars.errors import AvatarNotFound, GestureNotFound
from avatars.persona import Persona
from pipeline.channel import Channel
from pipeline.clock import ManualClock
from pipeline.errors import AtCapacity, BadRequest
from pipeline.history import Standing
from pipeline.stream_address import host_of
from pipeline.transports.frame_coding import FrameCoding
from pipeline.transports.ice import IceServer
from pipeline.transports.whereabouts import Whereabouts
from pipeline.turn_context import Choice
from pipeline.types import (
    SAMPLES_PER_PICTURE,
    AudioChunk,
    FloatArray,
    ListenMode,
    MediaFrame,
    Message,
    SessionEvent,
    TurnEvent,
    TurnState,
)
from portal.admission import Admission, Wish
from portal.api.session_socket import SessionSocket
from portal.errors import AvatarBeingPrepared
from portal.http.people import ANYBODY, Person
from portal.pushes import check_allowed
from portal.session_keeper import Keeper, NoKeeper
from portal.settings import Settings
from tests.portal.socket_viewer import Viewer


class FakeTransport:
    def __init__(self, name: str, send: Callable[[bytes], Awaitable[None]] | None = None) -> None:
        self.name = name
        self.connected = asyncio.Event()
        self.closed = asyncio.Event()
        self.candidates: list[str] = []
        self._send = send

    async def answer(self, offer_sdp: str) -> str:
        if not offer_sdp.startswith("v=0"):
            raise BadRequest("The offer is no SDP.")
        return "v=0 answer"

    async def add_candidate(self, candidate: str, sdp_mid: str | None, sdp_mline_index: int | None) -> None:
        self.candidates.append(candidate)

    async def send(self, frame: MediaFrame) -> None:
        if self._send is not None:
            await self._send(bytes([1]) + frame.number.to_bytes(4, "little"))

    async def flush(self) -> None: ...

    async def aclose(self) -> None:
        self.closed.set()


def avatar_of(avatar: str, width: int, height: int, gestures: Iterable[str] = ()) -> SimpleNamespace:
    """Return the fields of a bundle that the session socket uses."""
    return SimpleNamespace(id=avatar, name=avatar.title(), width=width, height=height, gesture_names=list(gestures))


class FakeOutputs:
    """The outputs of a session that were added beside its transport."""

    def __init__(self, session: FakeSession) -> None:
        self.added: list[Any] = []
        self._session = session

    def add(self, output: Any, hear: Any = None) -> None:
        self.added.append(output)

    def remove(self, output: Any) -> None:
        if output in self.added:
            self.added.remove(output)

    def detach(self) -> None:
        self._session.transport = None


class FakeSession:
    def __init__(self, session_id: str, avatar: str) -> None:
        self.id = session_id
        self.identity: dict[str, str] = {}
        self.events: Channel[SessionEvent] = Channel(1000)
        self.bundle: Any = avatar_of(avatar, 512, 640, gestures=["wave"])
        self.in_force: dict[str, object] = {
            "tts": "auto",
            "voice": None,
            "speed": 1.0,
            "lipsync": "viseme",
            "persona": "none",
        }
        self.transport: FakeTransport | None = None
        self.said: list[tuple[str, str]] = []
        self.recalled: list[Message] = []
        self.choice = Choice()
        self.played: str | None = None
        "the part of the current answer that has been played"
        self.is_mid_turn = False
        self.listens: list[tuple[ListenMode, str | None]] = []
        self.heard: list[FloatArray] = []
        self.speeches: list[AsyncIterator[AudioChunk]] = []
        self.interrupts = 0
        self.gestures: list[str | None] = []
        self.persona = Persona()
        self.speed: float | None = None
        self.reached_s: list[float] = []
        self.seen: list[tuple[int, float]] = []
        self.delays_s: list[float] = []
        self.outputs = FakeOutputs(self)
        self.greetings = 0
        self.closed = False

    def recall(self, told: Iterable[Message]) -> None:
        self.recalled = list(told)
        if any(one.content == "crash" for one in self.recalled):
            raise ZeroDivisionError

    def standing(self) -> Standing:
        asked = [Message("user", text) for text, mode in self.said if mode == "chat"]
        return Standing((*self.recalled, *asked), self.played, bool(self.said))

    def say(self, text: str, mode: str = "chat", *, interrupts: bool = True) -> int:
        if not text:
            raise BadRequest("There is nothing to say.", "Type some words.")
        if text == "crash":
            raise ZeroDivisionError
        self.said.append((text, mode))
        self.events.offer(TurnEvent(len(self.said), TurnState.QUEUED))
        return len(self.said)

    def speak(self, speech: AsyncIterator[AudioChunk]) -> int:
        self.speeches.append(speech)
        self.said.append(("", "speech"))
        self.events.offer(TurnEvent(len(self.said), TurnState.QUEUED))
        return len(self.said)

    def interrupt(self) -> None:
        self.interrupts += 1

    def begin_gesture(self, name: str) -> None:
        if name != "wave":
            raise GestureNotFound("There is no such gesture.", "It has: wave.")
        self.gestures.append(name)

    def end_gesture(self) -> None:
        self.gestures.append(None)

    def note_reached(self, media_s: float) -> None:
        self.reached_s.append(media_s)

    def note_seen(self, turn_id: int, delay_s: float) -> None:
        self.seen.append((turn_id, delay_s))

    def note_delay(self, delay_s: float) -> None:
        self.delays_s.append(delay_s)

    def listen(self, mode: ListenMode, language: str | None = None) -> None:
        self.listens.append((mode, language))

    def hear(self, samples: FloatArray) -> None:
        self.heard.append(samples)

    async def attach(self, transport: Any) -> None:
        previous, self.transport = self.transport, transport
        if previous is not None:
            await previous.aclose()

    def greet(self) -> None:
        self.greetings += 1

    def stats(self) -> dict[str, Any]:
        return {"pts": 50, "turn": len(self.said), "state": "idle"}

    async def play(self, pts: int) -> None:
        assert self.transport is not None
        await self.transport.send(MediaFrame(cast(Any, None), np.zeros(SAMPLES_PER_PICTURE, np.float32), pts))


class FakeSessions:
    def __init__(self, name: str = "s") -> None:
        self.name = name
        self.opened: list[FakeSession] = []
        self.admission = Admission(capacity=4, places_each=99)
        self.full: set[str | None] = set()
        self.loaded = asyncio.Event()
        "loading the avatar 'slow' takes until this is set"
        self._endings: dict[FakeSession, AsyncExitStack] = {}

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
    ) -> FakeSession:
        wish = Wish(lipsync or "viseme", frozenset({"cpu"}), address)
        async with AsyncExitStack() as ending:
            place = self.admission.place(wish, lambda: self._opened(avatar or "woman", lipsync), report)
            session = await ending.enter_async_context(place)
            self._endings[session] = ending.pop_all()
            session.identity = dict(identity)
            session.persona = persona
            session.choice = Choice(lipsync=lipsync or "viseme", persona=replace(persona, voice=voice))
            session.speed = speed
        return session

    @asynccontextmanager
    async def _opened(self, avatar: str, lipsync: str | None) -> AsyncIterator[FakeSession]:
        if avatar == "nobody":
            raise AvatarNotFound("There is no avatar 'nobody'.")
        if lipsync in self.full:
            raise AtCapacity(f"The device draws for no more viewers with {lipsync}.", "Try again in a minute.")
        if lipsync == "wav2lip256":
            raise AvatarBeingPrepared(avatar, lipsync, "job-7")
        session = FakeSession(f"{self.name}{len(self.opened) + 1}", avatar)
        self.opened.append(session)
        yield session
        session.closed = True
        session.events.close()

    async def change(self, session: FakeSession, given: Mapping[str, Any], person: Person) -> None:
        if given.get("voice") == "nobody's":
            raise BadRequest("There is no such voice.", "Choose another.", cause="no_voice")
        session.in_force = session.in_force | {name: given[name] for name in given if name in session.in_force}
        avatar = given.get("avatar")
        if avatar is None:
            return
        if avatar == "nobody":
            raise AvatarNotFound("There is no avatar 'nobody'.")
        if avatar == "slow":
            await self.loaded.wait()
        session.bundle = avatar_of(avatar, 256, 256)

    async def close(self, session: FakeSession) -> None:
        ending = self._endings.pop(session, None)
        if ending is not None:
            await ending.aclose()


class FakeTransports:
    def __init__(self) -> None:
        self.made: list[FakeTransport] = []

    def webrtc(
        self, *, at: Whereabouts, hear: Callable[[FloatArray], None] | None, coding: FrameCoding | None = None
    ) -> FakeTransport:
        self.made.append(FakeTransport("webrtc"))
        return self.made[-1]

    def shared_coding(self) -> FrameCoding:
        return FrameCoding(cast(Any, None), cast(Any, None))

    def websocket(self, send: Callable[[bytes], Awaitable[None]]) -> FakeTransport:
        self.made.append(FakeTransport("websocket", send))
        return self.made[-1]


class FakeRecordings:
    """Records which recordings run; a recording ends as soon as it is told to."""

    def __init__(self) -> None:
        self.running: dict[FakeSession, Any] = {}

    def begin(self, session: FakeSession, on_end: Callable[[Any], None], *, owner: str, address: str) -> Any:
        if session in self.running:
            raise BadRequest("This session is being recorded already.")
        self.running[session] = SimpleNamespace(id="r1", name="Woman - now", trouble=None, unsigned=None, on_end=on_end)
        return self.running[session]

    async def end(self, session: FakeSession) -> Any:
        return self.stop(session)

    def stop(self, session: FakeSession) -> Any:
        if session not in self.running:
            raise BadRequest("This session is not being recorded.")
        recording = self.running.pop(session)
        recording.on_end(recording)
        return recording


class FakePush:
    """A push to a streaming server that accepts everything."""

    name = "push"
    state, connections, frames_dropped, trouble, trouble_code = "live", 1, 0, "", ""

    def __init__(self, address: str, tell: Callable[[], None]) -> None:
        self.host = host_of(address)
        self.tell = tell


class FakeStreams:
    """Pushes to the one server that is allowed."""

    def __init__(self) -> None:
        self.settings = Settings(push_to=("rtmp://a.example/live",))

    def check(self, address: str) -> None:
        check_allowed(self.settings, address)

    def new(self, address: str, bundle: Any, tell: Callable[[], None]) -> Any:
        return FakePush(address, tell)


class House:
    def __init__(
        self,
        *,
        watch_links: bool = False,
        keeper: Keeper | None = None,
        sessions: str = "s",
        clock: ManualClock | None = None,
    ) -> None:
        """sessions: the prefix of their ids."""
        self.clock = clock or ManualClock()
        self.sessions = FakeSessions(sessions)
        self.transports = FakeTransports()
        self.recordings = FakeRecordings()
        self.socket = SessionSocket(
            self.sessions,
            self.transports,
            cast(Any, self.recordings),
            self.clock,
            FakeStreams(),
            ice_servers=lambda: (IceServer(("turn:turn.test",), "u", "c"),),
            sockets=30,
            sockets_each=12,
            watch_links=watch_links,
            keeper=keeper or NoKeeper(),
        )
        self.app = FastAPI()
        self.app.include_router(self.socket.router)
        self.viewers: list[Viewer] = []

    async def viewer(self, address: str = "test", person: Person = ANYBODY) -> Viewer:
        self.viewers.append(await Viewer(self.app, address, person).connect())
        return self.viewers[-1]

    async def watched(self) -> tuple[Viewer, FakeTransport]:
        """Return a viewer with a session, and its connected WebRTC transport."""
        viewer = await self.viewer()
        await viewer.hello()
        viewer.tell("offer", sdp="v=0")
        await viewer.hear("answer")
        peer = self.transports.made[-1]
        peer.connected.set()
        await self.settle()
        return viewer, peer

    async def settle(self) -> None:
        """Let every task that is ready run."""
        await self.clock.advance(0)

    @property
    def session(self) -> FakeSession:
        return self.sessions.opened[-1]


@asynccontextmanager
async def open_house(
    *,
    watch_links: bool = False,
    keeper: Keeper | None = None,
    sessions: str = "s",
    clock: ManualClock | None = None,
) -> AsyncIterator[House]:
    house = House(watch_links=watch_links, keeper=keeper, sessions=sessions, clock=clock)
    try:
        yield house
    finally:
        for viewer in house.viewers:
            viewer.stuck.set()
            if not viewer.over:
                await viewer.break_off()
        await house.socket.aclose()
        assert all(session.closed for session in house.sessions.opened)
