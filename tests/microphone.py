"""Microphone sound for tests, and stand-ins for the networks that listen to it.

The stand-ins go by the level: loud sound is speech. So a test decides with loud and quiet samples what is heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np

from pipeline import registry
from pipeline.audio import resample_file
from pipeline.errors import RecognitionError
from pipeline.types import LISTEN_RATE_HZ, FloatArray, Transcript

__all__ = [
    "EARS_STAND_INS",
    "InlineExecutor",
    "LoudnessVad",
    "RecordingRecognizer",
    "SameSound",
    "SetEndpoint",
    "pieces",
    "quiet",
    "speech",
    "spoken",
]

EARS_STAND_INS = (
    ("vad", "silero", "LoudnessVad"),
    ("endpoint", "smart-turn", "SetEndpoint"),
    ("asr", "faster-whisper", "RecordingRecognizer"),
)
"""(kind, name, class below that stands in for it)."""


def speech(seconds: float, level: float = 0.5) -> FloatArray:
    """Return sound that LoudnessVad takes for speech."""
    return np.full(round(seconds * LISTEN_RATE_HZ), level, np.float32)


def quiet(seconds: float) -> FloatArray:
    return np.zeros(round(seconds * LISTEN_RATE_HZ), np.float32)


async def spoken(text: str, voice: str = "hibari") -> FloatArray:
    """Return what a local voice says, at the microphone's rate, with half a second of silence around it."""
    synthesizer = registry.create("tts", voice)
    synthesizer.load()
    try:
        sound = np.concatenate([chunk.samples async for chunk in synthesizer.synthesize(text)])
    finally:
        await synthesizer.aclose()
    return np.concatenate([quiet(0.5), resample_file(sound, synthesizer.sample_rate, LISTEN_RATE_HZ), quiet(0.5)])


def pieces(sound: FloatArray, piece_s: float = 0.02) -> Iterator[FloatArray]:
    """Give sound in pieces, as a microphone sends it."""
    size = round(piece_s * LISTEN_RATE_HZ)
    return (sound[at : at + size] for at in range(0, len(sound), size))


class InlineExecutor(Executor):
    """Runs each call at once in the calling thread, so that no test waits for another thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        return future


class SameSound:
    """An echo canceller that removes nothing."""

    def __init__(self, reference: object = None) -> None: ...

    def cancel(self, samples: FloatArray, arrived_s: float) -> FloatArray:
        return samples

    def skip(self, count: int) -> None: ...

    def restart(self) -> None: ...


class LoudnessVad:
    """Counts sound louder than 0.1 as speech."""

    name = "silero"

    def load(self) -> None: ...

    def stream(self) -> LoudnessVad:
        return self

    def push(self, window: FloatArray) -> float:
        return float(np.abs(window).mean() > 0.1)

    def reset(self) -> None: ...

    async def aclose(self) -> None: ...


class SetEndpoint:
    """Gives the test's answer for every pause."""

    name = "smart-turn"
    answer = 0.0

    def __init__(self) -> None:
        self.asked: list[float] = []
        "seconds of sound in each question"

    def load(self) -> None: ...

    def probability(self, samples: FloatArray) -> float:
        self.asked.append(len(samples) / LISTEN_RATE_HZ)
        return self.answer

    async def aclose(self) -> None: ...


class RecordingRecognizer:
    """Answers with the next of `texts`, and records what it was given. It waits until `may_answer` is set."""

    name = "faster-whisper"
    languages = frozenset({"en", "zh"})
    at_once = 1
    partial = False

    def __init__(self) -> None:
        self.texts: list[str | RecognitionError] = []
        self.heard_s: list[float] = []
        self.asked_languages: list[str | None] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def load(self) -> None: ...

    async def transcribe(self, samples: FloatArray, language: str | None = None) -> Transcript:
        self.heard_s.append(len(samples) / LISTEN_RATE_HZ)
        self.asked_languages.append(language)
        await self.may_answer.wait()
        text = self.texts.pop(0) if self.texts else "hello"
        if isinstance(text, RecognitionError):
            raise text
        return Transcript(text, language or "en")

    async def aclose(self) -> None: ...
