"""What voices share whose library runs in a process of its own: the order of sentences, pieces, cancelling, closing."""

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
"""Some 15 s of speech. Nobody waits for more than one such piece of each other speaker."""
_CLAUSE_END: Final = re.compile(r"(?<=[,;:—]) |(?<=[，；：、])")


class ProcessVoice(ABC):
    """One chunk per piece. Subclasses name the module of the process, and say what it is told and what it answers."""

    name: ClassVar[str]
    module: ClassVar[str]
    remedy: ClassVar[str]
    "what to do where its process does not run"
    sample_rate: int
    streaming = False
    phoneme_timing = False
    voices: tuple[str, ...] = ()
    online_voices: frozenset[str] = frozenset()
    speeds = (0.5, 2.0)

    def __init__(self) -> None:
        self._process = SpeakingProcess(self.name, self.module)
        self._thread = VoiceThread(self.name)  # it only waits for the process

    @abstractmethod
    def choose(self, text: str, voice: str | None) -> str:
        """Which of our voices speaks the text. Raises SpeechError, LanguageNotSupported."""

    @abstractmethod
    def readable(self, text: str) -> str:
        """The text as the library may have it: without what it would take for a command."""

    @abstractmethod
    def understood(self, answer: bytes) -> tuple[FloatArray, tuple[Phoneme, ...] | None]:
        """The sound of an answer, and its phonemes if it tells them."""

    def load(self) -> None:
        """Start the process and have it read a voice, so that the first sentence waits for neither.

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
        """A cancelled synthesis ends at once for the caller; the piece at work is finished and thrown away.

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
        """End the process, and with it what is being spoken. Idempotent."""
        self._thread.close()
        await asyncio.to_thread(self._process.close)


def short_pieces(text: str) -> Iterator[str]:
    """The text cut after a clause, else between words, else anywhere, so that no piece is longer than it may be."""
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
    """float32 in [-1, 1] of 16-bit little-endian PCM."""
    return np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32) / np.float32(32768)
