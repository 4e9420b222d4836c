"""The null device: a network that costs a set time and draws what the measuring mouth draws.

With it scheduling is tested, and everything around a network is measured, on a machine without a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from avatars.bundle import AvatarBundle
from pipeline.lipsync.flash import FlashLipSync
from pipeline.lipsync.plain import PlainLipSync
from pipeline.types import FacePatch, LipSyncRequest

__all__ = ["NullLipSync"]


class NullLipSync(PlainLipSync):
    """A batch of n pictures takes batch_ms + n * picture_ms, as on a GPU: the processor is free meanwhile.

    wait  takes seconds and returns when they have passed; injected by tests
    """

    name = "null"
    features = "loudness"
    max_batch = 16
    on_device = True

    def __init__(
        self, batch_ms: float = 5.0, picture_ms: float = 3.0, wait: Callable[[float], object] = time.sleep
    ) -> None:
        self._batch_ms, self._picture_ms = batch_ms, picture_ms
        self._wait = wait
        self._mouth = FlashLipSync()

    def prepare(self, bundle: AvatarBundle) -> AvatarBundle:
        return self._mouth.prepare(bundle)

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """windows: float32 (1,), dBFS."""
        if requests:
            self._wait((self._batch_ms + len(requests) * self._picture_ms) / 1000)
        return self._mouth.infer(requests)
