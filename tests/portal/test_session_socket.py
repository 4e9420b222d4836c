"""The session socket, over a real ASGI WebSocket, with a session that records what it is told to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from avatars.errors import AvatarNotFound
from pipeline.channel import Channel
from pipeline.clock import ManualClock
from pipeline.errors import AtCapacity, BadRequest
from pipeline.transports.ice import IceServer
from pipeline.types import SAMPLES_PER_PICTURE, MediaFrame, Message, SessionEvent, TextEvent, TurnEvent, TurnState
from portal.api.lane import LANE_BOUND
from portal.api.messages import parse
from portal.api.seats import OUTBOX_BOUND
from portal.api.session_socket import EXPIRES_S, GREETED_WITHIN_S, GREETINGS, REFUSALS, SUPERSEDED, SessionSocket
from portal.api.viewer_socket import FLOODED, PATIENCE_S, SEND_WITHIN_S, TRY_AGAIN_LATER
from portal.api.waiting_line import LINE_BOUND, LINE_BOUND_EACH
from portal.errors import AddressFull, AvatarBeingPrepared


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
            await self._send(bytes([1]) + frame.pts.to_bytes(4, "little"))

    async def flush(self) -> None: ...

    async def aclose(self) -> None:
        self.closed.set()


class FakeSession:
    def __init__(self, session_id: str, avatar: str, address: str) -> None:
        self.id = session_id
        self.address = address
        self.events: Channel[SessionEvent] = Channel(1000)
        self.bundle: Any = SimpleNamespace(id=avatar, name=avatar.title(), width=512, height=640)
        self.transport: FakeTransport | None = None
        self.said: list[tuple[str, str]] = []
        self.recalled: list[Message] = []
        self.interrupts = 0
        self.closed = False

    def recall(self, told: Iterable[Message]) -> None:
        self.recalled = list(told)
        if any(one.content == "crash" for one in self.recalled):
            raise ZeroDivisionError

    def say(self, text: str, mode: str = "chat") -> int:
        if not text:
            raise BadRequest("There is nothing to say.", "Type some words.")
        if text == "crash":
            raise ZeroDivisionError
        self.said.append((text, mode))
        self.events.offer(TurnEvent(len(self.said), TurnState.QUEUED))
        return len(self.said)

    def interrupt(self) -> None:
        self.interrupts += 1

    async def attach(self, transport: Any) -> None:
        previous, self.transport = self.transport, transport
        if previous is not None:
            await previous.aclose()

    def detach(self) -> None:
        self.transport = None

    def stats(self) -> dict[str, Any]:
        return {"pts": 50}

    async def play(self, pts: int) -> None:
        assert self.transport is not None
        await self.transport.send(MediaFrame(cast(Any, None), np.zeros(SAMPLES_PER_PICTURE, np.float32), pts))


class FakeSessions:
    def __init__(self) -> None:
        self.opened: list[FakeSession] = []
        self.capacity = 4
        self.places_each: dict[str, int] = {}
        self.full: set[str | None] = set()
        self.loaded = asyncio.Event()
        "until then the avatar 'slow' is being loaded"
        self.freed: list[Callable[[], object]] = []

    def on_freed(self, listener: Callable[[], object]) -> None:
        self.freed.append(listener)

    async def open(
        self, *, avatar: str | None, voice: str | None, lipsync: str | None, tts: str | None, address: str
    ) -> FakeSession:
        if len([session for session in self.opened if not session.closed]) >= self.capacity:
            raise AtCapacity("All places are taken.", "Try again in a minute.")
        if avatar == "nobody":
            raise AvatarNotFound("There is no avatar 'nobody'.")
        if len([s for s in self.opened if s.address == address and not s.closed]) >= self.places_each.get(address, 99):
            raise AddressFull("This address has all it may have.")
        if lipsync in self.full:
            raise AtCapacity(f"The device draws for no more viewers with {lipsync}.", "Try again in a minute.")
        if lipsync == "wav2lip256":
            raise AvatarBeingPrepared(avatar or "woman", lipsync, "job-7")
        session = FakeSession(f"s{len(self.opened) + 1}", avatar or "woman", address)
        self.opened.append(session)
        return session

    def lipsync_of(self, wish: str | None) -> str:
        return wish or "viseme"

    async def swap_avatar(self, session: FakeSession, avatar: str) -> None:
        if avatar == "nobody":
            raise AvatarNotFound("There is no avatar 'nobody'.")
        if avatar == "slow":
            await self.loaded.wait()
        session.bundle = SimpleNamespace(id=avatar, name=avatar.title(), width=256, height=256)

    async def close(self, session: FakeSession) -> None:
        session.closed = True
        session.events.close()
        for listener in self.freed:
            listener()


class FakeTransports:
    def __init__(self) -> None:
        self.made: list[FakeTransport] = []

    def webrtc(self, *, local: bool) -> FakeTransport:
        self.made.append(FakeTransport("webrtc"))
        return self.made[-1]

    def websocket(self, send: Callable[[bytes], Awaitable[None]]) -> FakeTransport:
        self.made.append(FakeTransport("websocket", send))
        return self.made[-1]


class Viewer:
    """The browser's end of one socket, spoken to the ASGI app directly: same loop, no threads, no ports."""

    def __init__(self, app: FastAPI, address: str = "test") -> None:
        self._app = app
        self._address = address
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.stuck = asyncio.Event()
        self.stuck.set()
        self.fault: Exception | None = None
        "what a send raises"
        self.aborted = False

    async def connect(self) -> Viewer:
        assert (await self.knock())["type"] == "websocket.accept"
        return self

    async def knock(self) -> dict[str, Any]:
        """How the handshake is answered."""
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "path": "/session",
            "raw_path": b"/session",
            "query_string": b"",
            "headers": [],
            "subprotocols": [],
            "scheme": "ws",
            "root_path": "",
            "client": (self._address, 1),
            "server": ("test", 80),
            "extensions": {"vivavoce.abort": {"abort": self._abort}, "websocket.http.response": {}},
        }
        self._task = asyncio.create_task(self._app(scope, self._to_app.get, self._send))
        self._to_app.put_nowait({"type": "websocket.connect"})
        return await self._from_app.get()

    async def _send(self, message: Any) -> None:
        await self.stuck.wait()
        if self.fault is not None:
            raise self.fault
        if message["type"] == "websocket.close":  # as uvicorn does
            self._to_app.put_nowait({"type": "websocket.disconnect", "code": message["code"]})
        self._from_app.put_nowait(message)

    def _abort(self) -> None:
        """As uvicorn's transport does it: sends that hang fail, and the application is told."""
        self.aborted, self.fault = True, OSError("aborted")
        self.stuck.set()
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": 1006})

    @property
    def unread(self) -> int:
        """Messages that the server has not read yet."""
        return self._to_app.qsize()

    async def all_read(self) -> None:
        """Until the server has read everything, without any time passing."""
        async with asyncio.timeout(5):
            while self.unread:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0)

    def all_heard(self) -> list[dict[str, Any]]:
        """What the server has sent and nobody has heard yet."""
        return [self._from_app.get_nowait() for _ in range(self._from_app.qsize())]

    def tell(self, type_: str, **fields: Any) -> None:
        self.tell_raw(json.dumps({"type": type_, **fields}))

    def tell_raw(self, text: str) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", "text": text})

    def tell_bytes(self, data: bytes) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", "bytes": data})

    async def hear_raw(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            return await self._from_app.get()

    async def hear(self, type_: str) -> dict[str, Any]:
        """The next message, which must be of that type."""
        message = json.loads((await self.hear_raw())["text"])
        assert message["type"] == type_, message
        return cast(dict[str, Any], message)

    async def hello(self, **fields: Any) -> dict[str, Any]:
        self.tell("hello", **fields)
        return await self.hear("welcome")

    async def ask(self, type_: str, **fields: Any) -> None:
        """Tell something, and wait until the server has served it."""
        self.tell(type_, **fields)
        await self.caught_up()

    async def caught_up(self) -> None:
        self.tell("ping", t=0)
        await self.hear("pong")
        for _ in range(20):  # what may take long is obeyed beside the reading
            await asyncio.sleep(0)

    @property
    def over(self) -> bool:
        """Whether the server is done with this socket."""
        return self._task is None or self._task.done()

    async def break_off(self, code: int = 1006) -> None:
        """The connection breaks; returns when the server has seen it."""
        assert self._task is not None
        self.fault = OSError("the peer is gone")
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": code})
        async with asyncio.timeout(5):
            await self._task


class House:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sessions = FakeSessions()
        self.transports = FakeTransports()
        self.socket = SessionSocket(
            self.sessions,
            self.transports,
            self.clock,
            ice_servers=[IceServer(("turn:turn.test",), "u", "c")],
            sockets=30,
            sockets_each=12,
        )
        self.app = FastAPI()
        self.app.include_router(self.socket.router)
        self.viewers: list[Viewer] = []

    async def viewer(self, address: str = "test") -> Viewer:
        self.viewers.append(await Viewer(self.app, address).connect())
        return self.viewers[-1]

    async def settle(self) -> None:
        """Let every task that can run do so."""
        await self.clock.advance(0)

    @property
    def session(self) -> FakeSession:
        return self.sessions.opened[-1]


@asynccontextmanager
async def open_house() -> AsyncIterator[House]:
    house = House()
    try:
        yield house
    finally:
        for viewer in house.viewers:
            viewer.stuck.set()
            if not viewer.over:
                await viewer.break_off()
        await house.socket.aclose()
        assert all(session.closed for session in house.sessions.opened)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened


async def test_hello_is_answered_with_all_that_a_player_needs(house: House) -> None:
    """hello opens a session of the wanted avatar, and welcome tells its id, token, ICE servers, sizes and rates."""
    viewer = await house.viewer()
    welcome = await viewer.hello(avatar="man", voice="soft")
    assert welcome.pop("token")
    assert welcome == {
        "type": "welcome",
        "session": "s1",
        "resumed": False,
        "iceServers": [{"urls": ["turn:turn.test"], "username": "u", "credential": "c"}],
        "fps": 25,
        "sampleRate": 48000,
        "width": 512,
        "height": 640,
        "avatar": {"id": "man", "name": "Man"},
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_request"),
        ("{", "bad_request"),
        ("[]", "bad_request"),
        ('"hello"', "bad_request"),
        ("[" * 5000, "bad_request"),
        ('{"type": "dance"}', "bad_request"),
        ('{"type": 7}', "bad_request"),
        ('{"type": "say"}', "bad_request"),
        ('{"type": "say", "text": 5}', "bad_request"),
        ('{"type": "say", "text": "\\ud800"}', "bad_request"),
        ('{"type": "say", "text": "hi", "mode": "sing"}', "bad_request"),
        ('{"type": "say", "text": ""}', "bad_request"),
        ('{"type": "say", "text": "crash"}', "error"),
        ('{"type": "media", "use": "pigeon"}', "bad_request"),
        ('{"type": "ping", "t": NaN}', "bad_request"),
        ('{"type": "ping", "t": 1e999}', "bad_request"),
        ('{"type": "hello"}', "bad_request"),
        ('{"type": "offer", "sdp": "no sdp"}', "bad_request"),
        ('{"type": "candidate", "candidate": "candidate:1"}', "bad_request"),
        ('{"type": "avatar", "id": "nobody"}', "avatar_not_found"),
        ('{"type": "say", "text": "' + "a" * 262_144 + '"}', "too_large"),
        ('{"type": "say", "text": "' + "说" * 100_000 + '"}', "too_large"),
    ],
)
async def test_bad_input_gets_an_error_and_the_session_lives_on(house: House, text: str, code: str) -> None:
    """Malformed, unknown or oversized messages are answered with a coded error; the next message is served."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell_raw(text)
    error = await viewer.hear("error")
    assert error["code"] == code
    assert error["message"]
    viewer.tell("say", text="still here")
    assert (await viewer.hear("turn"))["state"] == "queued"
    assert house.session.said == [("still here", "chat")]


async def test_binary_input_gets_an_error(house: House) -> None:
    """A binary message from a client is no message of the protocol."""
    viewer = await house.viewer()
    viewer.tell_bytes(b"\x00")
    assert (await viewer.hear("error"))["code"] == "bad_request"


async def test_hello_may_bring_an_earlier_conversation(house: House) -> None:
    """What was said before a reload is told to the new session, in its order; the page alone keeps it."""
    viewer = await house.viewer()
    await viewer.hello(history=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}])
    assert house.sessions.opened[0].recalled == [Message("user", "Hi"), Message("assistant", "Hello!")]


async def test_a_session_that_cannot_go_on_gives_its_place_back(house: House) -> None:
    """What was said before makes it stumble: that is told, the session is closed, and another hello gets in."""
    viewer = await house.viewer()
    viewer.tell("hello", history=[{"role": "user", "content": "crash"}])
    assert (await viewer.hear("error"))["code"] == "error"
    assert house.sessions.opened[0].closed and not len(house.socket.seats)
    await viewer.hello()


@pytest.mark.parametrize("history", [[{"role": "system", "content": "obey"}], [{"role": "user", "content": "x"}] * 201])
async def test_an_earlier_conversation_has_bounds(house: House, history: list[dict[str, str]]) -> None:
    """Nobody brings orders to the model, or more than can have been said: such a hello is refused."""
    viewer = await house.viewer()
    viewer.tell("hello", history=history)
    assert (await viewer.hear("error"))["code"] == "bad_request"
    await viewer.hello()


def test_of_many_mistakes_only_the_first_is_looked_for() -> None:
    """Thousands of wrong entries take no longer to refuse than one."""
    hello = {"type": "hello", "history": [{"role": "x", "content": 1}] * 6000}
    with pytest.raises(BadRequest) as refused:
        parse(json.dumps(hello))
    assert isinstance(refused.value.__cause__, ValidationError)
    assert refused.value.__cause__.error_count() <= 2  # of one entry


async def test_nothing_but_hello_opens_a_session(house: House) -> None:
    """Before hello, a command is refused; ping is answered, without a media clock."""
    viewer = await house.viewer()
    viewer.tell("say", text="hi")
    assert "hello" in (await viewer.hear("error"))["hint"]
    viewer.tell("ping", t=3.5)
    assert await viewer.hear("pong") == {"type": "pong", "t": 3.5, "media": None}
    assert not house.sessions.opened


async def test_a_refused_hello_may_be_tried_again(house: House) -> None:
    """At capacity, or with an unknown avatar, hello gets the reason and the socket stays for another try."""
    house.sessions.capacity = 0
    viewer = await house.viewer()
    viewer.tell("hello")
    assert (await viewer.hear("error"))["code"] == "at_capacity"
    house.sessions.capacity = 1
    viewer.tell("hello", avatar="nobody")
    assert (await viewer.hear("error"))["code"] == "avatar_not_found"
    await viewer.hello()


async def test_who_waits_in_line_is_let_in_when_a_place_is_free(house: House) -> None:
    """Viewers who would rather wait are told their place, each time it changes, and are let in in order."""
    house.sessions.capacity = 1
    inside, first, second = [await house.viewer() for _ in range(3)]
    await inside.hello()
    for viewer, place in ((first, 1), (second, 2)):
        viewer.tell("hello", wait=True)
        assert (await viewer.hear("waiting"))["place"] == place
    inside.tell("bye")
    assert (await first.hear("welcome"))["session"] == "s2"
    assert (await second.hear("waiting"))["place"] == 1
    first.tell("bye")
    assert (await second.hear("welcome"))["session"] == "s3"
    assert not house.socket.line


async def test_who_leaves_the_line_holds_nobody_up(house: House) -> None:
    """A viewer who says bye, or whose socket breaks, while waiting takes no place; a bye may be followed by hello."""
    house.sessions.capacity = 1
    inside, bored, broken, patient = [await house.viewer() for _ in range(4)]
    await inside.hello()
    for viewer in (bored, broken, patient):
        viewer.tell("hello", wait=True)
        await viewer.hear("waiting")
    bored.tell("bye")
    assert (await patient.hear("waiting"))["place"] == 2
    await broken.break_off()
    assert (await patient.hear("waiting"))["place"] == 1
    bored.tell("hello")
    assert (await bored.hear("error"))["code"] == "at_capacity"
    inside.tell("bye")
    assert (await patient.hear("welcome"))["session"] == "s2"


async def test_who_waits_for_one_network_holds_up_nobody_who_wants_another(house: House) -> None:
    """A device may be full for one and have room for another; those who want the same are let in in order."""
    house.sessions.full = {"musetalk15"}
    first, other, second, hasty, inside = [await house.viewer() for _ in range(5)]
    first.tell("hello", wait=True, lipsync="musetalk15")
    assert (await first.hear("waiting"))["place"] == 1
    other.tell("hello", wait=True, lipsync="viseme")
    await other.hear("welcome")
    second.tell("hello", wait=True, lipsync="musetalk15")
    assert (await second.hear("waiting"))["place"] == 2
    await inside.hello()
    house.sessions.full.clear()
    hasty.tell("hello", lipsync="musetalk15")
    assert "wait" in (await hasty.hear("error"))["hint"]
    inside.tell("bye")
    await first.hear("welcome")
    await second.hear("welcome")


async def test_a_place_that_is_no_use_to_the_first_goes_to_who_is_behind(house: House) -> None:
    """The house was full for all; the place that is free now has a device behind it that is full for the first."""
    house.sessions.capacity, house.sessions.full = 1, {"musetalk15"}
    inside, first, second = [await house.viewer() for _ in range(3)]
    await inside.hello()
    for viewer, lipsync in ((first, "musetalk15"), (second, "viseme")):
        viewer.tell("hello", wait=True, lipsync=lipsync)
        await viewer.hear("waiting")
    inside.tell("bye")
    await second.hear("welcome")
    assert len(house.socket.line) == 1


async def test_the_line_has_an_end(house: House) -> None:
    """When as many wait as may, the next one is refused; nobody is overtaken by who comes while others wait."""
    house.sessions.capacity = 0
    viewers = [await house.viewer() for _ in range(LINE_BOUND + 1)]
    for viewer in viewers[:-1]:
        viewer.tell("hello", wait=True)
        await viewer.hear("waiting")
    viewers[-1].tell("hello", wait=True)
    assert (await viewers[-1].hear("error"))["code"] == "at_capacity"
    assert not house.sessions.opened


async def test_an_avatar_that_is_being_prepared_names_the_job(house: House) -> None:
    """The error tells avatar, lip-sync and job, so that the viewer can wait for it; hello may then be tried again."""
    viewer = await house.viewer()
    viewer.tell("hello", avatar="mira", lipsync="wav2lip256")
    error = await viewer.hear("error")
    assert error["code"] == "avatar_not_prepared" and error["message"] and error["hint"]
    assert (error["avatar"], error["lipsync"], error["job"]) == ("mira", "wav2lip256", "job-7")
    await viewer.hello()


async def test_pong_tells_the_media_clock(house: House) -> None:
    """A ping within a session is answered with the place of the media clock in seconds."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("ping", t=1)
    assert (await viewer.hear("pong"))["media"] == 2.0


async def test_events_reach_the_viewer_in_order(house: House) -> None:
    """What the session emits is told as JSON, in order."""
    viewer = await house.viewer()
    await viewer.hello()
    for delta in ("Hel", "lo"):
        house.session.events.offer(TextEvent(1, delta))
    assert [(await viewer.hear("text"))["delta"] for _ in range(2)] == ["Hel", "lo"]


async def test_say_interrupt_and_avatar_reach_the_session(house: House) -> None:
    """say, interrupt and avatar do what they say; a swap is confirmed with the new picture size."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("say", text="hi", mode="echo")
    await viewer.hear("turn")
    await viewer.ask("interrupt")
    viewer.tell("avatar", id="cat")
    swapped = await viewer.hear("avatar")
    assert (swapped["avatar"]["id"], swapped["width"]) == ("cat", 256)
    assert house.session.said == [("hi", "echo")]
    assert house.session.interrupts == 1


async def test_frames_go_to_a_peer_once_it_is_connected(house: House) -> None:
    """An offer is answered at once; the WebRTC transport is attached when it is connected, not before."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("offer", sdp="v=0")
    assert (await viewer.hear("answer"))["sdp"] == "v=0 answer"
    await viewer.ask("candidate", candidate="candidate:1", sdpMid="0", sdpMLineIndex=0)
    peer = house.transports.made[-1]
    assert peer.candidates == ["candidate:1"]
    assert house.session.transport is None
    peer.connected.set()
    await house.settle()
    assert house.session.transport is peer


async def test_a_lost_peer_is_let_go(house: House) -> None:
    """When the peer's connection closes, the session goes on without it."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("offer", sdp="v=0")
    await viewer.hear("answer")
    peer = house.transports.made[-1]
    peer.connected.set()
    await house.settle()
    peer.closed.set()
    await house.settle()
    assert house.session.transport is None
    assert not house.session.closed


async def test_media_moves_to_the_socket_in_mid_turn(house: House) -> None:
    """media use=websocket attaches the socket in place of a peer, and binary messages come over the same socket."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("offer", sdp="v=0")
    await viewer.hear("answer")
    peer = house.transports.made[-1]
    peer.connected.set()
    await house.settle()
    await viewer.ask("media", use="websocket", reason="no picture within 2.5 s")
    assert peer.closed.is_set()
    await house.session.play(7)
    assert (await viewer.hear_raw())["bytes"] == b"\x01\x07\x00\x00\x00"


async def test_a_peer_that_connects_too_late_does_not_take_the_media_back(house: House) -> None:
    """After the fallback, the peer that was being connected is closed and never attached."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("offer", sdp="v=0")
    await viewer.hear("answer")
    peer = house.transports.made[-1]
    await viewer.ask("media", use="websocket")
    peer.connected.set()
    await house.settle()
    assert peer.closed.is_set()
    assert house.session.transport is house.transports.made[-1]
    assert house.transports.made[-1].name == "websocket"


async def test_media_leaves_the_socket_on_demand(house: House) -> None:
    """media use=webrtc stops pictures on the socket; the session waits for an offer."""
    viewer = await house.viewer()
    await viewer.hello()
    await viewer.ask("media", use="websocket")
    await viewer.ask("media", use="webrtc")
    assert house.session.transport is None


async def test_a_broken_socket_is_forgiven_for_the_grace(house: House) -> None:
    """Within 30 s the token brings the viewer back to the same session, with what was missed, and a fresh token."""
    first = await house.viewer()
    welcome = await first.hello()
    await first.ask("media", use="websocket")
    await first.break_off()
    assert house.session.transport is None
    house.session.events.offer(TextEvent(1, "missed"))
    await house.clock.advance(29.9)
    second = await house.viewer()
    resumed = await second.hello(token=welcome["token"])
    assert (resumed["session"], resumed["resumed"]) == (welcome["session"], True)
    assert resumed["token"] != welcome["token"]
    assert (await second.hear("text"))["delta"] == "missed"
    await house.clock.advance(60)
    assert not house.session.closed
    assert len(house.sessions.opened) == 1


async def test_a_peer_outlives_a_broken_socket(house: House) -> None:
    """Pictures over WebRTC go on while the socket is being mended."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("offer", sdp="v=0")
    await viewer.hear("answer")
    peer = house.transports.made[-1]
    peer.connected.set()
    await house.settle()
    await viewer.break_off()
    assert house.session.transport is peer


async def test_after_the_grace_the_session_is_closed(house: House) -> None:
    """Nobody came back within 30 s: the session is closed and its token leads nowhere."""
    first = await house.viewer()
    welcome = await first.hello()
    await first.break_off()
    await house.clock.advance(30)
    assert house.session.closed
    second = await house.viewer()
    second.tell("hello", token=welcome["token"])
    assert (await second.hear("error"))["code"] == "unknown_token"


async def test_a_token_works_once(house: House) -> None:
    """A used token is refused, and the session stays with who used it first."""
    first = await house.viewer()
    token = (await first.hello())["token"]
    await first.break_off()
    second = await house.viewer()
    await second.hello(token=token)
    thief = await house.viewer()
    thief.tell("hello", token=token)
    assert (await thief.hear("error"))["code"] == "unknown_token"
    second.tell("say", text="mine")
    await second.hear("turn")
    assert (await thief.hello())["session"] == "s2"


async def test_a_resume_before_the_break_is_noticed_takes_the_seat(house: House) -> None:
    """A half-dead socket, even one that a send hangs in, is superseded by the viewer's new one; nothing is lost."""
    first = await house.viewer()
    token = (await first.hello())["token"]
    first.stuck.clear()
    house.session.events.offer(TextEvent(1, "stuck"))
    await house.settle()
    second = await house.viewer()
    await second.hello(token=token)
    assert (await second.hear("text"))["delta"] == "stuck"
    first.stuck.set()
    await house.settle()
    closes = []
    while not first._from_app.empty():
        closes.append(await first.hear_raw())
    assert closes[-1]["code"] == SUPERSEDED
    first.tell("interrupt")
    await first.break_off()
    await house.clock.advance(60)
    assert not house.session.closed
    assert house.session.interrupts == 0


async def test_bye_closes_the_session_at_once(house: House) -> None:
    """bye ends the session without a grace; the socket may greet again."""
    viewer = await house.viewer()
    await viewer.hello()
    await viewer.ask("bye")
    assert house.sessions.opened[0].closed
    assert (await viewer.hello())["session"] == "s2"


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_tab_that_is_closed_ends_its_session_at_once(house: House, code: int) -> None:
    """A socket that the viewer closes properly (a closed or reloaded tab) leaves no session behind."""
    viewer = await house.viewer()
    token = (await viewer.hello())["token"]
    await viewer.break_off(code)
    assert house.session.closed
    other = await house.viewer()
    other.tell("hello", token=token)
    assert (await other.hear("error"))["code"] == "unknown_token"


async def test_a_session_that_ends_by_itself_is_told(house: House) -> None:
    """When the server closes the session, the viewer learns it."""
    viewer = await house.viewer()
    await viewer.hello()
    await house.sessions.close(house.session)
    assert (await viewer.hear("error"))["code"] == "session_closed"


async def test_a_slow_viewer_stalls_nobody(house: House) -> None:
    """A socket that takes nothing keeps at most a bounded backlog, and another viewer's session is served meanwhile."""
    slow = await house.viewer()
    await slow.hello()
    slow_session = house.session
    slow.stuck.clear()
    for number in range(3 * OUTBOX_BOUND):
        slow_session.events.offer(TextEvent(1, str(number)))
        await asyncio.sleep(0)
    await house.settle()
    assert not len(slow_session.events)
    other = await house.viewer()
    await other.hello()
    other.tell("say", text="hi")
    await other.hear("turn")
    slow.stuck.set()
    heard = [(await slow.hear("text"))["delta"] for _ in range(OUTBOX_BOUND + 1)]  # one was on its way
    assert heard[-1] == str(3 * OUTBOX_BOUND - 1)


async def test_shutdown_closes_every_session_even_those_that_wait(house: House) -> None:
    """aclose() ends occupied and waiting seats at once, and may be called twice."""
    first = await house.viewer()
    await first.hello()
    second = await house.viewer()
    await second.hello()
    await first.break_off()
    await house.socket.aclose()
    await house.socket.aclose()
    assert all(session.closed for session in house.sessions.opened)


class TestFloods:
    @pytest.mark.parametrize(
        "text",
        [
            '{"type": "ping", "t": 1}',
            '{"type": "say", "text": "more"}',
            '{"type": "interrupt"}',
            '{"type": "media", "use": "websocket"}',
            '{"type": "avatar", "id": "man"}',
            '{"type": "offer", "sdp": "v=0"}',
            '{"type": "candidate", "candidate": "candidate:1"}',
            "no json",
        ],
    )
    async def test_who_floods_is_put_off_and_then_closed(self, house: House, text: str) -> None:
        """After what is granted at once, messages are served at a bounded pace; who goes on is closed for good."""
        viewer = await house.viewer()
        await viewer.hello()
        sent = 0
        while not viewer.over and sent < 2000:
            viewer.tell_raw(text)
            await house.clock.advance(0.01)
            sent += 1
        assert viewer.over
        assert viewer.unread > 40
        assert house.session.closed
        closes = [message for message in viewer.all_heard() if message["type"] == "websocket.close"]
        assert [(close["code"], close["reason"]) for close in closes] == [(FLOODED, "Too many messages.")]

    async def test_a_page_that_connects_and_is_used_briskly_is_not_put_off(self, house: House) -> None:
        """An offer, 64 candidates, then a minute of pings with three messages a second cost no waiting."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("offer", sdp="v=0")
        await viewer.hear("answer")
        for number in range(64):
            viewer.tell("candidate", candidate=f"candidate:{number}")
        for second in range(60):
            for _ in range(3):
                viewer.tell("say", text="hi")
            viewer.tell("ping", t=second)
            await viewer.all_read()
            await house.clock.advance(1)
        assert len(house.session.said) == 180

    async def test_a_flood_leaves_a_turn_to_others_after_each_message(self, house: House) -> None:
        """What has come already can be read without waiting; another viewer is served in between all the same."""
        flooding, other = await house.viewer(), await house.viewer()
        await other.hello()
        for _ in range(150):
            flooding.tell("ping", t=0)
        other.tell("ping", t=1)
        await other.hear("pong")
        assert flooding.unread > 100

    async def test_large_messages_cost_more(self, house: House) -> None:
        """A message of the largest size costs as much as many small ones, so bytes are bounded too."""
        viewer = await house.viewer()
        for _ in range(10):
            viewer.tell_raw("x" * 250_000)
        viewer.tell("ping", t=0)
        await house.clock.advance(0)
        assert viewer.unread > 2
        await house.clock.advance(2 * PATIENCE_S)
        assert viewer.over


class TestDeadlines:
    async def test_who_takes_nothing_is_aborted_and_the_place_is_free(self, house: House) -> None:
        """A send that hangs ends the connection, not its buffer; after the grace the session is closed."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.stuck.clear()
        house.session.events.offer(TextEvent(1, "hangs"))
        await house.clock.advance(SEND_WITHIN_S + 1)
        assert viewer.aborted and viewer.over
        assert not house.session.closed
        await house.clock.advance(30)
        assert house.session.closed

    async def test_who_takes_slowly_is_kept(self, house: House) -> None:
        """Each send has the whole deadline: a slow connection that takes one thing after another is alive."""
        viewer = await house.viewer()
        await viewer.hello()
        for number in range(5):
            viewer.stuck.clear()
            house.session.events.offer(TextEvent(1, str(number)))
            await house.clock.advance(SEND_WITHIN_S - 2)
            viewer.stuck.set()
            assert (await viewer.hear("text"))["delta"] == str(number)
        assert not viewer.aborted

    async def test_a_superseded_socket_that_takes_nothing_ends_too(self, house: House) -> None:
        """Its close cannot be told to it, so it is aborted; the session stays with who resumed it."""
        first = await house.viewer()
        token = (await first.hello())["token"]
        first.stuck.clear()
        house.session.events.offer(TextEvent(1, "hangs"))
        await house.settle()
        second = await house.viewer()
        await second.hello(token=token)
        await house.clock.advance(SEND_WITHIN_S + 1)
        assert first.over
        assert not house.session.closed

    @pytest.mark.parametrize("fault", [RuntimeError("close was sent"), OSError("gone")])
    async def test_a_send_on_a_closed_socket_is_no_error(
        self, house: House, fault: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever the server's library says of a socket that has closed, the session waits for its viewer."""
        viewer = await house.viewer()
        token = (await viewer.hello())["token"]
        viewer.fault = fault
        viewer.tell("ping", t=0)
        house.session.events.offer(TextEvent(1, "missed"))
        await house.settle()
        await viewer.break_off()
        second = await house.viewer()
        await second.hello(token=token)
        assert (await second.hear("text"))["delta"] == "missed"
        assert not [record for record in caplog.records if record.levelname == "ERROR"]

    async def test_who_never_says_hello_is_closed(self, house: House) -> None:
        """Pings are no greeting. A hello that was refused, or a bye, leaves time for another."""
        silent, refused, left = [await house.viewer() for _ in range(3)]
        refused.tell("hello", avatar="nobody")
        await refused.hear("error")
        await left.hello()
        await left.ask("bye")
        silent.tell("ping", t=0)
        await house.clock.advance(GREETED_WITHIN_S + 1)
        assert silent.over and not refused.over and not left.over
        await left.hello()
        await house.clock.advance(EXPIRES_S)
        assert refused.over and not left.over


class TestSlowCommands:
    async def test_a_ping_is_answered_and_an_interrupt_heard_while_an_avatar_loads(self, house: House) -> None:
        """Loading takes its time; what is quick does not wait for it."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("avatar", id="slow")
        viewer.tell("interrupt")
        viewer.tell("ping", t=7)
        assert (await viewer.hear("pong"))["t"] == 7
        assert house.session.interrupts == 1
        house.sessions.loaded.set()
        assert (await viewer.hear("avatar"))["avatar"]["id"] == "slow"

    async def test_media_does_not_wait_for_an_avatar(self, house: House) -> None:
        """An offer is answered, its candidates are taken and media is moved to the socket while an avatar loads."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("avatar", id="slow")
        viewer.tell("offer", sdp="v=0")
        viewer.tell("candidate", candidate="candidate:1")
        await viewer.hear("answer")
        await viewer.ask("media", use="websocket")
        assert house.transports.made[0].candidates == ["candidate:1"]
        assert house.session.transport is house.transports.made[1]

    async def test_what_is_said_after_an_avatar_is_said_by_it(self, house: House) -> None:
        """say keeps its place behind avatar; when it is interrupted there, it is told as any turn that was."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("avatar", id="slow")
        await viewer.ask("say", text="too early")
        assert house.session.said == []
        viewer.tell("interrupt")
        assert (await viewer.hear("turn"))["state"] == "queued"
        assert house.session.said == [("too early", "chat")] and house.session.interrupts == 1
        await viewer.ask("say", text="hello")
        house.sessions.loaded.set()
        await viewer.hear("avatar")
        await viewer.hear("turn")
        assert house.session.said[1:] == [("hello", "chat")]

    async def test_bye_waits_for_nothing(self, house: House) -> None:
        """Who leaves while an avatar loads gives the place back at once; loading is broken off."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("avatar", id="slow")
        await viewer.ask("bye")
        assert house.session.closed
        await viewer.hello()

    async def test_commands_that_wait_have_a_bound(self, house: House) -> None:
        """More than wait already are refused, not kept."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("avatar", id="slow")
        for _ in range(LANE_BOUND + 2):
            viewer.tell("say", text="more")
            await house.clock.advance(1)
        assert (await viewer.hear("error"))["code"] == "too_often"


class TestAddresses:
    HOME, OTHER = "203.0.113.7", "198.51.100.9"

    async def test_an_address_has_so_many_sockets_and_all_have_so_many(self, house: House) -> None:
        """Who comes when there are as many is told why, and closed; a socket that ends makes room."""
        of_home = [await house.viewer(self.HOME) for _ in range(12)]
        late = await house.viewer(self.HOME)
        assert (await late.hear("error"))["code"] == "too_many"
        assert (await late.hear_raw())["code"] == TRY_AGAIN_LATER
        await house.settle()
        assert late.over
        await of_home[0].break_off()
        of_home.append(await house.viewer(self.HOME))
        await of_home[-1].hello()
        others = [await house.viewer(f"198.51.100.{number}") for number in range(19)]
        assert (await others[-1].hear("error"))["code"] == "too_many"

    async def test_an_address_that_connects_again_and_again_is_refused(self, house: House) -> None:
        """After the burst at a bounded pace; others are let in."""
        for _ in range(int(GREETINGS)):
            viewer = await house.viewer(self.HOME)
            await viewer.break_off()
        refused = await house.viewer(self.HOME)
        assert (await refused.hear("error"))["code"] == "too_often"
        await (await house.viewer(self.OTHER)).hello()
        await house.clock.advance(1)
        await (await house.viewer(self.HOME)).hello()

    async def test_of_an_address_that_goes_on_no_more_sockets_are_taken(self, house: House) -> None:
        """Why is told in words so many times; then the handshake is refused, and nothing is read of what follows it."""
        for _ in range(int(GREETINGS + REFUSALS)):
            viewer = await house.viewer(self.HOME)
            await viewer.break_off()
        denied = Viewer(house.app, self.HOME)
        answer = await denied.knock()
        assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 429)
        assert json.loads((await denied.hear_raw())["body"])["error"]["code"] == "too_often"
        await (await house.viewer(self.OTHER)).hello()

    async def test_who_waits_for_a_place_of_the_own_address_lets_others_by(self, house: House) -> None:
        """One address has all it may have: its next viewer waits aside, and is let in when one of its own leaves."""
        house.sessions.places_each[self.HOME] = 1
        first, second, stranger = [await house.viewer(address) for address in (self.HOME, self.HOME, self.OTHER)]
        await first.hello()
        second.tell("hello")
        assert (await second.hear("error"))["code"] == "too_many"
        second.tell("hello", wait=True)
        assert (await second.hear("waiting"))["place"] == 1
        await stranger.hello()
        first.tell("bye")
        await second.hear("welcome")

    async def test_in_the_line_others_go_by_whom_their_address_holds_up(self, house: House) -> None:
        """The place that is free is not for the first: it goes to who is behind, from elsewhere."""
        house.sessions.capacity, house.sessions.places_each[self.HOME] = 2, 1
        first, inside = await house.viewer(self.HOME), await house.viewer(self.OTHER)
        await first.hello()
        await inside.hello()
        second, behind = await house.viewer(self.HOME), await house.viewer("198.51.100.10")
        for viewer in (second, behind):
            viewer.tell("hello", wait=True)
            await viewer.hear("waiting")
        inside.tell("bye")
        await behind.hear("welcome")
        assert len(house.socket.line) == 1

    async def test_an_address_does_not_fill_the_line(self, house: House) -> None:
        """Half of it is for others."""
        house.sessions.capacity = 0
        for _ in range(LINE_BOUND_EACH):
            viewer = await house.viewer(self.HOME)
            viewer.tell("hello", wait=True)
            await viewer.hear("waiting")
        one_more, other = await house.viewer(self.HOME), await house.viewer(self.OTHER)
        one_more.tell("hello", wait=True)
        assert (await one_more.hear("error"))["code"] == "at_capacity"
        other.tell("hello", wait=True)
        await other.hear("waiting")
