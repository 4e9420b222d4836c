"""WebRtcCanceller: takes the avatar's own voice, and steady noise, out of what a microphone heard.

Browsers do this too, but not all of them do it well, and some not at all for sound that comes over a WebSocket.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.ears.packaged import missing_packages
from pipeline.ears.reference import REFERENCE_RATE_HZ, EchoReference
from pipeline.errors import BackendUnavailable
from pipeline.types import FloatArray

__all__ = ["WebRtcCanceller"]

_PIECE = REFERENCE_RATE_HZ // 50  # 20 ms


class WebRtcCanceller:
    """WebRTC's audio processing (pywebrtc-audio). Of one session, and used on one thread at a time.

    It costs 0.9 % of a core. Raises BackendUnavailable if the package is missing.
    """

    def __init__(self, reference: EchoReference) -> None:
        if missing := missing_packages("pywebrtc_audio"):
            raise BackendUnavailable("echo canceller", *missing)
        self._reference = reference
        self._processor: Any = None
        self._microphone = np.zeros(0, np.float32)
        self._played = np.zeros(0, np.float32)

    def cancel(self, samples: FloatArray, arrived_s: float) -> FloatArray:
        """(n,) at 16 kHz as it arrived at that clock time -> (m,), the same stream without the echo.

        Whole pieces of 20 ms come out; the rest waits for what comes next.
        """
        if self._processor is None:
            from pywebrtc_audio import AudioProcessor

            self._processor = AudioProcessor(
                sample_rate=REFERENCE_RATE_HZ, echo_cancellation=True, noise_suppression=True
            )
        self._microphone = np.concatenate([self._microphone, samples])
        self._played = np.concatenate([self._played, self._reference.take(len(samples), arrived_s)])
        whole = len(self._microphone) - len(self._microphone) % _PIECE
        cleaned = [
            np.asarray(self._processor.process(self._microphone[at : at + _PIECE], self._played[at : at + _PIECE]))
            for at in range(0, whole, _PIECE)
        ]
        self._microphone, self._played = self._microphone[whole:].copy(), self._played[whole:].copy()
        return np.concatenate(cleaned).astype(np.float32, copy=False) if cleaned else np.zeros(0, np.float32)
