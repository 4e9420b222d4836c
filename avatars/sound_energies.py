"""Finds the channels of a recording that hold a voice, and measures how loud it is."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from models.arrays import FloatArray

__all__ = ["FAINTEST_DBFS", "Energies"]

FRAMES_HZ: Final = 50
"Energy is measured in stretches of 1/50 s."
VOICE_BAND_HZ: Final = (100.0, 4000.0)
FLOOR_PERCENTILE: Final = 20
"This percentile of a channel's energies is its noise floor: what is always there is hum and hiss, not speech."
AGREEING: Final = 0.5
"""A channel is mixed with the best one if its correlation with it is at least this high: two channels in opposite phase
would cancel."""
MUCH_FAINTER: Final = 0.1
"A channel with less than this fraction of the best channel's energy is left out: it would only make the mix quieter."
SPOKEN_S: Final = 0.2
"Speech is as loud as the level that is exceeded for this long in total. Anything louder is shorter, such as a click."
WORD_S: Final = 0.1
"Sound that is audible for less than this in total is not a word."
ACTIVE_RANGE_DB: Final = 25.0
"Stretches that are further than this below the level of speech are pauses."
FAINTEST_DBFS: Final = -60.0
"Below this level there is nothing to hear, however much it is amplified."


class Energies:
    """Energies of each channel of a recording, in stretches of 20 ms, in the frequency band of voices."""

    def __init__(self, channels: int, rate_hz: int) -> None:
        self._length = max(1, rate_hz // FRAMES_HZ)
        self._channels = channels
        bins_hz = np.fft.rfftfreq(self._length, 1 / rate_hz)
        low, high = VOICE_BAND_HZ
        self._band = (bins_hz >= low) & (bins_hz <= high)
        self._rest = np.zeros((channels, 0), np.float32)
        self._powers: list[FloatArray] = []
        self._agreement = np.zeros((channels, channels))
        self._sums, self._samples = np.zeros(channels), 0

    def push(self, piece: FloatArray) -> None:
        """Add the next piece of sound, float32 (channels, n), of any length."""
        if len(piece) != self._channels:  # the layout changed midway: only the sound before counts
            return
        self._sums += piece.sum(axis=1, dtype=np.float64)
        self._samples += piece.shape[1]
        held = np.concatenate([self._rest, piece], axis=1)
        whole = held.shape[1] // self._length * self._length
        self._rest = held[:, whole:]
        frames = held[:, :whole].reshape(self._channels, -1, self._length)
        # Parseval: each bin also stands for its mirror image, so power is twice their sum, over the length squared.
        bins = np.fft.rfft(frames, axis=2)[:, :, self._band] * (math.sqrt(2) / self._length)
        self._powers.append(np.sum(np.abs(bins) ** 2, axis=2))
        self._agreement += np.einsum("ifb,jfb->ij", bins, bins.conj()).real

    def weights(self) -> npt.NDArray[np.float64]:
        """Return the weights (channels,) of a mono mix: the channel with most speech, and those that agree with it."""
        energy = np.maximum(np.diag(self._agreement), 1e-12)
        best = int(np.argmax(self._speech()))
        agreement = self._agreement[best] / np.sqrt(energy * energy[best])
        mixed = (agreement >= AGREEING) & (energy >= MUCH_FAINTER * energy[best])
        mixed[best] = True
        return np.where(mixed, 1 / mixed.sum(), 0.0)

    def level_dbfs(self, weights: npt.NDArray[np.float64]) -> float:
        """Return the RMS level of the mix while somebody speaks; -inf if nothing is audible."""
        powers = np.sort(self._all_powers() @ weights)[::-1] if self._powers else np.zeros(0)
        audible = powers[powers >= 10 ** (FAINTEST_DBFS / 10)]  # a long silence may contain just one word
        if len(audible) < WORD_S * FRAMES_HZ:
            return -math.inf
        # In a short recording, a quarter of the audible stretches stands for SPOKEN_S.
        speech = audible[min(round(SPOKEN_S * FRAMES_HZ), len(audible) // 4)]
        active = audible[audible >= speech * 10 ** (-ACTIVE_RANGE_DB / 10)]
        return 10 * math.log10(float(np.mean(np.minimum(active, speech))))

    def offsets(self) -> tuple[float, ...]:
        """Return the DC offset of each channel."""
        return tuple((self._sums / max(1, self._samples)).tolist())

    def _speech(self) -> npt.NDArray[np.float64]:
        """Return (channels,) the energy above the noise floor; all energy if no channel has any above it."""
        powers = self._all_powers()
        if not len(powers):
            return self._sums * 0
        floor = np.percentile(powers, FLOOR_PERCENTILE, axis=0)
        speech: npt.NDArray[np.float64] = np.maximum(powers - 2 * floor, 0).mean(axis=0)
        everything: npt.NDArray[np.float64] = powers.mean(axis=0)
        return speech if speech.max() > 0.01 * everything.max() else everything

    def _all_powers(self) -> npt.NDArray[np.float64]:
        """Return the power in each stretch, float64 (stretches, channels), in order."""
        return np.concatenate(self._powers, axis=1).T.astype(np.float64)
