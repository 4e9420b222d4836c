"""Slaney's mel scale, as in librosa, and the spectra that Wav2Lip and Whisper apply it to. NumPy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["mel_filters", "spectra"]

_LINEAR_STEP_HZ = 200 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_STEP_HZ
_LOG_STEP = np.log(6.4) / 27
"""Below 1 kHz a mel is 66.7 Hz; above it, 27 mels are a factor of 6.4 (Slaney, Auditory Toolbox, 1998)."""


def _to_mel(hz: float) -> float:
    return hz / _LINEAR_STEP_HZ if hz < _BREAK_HZ else float(_BREAK_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_STEP_HZ, _BREAK_HZ * np.exp((mel - _BREAK_MEL) * _LOG_STEP))


def mel_filters(
    rate_hz: int, fft_size: int, bands: int, lowest_hz: float, highest_hz: float
) -> npt.NDArray[np.float64]:
    """Return (bands, fft_size // 2 + 1): triangles of equal area, evenly spaced in mel."""
    bins_hz = np.linspace(0, rate_hz / 2, fft_size // 2 + 1)
    corners_hz = _to_hz(np.linspace(_to_mel(lowest_hz), _to_mel(highest_hz), bands + 2))[:, None]
    left, peak, right = corners_hz[:-2], corners_hz[1:-1], corners_hz[2:]
    triangles = np.minimum((bins_hz - left) / (peak - left), (right - bins_hz) / (right - peak))
    return np.asarray(np.maximum(0, triangles) * 2 / (right - left))


def spectra(samples: npt.NDArray[np.floating], fft_size: int, hop: int) -> npt.NDArray[np.float64]:
    """Return magnitudes, (n, fft_size // 2 + 1), under periodic Hann windows. The first begins at the first sample.

    There are as many windows as fit: n = (len(samples) - fft_size) // hop + 1, or none.
    """
    if len(samples) < fft_size:
        return np.zeros((0, fft_size // 2 + 1))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(fft_size) / fft_size)
    pieces = np.lib.stride_tricks.sliding_window_view(samples, fft_size)[::hop]
    return np.abs(np.fft.rfft(pieces * window, axis=1))
