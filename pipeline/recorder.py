"""Recorder: an output that records what a session played and what its viewer said, as an MP4 and a transcript.

It never delays the clock. If writing is slower than playing, pictures are left out and all sound is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from models.arrays import FloatArray
from models.errors import VivavoceError
from pipeline.audio import StreamResampler
from pipeline.channel import Channel
from pipeline.clip_writer import ClipWriter
from pipeline.errors import RenderError
from pipeline.transcript import Transcript
from pipeline.types import FPS, LISTEN_RATE_HZ, PLAYOUT_RATE_HZ, SAMPLES_PER_PICTURE, MediaFrame, SubtitleEvent

__all__ = ["PICTURES_BOUND", "SOUND_BOUND", "Recorder"]

logger = logging.getLogger(__name__)

PICTURES_BOUND = 2 * FPS
"""Most frames that wait with their pictures. Beyond it only the sound of the oldest is written."""
SOUND_BOUND = 30 * FPS
"""Most frames that wait in all. If writing is later than that, the recording ends."""
KEPT_BACK_PICTURES = 5
"""0.2 s: delay of the viewer's sound in a recording."""
MAX_WAITING_SAMPLES = PLAYOUT_RATE_HZ
"""Most of the viewer's sound that waits: 1 s."""


class Recorder:
    """See Output. It ends with aclose(), after `longest_s`, or when the file can no longer be written.

    over: set at its end. The file then exists, unless `trouble` says why not.
    """

    name = "recording"

    def __init__(
        self, writer: ClipWriter, *, longest_s: float = 3600.0, check_room: Callable[[], None] = lambda: None
    ) -> None:
        """writer: writes the file, with the coding RECORDED. The recorder closes it.

        check_room: called once per second of the recording, which ends if it raises a VivavoceError.
        """
        self.transcript = Transcript()
        self.over = asyncio.Event()
        self.trouble: VivavoceError | None = None
        self.pictures_dropped = 0
        self._writer = writer
        self._longest = round(longest_s * FPS)
        self._check_room = check_room
        self._waiting: Channel[MediaFrame] = Channel(SOUND_BOUND)
        self._viewer = _ViewerSound()
        self._taken = 0
        self._began_s = 0.0  # on the media clock
        self._writing = asyncio.create_task(self._write(), name="recording")

    @property
    def duration_s(self) -> float:
        """Length of what was taken so far."""
        return self._taken / FPS

    def send(self, frame: MediaFrame) -> None:
        """Take a frame. Ignored once the recording has ended."""
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
        self._waiting.offer(replace(frame, audio=self._viewer.mixed_into(frame.audio)))
        if self._waiting.full:
            self.trouble = RenderError("The recording has ended: the disk is too slow.", "Record to a faster disk.")
        if self._waiting.full or self._taken >= self._longest:
            self._waiting.close()

    def hear(self, samples: FloatArray) -> None:
        """Mix the next sound of the viewer's microphone, (n,) at LISTEN_RATE_HZ, into the frames to come."""
        if not self._waiting.closed:
            self._viewer.push(samples)

    def flush(self) -> None:
        """Do nothing: the queued frames were played, so the recording keeps them."""

    async def aclose(self) -> None:
        """Write the queued frames and complete the file. Idempotent."""
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
        except Exception:  # nobody awaits this task; whatever the reason, the session goes on without a recording
            logger.exception("a recording failed")
            self.trouble = RenderError("The recording failed inside the server.", "See the server's log.")
        finally:
            self._waiting.close()
            self._waiting.clear()
            self.over.set()


class _ViewerSound:
    """The sound of the viewer's microphone, on its way into the recording.

    It arrives in pieces of any length, timed by another clock. A short delay evens that out. If more than a second
    waits, the oldest sound is dropped; if nothing waits, there is silence.
    """

    def __init__(self) -> None:
        self._resampler = StreamResampler(LISTEN_RATE_HZ, PLAYOUT_RATE_HZ)
        self._waiting = np.zeros(0, np.float32)
        self._kept_back = 0  # pictures since sound followed silence

    def push(self, samples: FloatArray) -> None:
        """Add sound. samples: (n,) at LISTEN_RATE_HZ."""
        self._waiting = np.concatenate([self._waiting, self._resampler.push(samples)])
        if len(self._waiting) > MAX_WAITING_SAMPLES:  # go back to the usual delay, not just below the limit
            self._waiting = self._waiting[-KEPT_BACK_PICTURES * SAMPLES_PER_PICTURE :]

    def mixed_into(self, audio: FloatArray) -> FloatArray:
        """Mix the sound into one picture's audio, (SAMPLES_PER_PICTURE,).

        If the viewer is silent, returns `audio` itself.
        """
        if not len(self._waiting):
            self._kept_back = 0
            return audio
        if self._kept_back < KEPT_BACK_PICTURES:
            self._kept_back += 1
            return audio
        piece, self._waiting = self._waiting[:SAMPLES_PER_PICTURE], self._waiting[SAMPLES_PER_PICTURE:]
        mixed = audio.copy()
        mixed[: len(piece)] += piece
        return np.clip(mixed, -1, 1)
