"""AudioSeal's networks with random weights of the published form, against what Meta's own package makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import WeightsDamaged, WrongArchitecture
from models.sound_seal import SoundSeal, _Detector, _Generator
from tests.tiny_audioseal import published_state, write_audioseal_weights

pytestmark = pytest.mark.thorough

SOUND = (0.3 * np.sin(np.arange(1000) / 7)).astype(np.float32)
MARK = [0.66357803, 0.08840819, 0.18721473, -0.27095619, 0.27054036, 1.0795213, 0.39407575, -0.12583362]
JUDGED = [0.09302853, 0.15501779, 0.11173428, 0.09251109, 0.11836538, 0.08548418, 0.085003220, 0.08804939]
"""What audioseal 0.2.0 makes of SOUND with the same weights (2026-11-29), each 125th sample."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_audioseal_weights(tmp_path_factory.mktemp("weights")) / "audioseal"


@pytest.fixture(scope="module")
def seal(weights: Path) -> SoundSeal:
    return SoundSeal(weights / "generator_base.pth", weights / "detector_base.pth")


def test_it_marks_and_judges_as_the_package_does(seal: SoundSeal) -> None:
    """To the last digits of single precision."""
    assert seal.mark_of(SOUND)[::125] == pytest.approx(MARK, abs=2e-5)
    with torch.inference_mode():
        judged = seal._detector(torch.from_numpy(SOUND)[None, None])[0].numpy()
    assert judged[::125] == pytest.approx(JUDGED, abs=2e-5)
    assert seal.marked_share([SOUND]) == 0.0 and seal.marked_share([]) == 0.0


@pytest.mark.parametrize("length", [1, 319, 320, 321, 16_000])
def test_a_mark_is_as_long_as_its_sound(seal: SoundSeal, length: int) -> None:
    """Whatever the steps of the network are."""
    assert seal.mark_of(np.zeros(length, np.float32)).shape == (length,)
    assert 0 <= seal.marked_share([np.zeros(length, np.float32)]) <= 1


def test_names_and_weight_norm_of_other_releases_are_known(weights: Path, seal: SoundSeal, tmp_path: Path) -> None:
    """0.2 says `inner_conv`; a checkpoint of a training has lengths and directions. The same mark comes out."""
    newer, normed = {}, {}
    for name, value in published_state(_Generator()).items():
        newer[name.replace("conv.conv.", "conv.conv.inner_conv.").replace("tr.convtr.", "tr.convtr.inner_conv.")] = (
            value
        )
        if name.endswith("conv.conv.weight"):
            normed[f"{name}_g"] = value.flatten(1).norm(dim=1)[:, None, None]
            normed[f"{name}_v"] = 3 * value
        else:
            normed[name] = value
    for state in (newer, normed):
        path = tmp_path / "generator.pth"
        torch.save({"model": state}, path)
        other = SoundSeal(path, weights / "detector_base.pth")
        assert other.mark_of(SOUND) == pytest.approx(seal.mark_of(SOUND), abs=1e-4)


def test_what_is_no_seal_is_told(weights: Path, tmp_path: Path) -> None:
    """Another network, and a file that is damaged."""
    detector = weights / "detector_base.pth"
    with pytest.raises(WrongArchitecture):
        SoundSeal(detector, detector)
    damaged = tmp_path / "generator_base.pth"
    damaged.write_bytes((weights / "generator_base.pth").read_bytes()[:5000])
    with pytest.raises(WeightsDamaged):
        SoundSeal(damaged, detector)


def test_a_detector_that_is_sure_says_so(tmp_path: Path, weights: Path) -> None:
    """The share is that of samples for which a mark is likelier than none."""
    state = published_state(_Detector())
    state["detector.1.bias"] = state["detector.1.bias"] + torch.tensor([0.0, 9.0, *[0.0] * 16])
    path = tmp_path / "detector_base.pth"
    torch.save({"model": state}, path)
    assert SoundSeal(weights / "generator_base.pth", path).marked_share([SOUND, SOUND]) == 1.0
