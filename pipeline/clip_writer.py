"""ClipWriter: writes MediaFrames to an MP4, or to a clip with alpha, for the Studio and for recordings of sessions."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import av
from av.error import FFmpegError

from avatars.colour import bt709_frame, tag_bt709
from pipeline.clip_alpha import PersonCutter
from pipeline.clip_label import ClipLabel
from pipeline.clip_marks import clip_marks, with_frame_mark
from pipeline.coded_frames import LIVE_AAC, CodedFrames, Coding, fitted
from pipeline.compositing import pixels_of
from pipeline.errors import RenderError
from pipeline.transports.encoders import i420, tag_bt601
from pipeline.types import ImageArray, MediaFrame

__all__ = ["MADE", "RECORDED", "ClipCoding", "ClipWriter", "alpha_coding"]

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ClipCoding:
    """How pictures are encoded, and how the file is laid out."""

    pictures: Coding
    movflags: str = ""
    container: str = "mp4"


# Without use_metadata_tags, FFmpeg drops metadata keys that iTunes does not know.
MADE: Final = ClipCoding(
    Coding(bt709_frame, tag_bt709, {"crf": "18", "preset": "veryfast"}), movflags="+faststart+use_metadata_tags"
)
"""For clips that are made once and looked at closely. The index comes first, so a clip plays while it downloads."""
RECORDED: Final = ClipCoding(
    Coding(
        i420,
        tag_bt601,
        {
            "crf": "23",
            "preset": "ultrafast",
            "x264-params": "cabac=1:deblock=0,0",
            "threads": "1",
            "maxrate": "2M",
            "bufsize": "4M",
        },
        sound_encoder=LIVE_AAC,
    ),
    movflags="+hybrid_fragmented+delay_moov+use_metadata_tags",
)
"""For recordings written during a live session.

For a filmed person, ultrafast with these two tools takes 1.8 ms of CPU per picture of 512x384, and 384 kbit/s at
44.0 dB; superfast took 2.9 ms, and 531 kbit/s at 44.4 dB. If the server dies, what was written so far can be played. An
hour takes 1 GB at most, even for an avatar that is all noise. Without delay_moov a fragmented file cannot make up for
the delays of both encoders: pictures lagged by two, and sound by 21 ms.
"""


_WITH_ALPHA: Final = {
    ".webm": ClipCoding(
        Coding(
            partial(bt709_frame, pixel_format="yuva420p"),
            tag_bt709,
            {"crf": "20", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1", "auto-alt-ref": "0"},
            codec="libvpx-vp9",
            pixel_format="yuva420p",
            sound="libopus",
        ),
        container="webm",
    ),
    ".mov": ClipCoding(
        Coding(
            partial(bt709_frame, pixel_format="yuva444p10le"),
            tag_bt709,
            {"profile": "4444", "vendor": "apl0"},
            codec="prores_ks",
            pixel_format="yuva444p10le",
            sound="pcm_s16le",
        ),
        movflags="+faststart+use_metadata_tags",
        container="mov",
    ),
}
"""VP9 for web pages and OBS, ProRes 4444 for video editors."""


def alpha_coding(output: Path) -> ClipCoding | None:
    """Return how a file of that name is encoded with alpha: .webm is VP9, .mov is ProRes 4444. None: without alpha."""
    return _WITH_ALPHA.get(output.suffix.lower())


class ClipWriter:
    """Writes MediaFrames into a clip: an MP4 (H.264 + AAC) unless `coding` says otherwise.

    The file appears complete on finish(), or not at all. The clip begins with the first frame written, whatever its
    number.
    """

    def __init__(
        self,
        output: Path,
        width: int,
        height: int,
        *,
        label: ClipLabel | None = None,
        title: str = "",
        coding: ClipCoding = MADE,
        cutter: PersonCutter | None = None,
        frame_mark: bool = False,
        clip_id: str = "",
    ) -> None:
        """width, height: size of the pictures, even. label: drawn into them. title: written to the metadata.

        clip_id: unique id in the metadata; by default the file's name. cutter: gives pictures alpha, if `coding` has
        it. frame_mark: see with_frame_mark(). Raises RenderError.
        """
        self._output = output
        self._size = (width, height)
        self._label = label
        self._cutter = cutter
        self._frame_mark = frame_mark
        self._staging = output.with_name(f".{secrets.token_hex(8)}.{coding.container}")
        with _write_errors_explained():
            output.parent.mkdir(parents=True, exist_ok=True)
            options = {"movflags": coding.movflags} if coding.movflags else {}
            self._file = av.open(f"file:{self._staging}", "w", format=coding.container, options=options)
            self._file.metadata.update(clip_marks(clip_id or output.stem, title))
        self._coded = CodedFrames(self._file, width, height, coding.pictures)
        self.frames = 0
        "Number of frames written so far."

    async def send(self, frame: MediaFrame, *, picture: bool = True) -> None:
        """Encode one frame. Without its picture, the previous one stays. Raises RenderError (disk full)."""
        with _write_errors_explained():
            await _in_thread(self._write, frame, picture)

    async def aclose(self) -> None:
        """Delete an unfinished file. Idempotent; does nothing after finish()."""
        with suppress(FFmpegError, OSError):  # closing tries to complete the file, for which the disk may be full
            self._file.close()
        self._staging.unlink(missing_ok=True)

    async def finish(self) -> None:
        """Write what the encoders still hold, and move the file into place. Raises RenderError."""
        with _write_errors_explained():
            await _in_thread(self._finish)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _write(self, frame: MediaFrame, picture: bool) -> None:
        self._coded.write(self._pixels(frame) if picture else None, frame.audio, frame.number)
        self.frames += 1

    def _pixels(self, frame: MediaFrame) -> ImageArray:
        pixels = pixels_of(frame.picture)
        if self._cutter is not None:
            pixels = self._cutter.cut(pixels, frame.loop_index)
        if self._label is not None:
            pixels = self._label.draw(pixels, self.frames)
        pixels = fitted(pixels, *self._size)
        return with_frame_mark(pixels) if self._frame_mark else pixels

    def _finish(self) -> None:
        self._coded.finish()
        self._staging.replace(self._output)


@contextmanager
def _write_errors_explained() -> Iterator[None]:
    try:
        yield
    except (FFmpegError, OSError) as error:
        cause = (error.strerror or str(error)).lower()
        raise RenderError(
            f"The clip cannot be written: {cause}.", "Free some disk space and try again.", cause="unwritable"
        ) from error


async def _in_thread(function: Callable[..., R], *arguments: object) -> R:
    """Like asyncio.to_thread(), but even if cancelled it returns only after the thread has finished.

    FFmpeg's files must not be closed while a thread works on them.
    """
    work = asyncio.create_task(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    finally:
        await asyncio.wait([work])
