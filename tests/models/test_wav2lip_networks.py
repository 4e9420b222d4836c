"""Wav2Lip 96 and 256 against their published layers, and what is put in and taken out of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from tiny_wav2lip import random_wav2lip, save_checkpoint, write_wav2lip_weights
from torch import Tensor
from torch.nn import functional

from models.errors import WeightsDamaged, WeightsMissing, WrongArchitecture
from models.wav2lip import Side, Wav2Lip, draw, load_wav2lip, network_input

pytestmark = pytest.mark.thorough

SIDES: tuple[Side, ...] = (96, 256)
PUBLISHED_PARAMETERS = {96: 36_298_035, 256: 53_605_683}


class Layer(NamedTuple):
    """As published: convolution, batch norm, ReLU."""

    channels_in: int
    channels: int
    kernel: int
    stride: tuple[int, int]
    padding: int
    kind: str
    "conv, residual (adds its input), or grow (transposed; doubles when its stride is 2)"


def layer(text: str) -> Layer:
    """From "channels_in channels kernel stride padding [kind]"; a stride may be "rows,columns"."""
    channels_in, channels, kernel, stride, padding, *kind = text.split()
    rows, _, columns = stride.partition(",")
    strides = (int(rows), int(columns or rows))
    return Layer(int(channels_in), int(channels), int(kernel), strides, int(padding), kind[0] if kind else "conv")


def same(channels: int, n: int) -> list[str]:
    return [f"{channels} {channels} 3 1 1 residual"] * n


# Rudrabha/Wav2Lip models/wav2lip.py and lipku/LiveTalking avatars/wav2lip/models/wav2lip_v2.py, line by line.
AUDIO = [
    *("1 32 3 1 1", *same(32, 2)),
    *("32 64 3 3,1 1", *same(64, 2)),
    *("64 128 3 3 1", *same(128, 2)),
    *("128 256 3 3,2 1", *same(256, 1)),
    *("256 512 3 1 0", "512 512 1 1 0"),
]
ENCODER = {
    96: [
        ["6 16 7 1 3"],
        ["16 32 3 2 1", *same(32, 2)],
        ["32 64 3 2 1", *same(64, 3)],
        ["64 128 3 2 1", *same(128, 2)],
        ["128 256 3 2 1", *same(256, 2)],
        ["256 512 3 2 1", *same(512, 1)],
        ["512 512 3 1 0", "512 512 1 1 0"],
    ],
    256: [
        ["6 16 7 1 3"],
        ["16 32 3 2 1", *same(32, 2)],
        ["32 64 3 2 1", *same(64, 3)],
        ["64 128 3 2 1", *same(128, 2)],
        ["128 256 3 2 1", *same(256, 2)],
        ["256 512 3 2 1", *same(512, 1)],
        ["512 512 3 2 1", *same(512, 1)],
        ["512 512 4 1 0", "512 512 1 1 0"],
    ],
}
DECODER = {
    96: [
        ["512 512 1 1 0"],
        ["1024 512 3 1 0 grow", *same(512, 1)],
        ["1024 512 3 2 1 grow", *same(512, 2)],
        ["768 384 3 2 1 grow", *same(384, 2)],
        ["512 256 3 2 1 grow", *same(256, 2)],
        ["320 128 3 2 1 grow", *same(128, 2)],
        ["160 64 3 2 1 grow", *same(64, 2)],
    ],
    256: [
        ["512 512 1 1 0"],
        ["1024 512 4 1 0 grow", *same(512, 1)],
        ["1024 512 3 2 1 grow", *same(512, 1)],
        ["1024 512 3 2 1 grow", *same(512, 2)],
        ["768 384 3 2 1 grow", *same(384, 2)],
        ["512 256 3 2 1 grow", *same(256, 2)],
        ["320 128 3 2 1 grow", *same(128, 2)],
        ["160 64 3 2 1 grow", *same(64, 2)],
    ],
}


def published_layers(side: Side) -> dict[str, Layer]:
    layers = {f"audio_encoder.{i}": text for i, text in enumerate(AUDIO)}
    for part, blocks in (("face_encoder_blocks", ENCODER[side]), ("face_decoder_blocks", DECODER[side])):
        layers |= {f"{part}.{b}.{i}": text for b, block in enumerate(blocks) for i, text in enumerate(block)}
    layers["output_block.0"] = "80 32 3 1 1"
    return {name: layer(text) for name, text in layers.items()}


def published_shapes(side: Side) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"output_block.1.weight": (3, 32, 1, 1), "output_block.1.bias": (3,)}
    for name, (channels_in, channels, kernel, _, _, kind) in published_layers(side).items():
        ends = (channels_in, channels) if kind == "grow" else (channels, channels_in)
        shapes[f"{name}.conv_block.0.weight"] = (*ends, kernel, kernel)
        shapes[f"{name}.conv_block.0.bias"] = (channels,)
        shapes |= {f"{name}.conv_block.1.{of}": (channels,) for of in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{name}.conv_block.1.num_batches_tracked"] = ()
    return shapes


def by_formula(state: Mapping[str, Tensor], side: Side, mel: Tensor, faces: Tensor) -> Tensor:
    """The published forward pass, in plain functions."""
    layers = published_layers(side)

    def apply(part: str, x: Tensor) -> Tensor:
        for name in (name for name in layers if name.rpartition(".")[0] == part):
            block, spec = f"{name}.conv_block", layers[name]
            weight, bias = state[f"{block}.0.weight"], state[f"{block}.0.bias"]
            if spec.kind == "grow":
                y = functional.conv_transpose2d(x, weight, bias, spec.stride, spec.padding, spec.stride[0] - 1)
            else:
                y = functional.conv2d(x, weight, bias, spec.stride, spec.padding)
            mean, variance, scale, shift = (
                state[f"{block}.1.{of}"][:, None, None] for of in ("running_mean", "running_var", "weight", "bias")
            )
            y = (y - mean) / (variance + 1e-5).sqrt() * scale + shift
            x = (y + x if spec.kind == "residual" else y).clamp(min=0)
        return x

    seen = []
    for block in range(len(ENCODER[side])):
        faces = apply(f"face_encoder_blocks.{block}", faces)
        seen.append(faces)
    x = apply("audio_encoder", mel)
    for block in range(len(DECODER[side])):
        x = torch.cat([apply(f"face_decoder_blocks.{block}", x), seen.pop()], dim=1)
    x = apply("output_block", x)
    return 1 / (1 + torch.exp(-functional.conv2d(x, state["output_block.1.weight"], state["output_block.1.bias"])))


def noise(side: Side, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """RGB faces and mels."""
    rng = np.random.default_rng(seed)
    faces = rng.integers(0, 256, (n, side, side, 3), np.uint8)
    return faces, rng.uniform(-4, 4, (n, 80, 16)).astype(np.float32)


@pytest.fixture(scope="module", params=SIDES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Wav2Lip:
    path = write_wav2lip_weights(tmp_path_factory.mktemp("weights"), request.param)
    return load_wav2lip(path, request.param)


@pytest.mark.parametrize("side", SIDES)
def test_tensors_are_those_of_the_published_files(side: Side) -> None:
    """At full width every name and shape is the published network's, and none is more."""
    with torch.device("meta"):
        network = Wav2Lip(side, width=16)
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == published_shapes(side)
    assert sum(value.numel() for value in network.parameters()) == PUBLISHED_PARAMETERS[side]


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("side", SIDES)
def test_a_network_draws_what_the_published_formulas_draw(side: Side, width: int) -> None:
    """The same weights give the same picture to 1e-4 in a plain transcription."""
    network = random_wav2lip(side, seed=5, width=width)
    faces, mels = noise(side, 2)
    pictures, speech = network_input(torch.from_numpy(faces)), torch.from_numpy(mels)[:, None]
    with torch.inference_mode():
        drawn = network(speech, pictures)
    assert drawn.shape == (2, 3, side, side)
    assert drawn.std() > 0.05
    torch.testing.assert_close(drawn, by_formula(network.state_dict(), side, speech, pictures), atol=1e-4, rtol=0)


def test_what_was_saved_is_loaded(loaded: Wav2Lip) -> None:
    """A file of the original format gives the tensors that went into it."""
    saved = random_wav2lip(loaded.side).state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())
    assert not loaded.training


def test_a_batch_is_its_pictures_one_by_one(loaded: Wav2Lip) -> None:
    """No picture of a batch depends on another; at most a rounding differs."""
    faces, mels = noise(loaded.side, 3)
    together = draw(loaded, faces, mels)
    alone = np.concatenate([draw(loaded, faces[i : i + 1], mels[i : i + 1]) for i in range(3)])
    assert together.shape == faces.shape
    assert together.dtype == np.uint8
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_what_is_not_finite_is_not_drawn(loaded: Wav2Lip) -> None:
    """One NaN in a batch is an error instead of black."""
    faces, mels = noise(loaded.side, 2)
    mels[1, 5, 3] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        draw(loaded, faces, mels)


def test_other_speech_is_another_picture(loaded: Wav2Lip) -> None:
    """The same face with another mel is drawn otherwise."""
    faces, mels = noise(loaded.side, 1)
    assert np.abs(draw(loaded, faces, mels).astype(int) - draw(loaded, faces, -mels)).mean() > 1


@pytest.mark.parametrize(("dtype", "levels"), [(torch.float16, 0.4), (torch.bfloat16, 2.5)])
def test_half_precision_is_near(loaded: Wav2Lip, dtype: torch.dtype, levels: float) -> None:
    """A network in either half takes the same input and draws nearly the same (measured: 0.2 and 1.6 levels)."""
    faces, mels = noise(loaded.side, 2)
    exact = draw(loaded, faces, mels)
    half = random_wav2lip(loaded.side).to(dtype)
    assert np.abs(draw(half, faces, mels).astype(int) - exact).mean() < levels


class SeesOnly(Wav2Lip):
    """Gives back its first three channels, as the test vector's network did."""

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        assert mel.shape == (len(faces), 1, 80, 16)
        return faces[:, :3]


def test_input_and_output_agree_with_livetalking() -> None:
    """vectors.json wav2lip_net_input: bit by bit what LiveTalking puts in; RGB in and out where it has BGR."""
    rng = np.random.default_rng(3)
    bgr = [rng.integers(0, 256, (256, 256, 3), np.uint8) for _ in range(3)]
    rgb = np.stack([bgr[i] for i in (2, 2, 1, 0)])[..., ::-1].copy()  # ping-pong from 2
    pictures = network_input(torch.from_numpy(rgb))
    assert pictures.shape == (4, 6, 256, 256)
    expected = "cbdd750caeb5d48d2d9da3194fb7102f5ed7870708dbabda7419f43f5768bf68"
    assert hashlib.sha256(pictures.contiguous().numpy().tobytes()).hexdigest() == expected
    drawn = draw(SeesOnly(256, 1), rgb, np.zeros((4, 80, 16), np.float32))
    assert drawn.sum(dtype=np.int64) == 50_230_737
    assert drawn[..., ::-1].flatten()[:8].tolist() == [161, 8, 176, 88, 12, 211, 158, 218]
    assert drawn[:, 128:].max() == 0
    np.testing.assert_array_equal(drawn[:, :128], rgb[:, :128])


@pytest.mark.parametrize(("side", "other"), [(96, 256), (256, 96)])
def test_the_other_size_is_named(side: Side, other: Side, tmp_path: Path) -> None:
    """The network for the other size is refused, and the error says under which name it would be taken."""
    path = write_wav2lip_weights(tmp_path, other)
    with pytest.raises(WrongArchitecture, match=rf"{other} px.*wav2lip{other}\.pth"):
        load_wav2lip(path, side)


@pytest.mark.parametrize("side", SIDES)
def test_tensors_may_not_be_missing_or_more(side: Side, tmp_path: Path) -> None:
    """A file with a tensor less or more is refused, and the tensor is named."""
    state = random_wav2lip(side).state_dict()
    path = tmp_path / "w.pth"
    save_checkpoint({**state, "extra.weight": torch.zeros(1)}, path, side)
    with pytest.raises(WrongArchitecture, match=r"extra\.weight"):
        load_wav2lip(path, side)
    del state["face_decoder_blocks.3.1.conv_block.1.running_var"]
    save_checkpoint(state, path, side)
    with pytest.raises(WrongArchitecture, match=r"face_decoder_blocks\.3\.1\.conv_block\.1\.running_var"):
        load_wav2lip(path, side)


@pytest.mark.parametrize("width", [0, 1000])
def test_a_width_that_no_network_has_is_refused(width: int, tmp_path: Path) -> None:
    """The file says how wide the network is; it may not say any number."""
    state = random_wav2lip(96).state_dict()
    torch.save(
        {**state, "face_encoder_blocks.0.0.conv_block.0.weight": torch.zeros(width, 6, 7, 7)}, tmp_path / "w.pth"
    )
    with pytest.raises(WrongArchitecture, match=f"{width} channels wide"):
        load_wav2lip(tmp_path / "w.pth", 96)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """Weights of something else, a torn file and no file at all each have their error."""
    path = tmp_path / "wav2lip256.pth"
    with pytest.raises(WeightsMissing):
        load_wav2lip(path, 256)
    torch.save({"state_dict": {"face_encoder.0.weight": torch.zeros(3)}}, path)
    with pytest.raises(WrongArchitecture, match="no network of Wav2Lip"):
        load_wav2lip(path, 256)
    whole = write_wav2lip_weights(tmp_path, 256).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsDamaged):
        load_wav2lip(path, 256)
