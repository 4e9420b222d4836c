"""The loudness of each picture's own 40 ms."""

from __future__ import annotations

import numpy as np

from pipeline.features.pictures import FEATURE_SAMPLES_PER_PICTURE, PictureStream, PlainExtractor
from pipeline.types import AudioChunk, FeatureWindow, FloatArray

__all__ = ["SILENCE_DBFS", "LoudnessExtractor", "LoudnessStream"]

SILENCE_DBFS = -120.0


class LoudnessExtractor(PlainExtractor):
    """data is float32 (1,): RMS level in dBFS; SILENCE_DBFS for digital silence."""

    name = "loudness"
    lookahead_ms = 0.0

    def stream(self) -> LoudnessStream:
        return LoudnessStream()


class LoudnessStream(PictureStream):
    """See FeatureStream."""

    def reset(self) -> None:
        super().reset()
        self._rest: FloatArray = np.zeros(0, np.float32)

    def push(self, chunk: AudioChunk) -> list[FeatureWindow]:
        """Take a chunk. Returns the complete windows. Raises ValueError if the chunk is not at 16 kHz."""
        self._count.take(chunk)
        samples = np.concatenate([self._rest, chunk.samples])
        n = len(samples) // FEATURE_SAMPLES_PER_PICTURE
        self._rest = samples[n * FEATURE_SAMPLES_PER_PICTURE :]
        return self._count.give(_dbfs(samples[: n * FEATURE_SAMPLES_PER_PICTURE]))

    def flush(self) -> list[FeatureWindow]:
        missing = -len(self._rest) % FEATURE_SAMPLES_PER_PICTURE
        windows = self._count.give(_dbfs(np.pad(self._rest, (0, missing))))
        self.reset()
        return windows


def _dbfs(samples: FloatArray) -> FloatArray:
    """Return (n, 1): RMS of (n * 640,) samples in dBFS. In double precision, so that splitting changes no bit."""
    pictures = samples.reshape(-1, FEATURE_SAMPLES_PER_PICTURE).astype(np.float64)
    rms = np.sqrt(np.mean(pictures**2, axis=1, keepdims=True))
    level: FloatArray = (20 * np.log10(np.maximum(rms, 10 ** (SILENCE_DBFS / 20)))).astype(np.float32)
    return level
