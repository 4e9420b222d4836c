"""FrameCoding: the frames of a session as packets for WebRTC, encoded once for any number of viewers."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from pipeline.transports.bitrate import BitrateLimit
from pipeline.transports.encoders import OpusEncoder, video_encoder
from pipeline.transports.loops import LoopCache
from pipeline.transports.pictures import PictureEncoder
from pipeline.transports.stats import QUEUE_PICTURES
from pipeline.types import FPS, MediaFrame

__all__ = ["SHARED_KEY_GAP", "EncodedPictures", "FrameCoding"]

SHARED_KEY_GAP = FPS // 2
"""Least number of pictures between requested key frames if viewers share a stream, so that nobody can inflate it."""
_KEPT = QUEUE_PICTURES + 3  # encoded pictures kept for viewers who lag behind the fastest


class FrameCoding:
    """key_gap: see SHARED_KEY_GAP; 0 for a single viewer.

    bitrate_bps: bit rate of live pictures; None: one that fits their size.
    """

    def __init__(
        self, loops: LoopCache, executor: Executor, bitrate_bps: int | None = None, *, key_gap: int = 0
    ) -> None:
        self._loops = loops
        self._executor = executor
        self._bitrate_bps = bitrate_bps
        self._key_gap = key_gap
        self._opus: OpusEncoder | None = OpusEncoder()
        self._sound = b""
        self._sound_number = -1
        self._streams: dict[str, EncodedPictures] = {}

    def sound(self, frame: MediaFrame) -> bytes:
        """Return the frame's sound as one Opus packet. Call it in order of the frames. Empty after close()."""
        if self._opus is None:
            return b""
        if frame.number != self._sound_number:
            self._sound, self._sound_number = self._opus.encode(frame.audio), frame.number
        return self._sound

    def pictures(self, codec: str) -> EncodedPictures:
        """Return the stream of pictures in H264 or VP8. All viewers with that codec share it."""
        if codec not in self._streams:
            limit = BitrateLimit()
            live = video_encoder(codec, self._bitrate_bps)
            encoder = PictureEncoder(self._loops, self._executor, live, limit)
            self._streams[codec] = EncodedPictures(encoder, limit, self._key_gap)
        return self._streams[codec]

    def close(self) -> None:
        """Release the encoders' memory. Idempotent."""
        self._opus = None  # PyAV's threads end with the last reference
        for stream in self._streams.values():
            stream.close()


class EncodedPictures:
    """Pictures in one codec. Each is encoded when the first viewer asks for it.

    limit: follows the connection of a single viewer. With several viewers nobody sets it, because one slow connection
    would make the pictures worse for all.
    """

    def __init__(self, encoder: PictureEncoder, limit: BitrateLimit, key_gap: int) -> None:
        self.encoder = encoder
        self.limit = limit
        self._key_gap = key_gap
        self._key_wanted = False
        self._keyed_at = -key_gap
        self._newest = -1
        self._encoded: dict[int, asyncio.Task[bytes]] = {}  # the newest pictures, by frame number
        self._one = asyncio.Lock()

    def want_key_frame(self) -> None:
        """Make one of the next pictures a key frame: a viewer joined, or lost something."""
        self._key_wanted = True

    async def encode(self, frame: MediaFrame) -> bytes | None:
        """Return the encoded picture of a frame; None if other viewers are so far ahead that it is gone.

        It is empty if the frame shows the same picture as the one before.

        Raises BundleError, av.FFmpegError. After an error or None, this viewer's decoder needs a key frame
        (want_key_frame()).
        """
        if frame.number > self._newest:
            self._begin(frame)
        task = self._encoded.get(frame.number)
        return None if task is None else await asyncio.shield(task)

    def close(self) -> None:
        """Stop encoding, and release the memory. Idempotent."""
        for task in self._encoded.values():
            task.cancel()
        self._encoded.clear()
        self.encoder.close()

    def _begin(self, frame: MediaFrame) -> None:
        if self._key_wanted and frame.number - self._keyed_at >= self._key_gap:
            self._key_wanted, self._keyed_at = False, frame.number
            self.encoder.want_key_frame()
        self._newest = frame.number
        task = asyncio.create_task(self._encode(frame), name="encoding a picture")
        task.add_done_callback(_note_failure)
        self._encoded[frame.number] = task
        while len(self._encoded) > _KEPT:
            del self._encoded[next(iter(self._encoded))]

    async def _encode(self, frame: MediaFrame) -> bytes:
        async with self._one:  # keeps the order of the frames
            return await self.encoder.encode(frame.picture)


def _note_failure(task: asyncio.Task[bytes]) -> None:
    """Read the error.

    The waiting viewers get it, but there may be none, and then asyncio would log it as never read.
    """
    if not task.cancelled():
        task.exception()
