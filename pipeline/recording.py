"""An uploaded recording as speech: mono, at the common level of all voices.

Only `avatars.sound` opens the file itself, in a process of its own, because its content is not trusted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from avatars.confined import Confined
from avatars.errors import BadMedia
from avatars.sound import READING, SpeechFacts, speech_facts, speech_pieces
from pipeline.audio import SPEECH_DBFS, amplify
from pipeline.errors import RenderError
from pipeline.types import AudioChunk, NoticeEvent

Item = TypeVar("Item")
R = TypeVar("R")

__all__ = ["Recording", "open_recording"]

UNREADABLE = "unsupported_media"
"The code with which the portal, too, refuses such a recording, if it checks it earlier."
MAX_GAIN_DB = 40.0
MIN_REPORTED_LOSS_S = 0.05
"Shorter losses are not audible, and not reported."


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that was read completely once."""

    path: Path
    facts: SpeechFacts

    @property
    def notices(self) -> tuple[NoticeEvent, ...]:
        """Notices for the person about damage."""
        if self.facts.lost_s >= MIN_REPORTED_LOSS_S:
            told = f"The recording is damaged: at least {self.facts.lost_s:.1f} seconds of it could not be read."
        elif self.facts.ends_early:
            told = "The recording ends early: its file is cut off, and what came after that is missing."
            return (NoticeEvent("recording_damaged", told, "Upload or save it again to have all of it."),)
        else:
            return ()
        return (NoticeEvent("recording_damaged", told, "They were left out; save the recording again to have them."),)

    async def speech(self) -> AsyncIterator[AudioChunk]:
        """Yield its sound in pieces of about half a second. The last one is empty and final. Raises RenderError."""
        rate_hz, gain_db = self.facts.rate_hz, min(SPEECH_DBFS - self.facts.level_dbfs, MAX_GAIN_DB)
        start_sample = 0
        with Confined(speech_pieces, READING, self.path, self.facts) as work:
            pieces = iter(work)
            while (piece := await _next(work, pieces)) is not None:
                samples = amplify(np.frombuffer(piece, np.float32), gain_db)
                yield AudioChunk(samples, rate_hz, start_sample=start_sample)
                start_sample += len(samples)
        yield AudioChunk(np.zeros(0, np.float32), rate_hz, start_sample=start_sample, final=True)


async def open_recording(
    path: Path, longest_s: float = math.inf, on_read: Callable[[float], None] = lambda _seconds: None
) -> Recording:
    """Read a whole recording, of any common format, to learn how long, how loud and how damaged it is.

    on_read: called with the seconds read so far; if it raises, the reading ends.
    Raises RenderError if it cannot be read, is silent, or lasts longer than `longest_s`.
    """
    with Confined(speech_facts, READING, path, longest_s) as work:
        items = iter(work)
        while (read_s := await _next(work, items)) is not None:
            on_read(read_s)
    return Recording(path, SpeechFacts(**work.result))


async def _next(work: Confined[R], items: Iterator[Item]) -> Item | None:
    """Return the next item, or None at the end. If cancelled, it ends the process instead of waiting for it."""
    try:
        return await asyncio.to_thread(next, items, None)
    except asyncio.CancelledError:
        work.close()
        raise
    except BadMedia as error:
        raise RenderError(error.message, error.hint, UNREADABLE, cause=error.cause) from error
