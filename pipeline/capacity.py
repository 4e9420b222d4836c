"""How many sessions a device carries, from what drawing costs there (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.types import FPS

__all__ = ["USABLE_SHARE", "DrawingCost"]

USABLE_SHARE = 0.85
"""Of a device's time; the rest absorbs what comes at once, such as features and first pictures."""


@dataclass(frozen=True, slots=True)
class DrawingCost:
    """A batch of n pictures takes batch_s + n * picture_s, and features_s for the features of each."""

    batch_s: float = 0.0
    picture_s: float = 0.0
    features_s: float = 0.0
    "of features that are made on the device"

    @classmethod
    def of(cls, one_s: float, many_s: float, many: int) -> DrawingCost:
        """From how long one picture took and how long a batch of `many` (at least 2)."""
        picture_s = max(0.0, (many_s - one_s) / (many - 1))
        return cls(max(0.0, one_s - picture_s), picture_s)

    def share(self, batch: int) -> float:
        """Of a device's time, that one speaking session takes when pictures are drawn in batches of `batch`."""
        return FPS * (self.features_s + self.picture_s + self.batch_s / batch)

    def pictures_a_second(self, batch: int) -> float:
        return batch / max(self.drawing_s(batch) + batch * self.features_s, 1e-9)

    def drawing_s(self, batch: int) -> float:
        """How long a batch is drawn."""
        return self.batch_s + batch * self.picture_s

    def pictures_within(self, seconds: float) -> int:
        """The largest batch that is drawn in that time; 0 if none is."""
        return max(0, int((seconds - self.batch_s) / max(self.picture_s, 1e-6)))
