"""Smart Turn: a network that hears from melody and words whether somebody who pauses has said all.

The network is Daily's smart-turn-v3.2 (BSD-2), a file of pipecat-ai. Its input is Whisper's spectrogram of the last
8 s. We make that ourselves, so nothing of that package is imported. The file is checked by its SHA-256.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from models.whisper_mel import log_mel_spectrogram
from pipeline.ears.packaged import PackagedFile, missing_packages, onnx_session
from pipeline.errors import BackendUnavailable
from pipeline.types import LISTEN_RATE_HZ, FloatArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["SmartTurn"]

NETWORK: Final = PackagedFile(
    package="pipecat",
    path="audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
    sha256="2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
)
_HEARD_SAMPLES: Final = 8 * LISTEN_RATE_HZ
_VARIANCE_FLOOR: Final = 1e-7


class SmartTurn:
    """0.1 s of one thread per pause. It may be wrong in the middle of a sentence, so it is never the only rule."""

    name = "smart-turn"

    def __init__(self) -> None:
        """Raises BackendUnavailable."""
        if missing := missing_packages("onnxruntime", NETWORK.package):
            raise BackendUnavailable(self.name, *missing)
        self._session: InferenceSession | None = None

    def load(self) -> None:
        """Raises BackendUnavailable: the file is damaged or another one."""
        self._session = onnx_session(NETWORK, self.name)

    def probability(self, samples: FloatArray) -> float:
        """Call load() before."""
        assert self._session is not None, "load() comes first"
        heard = np.zeros(_HEARD_SAMPLES, np.float32)
        last = samples[-_HEARD_SAMPLES:]
        if len(last):
            heard[-len(last) :] = last
        heard = (heard - heard.mean()) / np.sqrt(heard.var() + np.float32(_VARIANCE_FLOOR))
        (probability,) = self._session.run(None, {"input_features": log_mel_spectrogram(heard)[None]})
        return float(probability.reshape(-1)[0])

    async def aclose(self) -> None:
        """Idempotent."""
        self._session = None
