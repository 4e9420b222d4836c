"""PictureEncoder: one viewer's pictures as one stream that a decoder can follow, replayed or live."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, Future

from pipeline.compositing import pixels_of
from pipeline.transports.bitrate import BitrateLimit
from pipeline.transports.encoders import VideoEncoder
from pipeline.transports.loops import LoopCache, LoopCoding, LoopReplay
from pipeline.types import LoopPosition, Picture

__all__ = ["PictureEncoder"]


class PictureEncoder:
    """Gives each picture from the avatar's encoded loop where the decoder can follow that, else encodes it.

    The two join at key frames: the loop is entered at one of its own, and the first live picture after it is one.
    `replayed` and `key_frames` count; `limit` says what live pictures may use. One call of encode() at a time.
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

    def want_key_frame(self) -> None:
        """The viewer lost something: the next picture is a live key frame, unless the loop has one just there."""
        self._replay.leave()
        self._key_wanted = True

    async def encode(self, picture: Picture) -> bytes:
        """Raises BundleError, av.FFmpegError; the decoder then needs a key frame (want_key_frame())."""
        data = self._from_loop(picture)
        if data is None:
            key, self._key_wanted = self._key_wanted, False
            self.key_frames += key
            self._encoding = self._executor.submit(self._live, picture, key)
            data = await asyncio.wrap_future(self._encoding)
        self._limit.on_picture(len(data))
        return data

    def close(self) -> None:
        """Give the encoder's memory back: now, or when the picture that a thread is encoding is done. Idempotent."""
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
            self._key_wanted = True  # of the live encoder, which knows nothing of what is shown now
        return data

    def _live(self, picture: Picture, key: bool) -> bytes:
        """On an executor thread."""
        self._encoder.limit_bps = self._limit.bps
        return self._encoder.encode(pixels_of(picture), key)
