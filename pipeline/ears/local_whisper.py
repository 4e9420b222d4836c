"""The base of recognisers that run Whisper on this machine: each has a thread of its own."""

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
    """Handles one utterance at a time, on a low-priority thread of its own, so that it yields to drawing.

    Subclasses set `name`, and override _load() and _transcribe(), which run on that thread.
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
        """Return the words of one utterance. If cancelled, it returns at once; the thread finishes its work unheard.

        Raises RecognitionError.
        """
        run = partial(self._transcribe, samples, language)
        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def aclose(self) -> None:
        """Let the current run finish, and start no other. Idempotent."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    @abstractmethod
    def _load(self) -> None:
        """Load the network. Raises BackendUnavailable if the weights are damaged, or another network's."""

    @abstractmethod
    def _transcribe(self, samples: FloatArray, language: str | None) -> Transcript:
        """Return the words. samples: (n,) at LISTEN_RATE_HZ. Raises RecognitionError.

        language: detected if it is None or unknown to Whisper.
        """
