"""The null device."""

from collections.abc import Sequence

import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from pipeline.lipsync.flash import FlashLipSync
from pipeline.lipsync.null import NullLipSync
from pipeline.types import FeatureWindow, LipSyncRequest


def requests(bundle: AvatarBundle, levels: Sequence[float]) -> list[LipSyncRequest]:
    return [LipSyncRequest(bundle, i, FeatureWindow(np.array([v], np.float32), i), 0.0) for i, v in enumerate(levels)]


def test_a_batch_costs_its_set_time_and_a_picture_its_own(small_bundle: AvatarBundle) -> None:
    """n pictures at once wait once, batch_ms + n * picture_ms; no pictures wait not at all."""
    waits: list[float] = []
    backend = NullLipSync(batch_ms=5, picture_ms=3, wait=waits.append)
    backend.load("cpu")
    for count in (1, 4, 0):
        backend.infer(requests(backend.prepare(small_bundle), [0.0] * count))
    assert waits == pytest.approx([0.008, 0.017])


def test_it_draws_what_the_measuring_mouth_draws(small_bundle: AvatarBundle) -> None:
    """White in loud pictures, black in others."""
    asked = requests(small_bundle, (-120.0, 0.0, -30.0))
    drawn = NullLipSync(wait=lambda _: None).infer(asked)
    for patch, expected in zip(drawn, FlashLipSync().infer(asked), strict=True):
        assert (patch.pixels == expected.pixels).all()
        assert patch.box == expected.box
