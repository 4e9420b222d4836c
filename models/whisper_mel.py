"""The log-mel spectrogram that Whisper was trained on: 80 bands, 100 columns a second.

Formulas and numbers are those of openai-whisper's `audio.py`, also used by Hugging Face. NumPy only.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from models.mel_filters import mel_filters, spectra

__all__ = ["BANDS", "COLUMN_SAMPLES", "HOP_SAMPLES", "log_mel_spectrogram", "loudness_limited", "mel_columns"]

SAMPLE_RATE_HZ = 16_000
BANDS = 80
HOP_SAMPLES = 160
COLUMN_SAMPLES = 400
"""Samples that a column depends on: half before its time, half after."""

_FLOOR = 1e-10
_SEEN = 8.0
"""Dynamic range below the loudest spot, in powers of ten."""


@cache
def _filters() -> npt.NDArray[np.float64]:
    return mel_filters(SAMPLE_RATE_HZ, COLUMN_SAMPLES, BANDS, 0, SAMPLE_RATE_HZ / 2)


def mel_columns(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return (BANDS, n), powers of ten of 16 kHz samples.

    The first column's time is COLUMN_SAMPLES / 2 after the first.

    There are as many columns as fit: n = (len(samples) - COLUMN_SAMPLES) // HOP_SAMPLES + 1, or none.
    """
    power = spectra(samples, COLUMN_SAMPLES, HOP_SAMPLES) ** 2
    return np.log10(np.maximum(_filters() @ power.T, _FLOOR))


def loudness_limited(columns: npt.NDArray[np.float64], loudest: float) -> npt.NDArray[np.float32]:
    """Return the encoder's input: columns in units of four powers of ten, clipped at 8 powers below `loudest`."""
    return ((np.maximum(columns, loudest - _SEEN) + 4) / 4).astype(np.float32)


def log_mel_spectrogram(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return (BANDS, len(samples) // HOP_SAMPLES) for a whole segment, mirrored at both ends. Needs 201 samples."""
    mirrored = np.pad(samples, COLUMN_SAMPLES // 2, mode="reflect")
    columns = mel_columns(mirrored)[:, : len(samples) // HOP_SAMPLES]
    return loudness_limited(columns, columns.max())
