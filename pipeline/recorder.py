"""Recorder: an output that keeps what a session played, as an MP4 and as a transcript.

It never holds up the clock. When writing is slower than playing, pictures are left out and all sound is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from models.errors import VivavoceError
from pipeline.channel import Channel
from pipeline.clip_label import ClipLabel
from pipeline.clip_writer import RECORDED, ClipWriter
from pipeline.coded_frames import even_size
from pipeline.errors import RenderError
from pipeline.transcript import Transcript
from pipeline.types import FPS, MediaFrame, SubtitleEvent

__all__ = ["PICTURES_BOUND", "SOUND_BOUND", "Recorder"]

logger = logging.getLogger(__name__)

PICTURES_BOUND = 2 * FPS
"""Frames that may wait with their pictures. Of those that are older only the sound is written."""
SOUND_BOUND = 30 * FPS
"""Frames that may wait in all. If writing is that late, the recording ends."""


class Recorder:
    """See Output. It ends with aclose(), after `longest_s`, or when the file cannot be written any more.

    over: set at its end; the file is there then, unless `trouble` says why not.
    """

    name = "recording"

    def __init__(
        self,
        output: Path,
        width: int,
        height: int,
        *,
        label: ClipLabel | None = None,
        title: str = "",
        longest_s: float = 3600.0,
        check_room: Callable[[], None] = lambda: None,
    ) -> None:
        """width, height: of the avatar's pictures. check_room: called once per second of the recording, which ends when
        that raises a VivavoceError.

        Raises RenderError: the file cannot be opened.
        """
        self.transcript = Transcript()
        self.over = asyncio.Event()
        self.trouble: VivavoceError | None = None
        self.pictures_dropped = 0
        self._writer = ClipWriter(output, *even_size(width, height), label=label, title=title, coding=RECORDED)
        self._longest = round(longest_s * FPS)
        self._check_room = check_room
        self._waiting: Channel[MediaFrame] = Channel(SOUND_BOUND)
        self._taken = 0
        self._began_s = 0.0  # on the media clock
        self._writing = asyncio.create_task(self._write(), name="recording")

    @property
    def duration_s(self) -> float:
        """Of what was taken so far."""
        return self._taken / FPS

    def send(self, frame: MediaFrame) -> None:
        """Take a frame; ignored once the recording ends."""
        if self._waiting.closed:
            return
        if not self._taken:
            self._began_s = frame.number / FPS
        self._taken += 1
        for event in frame.events:
            if isinstance(event, SubtitleEvent):
                begin_s, end_s = event.start_s - self._began_s, event.end_s - self._began_s
                self.transcript.add("assistant", event.text, begin_s, end_s)
        for question in frame.questions:
            asked_s = frame.number / FPS - self._began_s
            self.transcript.add("user", question, asked_s, asked_s)
        self._waiting.offer(frame)
        if self._waiting.full:
            self.trouble = RenderError("The recording has ended: the disk is too slow.", "Record to a faster disk.")
        if self._waiting.full or self._taken >= self._longest:
            self._waiting.close()

    def flush(self) -> None:
        """Nothing is forgotten: what waits here was played."""

    async def aclose(self) -> None:
        """Write what waits and complete the file. Idempotent."""
        self._waiting.close()
        await self.over.wait()

    async def _write(self) -> None:
        try:
            async with self._writer:
                async for frame in self._waiting:
                    if self._writer.frames % FPS == 0:
                        self._check_room()
                    late = len(self._waiting) >= PICTURES_BOUND
                    self.pictures_dropped += late
                    await self._writer.send(frame, picture=not late)
                if self._writer.frames:
                    await self._writer.finish()
        except VivavoceError as error:
            logger.warning("a recording has ended: %s", error.message)
            self.trouble = error
        except Exception:  # nobody waits for this task: whatever it is, the session goes on without a recording
            logger.exception("a recording failed")
            self.trouble = RenderError("The recording failed inside the server.", "See the server's log.")
        finally:
            self._waiting.close()
            self._waiting.clear()
            self.over.set()
