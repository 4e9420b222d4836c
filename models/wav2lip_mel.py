"""The mel spectrogram that Wav2Lip was trained on: 80 bands, 80 columns a second, between -4 (silence) and 4.

The formulas and numbers are those of the original's `audio.py` and `hparams.py`. NumPy only.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from models.mel_filters import mel_filters, spectra

__all__ = ["BANDS", "COLUMN_SAMPLES", "HOP_SAMPLES", "mel_columns", "mel_spectrogram", "pre_emphasised"]

SAMPLE_RATE_HZ = 16_000
BANDS = 80
HOP_SAMPLES = 200
COLUMN_SAMPLES = 800
"""Samples that a column depends on: half before its time, half after."""

_LOWEST_HZ, _HIGHEST_HZ = 55, 7600
_PRE_EMPHASIS = 0.97
_FLOOR_DB, _REFERENCE_DB = -100, 20
_RANGE = 4.0


@cache
def _filters() -> npt.NDArray[np.float64]:
    return mel_filters(SAMPLE_RATE_HZ, COLUMN_SAMPLES, BANDS, _LOWEST_HZ, _HIGHEST_HZ)


def pre_emphasised(samples: npt.NDArray[np.floating], before: float = 0.0) -> npt.NDArray[np.float64]:
    """Subtract from each 16 kHz sample most of the previous one; `before` precedes the first."""
    wide = np.concatenate([[before], samples]).astype(np.float64)
    return wide[1:] - _PRE_EMPHASIS * wide[:-1]


def mel_columns(emphasised: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return (n, BANDS) of pre-emphasised samples.

    The first column's time is COLUMN_SAMPLES / 2 after the first sample.

    There are as many columns as fit: n = (len(emphasised) - COLUMN_SAMPLES) // HOP_SAMPLES + 1, or none.
    """
    bands = spectra(emphasised, COLUMN_SAMPLES, HOP_SAMPLES) @ _filters().T
    level_db = 20 * np.log10(np.maximum(bands, 10 ** (_FLOOR_DB / 20))) - _REFERENCE_DB
    normalised = 2 * _RANGE * (level_db - _FLOOR_DB) / -_FLOOR_DB - _RANGE
    return np.clip(normalised, -_RANGE, _RANGE).astype(np.float32)


def mel_spectrogram(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return (BANDS, 1 + len(samples) // HOP_SAMPLES) for all the speech, with silence around it."""
    return mel_columns(np.pad(pre_emphasised(samples), COLUMN_SAMPLES // 2)).T
