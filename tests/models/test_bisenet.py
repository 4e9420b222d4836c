"""BiSeNet: the same as the plain formulas; classes of pictures of any size; files that are not its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from plain_musetalk import Weights, plain_bisenet
from tiny_musetalk import random_network, write_bisenet_weights, write_musetalk_weights

from models.bisenet import N_CLASSES, PARSE_PX, BiSeNet, load_bisenet, parse
from models.errors import WrongArchitecture

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> BiSeNet:
    return load_bisenet(write_bisenet_weights(tmp_path_factory.mktemp("face-parse")))


def smooth_pictures(n: int, height: int, width: int) -> np.ndarray:
    """Blurred colour noise: like photographs, it has edges at every place and no flat areas."""
    small = torch.rand(n, 3, height // 16, width // 16, generator=torch.Generator().manual_seed(4))
    large = torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)
    return (large * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def test_it_equals_the_plain_formulas(network: BiSeNet) -> None:
    """The same weights give the same scores as the published formulas written out, to 1e-4."""
    pictures = torch.randn(2, 3, 128, 96, generator=torch.Generator().manual_seed(2))
    plain = plain_bisenet(Weights(network.state_dict()), pictures)
    with torch.inference_mode():
        scores = network(pictures)
    assert scores.shape == (2, N_CLASSES, 128, 96)
    torch.testing.assert_close(scores, plain, rtol=0, atol=1e-4)


def test_classes_are_those_with_the_highest_score(network: BiSeNet) -> None:
    """Pixels are normalised as ImageNet's were (mean .485 .456 .406, deviation .229 .224 .225 of RGB in 0..1)."""
    pictures = smooth_pictures(1, PARSE_PX, PARSE_PX)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normal = torch.tensor((pictures / 255 - mean) / deviation, dtype=torch.float32).permute(0, 3, 1, 2)
    expected = plain_bisenet(Weights(network.state_dict()), normal).argmax(1).numpy()
    classes = parse(network, pictures)
    assert classes.dtype == np.uint8
    assert classes.shape == (1, PARSE_PX, PARSE_PX)
    assert (classes == expected).mean() > 0.999
    assert len(np.unique(classes)) > 2


@pytest.mark.parametrize(("height", "width"), [(320, 240), (800, 640)])
def test_pictures_of_another_size_are_resized_as_pillow_does(network: BiSeNet, height: int, width: int) -> None:
    """The original resizes by Pillow's bilinear filter, which averages when it makes smaller; so do we."""
    pictures = smooth_pictures(1, height, width)
    resized = Image.fromarray(pictures[0]).resize((PARSE_PX, PARSE_PX), Image.Resampling.BILINEAR)
    same = parse(network, pictures) == parse(network, np.asarray(resized)[None])
    assert same.mean() > 0.99


def test_a_batch_equals_its_pictures_one_by_one(network: BiSeNet) -> None:
    """What shares a batch does not matter."""
    pictures = smooth_pictures(2, 320, 240)
    together = parse(network, pictures)
    alone = np.concatenate([parse(network, pictures[i : i + 1]) for i in range(2)])
    assert (together == alone).mean() > 0.9999


def test_the_published_file_is_of_our_size() -> None:
    """191 tensors in 53.2 MB, the length of the published 79999_iter.pth less its directory."""
    state = BiSeNet().state_dict()
    size_bytes = sum(value.numel() * value.element_size() for value in state.values())
    assert len(state) == 191
    assert 0 < 53_289_463 - size_bytes < 50_000


@pytest.mark.parametrize(("shape", "told"), [((1000, 3, 7, 7), "1000 channels wide"), ((), "no BiSeNet")])
def test_a_width_that_no_network_has_is_refused(shape: tuple[int, ...], told: str, tmp_path: Path) -> None:
    """The file says how wide the network is; it may not say any number, or nothing."""
    state = random_network(lambda: BiSeNet(4), seed=1).state_dict()
    torch.save({**state, "cp.resnet.conv1.weight": torch.zeros(shape)}, tmp_path / "w.pth")
    with pytest.raises(WrongArchitecture, match=told):
        load_bisenet(tmp_path / "w.pth")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """The UNet's weights, and a parser of other classes, are no BiSeNet of ours."""
    unet = write_musetalk_weights(tmp_path) / "musetalkV15" / "unet.pth"
    with pytest.raises(WrongArchitecture, match="no BiSeNet"):
        load_bisenet(unet)
    state = random_network(lambda: BiSeNet(4), seed=1).state_dict()
    state["conv_out.conv_out.weight"] = torch.zeros(11, 16, 1, 1)
    torch.save(state, tmp_path / "79999_iter.pth")
    with pytest.raises(WrongArchitecture, match=r"conv_out\.conv_out\.weight 11×16×1×1 instead of 19×16×1×1"):
        load_bisenet(tmp_path / "79999_iter.pth")
