"""Which channels of a recording hold a voice, and how loud it is."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from models.arrays import FloatArray

__all__ = ["FAINTEST_DBFS", "Energies"]

FRAMES_HZ: Final = 50
"of the short stretches that energy is measured in"
VOICE_BAND_HZ: Final = (100.0, 4000.0)
FLOOR_PERCENTILE: Final = 20
"of a channel's energies: what is always there is hum and hiss, not speech"
AGREEING: Final = 0.5
"correlation with the best channel from which a channel is mixed with it: a mix of two that disagree cancels"
MUCH_FAINTER: Final = 0.1
"of the best channel's energy: what is below would only make the mix softer"
SPOKEN_S: Final = 0.2
"The level exceeded for so long in all is that of speech; what is louder for a moment is a click."
WORD_S: Final = 0.1
"What can be heard for less than that in all is no word."
ACTIVE_RANGE_DB: Final = 25.0
"Stretches further below that are pauses."
FAINTEST_DBFS: Final = -60.0
"Below this there is nothing to hear, however loud it is made."


class Energies:
    """What each channel of a recording holds, in stretches of 20 ms, in the band of voices."""

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
        if len(piece) != self._channels:  # the layout changed; what came before decides
            return
        self._sums += piece.sum(axis=1, dtype=np.float64)
        self._samples += piece.shape[1]
        held = np.concatenate([self._rest, piece], axis=1)
        whole = held.shape[1] // self._length * self._length
        self._rest = held[:, whole:]
        frames = held[:, :whole].reshape(self._channels, -1, self._length)
        # Parseval: twice the power in the bins, each of which stands for its mirror too, over the length squared.
        bins = np.fft.rfft(frames, axis=2)[:, :, self._band] * (math.sqrt(2) / self._length)
        self._powers.append(np.sum(np.abs(bins) ** 2, axis=2))
        self._agreement += np.einsum("ifb,jfb->ij", bins, bins.conj()).real

    def weights(self) -> npt.NDArray[np.float64]:
        """(channels,) of a mono mix: the channel with most speech, and those that agree with it."""
        energy = np.maximum(np.diag(self._agreement), 1e-12)
        best = int(np.argmax(self._speech()))
        agreement = self._agreement[best] / np.sqrt(energy * energy[best])
        mixed = (agreement >= AGREEING) & (energy >= MUCH_FAINTER * energy[best])
        mixed[best] = True
        return np.where(mixed, 1 / mixed.sum(), 0.0)

    def level_dbfs(self, weights: npt.NDArray[np.float64]) -> float:
        """RMS of the mix where somebody speaks."""
        powers = np.sort(self._all_powers() @ weights)[::-1] if self._powers else np.zeros(0)
        audible = powers[powers >= 10 ** (FAINTEST_DBFS / 10)]  # one word may be all there is in a long silence
        if len(audible) < WORD_S * FRAMES_HZ:
            return -math.inf
        speech = audible[min(round(SPOKEN_S * FRAMES_HZ), len(audible) // 4)]
        active = audible[audible >= speech * 10 ** (-ACTIVE_RANGE_DB / 10)]
        return 10 * math.log10(float(np.mean(np.minimum(active, speech))))

    def offsets(self) -> tuple[float, ...]:
        return tuple((self._sums / max(1, self._samples)).tolist())

    def _speech(self) -> npt.NDArray[np.float64]:
        """(channels,) energy that comes and goes; all of it where none does."""
        powers = self._all_powers()
        if not len(powers):
            return self._sums * 0
        floor = np.percentile(powers, FLOOR_PERCENTILE, axis=0)
        speech: npt.NDArray[np.float64] = np.maximum(powers - 2 * floor, 0).mean(axis=0)
        everything: npt.NDArray[np.float64] = powers.mean(axis=0)
        return speech if speech.max() > 0.01 * everything.max() else everything

    def _all_powers(self) -> npt.NDArray[np.float64]:
        """float64 (stretches, channels), in the order in which the stretches were heard."""
        return np.concatenate(self._powers, axis=1).T.astype(np.float64)
