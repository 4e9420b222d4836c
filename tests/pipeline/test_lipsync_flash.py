"""The measuring mouth."""

import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from pipeline.lipsync.flash import FlashLipSync
from pipeline.types import FeatureWindow, LipSyncRequest


@pytest.mark.parametrize(("dbfs", "level"), [(-120.0, 0), (-40.0, 0), (-39.99, 255), (0.0, 255)])
def test_white_above_forty_below_full_scale_else_black(small_bundle: AvatarBundle, dbfs: float, level: int) -> None:
    """The box is white when the picture's own sound is louder than -40 dBFS, else black, and opaque."""
    backend = FlashLipSync()
    window = FeatureWindow(np.array([dbfs], np.float32), 0)
    patch = backend.infer([LipSyncRequest(backend.prepare(small_bundle), 0, window, 0.0)])[0]
    assert patch.mask is None
    assert patch.pixels.shape == (32, 32, 3)
    assert (patch.pixels == level).all()
