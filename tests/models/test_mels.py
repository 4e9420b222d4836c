"""The mel spectrograms of Wav2Lip and Whisper, against numbers of their own code (see each test)."""

from __future__ import annotations

import numpy as np
import pytest

from models.mel_filters import mel_filters
from models.wav2lip_mel import mel_spectrogram
from models.whisper_mel import COLUMN_SAMPLES, log_mel_spectrogram, loudness_limited, mel_columns
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


def test_whispers_mel_is_the_originals(chord: FloatArray) -> None:
    """The spectrogram of a second in a silent 30 s segment agrees with Hugging Face's WhisperFeatureExtractor."""
    mel = log_mel_spectrogram(np.pad(chord, (0, 464_000)))
    assert mel.shape == (80, 3000)
    assert mel.dtype == np.float32
    row = [1.1380286, 0.6075604, 0.0695865, 0.069589, 0.1333151, -0.0042678, 0.1333157, 0.0695865]
    column = [-0.0042678, 0.222015, 0.4684759, 0.8831439, 1.2224348, 1.2622621, 1.1872302, 0.8518755, 0.4497006]
    np.testing.assert_allclose(mel[0, :8], row, atol=1e-4)
    np.testing.assert_allclose(mel[:9, 50], column, atol=1e-4)
    np.testing.assert_allclose(mel[:, 200], -0.56159, atol=1e-4)
    assert mel.mean() == pytest.approx(-0.5522972, abs=1e-4)
    assert mel.max() == pytest.approx(1.4384100, abs=1e-4)


def test_whispers_columns_can_be_made_one_by_one(chord: FloatArray) -> None:
    """Columns of a cut-out are those of the whole second."""
    whole = log_mel_spectrogram(chord)
    loudest = mel_columns(np.pad(chord, 200, mode="reflect"))[:, :-1].max()
    start = 20 * 160 - COLUMN_SAMPLES // 2
    part = loudness_limited(mel_columns(chord[start : start + 9 * 160 + COLUMN_SAMPLES]), loudest)
    np.testing.assert_allclose(part, whole[:, 20:30], atol=1e-5)
