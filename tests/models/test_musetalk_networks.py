"""MuseTalk's networks: vectors of the original code, plain formulas over the same weights, files of every age."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from plain_musetalk import Weights, plain_decode, plain_encode, plain_unet
from safetensors.torch import save_file
from tiny_musetalk import (
    old_attention_names,
    random_network,
    random_unet,
    unet_config,
    vae_config,
    write_config,
    write_musetalk_weights,
)
from torch import Tensor

from models.errors import WeightsDamaged, WeightsMissing, WrongArchitecture
from models.musetalk_unet import load_musetalk_unet, predict_latents
from models.musetalk_vae import decode_faces, encode_faces, face_to_tensor, load_musetalk_vae
from models.positional_encoding import positional_encoding
from models.state_dicts import placed

pytestmark = pytest.mark.thorough

UNET = unet_config(block_out_channels=[8, 16, 16, 24], norm_num_groups=4, attention_head_dim=2)
VAE = vae_config(block_out_channels=[4, 8, 8, 8], norm_num_groups=2)
SCALE = 0.18215
TOLERANCE: dict[str, Any] = {"rtol": 0.0, "atol": 1e-4}

Faces = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> UNet2DConditionModel:
    """A narrow UNet of MuseTalk's layout: two layers a block, several heads."""
    folder = tmp_path_factory.mktemp("unet")
    write_config(UNET, folder / "musetalk.json")
    torch.save(random_unet(UNET, seed=2).state_dict(), folder / "unet.pth")
    return load_musetalk_unet(folder / "unet.pth", folder / "musetalk.json")


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> AutoencoderKL:
    folder = tmp_path_factory.mktemp("vae")
    write_config(VAE, folder / "config.json")
    save_file(random_network(lambda: AutoencoderKL(**VAE), seed=3).state_dict(), folder / FILES[0])
    return load_musetalk_vae(folder)


FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


def unet_inputs(n: int, seed: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(n, 8, 32, 32, generator=generator)
    return latents, torch.randn(n, 50, 384, generator=generator) + positional_encoding()


def faces(n: int, seed: int = 6) -> Faces:
    return np.random.default_rng(seed).integers(0, 256, (n, 256, 256, 3), np.uint8)


def test_positions_are_those_of_the_original() -> None:
    """Values of MuseTalk's own PositionalEncoding (zeros in), to 1e-6."""
    table = positional_encoding(50, 384)
    assert table.shape == (50, 384)
    assert table.dtype == torch.float32
    first = [0.8414709568023682, 0.5403023362159729, 0.8152506351470947, 0.5791082382202148]
    last = [0.0053933775052428246, 0.9999854564666748, 0.005140762310475111, 0.9999867677688599]
    torch.testing.assert_close(table[0, :4], torch.tensor([0.0, 1.0, 0.0, 1.0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(table[1, :4], torch.tensor(first), rtol=0, atol=1e-6)
    torch.testing.assert_close(table[49, -4:], torch.tensor(last), rtol=0, atol=1e-6)
    assert table.double().sum().item() == pytest.approx(7580.561307256346, abs=50 * 384 * 1e-6)


def test_a_masked_face_is_that_of_the_original() -> None:
    """Values of MuseTalk's own preprocess_img with its lower half masked, to 1e-6; its picture is BGR, ours RGB."""
    bgr = np.random.default_rng(9).integers(0, 256, (256, 256, 3), np.uint8)
    face = face_to_tensor(bgr[None, :, :, ::-1], half_mask=True)
    assert face.shape == (1, 3, 256, 256)
    first = [0.8352941274642944, 0.301960825920105, -0.7490196228027344, 0.929411768913269]
    torch.testing.assert_close(face[0, 0, 0, :4], torch.tensor(first), rtol=0, atol=1e-6)
    assert face.double().sum().item() == pytest.approx(-98437.7946151495, abs=0.01)
    assert (face[:, :, 128:] == -1).all()


def test_a_whole_face_is_masked_nowhere() -> None:
    """Without the mask the lower half is in view, and the upper is the same with it and without."""
    whole, masked = (face_to_tensor(faces(2), half_mask) for half_mask in (False, True))
    assert torch.equal(whole[:, :, :128], masked[:, :, :128])
    assert whole[:, :, 128:].std() > 0.1


def test_the_unet_equals_the_plain_formulas(unet: UNet2DConditionModel) -> None:
    """The same weights give the same latents as the published formulas written out, to 1e-4."""
    latents, audio = unet_inputs(2)
    plain = plain_unet(Weights(unet.state_dict()), latents, audio, heads=2, groups=4)
    torch.testing.assert_close(predict_latents(unet, latents, audio), plain, **TOLERANCE)
    assert plain.std() > 0.1


def test_the_encoder_equals_the_plain_formulas(vae: AutoencoderKL) -> None:
    """Latents are the scaled mean of the encoder: those of the masked face, then those of the whole one, to 1e-4."""
    rgb = faces(1)
    latents = encode_faces(vae, rgb)
    halves = []
    for half_mask in (True, False):
        mean, _ = plain_encode(Weights(vae.state_dict()), face_to_tensor(rgb, half_mask), groups=2)
        halves.append(mean * SCALE)
    assert latents.shape == (1, 8, 32, 32)
    torch.testing.assert_close(latents, torch.cat(halves, 1), **TOLERANCE)
    assert (halves[0] - halves[1]).abs().max() > 1e-2


def test_the_decoder_equals_the_plain_formulas(vae: AutoencoderKL) -> None:
    """Pictures are the decoder's output brought to 0..255 and rounded: at most one level from the plain formulas."""
    latents = unet_inputs(1)[0][:, :4]
    plain = plain_decode(Weights(vae.state_dict()), latents / SCALE, groups=2)
    levels = ((plain / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy()
    pictures = decode_faces(vae, latents)
    assert pictures.dtype == np.uint8
    assert pictures.shape == (1, 256, 256, 3)
    assert np.abs(pictures - levels).max() <= 1
    assert (pictures == levels).mean() > 0.99
    assert pictures.std() > 10


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_drawn(vae: AutoencoderKL, number: float) -> None:
    """One NaN or infinity in a batch is an error instead of black or white."""
    latents = unet_inputs(2)[0][:, :4]
    latents[1, 2, 3, 4] = number
    with pytest.raises(FloatingPointError, match="not finite"):
        decode_faces(vae, latents)


def test_a_batch_equals_its_pictures_one_by_one(unet: UNet2DConditionModel, vae: AutoencoderKL) -> None:
    """What shares a batch does not matter: faces of many sessions may go through together."""
    latents, audio = unet_inputs(3)
    together = predict_latents(unet, latents, audio)
    alone = torch.cat([predict_latents(unet, latents[i : i + 1], audio[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, **TOLERANCE)
    rgb = faces(2)
    encoded_alone = torch.cat([encode_faces(vae, rgb[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(encode_faces(vae, rgb), encoded_alone, **TOLERANCE)
    one_by_one = np.concatenate([decode_faces(vae, together[i : i + 1]) for i in range(2)])
    assert np.abs(decode_faces(vae, together[:2]).astype(int) - one_by_one).max() <= 1


def test_channels_last_changes_nothing(unet: UNet2DConditionModel, vae: AutoencoderKL) -> None:
    """The memory format that GPUs prefer gives the same latents and pictures."""
    last_unet, last_vae = (placed(load_copy(network), "cpu", channels_last=True) for network in (unet, vae))
    latents, audio = unet_inputs(2)
    predicted = predict_latents(unet, latents, audio)
    torch.testing.assert_close(predict_latents(last_unet, latents, audio), predicted, **TOLERANCE)
    # On CPUs torch's group norm is off by 1e-5 in this format, and the encoder has 22 of them in a row.
    torch.testing.assert_close(encode_faces(last_vae, faces(1)), encode_faces(vae, faces(1)), rtol=0, atol=5e-4)
    assert np.abs(decode_faces(last_vae, predicted).astype(int) - decode_faces(vae, predicted)).max() <= 1


@pytest.mark.parametrize(("dtype", "deviation", "levels"), [(torch.float16, 0.002, 0.15), (torch.bfloat16, 0.015, 1.1)])
def test_half_precision_gives_nearly_the_same_picture(
    unet: UNet2DConditionModel, vae: AutoencoderKL, dtype: torch.dtype, deviation: float, levels: float
) -> None:
    """In either half latents and pictures stay close (measured: .0011 and .009 of the deviation; .09 and .7 levels)."""
    latents, audio = unet_inputs(1)
    half = placed(load_copy(unet), "cpu", dtype)
    predicted = predict_latents(half, latents.to(dtype), audio.to(dtype))
    assert predicted.dtype == dtype
    correct = predict_latents(unet, latents, audio)
    assert (predicted.float() - correct).std() < deviation * correct.std()
    half_vae = placed(load_copy(vae), "cpu", dtype)
    assert encode_faces(half_vae, faces(1)).dtype == dtype
    difference = decode_faces(half_vae, correct.to(dtype)).astype(int) - decode_faces(vae, correct)
    assert np.abs(difference).mean() < levels


def load_copy(network: Any) -> Any:
    copy = type(network)(**{k: v for k, v in network.config.items() if not k.startswith("_")})
    copy.load_state_dict(network.state_dict())
    return copy.eval()


@pytest.mark.parametrize("version", ["15", "10"])
def test_the_audio_moves_the_picture(version: Any, tmp_path: Path) -> None:
    """Weights of either version load, and another sound gives another face."""
    folder = write_musetalk_weights(tmp_path, version)
    unet_file = folder / {"15": "musetalkV15/unet.pth", "10": "musetalk/pytorch_model.bin"}[version]
    unet = load_musetalk_unet(unet_file, unet_file.with_name("musetalk.json"))
    vae = load_musetalk_vae(folder / "sd-vae-ft-mse")
    latents = encode_faces(vae, faces(1)).expand(2, -1, -1, -1)
    one, other = decode_faces(vae, predict_latents(unet, latents, unet_inputs(2)[1])).astype(int)
    assert np.abs(one - other).mean() > 2


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "names",
    [
        dict,
        old_attention_names,
        lambda state: old_attention_names(state, convolutions=True),
    ],
    ids=["today's names", "names before diffusers 0.15", "1x1 convolutions"],
)
def test_vae_files_of_every_age_give_the_same_network(
    names: Callable[[Any], dict[str, Tensor]], file: str, vae: AutoencoderKL, tmp_path: Path
) -> None:
    """Old and new names of the attention in the middle, as matrices or as 1x1 convolutions, in both file formats."""
    write_config(VAE, tmp_path / "config.json")
    save = save_file if file.endswith(".safetensors") else torch.save
    save(names(vae.state_dict()), tmp_path / file)
    loaded = load_musetalk_vae(tmp_path).state_dict()
    assert loaded.keys() == vae.state_dict().keys()
    assert all(torch.equal(value, loaded[name]) for name, value in vae.state_dict().items())


def test_the_names_of_the_published_unet_are_those_of_our_network() -> None:
    """Of the full size: 686 tensors and 849947844 numbers, the length of the published unet.pth less its directory."""
    with torch.device("meta"):
        network = UNet2DConditionModel(**{k: v for k, v in unet_config().items() if not k.startswith("_")})
    state = network.state_dict()
    numbers = sum(value.numel() for value in state.values())
    assert len(state) == 686
    assert 0 < 3_400_074_924 - 4 * numbers < 500_000


def test_a_configuration_of_another_network_is_refused(tmp_path: Path) -> None:
    """Stable Diffusion's own UNet has 4 channels in: it is not MuseTalk's, and the setting is named."""
    write_config({**UNET, "in_channels": 4}, tmp_path / "musetalk.json")
    with pytest.raises(WrongArchitecture, match="in_channels is 4, not 8"):
        load_musetalk_unet(tmp_path / "unet.pth", tmp_path / "musetalk.json")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", WeightsDamaged),
        ("[]", WeightsDamaged),
        ('{"a":' * 100_000, WeightsDamaged),
        (json.dumps({**UNET, "block_out_channels": [8, 16]}), WrongArchitecture),
        (json.dumps({**UNET, "down_block_types": ["NoSuchBlock"] * 4}), WrongArchitecture),
        (json.dumps({**UNET, "norm_num_groups": 0}), WrongArchitecture),
        (json.dumps({**UNET, "block_out_channels": [-8, -16, -16, -24]}), WrongArchitecture),
        (json.dumps({**UNET, "no_such_setting": 1}), WrongArchitecture),
    ],
)
def test_a_bad_configuration_is_told_so(content: str, error: type[Exception], tmp_path: Path) -> None:
    """A configuration that is damaged, or describes no network, is an error that names the file."""
    (tmp_path / "musetalk.json").write_text(content)
    torch.save({"conv_in.weight": torch.zeros(1)}, tmp_path / "unet.pth")
    with pytest.raises(error, match=r"musetalk\.json"):
        load_musetalk_unet(tmp_path / "unet.pth", tmp_path / "musetalk.json")


def test_a_missing_configuration_is_told_so(tmp_path: Path) -> None:
    """Weights without their musetalk.json cannot be used, and the error names it."""
    with pytest.raises(WeightsMissing, match=r"musetalk\.json"):
        load_musetalk_unet(tmp_path / "unet.pth", tmp_path / "musetalk.json")


def test_a_vae_folder_without_weights_is_told_so(tmp_path: Path) -> None:
    """config.json alone is not enough; both names that would do are given."""
    write_config(VAE, tmp_path / "config.json")
    with pytest.raises(WeightsMissing, match=r"safetensors nor diffusion_pytorch_model\.bin"):
        load_musetalk_vae(tmp_path)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    """The VAE's weights under the UNet's name are refused, and recognised."""
    folder = write_musetalk_weights(tmp_path)
    vae = random_network(lambda: AutoencoderKL(**VAE), seed=3)
    torch.save(vae.state_dict(), folder / "musetalkV15" / "unet.pth")
    with pytest.raises(WrongArchitecture) as caught:
        load_musetalk_unet(folder / "musetalkV15" / "unet.pth", folder / "musetalkV15" / "musetalk.json")
    assert "VAE" in caught.value.hint
