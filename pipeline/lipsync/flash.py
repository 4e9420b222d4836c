"""The measuring mouth: white while there is sound, black while there is none.

With a synthesizer of known sound anyone can measure sync from outside, by comparing brightness with loudness.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avatars.bundle import AvatarBundle
from pipeline.lipsync.plain import PlainLipSync
from pipeline.types import FacePatch, LipSyncRequest

__all__ = ["LOUD_DBFS", "FlashLipSync"]

LOUD_DBFS = -40.0


class FlashLipSync(PlainLipSync):
    """Fills the box white in each picture whose own 40 ms of audio is louder than LOUD_DBFS, else black."""

    name = "flash"
    features = "loudness"
    max_batch = 8

    def prepare(self, bundle: AvatarBundle) -> AvatarBundle:
        return bundle

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """windows: float32 (1,), dBFS."""
        patches = []
        for request in requests:
            x0, y0, x1, y1 = (int(edge) for edge in request.state.boxes[request.frame_index])
            level = 255 if float(request.window.data[0]) > LOUD_DBFS else 0
            patches.append(FacePatch(np.full((y1 - y0, x1 - x0, 3), level, np.uint8), (x0, y0, x1, y1), None))
        return patches
