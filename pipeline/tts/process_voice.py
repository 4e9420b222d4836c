"""The base of voices whose library runs in a process of its own: splitting, queueing, cancelling and closing."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from typing import ClassVar, Final

import numpy as np

from pipeline.errors import BackendUnavailable, SpeechError
from pipeline.text import load_languages
from pipeline.tts.speaking_process import SpeakingProcess
from pipeline.tts.voice_names import require_voice
from pipeline.tts.voice_thread import VoiceThread
from pipeline.types import AudioChunk, FloatArray, Phoneme

__all__ = ["ProcessVoice", "pcm_samples", "short_pieces"]

MAX_PIECE_CHARACTERS: Final = 200
"""Longest piece: about 15 s of speech. So nobody waits for more than one such piece of each other speaker."""
_CLAUSE_END: Final = re.compile(r"(?<=[,;:—]) |(?<=[，；：、])")


class ProcessVoice(ABC):
    """Yields one chunk per piece. Subclasses name the module of the process, and translate its input and output."""

    name: ClassVar[str]
    module: ClassVar[str]
    remedy: ClassVar[str]
    "what to do if its process does not run"
    sample_rate: int
    streaming = False
    phoneme_timing = False
    voices: tuple[str, ...] = ()
    online_voices: frozenset[str] = frozenset()
    speeds = (0.5, 2.0)

    def __init__(self) -> None:
        self._process = SpeakingProcess(self.name, self.module)
        self._thread = VoiceThread(self.name)  # only waits for the process

    @abstractmethod
    def choose(self, text: str, voice: str | None) -> str:
        """Return which of our voices speaks the text. Raises SpeechError, LanguageNotSupported."""

    @abstractmethod
    def readable(self, text: str) -> str:
        """Return the text without anything that the library would take for a command."""

    @abstractmethod
    def understood(self, answer: bytes) -> tuple[FloatArray, tuple[Phoneme, ...] | None]:
        """Return the sound of an answer, and its phonemes; None if it has no timing."""

    def load(self) -> None:
        """Start the process, and make it load a voice, so that the first sentence need not wait.

        Raises BackendUnavailable.
        """
        load_languages()
        try:
            self._process.speak("a", self.voices[0])
        except SpeechError as error:
            raise BackendUnavailable(self.name, "its program does not run on this machine", self.remedy) from error

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak a sentence. If cancelled, it returns at once; the current piece is finished and discarded.

        Raises SpeechError, LanguageNotSupported.
        """
        require_voice(self.name, self.voices, voice)
        chosen = self.choose(text, voice)
        pieces = list(short_pieces(self.readable(text)))
        start_sample = 0
        for index, piece in enumerate(pieces):
            answer = await self._thread.run(partial(self._process.speak, piece, chosen, speed))
            samples, phonemes = self.understood(answer)
            final = index == len(pieces) - 1
            yield AudioChunk(samples, self.sample_rate, start_sample, phonemes=phonemes, final=final, voice=chosen)
            start_sample += len(samples)
        if not pieces:
            none = () if self.phoneme_timing else None
            yield AudioChunk(np.zeros(0, np.float32), self.sample_rate, phonemes=none, final=True)

    async def aclose(self) -> None:
        """End the process, even while it is speaking. Idempotent."""
        self._thread.close()
        await asyncio.to_thread(self._process.close)


def short_pieces(text: str) -> Iterator[str]:
    """Cut the text after a clause, else between words, else anywhere, so that no piece is too long."""
    rest = " ".join(text.split())
    while len(rest) > MAX_PIECE_CHARACTERS:
        head = rest[: MAX_PIECE_CHARACTERS + 1]
        clauses = [match.end() for match in _CLAUSE_END.finditer(head)]
        at = clauses[-1] if clauses else head.rfind(" ") + 1 or MAX_PIECE_CHARACTERS
        yield rest[:at].rstrip()
        rest = rest[at:]
    if any(map(str.isalnum, rest)):
        yield rest


def pcm_samples(pcm: bytes) -> FloatArray:
    """Convert 16-bit little-endian PCM to float32 in [-1, 1]."""
    return np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32) / np.float32(32768)
