"""The mel spectrograms of Wav2Lip and Whisper, against numbers of their own code (see each test)."""

from __future__ import annotations

import numpy as np
import pytest

from models.mel_filters import mel_filters
from models.wav2lip_mel import mel_spectrogram
from pipeline.types import FloatArray


@pytest.fixture
def chord() -> FloatArray:
    """One second of two tones."""
    t = np.arange(16_000) / 16_000
    return (0.5 * np.sin(2 * np.pi * 440 * t) + 0.25 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)


def test_filters_have_slaneys_area() -> None:
    """Each filter has an area of 1 per Hz in all, whatever its width, up to the coarseness of the bins."""
    areas = mel_filters(16_000, 800, 80, 55, 7600).sum(axis=1) * 20
    np.testing.assert_allclose(areas[40:], 1, atol=0.03)


def test_wav2lips_mel_is_the_originals(chord: FloatArray) -> None:
    """The spectrogram agrees with what audio.py of Wav2Lip gives for the same second."""
    mel = mel_spectrogram(chord)
    assert mel.shape == (80, 81)
    assert mel.dtype == np.float32
    beginning = [-0.5060224, -0.2509211, 0.1452136, 0.7790646, 0.65997, -0.363275, -0.5236769, 0.1295078]
    middle = [-4, -4, -4, 0.878895, 0.9807203, -0.8582812, -4, -4, -4, 1.6546408, 1.9897637, 0.4905742]
    row = [1.7024471, *[1.9897637] * 9, 1.6920704]
    np.testing.assert_allclose(mel[:8, 0], beginning, atol=1e-4)
    np.testing.assert_allclose(mel[:12, 40], middle, atol=1e-4)
    np.testing.assert_allclose(mel[10, ::8], row, atol=1e-4)
    np.testing.assert_allclose(mel[-1, -4:], [-4, -4, -2.2221684, -1.7433239], atol=1e-4)
    assert mel.mean() == pytest.approx(-3.5045437, abs=1e-4)


def test_wav2lips_silence_is_the_floor() -> None:
    """Digital silence is -4 in every band."""
    assert (mel_spectrogram(np.zeros(3200, np.float32)) == -4).all()
