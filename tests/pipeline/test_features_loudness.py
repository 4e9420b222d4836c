from __future__ import annotations

import numpy as np
import pytest

from pipeline.features.loudness import SILENCE_DBFS, LoudnessStream
from pipeline.types import AudioChunk


def levels(samples: np.ndarray) -> list[float]:
    extractor = LoudnessStream()
    chunk = AudioChunk(samples.astype(np.float32), 16_000)
    return [float(w.data[0]) for w in extractor.push(chunk) + extractor.flush()]


def test_each_picture_has_the_level_of_its_own_40_ms() -> None:
    """A square wave of amplitude 0.1 in the second picture is -20 dBFS there and silence around it."""
    samples = np.zeros(3 * 640)
    samples[640:1280] = 0.1 * np.sign(np.sin(np.arange(640) + 0.5))
    assert levels(samples) == pytest.approx([SILENCE_DBFS, -20, SILENCE_DBFS], abs=0.01)


def test_the_last_picture_is_padded_with_silence() -> None:
    """Half a picture of full scale is 3 dB below full scale."""
    assert levels(np.ones(320)) == pytest.approx([-3.01], abs=0.01)
