"""Finds where a voice stresses a word: it is louder and higher than before. Pure; looks at most 3 pictures ahead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.rest import LOUD_DBFS
from pipeline.types import PLAYOUT_RATE_HZ, FloatArray

__all__ = ["AHEAD_PICTURES", "Stress"]

AHEAD_PICTURES = 3
"""Sound later than this never matters, so a picture is the same whether it is drawn live or offline."""

_LEAD_PICTURES = 2
"""A stress is reported this long before its peak: a head needs time to move. One more picture confirms the peak."""
_USUAL_DBFS, _USUAL_PICTURES = -20.0, 12
"""Voices are brought to this level before they are played. It starts the averages, weighing like so many pictures."""
_LONGEST_PICTURES = 50
"""Memory of the running averages. It is short because pitch and level fall over a long speech."""
_FULL_DB, _FULL_SEMITONES = 7.0, 5.0
"""Either of these above the average is a full stress by itself."""
_LEAST = 0.4
"""A weaker stress is ignored."""

_STEP = 6
_RATE_HZ = PLAYOUT_RATE_HZ // _STEP
_LOWEST_HZ, _HIGHEST_HZ = 70, 400
_VOICED = 0.5
"""Least autocorrelation of a sound that has a pitch."""


class Stress:
    """Takes the pictures of one sentence, in order."""

    def __init__(self) -> None:
        self._strengths: list[float] = []
        self._level_dbfs, self._pitch = _USUAL_DBFS, 0.0
        self._loud, self._pitched = _USUAL_PICTURES, 0

    def hear(self, frames: Sequence[FloatArray]) -> None:
        """Take the samples of further pictures, (SAMPLES_PER_PICTURE,) each at PLAYOUT_RATE_HZ."""
        if not frames:
            return
        sound = np.stack(frames)
        levels = 10 * np.log10(np.mean(np.square(sound), axis=1) + 1e-10)
        for level, pitch in zip(levels.tolist(), _semitones(sound).tolist(), strict=True):
            self._strengths.append(self._strength(level, pitch))

    def at(self, index: int) -> float:
        """Return the strength of the stress that comes right after picture `index`, 0..1; 0 if there is none.

        It is the same whether the whole sentence is known or only AHEAD_PICTURES beyond `index`.
        """
        peak = index + _LEAD_PICTURES
        first = 0 if index == 0 else peak  # the first picture also reports the peaks that come earlier
        for at in range(first, min(peak + 1, len(self._strengths))):
            before, after = (self._strengths[n] if 0 <= n < len(self._strengths) else 0.0 for n in (at - 1, at + 1))
            if self._strengths[at] >= _LEAST and self._strengths[at] > before and self._strengths[at] >= after:
                return self._strengths[at]
        return 0.0

    def _strength(self, level_dbfs: float, pitch: float) -> float:
        """Return a picture's strength against the running averages, 0..1, and then add the picture to them."""
        if level_dbfs < LOUD_DBFS:
            return 0.0
        louder = (level_dbfs - self._level_dbfs) / _FULL_DB
        self._loud = min(self._loud + 1, _LONGEST_PICTURES)
        self._level_dbfs += (level_dbfs - self._level_dbfs) / self._loud
        higher = 0.0
        if np.isfinite(pitch):
            self._pitched = min(self._pitched + 1, _LONGEST_PICTURES)
            higher = (pitch - self._pitch) / _FULL_SEMITONES if self._pitched > 1 else 0.0
            self._pitch += (pitch - self._pitch) / self._pitched
        return float(np.clip(np.clip(louder, -1, 1) + np.clip(higher, -1, 1), 0, 1))


def _semitones(sound: FloatArray) -> FloatArray:
    """Return the pitch of each row in semitones above _LOWEST_HZ, float32 (n,); NaN if it has none."""
    rows, samples = sound.shape
    # Averaging leaves what a pitch needs. The autocorrelation, computed by FFT, peaks at the period of the voice.
    slow = sound[:, : samples - samples % _STEP].reshape(rows, -1, _STEP).mean(axis=2)
    slow = slow - slow.mean(axis=1, keepdims=True)
    length = slow.shape[1]
    spectrum = np.fft.rfft(slow, 2 * length, axis=1)
    alike = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :length]
    alike = alike / (alike[:, :1] + 1e-9)
    shortest, longest = _RATE_HZ // _HIGHEST_HZ, _RATE_HZ // _LOWEST_HZ
    lags = np.arange(shortest, longest + 1)
    best = np.argmax(alike[:, shortest : longest + 1], axis=1)  # later lags share fewer samples, so they win less often
    share = alike[np.arange(rows), shortest + best] * length / (length - lags[best])
    pitch = 12 * np.log2(_RATE_HZ / lags[best] / _LOWEST_HZ)
    return np.where(share > _VOICED, pitch, np.nan).astype(np.float32)
