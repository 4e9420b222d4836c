"""What every transport in the registry does with frames, however its viewer behaves."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable

import pytest
from transport_viewer import GatedExecutor, Viewer, idle_frame, speaking_frame

from avatars.bundle import AvatarBundle
from pipeline.interfaces import Transport
from pipeline.registry import backend_class, names
from pipeline.transports.loops import LoopCache
from pipeline.transports.memory import MemoryTransport
from pipeline.transports.stats import QUEUE_PICTURES, TransportStats
from pipeline.transports.webrtc import WebRtcTransport
from pipeline.transports.websocket import MEDIA_HEADER, PICTURE_FLAG, WebSocketTransport

pytestmark = pytest.mark.thorough

MakeBundle = Callable[..., AvatarBundle]


class Rig(ABC):
    """A transport with a viewer, whose pictures can be held back."""

    transport: MemoryTransport | WebRtcTransport | WebSocketTransport
    can_stall = True

    def __init__(self) -> None:
        self.executor = GatedExecutor()
        self.loops = LoopCache(GatedExecutor())

    @abstractmethod
    async def open(self) -> None:
        """Connect the viewer."""

    @abstractmethod
    def sound(self) -> list[int]:
        """Return the pts of the frames whose sound arrived."""

    @abstractmethod
    def pictures(self) -> list[int]:
        """Return the pts of the frames whose picture arrived."""

    @abstractmethod
    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what arrives meets the condition."""

    async def aclose(self) -> None:
        await self.transport.aclose()
        await self.loops.aclose()


class MemoryRig(Rig):
    can_stall = False

    def __init__(self) -> None:
        super().__init__()
        self.transport = MemoryTransport()

    async def open(self) -> None:
        """Do nothing: the viewer is connected from the start."""

    def sound(self) -> list[int]:
        assert isinstance(self.transport, MemoryTransport)
        return [frame.number for frame in self.transport.frames]

    pictures = sound

    async def until(self, condition: Callable[[], bool]) -> None:
        assert condition()


class WebSocketRig(Rig):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []
        self.arrived = asyncio.Event()
        self.transport = WebSocketTransport(self.receive, self.loops, self.executor)

    async def open(self) -> None:
        """Do nothing: the viewer is connected from the start."""

    async def receive(self, message: bytes) -> None:
        self.messages.append(message)
        self.arrived.set()

    def sound(self) -> list[int]:
        return [MEDIA_HEADER.unpack_from(message)[4] // 40_000 for message in self.messages]

    def pictures(self) -> list[int]:
        headers = [MEDIA_HEADER.unpack_from(message) for message in self.messages]
        return [header[4] // 40_000 for header in headers if header[1] & PICTURE_FLAG]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.arrived.clear()
                await self.arrived.wait()


class WebRtcRig(Rig):
    def __init__(self) -> None:
        super().__init__()
        self.transport = WebRtcTransport(self.loops, self.executor)
        self.viewer = Viewer()

    async def open(self) -> None:
        assert isinstance(self.transport, WebRtcTransport)
        await self.viewer.connect(self.transport)

    def sound(self) -> list[int]:
        return self.viewer.pts("audio") if self.viewer.sound else []

    def pictures(self) -> list[int]:
        return self.viewer.pts("video") if self.viewer.pictures else []

    async def until(self, condition: Callable[[], bool]) -> None:
        await self.viewer.until(condition)

    async def aclose(self) -> None:
        await super().aclose()
        await self.viewer.aclose()


RIGS: dict[str, type[Rig]] = {"webrtc": WebRtcRig, "websocket": WebSocketRig, "memory": MemoryRig}


@pytest.fixture(params=names("transport"))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    rig = RIGS[request.param]()
    assert isinstance(rig.transport, backend_class("transport", request.param))
    await rig.open()
    yield rig
    await rig.aclose()


async def test_it_is_a_transport(rig: Rig) -> None:
    """It has the Protocol's methods and its registry name, and its stats have the common form."""
    assert isinstance(rig.transport, Transport)
    assert RIGS[rig.transport.name] is type(rig)
    assert rig.transport.stats() == TransportStats(connected=True)


async def test_frames_arrive_in_order_and_whole(rig: Rig, make_bundle: MakeBundle) -> None:
    """Idle, speaking and idle again: every picture and all sound arrive in order."""
    bundle = make_bundle()
    for pts in range(30):
        rig.transport.send((speaking_frame if 10 <= pts < 20 else idle_frame)(pts, bundle))
        await rig.until(lambda count=pts + 1: len(rig.sound()) == len(rig.pictures()) == count)  # type: ignore[misc]
    assert rig.sound() == rig.pictures() == list(range(30))
    stats = rig.transport.stats()
    assert (stats.frames_sent, stats.pictures_sent, stats.pictures_dropped, stats.audio_dropped) == (30, 30, 0, 0)


async def test_what_waits_is_bounded_and_no_sound_is_lost(rig: Rig, make_bundle: MakeBundle) -> None:
    """While pictures are held back for a second, send() returns at once. Then all sound arrives, and the newest 200 ms
    of pictures; dropped pictures are counted.
    """
    bundle = make_bundle()
    if rig.can_stall:
        rig.executor.close_gate()
    for pts in range(25):
        rig.transport.send(speaking_frame(pts, bundle))
        await asyncio.sleep(0)
    rig.executor.open_gate()
    await rig.until(lambda: len(rig.sound()) == 25 and bool(rig.pictures()) and rig.pictures()[-1] == 24)
    assert rig.sound() == list(range(25))
    assert rig.pictures()[-QUEUE_PICTURES:] == list(range(20, 25))
    assert rig.transport.stats().pictures_dropped == 25 - len(rig.pictures())
    if rig.can_stall:
        assert len(rig.pictures()) <= QUEUE_PICTURES + 1


async def test_flush_forgets_what_waits(rig: Rig, make_bundle: MakeBundle) -> None:
    """After an interrupt, only the one picture on its way still arrives; later frames arrive as usual."""
    bundle = make_bundle()
    if rig.can_stall:
        rig.executor.close_gate()
    for pts in range(5):
        rig.transport.send(speaking_frame(pts, bundle))
        await asyncio.sleep(0)
    before = rig.pictures()
    rig.transport.flush()
    rig.executor.open_gate()
    rig.transport.send(speaking_frame(5, bundle))
    await rig.until(lambda: bool(rig.pictures()) and rig.pictures()[-1] == 5)
    assert len(rig.pictures()) <= len(before) + 2


async def test_closing_twice_is_fine_and_later_frames_are_ignored(rig: Rig, make_bundle: MakeBundle) -> None:
    """The playout may send one more frame before it learns of the closing."""
    bundle = make_bundle()
    rig.transport.send(idle_frame(0, bundle))
    await rig.until(lambda: len(rig.sound()) == 1)
    await rig.transport.aclose()
    await rig.transport.aclose()
    rig.transport.send(idle_frame(1, bundle))
    rig.transport.flush()
    assert rig.sound() == [0]
    assert not rig.transport.stats().connected
