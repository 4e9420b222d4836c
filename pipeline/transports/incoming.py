"""IncomingSound: a viewer's microphone as one continuous stream that keeps time."""

from __future__ import annotations

import numpy as np

from pipeline.clock import Clock
from pipeline.transports.budget import Budget
from pipeline.types import FloatArray

__all__ = ["BURST_S", "IncomingSound"]

BURST_S = 2.0
"""Most sound accepted at once: a network that was stuck delivers what it held."""
PACE = 1.05
"""Seconds of sound accepted per second in the long run. Sound cards run a little fast or slow, but less than this."""
LONGEST_GAP_S = 1.0
"""After a longer gap the microphone was off, so nothing was lost."""
POSITIONS = 1 << 32


class IncomingSound:
    """Replaces lost sound by silence, and refuses sound that arrives faster than it can have been spoken.

    The listener measures time by the number of samples, so a loss must not shorten the stream.

    rate_hz: rate of the samples, and the unit of positions.
    """

    def __init__(self, rate_hz: int, clock: Clock) -> None:
        self._rate_hz = rate_hz
        self._budget = Budget(clock, BURST_S * rate_hz, PACE * rate_hz)  # in samples, so that pieces add up exactly
        self._next: int | None = None

    def take(self, position: int, samples: FloatArray) -> FloatArray | None:
        """Return the samples, after silence for what is missing before them; None if they are refused as too fast.

        position: place of the first sample in the microphone's stream, modulo 2**32. samples: (n,) float32.
        """
        gap = 0 if self._next is None else (position - self._next) % POSITIONS
        self._next = (position + len(samples)) % POSITIONS
        if gap > LONGEST_GAP_S * self._rate_hz:  # also if the position went back: the microphone was opened again
            gap = 0
        if not self._budget.take(gap + len(samples)):
            return None
        return np.concatenate([np.zeros(gap, np.float32), samples]) if gap else samples
