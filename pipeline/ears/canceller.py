"""WebRtcCanceller: removes the avatar's own voice, and steady noise, from a microphone's sound.

Browsers do this, too, but not all do it well, and some not at all for sound played from a WebSocket.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pipeline.ears.packaged import missing_packages
from pipeline.ears.reference import REFERENCE_RATE_HZ, EchoReference
from pipeline.errors import BackendUnavailable
from pipeline.types import FloatArray

__all__ = ["WebRtcCanceller"]

_PIECE = REFERENCE_RATE_HZ // 50  # 20 ms
_LINGERS = 2 * REFERENCE_RATE_HZ
"""Samples of silence from the avatar after which none of its voice is in the room, or on its way there."""


class _Processor(Protocol):
    """The part of pywebrtc_audio.AudioProcessor that is used here."""

    def process(self, microphone: FloatArray, played: FloatArray, /) -> object:
        """Clean one piece. Both arrays have the same length, and so has the result."""
        ...


class WebRtcCanceller:
    """WebRTC's audio processing (pywebrtc-audio) for one session. Use it on one thread at a time.

    It takes 1.5 % of a 2 GHz core while the avatar speaks, and 0.3 % while it is silent, when it removes steady noise
    only. Raises BackendUnavailable if the package is missing.
    """

    def __init__(self, reference: EchoReference) -> None:
        if missing := missing_packages("pywebrtc_audio"):
            raise BackendUnavailable("echo canceller", *missing)
        self._reference = reference
        self._processors: tuple[_Processor, _Processor] | None = None
        "The first cancels echo, the second only removes noise. They are made with the first sound."
        self._microphone = np.zeros(0, np.float32)
        self._played = np.zeros(0, np.float32)
        self._silent_for = _LINGERS  # samples since the avatar's voice was last played

    def cancel(self, samples: FloatArray, arrived_s: float) -> FloatArray:
        """Remove the echo from the next part of the stream.

        samples: (n,) at 16 kHz that arrived at that clock time. Returns (m,): whole pieces of 20 ms. The remainder
        waits for the next call.
        """
        if self._processors is None:
            from pywebrtc_audio import AudioProcessor

            self._processors = (
                AudioProcessor(sample_rate=REFERENCE_RATE_HZ, echo_cancellation=True, noise_suppression=True),
                AudioProcessor(sample_rate=REFERENCE_RATE_HZ, echo_cancellation=False, noise_suppression=True),
            )
        self._microphone = np.concatenate([self._microphone, samples])
        self._played = np.concatenate([self._played, self._reference.take(len(samples), arrived_s)])
        whole = len(self._microphone) - len(self._microphone) % _PIECE
        cleaned = [
            np.asarray(processor.process(self._microphone[start:end], self._played[start:end]), np.float32)
            for processor, start, end in self._runs(whole, *self._processors)
        ]
        self._microphone, self._played = self._microphone[whole:].copy(), self._played[whole:].copy()
        return np.concatenate(cleaned) if cleaned else np.zeros(0, np.float32)

    def skip(self, count: int) -> None:
        """Note that `count` samples of the microphone were lost before the next call of cancel()."""
        self._reference.skip(count)

    def restart(self) -> None:
        """Begin a new stream: the next samples for cancel() do not follow the previous ones."""
        self._reference.restart()
        self._microphone = self._played = np.zeros(0, np.float32)

    def _runs(self, whole: int, with_echo: _Processor, noise_only: _Processor) -> list[tuple[_Processor, int, int]]:
        """Return (processor, start, end) for stretches of the first `whole` samples. Mostly one processor takes all."""
        runs: list[tuple[_Processor, int, int]] = []
        for at in range(0, whole, _PIECE):
            end = at + _PIECE
            self._silent_for = 0 if self._played[at:end].any() else self._silent_for + _PIECE
            # The echo canceller keeps what it has learned about the room, for when the avatar speaks again.
            processor = with_echo if self._silent_for < _LINGERS else noise_only
            start = runs.pop()[1] if runs and runs[-1][0] is processor else at
            runs.append((processor, start, end))
        return runs
