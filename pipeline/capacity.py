"""How many sessions a device carries: what a lip-sync backend costs there, measured once with real requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from avatars.bundle import AvatarBundle
from pipeline.interfaces import FeatureExtractor, LipSync
from pipeline.types import FEATURE_RATE_HZ, FPS, AudioChunk, FeatureWindow, LipSyncRequest

__all__ = ["USABLE_SHARE", "DrawingCost", "measure_cost", "sample_work"]

USABLE_SHARE = 0.85
"""Of a device's time; the rest absorbs what comes at once, such as features and first pictures."""
MOST_ROUNDS = 2
"""The best of so many: whatever else the machine does makes a round slower, never faster."""
HOPELESS_S = 0.5
"""A picture that takes so long is not measured again, let alone in a batch."""


@dataclass(frozen=True, slots=True)
class DrawingCost:
    """A batch of n pictures takes batch_s + n * picture_s, and to hear what they say n * hearing_s before."""

    batch_s: float = 0.0
    picture_s: float = 0.0
    hearing_s: float = 0.0
    "of features that are made on the device"

    @classmethod
    def of(cls, one_s: float, many_s: float, many: int) -> DrawingCost:
        """From how long one picture took and how long a batch of `many` (at least 2)."""
        picture_s = max(0.0, (many_s - one_s) / (many - 1))
        return cls(max(0.0, one_s - picture_s), picture_s)

    def share(self, batch: int) -> float:
        """Of a device's time, that one speaking session takes when pictures are drawn in batches of `batch`."""
        return FPS * (self.hearing_s + self.picture_s + self.batch_s / batch)

    def pictures_a_second(self, batch: int) -> float:
        return batch / max(self.drawing_s(batch) + batch * self.hearing_s, 1e-9)

    def drawing_s(self, batch: int) -> float:
        """How long a batch is drawn."""
        return self.batch_s + batch * self.picture_s

    def pictures_within(self, seconds: float) -> int:
        """The largest batch that is drawn in that time; 0 if none is."""
        return max(0, int((seconds - self.batch_s) / max(self.picture_s, 1e-6)))


def measure_cost(draw: Callable[[int], object], batch: int, now_s: Callable[[], float]) -> DrawingCost:
    """Measure by drawing: `draw(n)` draws n pictures. The first call is not counted: it warms up.

    batch  the largest batch in ordinary use
    """
    draw(1)
    one_s = _best_s(lambda: draw(1), now_s)
    if batch < 2 or one_s > HOPELESS_S:
        return DrawingCost(0.0, one_s)
    draw(batch)
    return DrawingCost.of(one_s, _best_s(lambda: draw(batch), now_s), batch)


def _best_s(work: Callable[[], object], now_s: Callable[[], float]) -> float:
    times = []
    for _ in range(MOST_ROUNDS):
        start_s = now_s()
        work()
        times.append(now_s() - start_s)
        if times[-1] > HOPELESS_S:
            break
    return min(times)


def sample_work(
    extractor: FeatureExtractor, lipsync: LipSync, state: Any, bundle: AvatarBundle, now_s: Callable[[], float]
) -> Callable[[], DrawingCost]:
    """What is to be done on the device thread to measure a backend: draw an avatar that hears noise.

    The features' time counts in when they are made on the device.
    """

    def windows_of_a_second() -> list[FeatureWindow]:
        stream = extractor.stream()
        noise = np.random.default_rng(0).normal(0, 0.1, FEATURE_RATE_HZ).astype(np.float32)
        return [*stream.push(AudioChunk(noise, FEATURE_RATE_HZ)), *stream.flush()]

    def draw(windows: list[FeatureWindow], count: int) -> None:
        lipsync.infer(
            [LipSyncRequest(state, at % bundle.frame_count, windows[at % len(windows)], 0.0) for at in range(count)]
        )

    def measure() -> DrawingCost:
        windows = windows_of_a_second()
        cost = measure_cost(lambda count: draw(windows, count), min(lipsync.max_batch, FPS), now_s)
        if not extractor.on_device:
            return cost
        return replace(cost, hearing_s=_best_s(windows_of_a_second, now_s) / FPS)

    return measure
