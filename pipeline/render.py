"""Offline rendering: text or recorded speech -> MP4, through the very parts of a live turn.

Nothing is paced here: the playout is stepped as fast as pictures come, and its bounded queue is what makes the parts
before it wait, as in a live session.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import av
from av.error import FFmpegError

from avatars.bundle import AvatarBundle
from avatars.colour import bt709_frame, tag_bt709
from pipeline.clip_label import ClipLabel
from pipeline.errors import RenderError
from pipeline.turn import Turn, Utterance
from pipeline.turn_context import TurnContext
from pipeline.types import (
    FPS,
    PLAYOUT_RATE_HZ,
    SAMPLES_PER_PICTURE,
    ErrorEvent,
    LoopPosition,
    MediaFrame,
    NoticeEvent,
    SessionEvent,
)

__all__ = ["ClipWriter", "render"]

R = TypeVar("R")

MARGIN_PICTURES = 5
"""Idle pictures before and after the speech: a clip that starts in mid-word looks cut."""
PRODUCER = "Vivavoce"
MP4_OPTIONS = {"movflags": "+faststart+use_metadata_tags"}
"""Metadata first, and keys of any name: without use_metadata_tags FFmpeg drops those that iTunes does not know."""


def _marks(clip: str, title: str) -> dict[str, str]:
    """What the file says of itself, for programs: the key of China's GB 45438-2025, and a comment for all others."""
    aigc = {
        "Label": "1",  # it is made by AI
        "ContentProducer": PRODUCER,
        "ProduceID": clip,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    told = {"comment": f"AI-generated: made with {PRODUCER}.", "AIGC": json.dumps(aigc)}
    return {"title": title, **told} if title else told


class ClipWriter:
    """Writes MediaFrames into an MP4 (H.264 + AAC). The file appears whole on finish(), or not at all."""

    def __init__(
        self, output: Path, width: int, height: int, *, label: ClipLabel | None = None, title: str = ""
    ) -> None:
        """label: drawn into the pictures; title: in the file's metadata. Raises RenderError."""
        self._output = output
        self._label = label
        self._staging = output.with_name(f".{secrets.token_hex(8)}.mp4")
        with _write_errors_explained():
            output.parent.mkdir(parents=True, exist_ok=True)
            self._file = av.open(f"file:{self._staging}", "w", format="mp4", options=MP4_OPTIONS)
            self._file.metadata.update(_marks(output.stem, title))
        self._video = self._file.add_stream("libx264", rate=FPS, options={"crf": "18", "preset": "veryfast"})
        self._video.width, self._video.height = width, height
        self._video.pix_fmt = "yuv420p"
        tag_bt709(self._video.codec_context)
        self._audio = self._file.add_stream("aac", rate=PLAYOUT_RATE_HZ, layout="mono")
        self._audio.bit_rate = 128_000
        self._idle: tuple[LoopPosition, Any] | None = None
        self.frames = 0

    async def send(self, frame: MediaFrame) -> None:
        """Encode one frame. Raises RenderError (disk full, encoder failure)."""
        with _write_errors_explained():
            await _in_thread(self._write, frame)

    async def aclose(self) -> None:
        """Give up an unfinished file. Idempotent; does nothing after finish()."""
        with suppress(FFmpegError, OSError):  # it tries to complete the file, for which there may be no room
            self._file.close()
        self._staging.unlink(missing_ok=True)

    async def finish(self) -> None:
        """Write what the encoders still hold and put the file in its place. Raises RenderError."""
        with _write_errors_explained():
            await _in_thread(self._finish)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _write(self, frame: MediaFrame) -> None:
        picture = frame.picture
        if isinstance(picture, LoopPosition):
            picture = picture.bundle.frame(picture.bundle.frame_index(picture.index))
        video = bt709_frame(picture if self._label is None else self._label.draw(picture, self.frames))
        video.pts, video.time_base = frame.number, Fraction(1, FPS)
        self._file.mux(self._video.encode(video))
        audio = av.AudioFrame.from_ndarray(frame.audio.reshape(1, -1), format="fltp", layout="mono")
        audio.sample_rate = PLAYOUT_RATE_HZ
        audio.pts, audio.time_base = frame.number * SAMPLES_PER_PICTURE, Fraction(1, PLAYOUT_RATE_HZ)
        self._file.mux(self._audio.encode(audio))
        self.frames += 1

    def _finish(self) -> None:
        self._file.mux(self._video.encode(None))
        self._file.mux(self._audio.encode(None))
        self._file.close()
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


async def render(
    context: TurnContext,
    utterance: Utterance,
    output: Path,
    on_picture: Callable[[int], None] = lambda _count: None,
    *,
    label: ClipLabel | None = None,
    title: str = "",
) -> list[SessionEvent]:
    """Make a clip. Returns the events of the turn (subtitles with their times among them).

    on_picture: called with the number of pictures written so far; an exception it raises (cancellation) ends the job.
    label, title: see ClipWriter.
    Raises RenderError: nothing could be spoken, or the file could not be written.
    """
    events: list[SessionEvent] = []
    playout = context.playout
    turn_id, _ = playout.ledger.queue()
    bundle: AvatarBundle = context.bundle
    async with ClipWriter(output, bundle.width, bundle.height, label=label, title=title) as writer:
        for _ in range(MARGIN_PICTURES):
            await writer.send(playout.release())
        turn = Turn(turn_id, context, utterance, events.append, shows_unspoken=False)
        events += playout.ledger.begun(turn_id)
        speaking = asyncio.create_task(turn.run())
        speaking.add_done_callback(lambda _task: playout.spoken.close())
        try:
            while await playout.spoken.ready():
                frame = playout.release()
                events += playout.ledger.released(frame)
                await writer.send(frame)
                on_picture(writer.frames)
            await speaking
            events += playout.ledger.handed_over(turn_id, turn.frames_sent)
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        if writer.frames == MARGIN_PICTURES:
            raise _unspoken(events)
        for _ in range(MARGIN_PICTURES):
            await writer.send(playout.release())
        await writer.finish()
    return events


async def _in_thread(function: Callable[..., R], *arguments: Any) -> R:
    """As asyncio.to_thread(), but it ends no sooner than the thread, even if cancelled: FFmpeg's files must not be
    closed while they are worked on.
    """
    work = asyncio.create_task(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    finally:
        await asyncio.wait([work])


def _unspoken(events: list[SessionEvent]) -> RenderError:
    told = next(event for event in events if isinstance(event, ErrorEvent | NoticeEvent))
    return RenderError(told.message, told.hint, told.code)
