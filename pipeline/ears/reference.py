"""EchoReference: the sound a microphone's sound is compared with, to remove the avatar's own voice from it.

The playout releases sound. Some time later the viewer's loudspeaker plays it, and the microphone hears it. A canceller
finds that delay by itself, if the reference precedes the echo, by less than half a second.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.clock import Clock
from pipeline.types import FPS, PLAYOUT_RATE_HZ, FloatArray, MediaFrame

__all__ = ["REFERENCE_RATE_HZ", "EchoReference"]

REFERENCE_RATE_HZ = 16_000
HELD_S = 8.0
"""Length of the sound that is kept: more than viewers' buffers hold. Requests beyond it get silence."""
LEAD_S = 0.1
"""The reference precedes the echo by about this much, plus the time from the microphone to the server."""
WANDERED_S = 0.06
"""Tolerated drift before the reference is moved. The clocks of sound cards drift apart by seconds a day."""
JUMPED_S = 0.5
"""After a jump this large the reference is moved at once: sound was lost, or the session's clock slipped."""
EARLY_S = 0.03
"""Sound may arrive late, but never early. If it seems this early, earlier sound must have been late."""
BELIEVED_AFTER_S = 2.0
"""A drift is believed after this much of the microphone's sound, if all of it showed the drift."""

_DECIMATION = PLAYOUT_RATE_HZ // REFERENCE_RATE_HZ
_FRAME_SAMPLES = REFERENCE_RATE_HZ // FPS
_TAPS = 49


def _low_pass() -> FloatArray:
    """Return (_TAPS,): a low-pass for the band of 16 kHz.

    It is short, so that sound can be used at once (0.5 ms late).
    """
    taps = np.sinc(2 * 7_000 / PLAYOUT_RATE_HZ * (np.arange(_TAPS) - _TAPS // 2)) * np.hamming(_TAPS)
    return np.asarray(taps / taps.sum(), np.float32)


class EchoReference:
    """An output of a session's playout. take() may be called from another thread.

    clock: the playout's. delay_s: returns the time from a frame's release until the viewer plays it; 0 if unknown.
    """

    name = "echo reference"

    def __init__(self, clock: Clock, delay_s: Callable[[], float]) -> None:
        self._clock = clock
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._ring = np.zeros(round(HELD_S * REFERENCE_RATE_HZ), np.float32)
        self._end = 0  # place of the next sample, on the media clock
        self._released_s = 0.0  # clock time at which the last frame was released
        self._tail = np.zeros(_TAPS - 1, np.float32)
        self._taps = _low_pass()
        self._place: int | None = None  # of the next sample that take() returns
        self._watched = 0  # samples of the microphone since the place was last checked
        self._least = 0

    def send(self, frame: MediaFrame) -> None:
        """Resample the frame's sound to 16 kHz and keep it. Never waits."""
        sound = np.concatenate([self._tail, frame.audio])
        self._tail = sound[-(_TAPS - 1) :]
        samples = sliding_window_view(sound, _TAPS)[::_DECIMATION] @ self._taps if sound.any() else None
        with self._lock:
            self._end = (frame.number + 1) * _FRAME_SAMPLES
            self._released_s = self._clock.now_s()
            places = np.arange(self._end - _FRAME_SAMPLES, self._end) % len(self._ring)
            self._ring[places] = 0.0 if samples is None else samples

    def flush(self) -> None:
        """Do nothing: sound that was released may already be on its way to the viewer."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    def take(self, count: int, arrived_s: float) -> FloatArray:
        """Return (count,): the reference for as many samples of the microphone, which arrived at that clock time.

        Call it for each piece in order. The results form one continuous stream, except where sound was lost.
        """
        with self._lock:
            due = self._due(arrived_s) - count
            place = due if self._place is None else self._kept_in_step(self._place, due, count)
            self._place = place + count
            places = np.arange(place, place + count)
            samples = self._ring[places % len(self._ring)].copy()
            samples[(places < self._end - len(self._ring)) | (places >= self._end) | (places < 0)] = 0.0
        return samples

    def skip(self, count: int) -> None:
        """Note that `count` samples of the microphone were lost before the next take()."""
        with self._lock:
            if self._place is not None:
                self._place += count

    def restart(self) -> None:
        """Begin a new stream with the next take(), because listening was off for an unknown time."""
        with self._lock:
            self._place = None
            self._watched = 0

    def _due(self, at_s: float) -> int:
        """Return the sample that a reference without any delay would have reached at that clock time."""
        since_s = at_s - self._released_s - max(0.0, self._delay_s() - LEAD_S)
        return self._end - _FRAME_SAMPLES + round(since_s * REFERENCE_RATE_HZ)

    def _kept_in_step(self, place: int, due: int, count: int) -> int:
        # Sound may arrive late but not early, so the least offset seen over a while is the true one.
        off = due - place
        self._least = min(self._least, off) if self._watched else off
        self._watched += count
        has_jumped = off > JUMPED_S * REFERENCE_RATE_HZ or off < -EARLY_S * REFERENCE_RATE_HZ
        if has_jumped or self._watched >= BELIEVED_AFTER_S * REFERENCE_RATE_HZ:
            moved = off if has_jumped else self._least
            self._watched = 0
            if has_jumped or abs(moved) > WANDERED_S * REFERENCE_RATE_HZ:
                return place + moved
        return place
