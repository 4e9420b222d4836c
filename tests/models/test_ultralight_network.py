"""Ultralight's network against its published layers, and what is put in and taken out of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_ultralight import random_ultralight, write_ultralight_network
from torch import Tensor
from torch.nn import functional

from models.errors import WeightsDamaged, WeightsMissing, WrongArchitecture
from models.ultralight import Ultralight, draw, load_ultralight, network_input

pytestmark = pytest.mark.thorough

PUBLISHED_PARAMETERS = 12_159_591

# lipku/LiveTalking avatars/ultralight/unet.py, mode "hubert": (channels in, channels) of each inverted residual.
RESIDUALS = {
    "audio_model.conv1": (16, 64),
    "audio_model.conv2": (64, 128),
    "audio_model.conv4": (256, 256),
    "audio_model.conv6": (512, 512),
    "audio_model.conv7": (512, 512),
    "fuse_conv.0.double_conv.0": (1024, 512),
    "fuse_conv.0.double_conv.1": (512, 512),
    "fuse_conv.1.double_conv.0": (512, 256),
    "fuse_conv.1.double_conv.1": (256, 256),
    "inc.inconv.0": (6, 32),
    "down1.maxpool_conv.0.double_conv.0": (32, 64),
    "down1.maxpool_conv.0.double_conv.1": (64, 64),
    "down2.maxpool_conv.0.double_conv.0": (64, 128),
    "down2.maxpool_conv.0.double_conv.1": (128, 128),
    "down3.maxpool_conv.0.double_conv.0": (128, 256),
    "down3.maxpool_conv.0.double_conv.1": (256, 256),
    "down4.maxpool_conv.0.double_conv.0": (256, 512),
    "down4.maxpool_conv.0.double_conv.1": (512, 512),
    "up1.conv.double_conv.0": (512, 128),
    "up1.conv.double_conv.1": (128, 128),
    "up2.conv.double_conv.0": (256, 64),
    "up2.conv.double_conv.1": (64, 64),
    "up3.conv.double_conv.0": (128, 32),
    "up3.conv.double_conv.1": (32, 32),
    "up4.conv.double_conv.0": (64, 32),
    "up4.conv.double_conv.1": (32, 32),
}
CONVOLUTIONS = {"audio_model.conv3": (128, 256, 3), "audio_model.conv5": (256, 512, 3), "outc.conv": (32, 3, 1)}


def norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    of = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.num_batches_tracked": ()} | {f"{name}.{entry}": (channels,) for entry in of}


def published_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = norm_shapes("audio_model.bn3", 256) | norm_shapes("audio_model.bn5", 512)
    for name, (channels_in, channels) in RESIDUALS.items():
        wide = 2 * channels_in
        shapes |= {
            f"{name}.conv.0.weight": (wide, channels_in, 1, 1),
            f"{name}.conv.3.weight": (wide, 1, 3, 3),
            f"{name}.conv.6.weight": (channels, wide, 1, 1),
            **norm_shapes(f"{name}.conv.1", wide),
            **norm_shapes(f"{name}.conv.4", wide),
            **norm_shapes(f"{name}.conv.7", channels),
        }
    for name, (channels_in, channels, kernel) in CONVOLUTIONS.items():
        shapes |= {f"{name}.weight": (channels, channels_in, kernel, kernel), f"{name}.bias": (channels,)}
    return shapes


def by_formula(state: Mapping[str, Tensor], faces: Tensor, audio: Tensor) -> Tensor:
    """The published forward pass, in plain functions."""

    def norm(name: str, x: Tensor) -> Tensor:
        of = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (state[f"{name}.{entry}"][:, None, None] for entry in of)
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def residual(name: str, x: Tensor, stride: int = 1, *, add: bool = False) -> Tensor:
        y = norm(f"{name}.conv.1", functional.conv2d(x, state[f"{name}.conv.0.weight"])).clamp(min=0)
        by_channel = state[f"{name}.conv.3.weight"]
        y = functional.conv2d(y, by_channel, stride=stride, padding=1, groups=len(by_channel))
        y = norm(f"{name}.conv.4", y).clamp(min=0)
        y = norm(f"{name}.conv.7", functional.conv2d(y, state[f"{name}.conv.6.weight"]))
        return x + y if add else y

    def double(name: str, x: Tensor, stride: int = 1) -> Tensor:
        return residual(f"{name}.double_conv.1", residual(f"{name}.double_conv.0", x, stride), add=True)

    def convolution(name: str, x: Tensor, padding: int) -> Tensor:
        return functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], 2, padding)

    a = residual("audio_model.conv2", residual("audio_model.conv1", audio))
    a = norm("audio_model.bn3", convolution("audio_model.conv3", a, 1)).clamp(min=0)
    a = residual("audio_model.conv4", a, add=True)
    a = norm("audio_model.bn5", convolution("audio_model.conv5", a, 3)).clamp(min=0)
    a = residual("audio_model.conv7", residual("audio_model.conv6", a, add=True), add=True)
    seen = [residual("inc.inconv.0", faces)]
    for i in range(1, 5):
        seen.append(double(f"down{i}.maxpool_conv.0", seen[-1], 2))
    x = double("fuse_conv.1", double("fuse_conv.0", torch.cat([seen.pop(), a], dim=1)))
    up = torch.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    for i in range(1, 5):
        x = double(f"up{i}.conv", torch.cat([up(x), seen.pop()], dim=1))
    x = functional.conv2d(x, state["outc.conv.weight"], state["outc.conv.bias"])
    return 1 / (1 + torch.exp(-x))


def noise(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """RGB crops and HuBERT windows."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 168, 168, 3), np.uint8), rng.standard_normal((n, 16, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Ultralight:
    return load_ultralight(write_ultralight_network(tmp_path_factory.mktemp("avatar") / "ultralight.pth", seed=0))


def test_tensors_are_those_of_the_published_files() -> None:
    """At full width every name and shape is the published network's, and none is more."""
    with torch.device("meta"):
        network = Ultralight(width=32)
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == published_shapes()
    assert sum(value.numel() for value in network.parameters()) == PUBLISHED_PARAMETERS


@pytest.mark.parametrize("width", [1, 4])
def test_a_network_draws_what_the_published_formulas_draw(width: int) -> None:
    """The same weights give the same picture to 1e-4 in a plain transcription."""
    network = random_ultralight(seed=5, width=width)
    crops, windows = noise(2)
    pictures, audio = network_input(torch.from_numpy(crops)), torch.from_numpy(windows)
    with torch.inference_mode():
        drawn = network(pictures, audio)
    assert drawn.shape == (2, 3, 160, 160)
    assert drawn.std() > 0.05
    torch.testing.assert_close(drawn, by_formula(network.state_dict(), pictures, audio), atol=1e-4, rtol=0)


def test_what_was_saved_is_loaded(loaded: Ultralight) -> None:
    """The file of an avatar gives the tensors that went into it."""
    saved = random_ultralight().state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())
    assert not loaded.training


def test_input_is_the_face_and_the_face_behind_a_rectangle() -> None:
    """Bit by bit what LiveTalking puts in, which is BGR, with OpenCV's idea of the rectangle (5, 5, 150, 145)."""
    crops, _ = noise(2)
    expected = []
    for crop in crops:
        inner = crop[4:164, 4:164, ::-1].copy()
        masked = cv2.rectangle(inner.copy(), (5, 5, 150, 145), (0, 0, 0), -1)
        expected.append(np.concatenate([inner, masked], axis=2).transpose(2, 0, 1).astype(np.float32) / 255.0)
    np.testing.assert_array_equal(network_input(torch.from_numpy(crops)).numpy(), np.stack(expected))


class SeesOnly(Ultralight):
    """Gives back the masked face."""

    def forward(self, faces: Tensor, audio: Tensor) -> Tensor:
        assert audio.shape == (len(faces), 16, 32, 32)
        return faces[:, 3:]


def test_what_is_drawn_lies_inside_the_crop() -> None:
    """The crop's border of 4 px stays; inside it is what the network gave, in RGB again."""
    crops, windows = noise(2)
    drawn = draw(SeesOnly(1), crops, windows)
    expected = crops.copy()
    expected[:, 9:154, 9:159] = 0
    np.testing.assert_array_equal(drawn, expected)


def test_a_batch_is_its_pictures_one_by_one(loaded: Ultralight) -> None:
    """No picture of a batch depends on another; at most a rounding differs."""
    crops, windows = noise(3)
    together = draw(loaded, crops, windows)
    alone = np.concatenate([draw(loaded, crops[i : i + 1], windows[i : i + 1]) for i in range(3)])
    assert together.shape == crops.shape
    assert together.dtype == np.uint8
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_what_is_not_finite_is_not_drawn(loaded: Ultralight) -> None:
    """One NaN in a batch is an error instead of black."""
    crops, windows = noise(2)
    windows[1, 5, 3, 3] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        draw(loaded, crops, windows)


@pytest.mark.parametrize(("dtype", "levels"), [(torch.float16, 0.6), (torch.bfloat16, 4.5)])
def test_half_precision_is_near(loaded: Ultralight, dtype: torch.dtype, levels: float) -> None:
    """A network in either half takes the same input and draws nearly the same (measured: 0.4 and 3.1 levels)."""
    crops, windows = noise(2)
    half = random_ultralight().to(dtype)
    assert np.abs(draw(half, crops, windows).astype(int) - draw(loaded, crops, windows)).mean() < levels


def test_other_speech_is_another_picture(loaded: Ultralight) -> None:
    """The same face with other windows is drawn otherwise."""
    crops, windows = noise(1)
    assert np.abs(draw(loaded, crops, windows).astype(int) - draw(loaded, crops, -windows)).mean() > 1


def test_tensors_may_not_be_missing_or_more(tmp_path: Path) -> None:
    """A file with a tensor less or more is refused, and the tensor is named."""
    state = random_ultralight().state_dict()
    path = tmp_path / "ultralight.pth"
    torch.save({**state, "extra.weight": torch.zeros(1)}, path)
    with pytest.raises(WrongArchitecture, match=r"extra\.weight"):
        load_ultralight(path)
    del state["up2.conv.double_conv.0.conv.6.weight"]
    torch.save(state, path)
    with pytest.raises(WrongArchitecture, match=r"up2\.conv\.double_conv\.0\.conv\.6\.weight"):
        load_ultralight(path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("audio_model.conv1.conv.0.weight", (64, 32, 1, 1)), ("audio_model.conv3.weight", (8, 8, 3, 3))],
    ids=["windows of 32 steps", "WeNet features"],
)
def test_networks_for_other_features_are_refused(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """A network that hears other windows than 16 steps of HuBERT is refused, and the error says so."""
    state = random_ultralight().state_dict()
    torch.save({**state, name: torch.zeros(shape)}, tmp_path / "ultralight.pth")
    with pytest.raises(WrongArchitecture, match="16 steps of HuBERT"):
        load_ultralight(tmp_path / "ultralight.pth")


@pytest.mark.parametrize("width", [0, 1000])
def test_a_width_that_no_network_has_is_refused(width: int, tmp_path: Path) -> None:
    """The file says how wide the network is; it may not say any number."""
    state = random_ultralight().state_dict()
    torch.save({**state, "outc.conv.weight": torch.zeros(3, width, 1, 1)}, tmp_path / "w.pth")
    with pytest.raises(WrongArchitecture, match=f"{width} channels wide"):
        load_ultralight(tmp_path / "w.pth")


def test_other_files_are_refused(tmp_path: Path) -> None:
    """Weights of something else, a torn file and no file at all each have their error."""
    path = tmp_path / "ultralight.pth"
    with pytest.raises(WeightsMissing):
        load_ultralight(path)
    torch.save({"face_encoder_blocks.0.weight": torch.zeros(3)}, path)
    with pytest.raises(WrongArchitecture, match="no network of Ultralight"):
        load_ultralight(path)
    whole = write_ultralight_network(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsDamaged):
        load_ultralight(path)
