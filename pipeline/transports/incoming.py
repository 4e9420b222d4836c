"""IncomingSound: the sound of a viewer's microphone, as one stream that keeps time."""

from __future__ import annotations

import numpy as np

from pipeline.clock import Clock
from pipeline.transports.budget import Budget
from pipeline.types import FloatArray

__all__ = ["BURST_S", "IncomingSound"]

BURST_S = 2.0
"""A network that stood still for so long hands over its sound at once."""
PACE = 1.05
"""Seconds of sound a second that are taken in the long run. Sound cards run a little fast or slow, but not so much."""
LONGEST_GAP_S = 1.0
"""A longer pause means that the microphone was off, so nothing was lost."""
POSITIONS = 1 << 32


class IncomingSound:
    """Fills with silence what was lost on the way, and refuses sound that comes faster than it can have been spoken.

    The listener knows by the number of samples how much time has passed, so a loss must not shorten the stream.

    rate_hz: of the samples, and what positions are counted in.
    """

    def __init__(self, rate_hz: int, clock: Clock) -> None:
        self._rate_hz = rate_hz
        self._budget = Budget(clock, BURST_S * rate_hz, PACE * rate_hz)  # in samples, so that pieces add up exactly
        self._next: int | None = None

    def take(self, position: int, samples: FloatArray) -> FloatArray | None:
        """The samples, after silence for what is missing before them; None if they came too fast and are refused.

        position: place of the first sample in the microphone's stream, modulo 2**32; samples: (n,) float32.
        """
        gap = 0 if self._next is None else (position - self._next) % POSITIONS
        self._next = (position + len(samples)) % POSITIONS
        if gap > LONGEST_GAP_S * self._rate_hz:  # also what lies before: the microphone was opened anew
            gap = 0
        if not self._budget.take(gap + len(samples)):
            return None
        return np.concatenate([np.zeros(gap, np.float32), samples]) if gap else samples
