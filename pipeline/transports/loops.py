"""LoopCache: an avatar's idle loop, encoded once and replayed to every viewer; LoopReplay: one viewer's place in it.

A replayed picture costs a packet or two and no pixels. A video loop can be entered at its key frames only; anywhere
else, and while a loop is not encoded yet, a transport encodes live and never waits.
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
"""Pictures between key frames of a loop. At 12 a 512x512 loop takes a third more packets; at 25 a viewer who comes back
from speech is encoded live for at most one second longer."""
_PIECE_PICTURES = 4  # about 20 ms of an executor thread at 512x512, then whoever waits for it has its turn
_PEAK_FACTOR = 2  # a loop's bit rate may peak at this many times that of live pictures


@dataclass(frozen=True, slots=True)
class LoopCoding:
    """How a loop is encoded."""

    codec: str
    "H264, VP8 or JPEG"
    quality: int
    "CRF of H264 and VP8 (lower is better), JPEG quality (higher is better)"

    @classmethod
    def of(cls, codec: str) -> LoopCoding:
        """The ordinary quality of H264 or VP8: 38 dB on a slightly noisy photograph, as live pictures have."""
        return cls(codec, {"H264": 25, "VP8": 16}[codec])


@dataclass(frozen=True, eq=False, slots=True)
class EncodedLoop:
    """One round of a loop."""

    pictures: tuple[bytes, ...]
    "encoded pictures by loop index"
    keys: frozenset[int]
    "loop indices at which a decoder may enter"
    size_bytes: int


_Key: TypeAlias = tuple[AvatarFiles, LoopCoding]


class LoopReplay:
    """Decides whether a viewer's decoder can be fed from a loop now. Holds no pixels and no clock."""

    def __init__(self) -> None:
        self._loop: EncodedLoop | None = None
        self._next = 0

    def picture(self, loop: EncodedLoop | None, index: int) -> bytes | None:
        """The encoded picture at that loop index if the decoder can follow it: it is a key frame, or the picture before
        it was given last. Otherwise None, and the replay is left: encode live.
        """
        if loop is None or not (index in loop.keys or (loop is self._loop and index == self._next)):
            self.leave()
            return None
        self._loop, self._next = loop, (index + 1) % len(loop.pictures)
        return loop.pictures[index]

    def leave(self) -> None:
        """Something else is shown next; the loop is entered again at a key frame."""
        self._loop = None


class LoopCache:
    """Encoded loops of the avatars in use, shared by all sessions, the least recently used given up first.

    A loop that is encoded keeps nothing else of its avatar, and none of its files open.

    executor: runs the encoding, a few pictures at a time, one loop after another, so that live pictures get through;
    bound_bytes: of encoded pictures kept. A loop that would not fit by itself is not cached at all.
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
        """Bytes of encoded pictures kept now."""
        return self._held_bytes

    @property
    def avatars(self) -> set[Path]:
        """Where the avatars are of which something is kept, or were."""
        return {files.path for files, _coding in (*self._loops, *self._encodings)}

    def get(self, bundle: LoopPictures, coding: LoopCoding) -> EncodedLoop | None:
        """The loop if it is there. If not, None, and its encoding is started for later askers.

        Nothing is kept of an avatar that was deleted while it is shown.
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
        """The loop once it is encoded (warming up). None if it cannot be: damaged frames, larger than the bound."""
        loop = self.get(bundle, coding)
        task = self._encodings.get((bundle.files, coding))
        # Shielded: one asker that gives up does not take the encoding from the others.
        return await asyncio.shield(task) if task is not None else loop

    def forget(self, avatar: Path) -> None:
        """Give up everything of an avatar that was deleted. avatar: where it was."""
        for key in [key for key in self._loops if key[0].path == avatar]:
            self._drop(key)
        for key in [key for key in self._encodings if key[0].path == avatar]:
            self._encodings.pop(key).cancel()

    async def aclose(self) -> None:
        """Stop encoding and forget everything. Idempotent."""
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
        # None is kept too, so that a loop that cannot be had is not tried again 25 times a second.
        self._loops[key] = loop
        self._held_bytes += loop.size_bytes if loop else 0
        while self._held_bytes > self._bound_bytes:
            self._drop(next(iter(self._loops)))

    def _drop(self, key: _Key) -> None:
        loop = self._loops.pop(key)
        self._held_bytes -= loop.size_bytes if loop else 0


def _encode_pieces(bundle: LoopPictures, coding: LoopCoding) -> Iterator[list[bytes]]:
    """The pictures of a loop in order, a few at a time.

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
        # For what is made once, preset veryfast: half the bytes (and packets) of superfast at 1.2 times the CPU.
        return H264Encoder(peak_bps, preset="veryfast", crf=coding.quality)
    return Vp8Encoder(peak_bps, cpu_used=-6, crf=coding.quality)
