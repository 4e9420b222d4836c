"""Smart Turn: a network that judges from melody and words whether a speaker who pauses is done.

The network is Daily's smart-turn-v3.2 (BSD-2), a file of pipecat-ai. Its input is Whisper's spectrogram of the last
8 s, which is computed here, so nothing of that package is imported. The file is checked by its SHA-256.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from models.whisper_mel import log_mel_spectrogram
from pipeline.ears.packaged import PackagedFile, PackagedNetwork
from pipeline.types import LISTEN_RATE_HZ, FloatArray

__all__ = ["SmartTurn"]

NETWORK: Final = PackagedFile(
    package="pipecat",
    path="audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
    sha256="2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
)
_HEARD_SAMPLES: Final = 8 * LISTEN_RATE_HZ
_VARIANCE_FLOOR: Final = 1e-7


class SmartTurn(PackagedNetwork):
    """Takes 0.1 s of one thread per pause. It may be wrong in mid-sentence, so it is never the only rule."""

    name = "smart-turn"
    file = NETWORK

    def probability(self, samples: FloatArray) -> float:
        """Return the probability that the speaker is done. Call load() first."""
        heard = np.zeros(_HEARD_SAMPLES, np.float32)
        last = samples[-_HEARD_SAMPLES:]
        if len(last):
            heard[-len(last) :] = last
        heard = (heard - heard.mean()) / np.sqrt(heard.var() + np.float32(_VARIANCE_FLOOR))
        (probability,) = self.session.run(None, {"input_features": log_mel_spectrogram(heard)[None]})
        return float(probability.reshape(-1)[0])
