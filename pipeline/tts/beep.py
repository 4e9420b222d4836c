"""`beep`: the null voice. It beeps at 1 kHz for 100 ms per word, for tests and for measuring synchronisation."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

import numpy as np

from pipeline.tts.speed import ONE_SPEED
from pipeline.types import AudioChunk, FloatArray

__all__ = ["BEEP_HZ", "BEEP_MS", "GAP_MS", "BeepSynthesizer"]

BEEP_HZ = 1000
BEEP_MS = 100
GAP_MS = 100
_AMPLITUDE = 0.3

# A word is a Chinese, Japanese or Korean character, or any run of other letters, digits and marks with a letter.
_CJK = "\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}](?:[^\s{_CJK}]*[^\W{_CJK}])?")


class BeepSynthesizer:
    """Beeps at once: one chunk per word, with a beep and the gap after it."""

    name = "beep"
    sample_rate = 48_000
    streaming = True
    phoneme_timing = False
    languages = frozenset(
        {"ar", "de", "el", "en", "es", "fr", "he", "hi", "it", "ja", "ko", "nl", "pt", "ru", "th", "zh"}
    )
    voices: tuple[str, ...] = ("beep",)
    online_voices: frozenset[str] = frozenset()
    speeds = ONE_SPEED

    def load(self) -> None:
        """Do nothing: there is nothing to load."""

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        word = _beep(self.sample_rate)
        count = len(_WORD.findall(text))
        for index in range(count):
            yield AudioChunk(word, self.sample_rate, start_sample=index * len(word), final=index == count - 1)
        if not count:
            yield AudioChunk(np.zeros(0, np.float32), self.sample_rate, final=True)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""


def _beep(sample_rate: int) -> FloatArray:
    """Return one word: whole periods of a sine, so that it starts and ends at zero without a click, then silence."""
    seconds = np.arange(sample_rate * BEEP_MS // 1000) / sample_rate
    beep = _AMPLITUDE * np.sin(2 * np.pi * BEEP_HZ * seconds)
    return np.concatenate([beep, np.zeros(sample_rate * GAP_MS // 1000)]).astype(np.float32)
