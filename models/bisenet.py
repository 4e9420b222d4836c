"""BiSeNet: classifies each pixel of a face (Yu et al. 2018; zllrunning's face-parsing weights, 79999_iter.pth).

A ResNet-18 gives features at 1/8, 1/16 and 1/32 of the picture's size. Context from the coarse levels is upsampled to
the finest, and fused with it. The 19 classes are CelebAMask-HQ's. The heads at 1/16 and 1/32 were only used in
training. They exist here because they are part of the file, but they are not run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from models.errors import WrongArchitecture
from models.state_dicts import load_network, plausible_width, read_state_dict

__all__ = ["N_CLASSES", "PARSE_PX", "BiSeNet", "load_bisenet", "parse"]

N_CLASSES = 19
PARSE_PX = 512
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's pictures, RGB in 0..1."""
_WIDTH = 64
"""Width of the published network."""
_FIRST_LAYER = "cp.resnet.conv1.weight"


def _conv3x3(n_in: int, n_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)


class _ConvBnRelu(nn.Module):
    def __init__(self, n_in: int, n_out: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)))


class _ResidualBlock(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(n_in, n_out, stride)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = _conv3x3(n_out, n_out)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.downsample(x) + self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))


class _ResNet18(nn.Module):
    """(n, 3, h, w) -> features at 1/8, 1/16 and 1/32: 2, 4 and 8 times `width` channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._layer(width, width, 1)
        self.layer2 = self._layer(width, 2 * width, 2)
        self.layer3 = self._layer(2 * width, 4 * width, 2)
        self.layer4 = self._layer(4 * width, 8 * width, 2)

    @staticmethod
    def _layer(n_in: int, n_out: int, stride: int) -> nn.Sequential:
        return nn.Sequential(_ResidualBlock(n_in, n_out, stride), _ResidualBlock(n_out, n_out, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        eighth = self.layer2(self.layer1(self.maxpool(relu(self.bn1(self.conv1(x))))))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


class _AttentionRefinement(nn.Module):
    """Weighs channels by what the picture as a whole shows."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = _ConvBnRelu(n_in, n_out)
        self.conv_atten = nn.Conv2d(n_out, n_out, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.conv(x)
        weight: Tensor = self.bn_atten(self.conv_atten(_mean(features)))
        return features * weight.sigmoid()


class _ContextPath(nn.Module):
    """(n, 3, h, w) -> twice (n, 2 width, h/8, w/8): the backbone's own features, and features with context."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.resnet = _ResNet18(width)
        self.arm16 = _AttentionRefinement(4 * width, 2 * width)
        self.arm32 = _AttentionRefinement(8 * width, 2 * width)
        self.conv_head32 = _ConvBnRelu(2 * width, 2 * width)
        self.conv_head16 = _ConvBnRelu(2 * width, 2 * width)
        self.conv_avg = _ConvBnRelu(8 * width, 2 * width, kernel=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        eighth, sixteenth, thirty_second = self.resnet(x)
        coarse = self.arm32(thirty_second) + self.conv_avg(_mean(thirty_second))
        coarse = self.conv_head32(interpolate(coarse, sixteenth.shape[2:], mode="nearest"))
        fine = self.arm16(sixteenth) + coarse
        return eighth, self.conv_head16(interpolate(fine, eighth.shape[2:], mode="nearest"))


class _FeatureFusion(nn.Module):
    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.convblk = _ConvBnRelu(n_channels, n_channels, kernel=1)
        self.conv1 = nn.Conv2d(n_channels, n_channels // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(n_channels // 4, n_channels, 1, bias=False)

    def forward(self, own: Tensor, with_context: Tensor) -> Tensor:
        features: Tensor = self.convblk(torch.cat([own, with_context], dim=1))
        weight: Tensor = self.conv2(relu(self.conv1(_mean(features))))
        return features * weight.sigmoid() + features


class _Head(nn.Module):
    def __init__(self, n_in: int, n_hidden: int) -> None:
        super().__init__()
        self.conv = _ConvBnRelu(n_in, n_hidden)
        self.conv_out = nn.Conv2d(n_hidden, N_CLASSES, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.conv_out(self.conv(x))
        return scores


class BiSeNet(nn.Module):
    """(n, 3, h, w) normalised RGB, sides divisible by 32 -> (n, 19, h, w) scores; `width` is 64 as published."""

    def __init__(self, width: int = _WIDTH) -> None:
        super().__init__()
        self.cp = _ContextPath(width)
        self.ffm = _FeatureFusion(4 * width)
        self.conv_out = _Head(4 * width, 4 * width)
        self.conv_out16 = _Head(2 * width, width)
        self.conv_out32 = _Head(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.conv_out(self.ffm(*self.cp(x)))
        return interpolate(scores, x.shape[2:], mode="bilinear", align_corners=True)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def load_bisenet(weights: Path) -> BiSeNet:
    """Load the complete network of `79999_iter.pth`. `resnet18-5c106cde.pth` is not needed: it only began the training.

    Raises WeightsMissing, WeightsDamaged, WrongArchitecture.
    """
    state = read_state_dict(weights)
    first = state.get(_FIRST_LAYER)
    if first is None or first.ndim != 4:
        raise WrongArchitecture(
            f"{weights} holds no BiSeNet: it has no {_FIRST_LAYER}.",
            "The face parser's weights are in 79999_iter.pth.",
        )
    width = plausible_width(len(first), _WIDTH, weights)
    return load_network(lambda: BiSeNet(width), state, weights)


@torch.inference_mode()
def parse(network: BiSeNet, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return uint8 (n, 512, 512): the class of each pixel, 0 background, 1 skin, 10 nose, 11-13 mouth ...

    rgb: uint8 RGB (n, h, w, 3). Pictures of another size are first scaled to 512 x 512, like Pillow's bilinear filter.
    Raises torch.OutOfMemoryError.
    """
    weight = network.conv_out.conv_out.weight
    pictures = torch.from_numpy(np.array(rgb)).to(weight.device).permute(0, 3, 1, 2).contiguous().float()
    if pictures.shape[2:] != (PARSE_PX, PARSE_PX):
        pictures = interpolate(pictures, (PARSE_PX, PARSE_PX), mode="bilinear", antialias=True).round()
    mean, std = (torch.tensor(values, device=weight.device)[:, None, None] for values in (_MEAN, _STD))
    scores: Tensor = network(((pictures / 255 - mean) / std).to(weight.dtype))
    return scores.argmax(1).to(torch.uint8).cpu().numpy()
