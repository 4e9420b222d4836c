"""Measures what a lip-sync backend costs on its device, once, by drawing an avatar that hears noise.

Each batch is a separate call on the device thread, so that pictures of running sessions come in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import numpy as np

from avatars.bundle import AvatarBundle
from pipeline.capacity import DrawingCost
from pipeline.device import DeviceWorker
from pipeline.interfaces import FeatureExtractor, LipSync
from pipeline.types import FEATURE_RATE_HZ, FPS, AudioChunk, FeatureWindow, LipSyncRequest

__all__ = ["Sample", "measure_cost", "measured_fairly"]

MAX_ROUNDS = 2
"""The best of so many rounds counts: other work on the machine makes a round slower, never faster."""
MAX_LOOKS, FAR_TOO_SLOW = 3, 3
"""A backend that seems too slow is measured up to so many times, unless it is too slow by this factor."""
HOPELESS_S = 0.5
"""If one picture takes this long, it is not measured again, nor in a batch."""


async def measure_cost(timed: Callable[[int], Awaitable[float]], batch: int) -> DrawingCost:
    """Measure the cost. `timed(n)` draws n pictures and returns the seconds it took; the first of a size warms up.

    batch  the largest batch in ordinary use
    """
    await timed(1)
    one_s = await _best_s(lambda: timed(1))
    if batch < 2 or one_s > HOPELESS_S:
        return DrawingCost(0.0, one_s)
    await timed(batch)
    return DrawingCost.of(one_s, await _best_s(lambda: timed(batch)), batch)


async def measured_fairly(timed: Callable[[int], Awaitable[float]], batch: int) -> DrawingCost:
    """Measure like measure_cost(), but again if the result is a little too slow for one session.

    The machine may have been busy.
    """
    costs = [await measure_cost(timed, batch)]
    while 1 < costs[-1].share(batch) < FAR_TOO_SLOW and len(costs) < MAX_LOOKS:
        costs.append(await measure_cost(timed, batch))
    return min(costs, key=lambda cost: cost.share(batch))


async def _best_s(timed: Callable[[], Awaitable[float]]) -> float:
    times: list[float] = []
    while len(times) < MAX_ROUNDS and max(times, default=0.0) <= HOPELESS_S:
        times.append(await timed())
    return min(times)


@dataclass(frozen=True, slots=True)
class Sample:
    """The drawing that is measured: one backend with one avatar, on its device."""

    device: DeviceWorker
    extractor: FeatureExtractor
    lipsync: LipSync
    state: object
    bundle: AvatarBundle
    now_s: Callable[[], float]

    async def cost(self) -> DrawingCost:
        """Measure the lip-sync, and its features if they are made on the device, too."""
        windows = await self.device.call(self._windows_of_a_second)

        async def draw(count: int) -> float:
            return await self._timed(lambda: self._draw(windows, count))

        cost = await measured_fairly(draw, min(self.lipsync.max_batch, FPS))
        if not self.extractor.on_device:
            return cost
        return replace(cost, features_s=await _best_s(lambda: self._timed(self._windows_of_a_second)) / FPS)

    async def _timed(self, work: Callable[[], object]) -> float:
        def measured() -> float:
            start_s = self.now_s()
            work()
            return self.now_s() - start_s

        return await self.device.call(measured)

    def _windows_of_a_second(self) -> list[FeatureWindow]:
        stream = self.extractor.stream()
        noise = np.random.default_rng(0).normal(0, 0.1, FEATURE_RATE_HZ).astype(np.float32)
        return [*stream.push(AudioChunk(noise, FEATURE_RATE_HZ)), *stream.flush()]

    def _draw(self, windows: list[FeatureWindow], count: int) -> None:
        self.device.draw_here(
            self.lipsync,
            [
                LipSyncRequest(self.state, at % self.bundle.frame_count, windows[at % len(windows)], 0.0)
                for at in range(count)
            ],
        )
