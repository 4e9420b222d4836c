"""Computes how many sessions a device can serve from what drawing costs there (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.types import FPS

__all__ = ["USABLE_SHARE", "DrawingCost"]

USABLE_SHARE = 0.85
"""Usable share of a device's time. The rest absorbs bursts, such as features and first pictures."""


@dataclass(frozen=True, slots=True)
class DrawingCost:
    """A batch of n pictures takes batch_s + n * picture_s seconds, and features_s more per picture for its features."""

    batch_s: float = 0.0
    picture_s: float = 0.0
    features_s: float = 0.0
    "for features that are made on the device; otherwise 0"

    @classmethod
    def of(cls, one_s: float, many_s: float, many: int) -> DrawingCost:
        """Compute it from the times of one picture and of a batch of `many` (at least 2)."""
        picture_s = max(0.0, (many_s - one_s) / (many - 1))
        return cls(max(0.0, one_s - picture_s), picture_s)

    def share(self, batch: int) -> float:
        """Return the share of a device's time that one speaking session takes, with batches of that size."""
        return FPS * (self.features_s + self.picture_s + self.batch_s / batch)

    def pictures_a_second(self, batch: int) -> float:
        """Return how many pictures a second are drawn in batches of that size."""
        return batch / max(self.drawing_s(batch) + batch * self.features_s, 1e-9)

    def drawing_s(self, batch: int) -> float:
        """Return how long a batch takes, without features."""
        return self.batch_s + batch * self.picture_s

    def pictures_within(self, seconds: float) -> int:
        """Return the largest batch that can be drawn in that time; 0 if none can."""
        return max(0, int((seconds - self.batch_s) / max(self.picture_s, 1e-6)))
