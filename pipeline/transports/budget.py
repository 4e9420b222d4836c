"""Budget: limits how much a peer may send."""

from __future__ import annotations

from pipeline.clock import Clock

__all__ = ["Budget"]


class Budget:
    """A token bucket: allows `burst` at once, and `per_s` a second after that."""

    def __init__(self, clock: Clock, burst: float, per_s: float) -> None:
        self._clock = clock
        self._burst = burst
        self._per_s = per_s
        self._left = burst
        self._filled_s = clock.now_s()

    def take(self, amount: float = 1.0) -> bool:
        """Take an amount and return True; if less is left, take nothing and return False."""
        now_s = self._clock.now_s()
        passed_s, self._filled_s = now_s - self._filled_s, now_s
        self._left = min(self._burst, self._left + self._per_s * passed_s)
        if self._left < amount:
            return False
        self._left -= amount
        return True
