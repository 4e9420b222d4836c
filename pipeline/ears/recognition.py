"""Recognition: one recogniser for all sessions, and the queue in front of it."""

from __future__ import annotations

from pipeline.errors import EarsBusy
from pipeline.fair_line import FairLine
from pipeline.interfaces import SpeechRecognizer
from pipeline.types import FloatArray, Transcript

__all__ = ["MAX_WAITING", "MAX_WAITING_EACH", "Recognition"]

MAX_WAITING = 16
"""Most utterances of all sessions in the queue. A single address cannot fill it."""
MAX_WAITING_EACH = 4
"""Most utterances of one asker. At a second of work each, people have no patience for more."""


class Recognition:
    """A loaded recogniser and its queue."""

    def __init__(self, recognizer: SpeechRecognizer) -> None:
        self.recognizer = recognizer
        self._line = FairLine(lambda: recognizer.at_once)

    @property
    def is_idle(self) -> bool:
        """Whether an optional recognition can run without making anybody wait."""
        return self._line.is_idle

    async def transcribe(self, samples: FloatArray, language: str | None, asker: str) -> Transcript:
        """Return the words of one utterance. asker: who is served, an address or one session; askers take turns.

        Raises EarsBusy, RecognitionError.
        """
        if self._line.waiting_of(asker) >= MAX_WAITING_EACH or self._line.waiting >= MAX_WAITING:
            raise EarsBusy("What was said before is still being recognised.", "Say it again in a moment.")
        await self._line.enter(asker)
        try:
            return await self.recognizer.transcribe(samples, language)
        finally:
            self._line.leave(asker)
