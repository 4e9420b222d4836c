"""Windows of Wav2Lip's mel spectrogram; what all extractors promise is in tests/contracts."""

from __future__ import annotations

import numpy as np
import pytest

from models.wav2lip_mel import mel_spectrogram
from pipeline.features.mel import MelExtractor
from pipeline.types import FEATURE_RATE_HZ, AudioChunk, FeatureWindow, FloatArray


@pytest.fixture
def noise() -> FloatArray:
    """Two seconds."""
    return np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)


def windows_of(samples: FloatArray) -> list[FeatureWindow]:
    stream = MelExtractor().stream()
    return stream.push(AudioChunk(samples, FEATURE_RATE_HZ)) + stream.flush()


def test_windows_are_the_originals(noise: FloatArray) -> None:
    """Picture p sees the 16 columns from int(80 p / 25) on of the whole sentence's spectrogram."""
    mel = mel_spectrogram(noise)
    windows = windows_of(noise)
    starts = [0, 3, 6, 9, 12, 16, 19, 22, 25, 28, 32, 35, 38, 41, 44, 48, 51, 54, 57, 60, 64]
    assert mel.shape[1] >= starts[-1] + 16
    for window, start in zip(windows, starts, strict=False):
        np.testing.assert_allclose(window.data, mel[:, start : start + 16], atol=1e-5)


def test_after_the_sentence_is_silence(noise: FloatArray) -> None:
    """Windows that reach beyond the sentence see silence there, and before it what the whole spectrogram has."""
    mel = mel_spectrogram(noise)
    last = windows_of(noise)[-1]
    start = 80 * 49 // 25
    known = mel.shape[1] - start
    np.testing.assert_allclose(last.data[:, :known], mel[:, start:], atol=1e-5)
    assert (last.data[:, known + 2 :] == -4).all()


def test_a_window_waits_for_its_own_200_ms_only(noise: FloatArray) -> None:
    """A picture is given as soon as its last column has all it hears."""
    stream = MelExtractor().stream()
    assert stream.push(AudioChunk(noise[:3399], FEATURE_RATE_HZ)) == []
    assert len(stream.push(AudioChunk(noise[3399:3400], FEATURE_RATE_HZ))) == 1
