"""WebSocketTransport: pictures as JPEG and sound as PCM, one binary message per picture (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from pipeline.channel import Channel
from pipeline.compositing import pixels_of
from pipeline.transports.encoders import encode_jpeg, pcm16
from pipeline.transports.loops import LoopCache, LoopCoding
from pipeline.transports.stats import QUEUE_PICTURES, TransportStats
from pipeline.types import PICTURE_MS, LoopPosition, MediaFrame, Picture

__all__ = ["MEDIA_HEADER", "MEDIA_KIND", "PICTURE_FLAG", "SPEAKING_FLAG", "WebSocketTransport"]

logger = logging.getLogger(__name__)

MEDIA_HEADER = struct.Struct("<BBHIq")
"""kind, flags, sequence number, bytes of audio, pts in microseconds; then the audio, then the JPEG."""
MEDIA_KIND = 1
SPEAKING_FLAG = 1
PICTURE_FLAG = 2
_AUDIO_QUEUE_FRAMES = 50  # 2 s of sound is kept for a socket that is stuck; then the oldest is dropped


@dataclass(slots=True)
class _Waiting:
    """A frame that has not been sent yet. Its picture may be dropped."""

    frame: MediaFrame
    picture: Picture | None


class WebSocketTransport:
    """Sends frames over a socket that it does not own.

    send: writes one binary message, and returns when the socket can take more (back-pressure). If it raises, the socket
    is gone, and the transport closes. executor: encodes live pictures. `closed` is set once no more frames are taken.
    """

    name = "websocket"

    def __init__(
        self,
        send: Callable[[bytes], Awaitable[None]],
        loops: LoopCache,
        executor: Executor,
        jpeg_quality: int = 75,
    ) -> None:
        self._send = send
        self._loops = loops
        self._executor = executor
        self._coding = LoopCoding("JPEG", jpeg_quality)
        self._waiting: Channel[_Waiting] = Channel(_AUDIO_QUEUE_FRAMES)
        self._writer: asyncio.Task[None] | None = None
        self._sequence = 0
        self._counts = TransportStats()
        self.closed = asyncio.Event()

    def send(self, frame: MediaFrame) -> None:
        """Queue one frame. Ignored after aclose()."""
        if self.closed.is_set():
            return
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="websocket transport")
        self._counts.audio_dropped += len(self._waiting.push(_Waiting(frame, frame.picture)))
        self._drop_old_pictures()

    def flush(self) -> None:
        """Drop the waiting frames. The one being written goes out whole."""
        self._waiting.clear()

    async def aclose(self) -> None:
        """Stop sending. The socket itself stays open. Idempotent."""
        self.closed.set()
        self._waiting.clear()
        if self._writer is not None and self._writer is not asyncio.current_task():
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)

    def stats(self) -> TransportStats:
        return replace(self._counts, connected=not self.closed.is_set())

    def _drop_old_pictures(self) -> None:
        # The oldest pictures are dropped, to show the newest ones, and sound must not wait for pictures.
        with_picture = [waiting for waiting in self._waiting.waiting() if waiting.picture is not None]
        for waiting in with_picture[: max(0, len(with_picture) - QUEUE_PICTURES)]:
            waiting.picture = None
            self._counts.pictures_dropped += 1

    async def _write(self) -> None:
        async for waiting in self._waiting:
            jpeg = await self._encode(waiting.picture) if waiting.picture is not None else b""
            message = self._message(waiting.frame, jpeg)
            try:
                await self._send(message)
            except Exception as error:  # noqa: BLE001 - whatever the socket's library raises, the socket is gone
                logger.info("The media socket is gone: %r", error)
                await self.aclose()
                return
            self._counts.frames_sent += 1
            self._counts.pictures_sent += bool(jpeg)
            self._counts.bytes_sent += len(message)

    def _message(self, frame: MediaFrame, jpeg: bytes) -> bytes:
        audio = pcm16(frame.audio) if frame.audio.any() else b""
        flags = SPEAKING_FLAG * frame.speaking | PICTURE_FLAG * bool(jpeg)
        header = MEDIA_HEADER.pack(MEDIA_KIND, flags, self._sequence, len(audio), frame.number * PICTURE_MS * 1000)
        self._sequence = (self._sequence + 1) & 0xFFFF
        return b"".join((header, audio, jpeg))

    async def _encode(self, picture: Picture) -> bytes:
        """Return the picture as JPEG, or b"" without one."""
        if isinstance(picture, LoopPosition):
            pictures = picture.pictures
            loop = self._loops.get(pictures, self._coding)
            # Until the loop is encoded, the bundle's own JPEGs are used: larger than necessary, but ready.
            ready = loop.pictures[picture.index] if loop else pictures.jpeg(pictures.frame_index(picture.index))
            if ready is not None:
                self._counts.pictures_replayed += 1
                return ready
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._live, picture)

    def _live(self, picture: Picture) -> bytes:
        """Encode a picture, on an executor thread."""
        return encode_jpeg(pixels_of(picture), self._coding.quality)
