"""LoopCache: avatars' idle loops, each encoded once for all viewers. LoopReplay: one viewer's position in a loop.

A replayed picture costs a packet or two, and no work on pixels. A decoder can enter a video loop only at its key
frames. Elsewhere, and while a loop is not encoded yet, a transport encodes live; it never waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from avatars.errors import AvatarError
from pipeline.transports.encoders import H264Encoder, VideoEncoder, Vp8Encoder, default_bitrate_bps, encode_jpeg
from pipeline.types import AvatarFiles, LoopPictures

__all__ = ["KEY_PICTURES", "EncodedLoop", "LoopCache", "LoopCoding", "LoopReplay"]

logger = logging.getLogger(__name__)

KEY_PICTURES = 25
"""Pictures between key frames of a loop. At 12, a 512x512 loop takes a third more packets. At 25, a viewer who returns
from speech is encoded live for at most one second longer."""
_PIECE_PICTURES = 4  # about 20 ms of an executor thread at 512x512; then other work gets its turn
_PEAK_FACTOR = 2  # highest bit rate of a loop, as a multiple of the rate of live pictures


@dataclass(frozen=True, slots=True)
class LoopCoding:
    """How a loop is encoded."""

    codec: str
    "H264, VP8 or JPEG"
    quality: int
    "CRF of H264 and VP8 (lower is better), JPEG quality (higher is better)"

    @classmethod
    def of(cls, codec: str) -> LoopCoding:
        """Return the usual quality for H264 or VP8: 38 dB on a slightly noisy photograph, the same as live pictures."""
        return cls(codec, {"H264": 25, "VP8": 16}[codec])


@dataclass(frozen=True, eq=False, slots=True)
class EncodedLoop:
    """One pass through a loop."""

    pictures: tuple[bytes, ...]
    "encoded pictures by loop index"
    keys: frozenset[int]
    "loop indices at which a decoder may start"
    size_bytes: int


_Key: TypeAlias = tuple[AvatarFiles, LoopCoding]


class LoopReplay:
    """Decides whether a viewer's decoder can be fed from a loop. Holds no pixels and no clock."""

    def __init__(self) -> None:
        self._loop: EncodedLoop | None = None
        self._next = 0

    def picture(self, loop: EncodedLoop | None, index: int) -> bytes | None:
        """Return the encoded picture at that loop index if the decoder can follow, else None.

        It can at a key frame, or right after the picture given last. Otherwise the replay ends, and the caller encodes
        live.
        """
        if loop is None or not (index in loop.keys or (loop is self._loop and index == self._next)):
            self.leave()
            return None
        self._loop, self._next = loop, (index + 1) % len(loop.pictures)
        return loop.pictures[index]

    def leave(self) -> None:
        """End the replay, because something else is shown. The loop can be entered again at a key frame."""
        self._loop = None


class LoopCache:
    """The encoded loops of the avatars in use, shared by all sessions. The least recently used is dropped first.

    An encoded loop keeps nothing else of its avatar, and none of its files open.

    executor: encodes a few pictures at a time, and one loop after another, so that live pictures are not held up.
    bound_bytes: limit for the encoded pictures. A loop that exceeds it by itself is not cached.
    """

    def __init__(self, executor: Executor, bound_bytes: int = 256 * 2**20) -> None:
        self._executor = executor
        self._bound_bytes = bound_bytes
        self._held_bytes = 0
        self._loops: OrderedDict[_Key, EncodedLoop | None] = OrderedDict()
        self._encodings: dict[_Key, asyncio.Task[EncodedLoop | None]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._closed = False

    @property
    def held_bytes(self) -> int:
        """Bytes of encoded pictures in the cache."""
        return self._held_bytes

    @property
    def avatars(self) -> set[Path]:
        """Folders of the avatars in the cache; some may have been deleted since."""
        return {files.path for files, _coding in (*self._loops, *self._encodings)}

    def get(self, bundle: LoopPictures, coding: LoopCoding) -> EncodedLoop | None:
        """Return the loop if it is encoded. If not, return None, and start encoding it for later callers.

        Nothing is cached for an avatar that was deleted while it is shown.
        """
        key = (bundle.files, coding)
        if key in self._loops:
            self._loops.move_to_end(key)
            return self._loops[key]
        if not self._closed and key not in self._encodings and bundle.files.path.exists():
            encoding = self._encode(bundle, coding)
            self._encodings[key] = asyncio.create_task(encoding, name=f"loop {bundle.id} {coding.codec}")
        return None

    async def wait(self, bundle: LoopPictures, coding: LoopCoding) -> EncodedLoop | None:
        """Return the loop once it is encoded, for warming up. None if that fails: damaged frames, or over the bound."""
        loop = self.get(bundle, coding)
        task = self._encodings.get((bundle.files, coding))
        # Shielded, so that one caller's cancellation does not stop the encoding for the others.
        return await asyncio.shield(task) if task is not None else loop

    def forget(self, avatar: Path) -> None:
        """Drop everything of a deleted avatar. avatar: the folder it was in."""
        for key in [key for key in self._loops if key[0].path == avatar]:
            self._drop(key)
        for key in [key for key in self._encodings if key[0].path == avatar]:
            self._encodings.pop(key).cancel()

    async def aclose(self) -> None:
        """Stop encoding, and empty the cache. Idempotent."""
        self._closed = True
        tasks = list(self._encodings.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._encodings.clear()
        self._loops.clear()
        self._held_bytes = 0

    async def _encode(self, bundle: LoopPictures, coding: LoopCoding) -> EncodedLoop | None:
        key = (bundle.files, coding)
        try:
            async with self._one_at_a_time:
                loop = await self._in_pieces(bundle, coding)
        except AvatarError as error:
            logger.warning("The idle loop of %s cannot be encoded: %s", bundle.id, error)
            loop = None
        finally:
            if self._encodings.get(key) is asyncio.current_task():
                del self._encodings[key]
        self._keep(key, loop)
        return loop

    async def _in_pieces(self, bundle: LoopPictures, coding: LoopCoding) -> EncodedLoop | None:
        event_loop = asyncio.get_running_loop()
        pieces = _encode_pieces(bundle, coding)
        pictures: list[bytes] = []
        size_bytes = 0
        while piece := await event_loop.run_in_executor(self._executor, next, pieces, None):
            pictures += piece
            # Counted by identity: a JPEG shown at several places of the loop is kept once.
            size_bytes = sum(map(len, {id(picture): picture for picture in pictures}.values()))
            if size_bytes > self._bound_bytes:
                logger.warning("The idle loop of %s is larger than the cache and stays uncached.", bundle.id)
                return None
        every = 1 if coding.codec == "JPEG" else KEY_PICTURES
        return EncodedLoop(tuple(pictures), frozenset(range(0, len(pictures), every)), size_bytes)

    def _keep(self, key: _Key, loop: EncodedLoop | None) -> None:
        # A failure is kept as None, so that it is not retried 25 times a second.
        self._loops[key] = loop
        self._held_bytes += loop.size_bytes if loop else 0
        while self._held_bytes > self._bound_bytes:
            self._drop(next(iter(self._loops)))

    def _drop(self, key: _Key) -> None:
        loop = self._loops.pop(key)
        self._held_bytes -= loop.size_bytes if loop else 0


def _encode_pieces(bundle: LoopPictures, coding: LoopCoding) -> Iterator[list[bytes]]:
    """Yield the pictures of a loop in order, a few at a time.

    Raises BundleError.
    """
    indices = range(len(bundle.loop))
    if coding.codec == "JPEG":
        made: dict[int, bytes] = {}
        for start in indices[::_PIECE_PICTURES]:
            frames = [bundle.frame_index(index) for index in indices[start : start + _PIECE_PICTURES]]
            for frame in frames:
                if frame not in made:
                    made[frame] = encode_jpeg(bundle.frame(frame), coding.quality)
            yield [made[frame] for frame in frames]
        return
    encoder = _loop_encoder(bundle, coding)
    for start in indices[::_PIECE_PICTURES]:
        yield [
            encoder.encode(bundle.frame(bundle.frame_index(index)), key=index % KEY_PICTURES == 0)
            for index in indices[start : start + _PIECE_PICTURES]
        ]


def _loop_encoder(bundle: LoopPictures, coding: LoopCoding) -> VideoEncoder:
    peak_bps = _PEAK_FACTOR * default_bitrate_bps(bundle.width, bundle.height)
    if coding.codec == "H264":
        # Loops are made once, so they get preset veryfast: half the bytes (and packets) of superfast at 1.2 times the
        # CPU.
        return H264Encoder(peak_bps, preset="veryfast", crf=coding.quality)
    return Vp8Encoder(peak_bps, cpu_used=-6, crf=coding.quality)
