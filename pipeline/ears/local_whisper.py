"""What recognisers share that run Whisper on this machine: a thread of their own, and how it begins and ends."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from functools import partial
from typing import ClassVar

from pipeline.ears.whisper_words import LANGUAGES
from pipeline.threads import background_thread
from pipeline.types import FloatArray, Transcript

__all__ = ["LocalWhisper"]


class LocalWhisper(ABC):
    """Works on one utterance at a time, on one thread of its own that yields to drawing.

    Subclasses give `name`, and override _load() and _transcribe(), which run on that thread.
    """

    name: ClassVar[str]
    languages = LANGUAGES
    at_once = 1
    partial = False

    def __init__(self) -> None:
        self._thread = background_thread(self.name)

    def load(self) -> None:
        """Read the weights, which takes seconds. Raises BackendUnavailable."""
        self._thread.submit(self._load).result()

    async def transcribe(self, samples: FloatArray, language: str | None = None) -> Transcript:
        """A cancelled run ends at once for the caller, and goes on on its thread until it is done.

        Raises RecognitionError.
        """
        run = partial(self._transcribe, samples, language)
        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def aclose(self) -> None:
        """The run at work is finished, nothing after it. Idempotent."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    @abstractmethod
    def _load(self) -> None:
        """Raises BackendUnavailable: the weights are damaged, or of another network."""

    @abstractmethod
    def _transcribe(self, samples: FloatArray, language: str | None) -> Transcript:
        """samples: (n,) at LISTEN_RATE_HZ. language: None or unknown to Whisper: found out. Raises RecognitionError."""
