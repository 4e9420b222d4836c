"""One recogniser for all sessions: who waits for it, and for how many it has room."""

from __future__ import annotations

import asyncio

from pipeline.errors import EarsBusy
from pipeline.interfaces import SpeechRecognizer
from pipeline.types import FloatArray, Transcript

__all__ = ["MOST_WAITING", "Recognition"]

MOST_WAITING = 8
"""Utterances of all sessions. With a second of work each, the last of them waits as long as people have patience."""


class Recognition:
    """The line in front of a loaded recogniser: first come, first served."""

    def __init__(self, recognizer: SpeechRecognizer) -> None:
        self.recognizer = recognizer
        self._places = asyncio.Semaphore(recognizer.at_once)
        self._waiting = 0

    @property
    def is_idle(self) -> bool:
        """Whether nobody would have to wait for a run that is only nice to have."""
        return not self._places.locked() and not self._waiting

    async def transcribe(self, samples: FloatArray, language: str | None) -> Transcript:
        """Raises EarsBusy, RecognitionError."""
        if self._waiting >= MOST_WAITING:
            raise EarsBusy("What was said before is still being recognised.", "Say it again in a moment.")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self.recognizer.transcribe(samples, language)
        finally:
            self._places.release()
