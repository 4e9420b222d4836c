"""One recogniser for all sessions: who waits for it, in which order, and for how many it has room."""

from __future__ import annotations

from pipeline.errors import EarsBusy
from pipeline.fair_line import FairLine
from pipeline.interfaces import SpeechRecognizer
from pipeline.types import FloatArray, Transcript

__all__ = ["MOST_WAITING", "MOST_WAITING_EACH", "Recognition"]

MOST_WAITING = 16
"""Utterances of all sessions. Only several addresses together can fill the line."""
MOST_WAITING_EACH = 4
"""Utterances of one asker. With a second of work each, the last of them waits as long as people have patience."""


class Recognition:
    """A loaded recogniser and the line in front of it."""

    def __init__(self, recognizer: SpeechRecognizer) -> None:
        self.recognizer = recognizer
        self._line = FairLine(lambda: recognizer.at_once)

    @property
    def is_idle(self) -> bool:
        """Whether nobody would have to wait for a run that is only nice to have."""
        return self._line.is_idle

    async def transcribe(self, samples: FloatArray, language: str | None, asker: str) -> Transcript:
        """asker: who takes turns with others, as limits count: an address, or one session.

        Raises EarsBusy, RecognitionError.
        """
        if self._line.waiting_of(asker) >= MOST_WAITING_EACH or self._line.waiting >= MOST_WAITING:
            raise EarsBusy("What was said before is still being recognised.", "Say it again in a moment.")
        await self._line.enter(asker)
        try:
            return await self.recognizer.transcribe(samples, language)
        finally:
            self._line.leave(asker)
