"""Ultralight-Digital-Human: a small U-Net, trained for one avatar, that draws its face from 320 ms of HuBERT features.

Layers and names are those of anliyuan/Ultralight-Digital-Human in the version of lipku/LiveTalking
(avatars/ultralight/unet.py, mode "hubert"), so that an avatar's `ultralight.pth` loads strictly. Channel counts are
multiples of the output layer's input (32 there), which is read from the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.arrays import FloatArray, ImageArray
from models.errors import WrongArchitecture
from models.finite import as_pixels
from models.state_dicts import load_network, plausible_width, read_state_dict

__all__ = ["AUDIO_SHAPE", "CROP_PX", "INNER_PX", "Ultralight", "draw", "load_ultralight", "network_input"]

CROP_PX = 168
"""Side of an avatar's face crop."""
BORDER_PX = 4
"""Border of the crop, on each side, that the network does not see."""
INNER_PX = CROP_PX - 2 * BORDER_PX
AUDIO_STEPS = 16
"""HuBERT steps of 20 ms per picture: 8 before its time and 8 after."""
AUDIO_SHAPE = (AUDIO_STEPS, 32, 32)
"""Shape in which the network gets the window of 16 x 1024 features."""

_WIDTH = 32
"""Width of the published networks."""
_MASKED_ROWS, _MASKED_COLUMNS = slice(5, 150), slice(5, 155)
"""The area that cv2.rectangle fills for (5, 5, 150, 145): it reads four numbers as x, y, width, height."""


class _InvertedResidual(nn.Module):
    """MobileNetV2's block: doubles the channels, convolves each separately, and reduces them to `channels`."""

    def __init__(self, channels_in: int, channels: int, *, stride: int = 1, residual: bool = False) -> None:
        super().__init__()
        wide = 2 * channels_in
        self.conv = nn.Sequential(
            nn.Conv2d(channels_in, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self._residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self._residual else y


# The classes from here to _Out exist only to give layers their names in the files.


class _Double(nn.Module):
    def __init__(self, channels_in: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            _InvertedResidual(channels_in, channels, stride=stride),
            _InvertedResidual(channels, channels, residual=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.double_conv(x)
        return y


class _In(nn.Module):
    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.inconv = nn.Sequential(_InvertedResidual(channels_in, channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inconv(x)
        return y


class _Down(nn.Module):
    """Halves the size."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(_Double(channels_in, channels, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.maxpool_conv(x)
        return y


class _Up(nn.Module):
    """Doubles the size, and joins the result with the features of that size from the way down."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv = _Double(channels_in, channels)

    def forward(self, x: Tensor, same_size: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        y: Tensor = self.conv(torch.cat([x, same_size], dim=1))
        return y


class _Out(nn.Module):
    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(x))


class _AudioEncoder(nn.Module):
    """(n, 16, 32, 32) -> (n, 16 width, 10, 10), the size of the picture's features at the bottom of the U."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _InvertedResidual(AUDIO_STEPS, 2 * width)
        self.conv2 = _InvertedResidual(2 * width, 4 * width)
        self.conv3 = nn.Conv2d(4 * width, 8 * width, 3, stride=2, padding=1)
        self.bn3 = nn.BatchNorm2d(8 * width)
        self.conv4 = _InvertedResidual(8 * width, 8 * width, residual=True)
        self.conv5 = nn.Conv2d(8 * width, 16 * width, 3, stride=2, padding=3)
        self.bn5 = nn.BatchNorm2d(16 * width)
        self.conv6 = _InvertedResidual(16 * width, 16 * width, residual=True)
        self.conv7 = _InvertedResidual(16 * width, 16 * width, residual=True)

    def forward(self, audio: Tensor) -> Tensor:
        x = self.conv2(self.conv1(audio))
        x = self.conv4(torch.relu(self.bn3(self.conv3(x))))
        x = torch.relu(self.bn5(self.conv5(x)))
        y: Tensor = self.conv7(self.conv6(x))
        return y


class Ultralight(nn.Module):
    """(n, 6, 160, 160) face || masked face and (n, 16, 32, 32) HuBERT window -> (n, 3, 160, 160) face, 0..1, BGR.

    `width` is the number of channels at full size, 32 in the published networks.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.audio_model = _AudioEncoder(width)
        self.fuse_conv = nn.Sequential(_Double(32 * width, 16 * width), _Double(16 * width, 8 * width))
        self.inc = _In(6, width)
        self.down1 = _Down(width, 2 * width)
        self.down2 = _Down(2 * width, 4 * width)
        self.down3 = _Down(4 * width, 8 * width)
        self.down4 = _Down(8 * width, 16 * width)
        self.up1 = _Up(16 * width, 4 * width)
        self.up2 = _Up(8 * width, 2 * width)
        self.up3 = _Up(4 * width, width)
        self.up4 = _Up(2 * width, width)
        self.outc = _Out(width)

    def forward(self, faces: Tensor, audio: Tensor) -> Tensor:
        full = self.inc(faces)
        half = self.down1(full)
        quarter = self.down2(half)
        eighth = self.down3(quarter)
        x = torch.cat([self.down4(eighth), self.audio_model(audio)], dim=1)
        x = self.fuse_conv(x)
        for up, same_size in ((self.up1, eighth), (self.up2, quarter), (self.up3, half), (self.up4, full)):
            x = up(x, same_size)
        drawn: Tensor = self.outc(x)
        return drawn


def load_ultralight(path: Path) -> Ultralight:
    """Load an avatar's `ultralight.pth`, on the CPU and in the dtype of the file.

    Raises WeightsMissing, WeightsDamaged, WrongArchitecture (also for a network that needs other audio features).
    """
    state = read_state_dict(path)
    return load_network(lambda: Ultralight(_width_of(state, path)), state, path)


def _width_of(state: Mapping[str, Tensor], path: Path) -> int:
    last, heard = state.get("outc.conv.weight"), state.get("audio_model.conv1.conv.0.weight")
    if last is None or heard is None or last.ndim != 4 or heard.ndim != 4:
        raise WrongArchitecture(f"{path} is no network of Ultralight.", "Check that the file has the right name.")
    for_hubert = heard.shape[1] == AUDIO_STEPS and _doubles_channels(state.get("audio_model.conv3.weight"))
    if not for_hubert:
        raise WrongArchitecture(
            f"{path} hears other audio features than {AUDIO_STEPS} steps of HuBERT.",
            "Ultralight's own repository has windows of 32 steps and networks for WeNet features: train the avatar "
            "with LiveTalking's version of it, mode hubert.",
        )
    return plausible_width(last.shape[1], _WIDTH, path)


def _doubles_channels(convolution: Tensor | None) -> bool:
    """Whether a convolution doubles the channels. The third one does for HuBERT, but not for WeNet features."""
    return convolution is not None and len(convolution) == 2 * convolution.shape[1]


def network_input(crops: Tensor) -> Tensor:
    """Return (n, 6, 160, 160) float32, 0..1: the inner face || the same with a black rectangle.

    crops: (n, 168, 168, 3) uint8 RGB. The result is BGR, as in training, on the device of `crops`.
    """
    inner = crops[:, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    bgr = inner.flip(3).permute(0, 3, 1, 2).float().div_(255)
    masked = bgr.clone()
    masked[:, :, _MASKED_ROWS, _MASKED_COLUMNS] = 0
    return torch.cat([bgr, masked], dim=1)


@torch.inference_mode()
def draw(network: Ultralight, crops: Tensor | ImageArray, audio: Tensor | FloatArray) -> ImageArray:
    """Return the crops, uint8 RGB, with their inner 160 px drawn.

    crops: (n, 168, 168, 3) uint8 RGB. audio: (n, 16, 32, 32) HuBERT windows. They may be on any device; the network's
    device and dtype are used. Raises torch.OutOfMemoryError, and what as_pixels() raises.
    """
    weight = next(network.parameters())
    pictures = torch.as_tensor(crops, device=weight.device)
    heard = torch.as_tensor(audio, device=weight.device).to(weight.dtype)
    drawn = as_pixels(network(network_input(pictures).to(weight.dtype), heard))
    whole = pictures.clone()
    whole[:, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = drawn.flip(1).permute(0, 2, 3, 1)
    rgb: ImageArray = whole.cpu().numpy()
    return rgb
