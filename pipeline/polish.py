"""VoicePolish: prepares every synthesizer's sentence for playing: removes silence before it and evens the loudness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.audio import LoudnessNormalizer
from pipeline.types import AudioChunk

__all__ = ["VoicePolish"]

AUDIBLE = 0.003
"""-50 dBFS. Synthesizers begin sentences with up to 350 ms below it, and a listener would have to wait for those."""
KEPT_LEAD_S = 0.02


class VoicePolish:
    """Takes the chunks of one sentence, in order."""

    def __init__(self) -> None:
        self._begun = False
        self._loudness = LoudnessNormalizer()

    def push(self, chunk: AudioChunk) -> AudioChunk:
        """Return the chunk at the common loudness, without the inaudible samples before the sentence's first sound."""
        trimmed = chunk if self._begun else self._trim(chunk)
        return replace(trimmed, samples=self._loudness.push(trimmed.samples, trimmed.sample_rate))

    def _trim(self, chunk: AudioChunk) -> AudioChunk:
        audible = np.flatnonzero(np.abs(chunk.samples) > AUDIBLE)
        if not len(audible):
            return replace(chunk, samples=chunk.samples[:0], phonemes=None)
        self._begun = True
        cut = max(0, int(audible[0]) - int(KEPT_LEAD_S * chunk.sample_rate))
        cut_s = cut / chunk.sample_rate
        moved = chunk.phonemes and tuple(
            replace(p, start_s=p.start_s - cut_s, end_s=p.end_s - cut_s) for p in chunk.phonemes if p.end_s > cut_s
        )
        return replace(chunk, samples=chunk.samples[cut:], phonemes=moved)
