"""PictureEncoder: one viewer's pictures as one stream that a decoder can follow, replayed or encoded live."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, Future

import numpy as np

from pipeline.compositing import pixels_of
from pipeline.transports.bitrate import BitrateLimit
from pipeline.transports.encoders import VideoEncoder
from pipeline.transports.loops import LoopCache, LoopCoding, LoopReplay
from pipeline.types import LoopPosition, Picture

__all__ = ["PictureEncoder"]


class PictureEncoder:
    """Takes each picture from the avatar's encoded loop if the decoder can follow, and otherwise encodes it.

    Both join at key frames: a loop is entered at one of its key frames, and the first live picture after it is one.
    `replayed` and `key_frames` are counts. `limit` sets the bit rate of live pictures. One call of encode() at a time.
    """

    def __init__(self, loops: LoopCache, executor: Executor, encoder: VideoEncoder, limit: BitrateLimit) -> None:
        self.replayed = 0
        self.key_frames = 0
        self._loops = loops
        self._executor = executor
        self._encoder = encoder
        self._limit = limit
        self._coding = LoopCoding.of(encoder.codec)
        self._replay = LoopReplay()
        self._key_wanted = True
        self._encoding: Future[bytes] | None = None
        self._shown: Picture | None = None  # the drawn picture that was encoded last, if the decoder shows it now

    def want_key_frame(self) -> None:
        """Note that the viewer lost something: make the next picture a key frame, live or from the loop."""
        self._replay.leave()
        self._key_wanted = True

    async def encode(self, picture: Picture) -> bytes:
        """Return the encoded picture; nothing (b"") for the same array again, because the decoder shows it already.

        Raises BundleError, av.FFmpegError; then the decoder needs want_key_frame().
        """
        data = self._from_loop(picture)
        if data is None:
            data = await self._drawn(picture)
        self._limit.on_picture(len(data))
        return data

    def close(self) -> None:
        """Release the encoder's memory, at once or when the picture being encoded is done. Idempotent."""
        if self._encoding is None:
            self._encoder.close()
        else:
            self._encoding.add_done_callback(lambda _encoded: self._encoder.close())

    def _from_loop(self, picture: Picture) -> bytes | None:
        if not isinstance(picture, LoopPosition):
            self._replay.leave()
            return None
        loop = self._loops.get(picture.pictures, self._coding)
        data = self._replay.picture(loop, picture.index)
        if data is not None and loop is not None:
            self.replayed += 1
            self.key_frames += picture.index in loop.keys
            self._shown = None
            self._key_wanted = True  # the live encoder does not know what is shown now, so it must start anew
        return data

    async def _drawn(self, picture: Picture) -> bytes:
        if picture is self._shown and not self._key_wanted:
            return b""
        key, self._key_wanted, self._shown = self._key_wanted, False, None
        self.key_frames += key
        self._encoding = self._executor.submit(self._live, picture, key)
        data = await asyncio.wrap_future(self._encoding)
        if data and isinstance(picture, np.ndarray):  # an encoder may leave a picture out to keep its bit rate
            self._shown = picture
        return data

    def _live(self, picture: Picture, key: bool) -> bytes:
        """Encode a picture, on an executor thread."""
        self._encoder.limit_bps = self._limit.bps
        return self._encoder.encode(pixels_of(picture), key)
