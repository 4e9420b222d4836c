"""WebSocketTransport: the wire format, the loop while idle, back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from transport_viewer import GatedExecutor, idle_frame, speaking_frame

from avatars.bundle import AvatarBundle, decode_jpeg
from pipeline.transports.loops import LoopCache, LoopCoding
from pipeline.transports.stats import QUEUE_PICTURES
from pipeline.transports.websocket import MEDIA_HEADER, PICTURE_FLAG, SPEAKING_FLAG, WebSocketTransport
from pipeline.types import SAMPLES_PER_PICTURE

HEADER_BYTES = 16


class Socket:
    """A socket whose peer reads only while it is not stalled."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.arrived = asyncio.Event()
        self.broken = False

    async def send(self, message: bytes) -> None:
        if self.broken:
            raise ConnectionResetError
        await self.flowing.wait()
        self.messages.append(message)
        self.arrived.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.messages) < count:
                self.arrived.clear()
                await self.arrived.wait()


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
async def loops() -> AsyncIterator[LoopCache]:
    loops = LoopCache(GatedExecutor())
    yield loops
    await loops.aclose()


@pytest.fixture
async def transport(socket: Socket, loops: LoopCache) -> AsyncIterator[WebSocketTransport]:
    transport = WebSocketTransport(socket.send, loops, GatedExecutor())
    yield transport
    await transport.aclose()


def parts(message: bytes) -> tuple[int, int, int, bytes, int, bytes]:
    """kind, flags, sequence number, audio, pts in microseconds, JPEG."""
    kind, flags, sequence, audio_bytes, pts_us = MEDIA_HEADER.unpack_from(message)
    audio = message[HEADER_BYTES : HEADER_BYTES + audio_bytes]
    return kind, flags, sequence, audio, pts_us, message[HEADER_BYTES + audio_bytes :]


async def test_a_speaking_frame_is_one_message(
    transport: WebSocketTransport, socket: Socket, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Header, 1920 samples of 16-bit PCM, JPEG, as docs/protocol.md says."""
    frame = speaking_frame(3, make_bundle())
    transport.send(frame)
    await socket.until(1)
    kind, flags, sequence, audio, pts_us, jpeg = parts(socket.messages[0])
    assert (kind, flags, sequence, pts_us) == (1, SPEAKING_FLAG | PICTURE_FLAG, 0, 120_000)
    samples = np.frombuffer(audio, "<i2")
    assert samples.shape == (SAMPLES_PER_PICTURE,)
    assert np.abs(samples / 32767 - frame.audio).max() < 1e-4
    assert isinstance(frame.picture, np.ndarray)
    assert np.abs(decode_jpeg(jpeg).astype(int) - frame.picture).mean() < 12


async def test_silence_is_not_sent_as_samples(
    transport: WebSocketTransport, socket: Socket, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """0 bytes of audio mean 40 ms of silence."""
    transport.send(idle_frame(0, make_bundle()))
    await socket.until(1)
    _, flags, _, audio, _, jpeg = parts(socket.messages[0])
    assert (flags, audio) == (PICTURE_FLAG, b"")
    assert decode_jpeg(jpeg).shape == (128, 96, 3)


async def test_idle_pictures_come_from_the_cache_once_it_is_there(
    socket: Socket, loops: LoopCache, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Until the loop is encoded the bundle's own JPEGs serve; no idle picture is ever encoded for one viewer."""
    encoder = GatedExecutor()
    encoder.close_gate()
    transport = WebSocketTransport(socket.send, loops, encoder)
    bundle = make_bundle()
    transport.send(idle_frame(1, bundle))
    await socket.until(1)
    assert parts(socket.messages[0])[5] == bundle.jpeg(1)
    loop = await loops.wait(bundle, LoopCoding("JPEG", 75))
    assert loop is not None
    transport.send(idle_frame(2, bundle))
    await socket.until(2)
    assert parts(socket.messages[1])[5] == loop.pictures[2]
    assert transport.stats().pictures_replayed == 2
    assert encoder.held == 0
    await transport.aclose()


async def test_a_stalled_socket_costs_pictures_not_sound(
    transport: WebSocketTransport, socket: Socket, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Of one second that a socket stands still, all sound and the newest 200 ms of pictures arrive."""
    bundle = make_bundle()
    socket.flowing.clear()
    for pts in range(25):
        transport.send(speaking_frame(pts, bundle))
        await asyncio.sleep(0)
    socket.flowing.set()
    await socket.until(25)
    received = [parts(message) for message in socket.messages]
    assert [pts_us for *_, pts_us, _ in received] == [pts * 40_000 for pts in range(25)]
    assert [sequence for _, _, sequence, *_ in received] == list(range(25))
    assert all(len(audio) == 2 * SAMPLES_PER_PICTURE for *_, audio, _, _ in received)
    with_picture = [pts for pts, (_, flags, *_) in enumerate(received) if flags & PICTURE_FLAG]
    assert with_picture[-QUEUE_PICTURES:] == list(range(20, 25))
    assert len(with_picture) <= QUEUE_PICTURES + 2  # and those that were on their way when it stalled
    assert transport.stats().pictures_dropped == 25 - len(with_picture)
    assert transport.stats().audio_dropped == 0


async def test_a_dead_socket_does_not_grow_memory(
    transport: WebSocketTransport, socket: Socket, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """After two seconds the oldest sound goes too, and is counted."""
    bundle = make_bundle()
    socket.flowing.clear()
    frame = idle_frame(0, bundle)
    for _ in range(200):
        transport.send(frame)
    assert transport.stats().audio_dropped == 150
    socket.flowing.set()
    await socket.until(50)


async def test_a_socket_that_breaks_closes_the_transport(
    transport: WebSocketTransport, socket: Socket, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Whatever the socket raises, nothing reaches the session; later frames are ignored."""
    socket.broken = True
    transport.send(idle_frame(0, make_bundle()))
    async with asyncio.timeout(30):
        await transport.closed.wait()
    transport.send(idle_frame(1, make_bundle()))
    assert not transport.stats().connected
    assert socket.messages == []


async def test_the_sequence_number_wraps(
    transport: WebSocketTransport, socket: Socket, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """16 bits last 44 minutes; then it starts at 0 again."""
    frame = idle_frame(0, make_bundle())
    for count in range(1, 65_538, 40):
        for _ in range(40):
            transport.send(frame)
        await socket.until(count + 39)
    assert [parts(message)[2] for message in socket.messages[65_534:65_538]] == [65_534, 65_535, 0, 1]
