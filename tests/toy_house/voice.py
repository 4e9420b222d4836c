"""A voice in one file."""

from collections.abc import AsyncGenerator

import numpy as np

from pipeline.types import AudioChunk


class ToyVoice:
    name = "toy-voice"
    sample_rate = 16_000
    streaming = True
    phoneme_timing = False
    languages = frozenset({"en"})
    voices = ("whistle",)
    online_voices: frozenset[str] = frozenset()

    def load(self) -> None:
        pass

    async def synthesize(self, text: str, voice: str | None = None) -> AsyncGenerator[AudioChunk, None]:
        yield AudioChunk(np.full(len(text) * 100, 0.5, np.float32), self.sample_rate, final=True)

    async def aclose(self) -> None:
        pass
