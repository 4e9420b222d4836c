"""Wav2Lip (Prajwal et al. 2020): draws the lower half of a face from 200 ms of speech.

There are two networks of the same structure: the original for faces of 96 px, and LiveTalking's "wav2lip256" for faces
of 256 px, with one more level. Both see the face twice, once with its lower half black. Its features at half, quarter,
... size go to the decoder, which builds a picture from the speech.

Layers and names are those of Rudrabha/Wav2Lip and lipku/LiveTalking (avatars/wav2lip/models/wav2lip_v2.py), so that
their files load strictly. Channel counts are multiples of the first convolution's (16 there), which is read from the
file.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from models.arrays import FloatArray, ImageArray
from models.errors import WrongArchitecture
from models.finite import as_pixels
from models.state_dicts import load_network, plausible_width, read_state_dict

__all__ = ["MEL_BANDS", "MEL_COLUMNS", "Side", "Wav2Lip", "draw", "load_wav2lip", "network_input"]

Side = Literal[96, 256]
"""Side of a face in pixels."""
MEL_BANDS, MEL_COLUMNS = 80, 16
"""Size of the speech window of a picture: 16 columns of 12.5 ms."""

_WIDTH = 16
"""Width of the published networks."""
_FIRST_CONVOLUTION = "face_encoder_blocks.0.0.conv_block.0.weight"


class _Level(NamedTuple):
    """One size of the face picture."""

    channels: int
    "in multiples of the width"
    residuals: int
    "number of convolutions that add to their input"


class _Plan(NamedTuple):
    down: tuple[_Level, ...]
    "from the whole face to the smallest picture, each half the size of the previous one"
    up: tuple[_Level, ...]
    "from the smallest picture to the whole face"
    smallest_px: int


_SHARED_DOWN = (_Level(1, 0), _Level(2, 2), _Level(4, 3), _Level(8, 2), _Level(16, 2), _Level(32, 1))
_SHARED_UP = (_Level(32, 2), _Level(24, 2), _Level(16, 2), _Level(8, 2), _Level(4, 2))
_PLANS: dict[Side, _Plan] = {
    96: _Plan(_SHARED_DOWN, (_Level(32, 1), *_SHARED_UP), smallest_px=3),
    256: _Plan((*_SHARED_DOWN, _Level(32, 1)), (_Level(32, 1), _Level(32, 1), *_SHARED_UP), smallest_px=4),
}


class _Convolution(nn.Module):
    """Convolution, batch norm, ReLU. A residual one adds its input before the ReLU. `conv` may be a transposed one."""

    def __init__(self, conv: nn.Module, channels: int, *, residual: bool = False) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(channels))
        self._residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_block(x)
        return torch.relu_(y + x if self._residual else y)


def _convolution(
    channels_in: int, channels: int, kernel: int, stride: int | tuple[int, int] = 1, padding: int | None = None
) -> _Convolution:
    """Make a convolution. Without `padding` it keeps the size, at stride 1."""
    padding = kernel // 2 if padding is None else padding
    return _Convolution(nn.Conv2d(channels_in, channels, kernel, stride, padding), channels)


def _doubling(channels_in: int, channels: int) -> _Convolution:
    return _Convolution(nn.ConvTranspose2d(channels_in, channels, 3, 2, 1, output_padding=1), channels)


def _residuals(channels: int, n: int) -> list[_Convolution]:
    return [_Convolution(nn.Conv2d(channels, channels, 3, 1, 1), channels, residual=True) for _ in range(n)]


class Wav2Lip(nn.Module):
    """(n, 1, 80, 16) mel of the speech, (n, 6, side, side) masked face || face -> (n, 3, side, side) face, 0..1, BGR.

    `width` is the number of channels of the first convolution, 16 in the published networks.
    """

    def __init__(self, side: Side, width: int) -> None:
        super().__init__()
        self.side = side
        plan = _PLANS[side]
        deepest = plan.down[-1].channels * width
        self.face_encoder_blocks = _face_encoder(plan, width)
        self.audio_encoder = _audio_encoder(2 * width, deepest)
        self.face_decoder_blocks = _face_decoder(plan, width)
        channels = (plan.up[-1].channels + plan.down[0].channels) * width
        self.output_block = nn.Sequential(
            _convolution(channels, 2 * width, 3), nn.Conv2d(2 * width, 3, 1), nn.Sigmoid()
        )

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        seen = []
        x = faces
        for block in self.face_encoder_blocks:
            x = block(x)
            seen.append(x)
        x = self.audio_encoder(mel)
        for block in self.face_decoder_blocks:
            x = torch.cat([block(x), seen.pop()], dim=1)
        drawn: Tensor = self.output_block(x)
        return drawn


def _face_encoder(plan: _Plan, width: int) -> nn.ModuleList:
    """Return one block per size of the picture, and one that turns the smallest into a vector."""
    first = plan.down[0].channels * width
    deepest = plan.down[-1].channels * width
    blocks = [nn.Sequential(_convolution(6, first, 7))]
    for larger, level in pairwise(plan.down):
        channels = level.channels * width
        halving = _convolution(larger.channels * width, channels, 3, stride=2)
        blocks.append(nn.Sequential(halving, *_residuals(channels, level.residuals)))
    to_vector = _convolution(deepest, deepest, plan.smallest_px, padding=0)
    return nn.ModuleList([*blocks, nn.Sequential(to_vector, _convolution(deepest, deepest, 1))])


def _audio_encoder(first: int, channels: int) -> nn.Sequential:
    """80 x 16 -> 27 x 16 -> 9 x 6 -> 3 x 3 -> 1 x 1."""
    return nn.Sequential(
        _convolution(1, first, 3),
        *_residuals(first, 2),
        _convolution(first, 2 * first, 3, stride=(3, 1)),
        *_residuals(2 * first, 2),
        _convolution(2 * first, 4 * first, 3, stride=(3, 3)),
        *_residuals(4 * first, 2),
        _convolution(4 * first, 8 * first, 3, stride=(3, 2)),
        *_residuals(8 * first, 1),
        _convolution(8 * first, channels, 3, padding=0),
        _convolution(channels, channels, 1),
    )


def _face_decoder(plan: _Plan, width: int) -> nn.ModuleList:
    """Return a block for the vector, and one per size. Each also gets the encoder's features of the previous size."""
    deepest = plan.down[-1].channels * width
    blocks = [nn.Sequential(_convolution(deepest, deepest, 1))]
    channels_in = 2 * deepest
    for i, (level, same_size) in enumerate(zip(plan.up, reversed(plan.down), strict=True)):
        channels = level.channels * width
        from_vector = nn.ConvTranspose2d(channels_in, channels, plan.smallest_px)
        grown = _doubling(channels_in, channels) if i else _Convolution(from_vector, channels)
        blocks.append(nn.Sequential(grown, *_residuals(channels, level.residuals)))
        channels_in = channels + same_size.channels * width
    return nn.ModuleList(blocks)


def load_wav2lip(path: Path, side: Side) -> Wav2Lip:
    """Load wav2lip.pth, wav2lip_gan.pth (96 px) or wav2lip256.pth, on the CPU and in the dtype of the file.

    Raises WeightsMissing, WeightsDamaged, WrongArchitecture (also if the file is the network of the other size).
    """
    state = read_state_dict(path)
    found = _side_of(state)
    if found is not None and found != side:
        raise WrongArchitecture(
            f"{path} is the {found} px network of Wav2Lip, where the one for {side} px is needed.",
            f"Name it wav2lip{found}.pth.",
        )
    return load_network(lambda: Wav2Lip(side, _width_of(state, path)), state, path)


def _side_of(state: Mapping[str, Tensor]) -> Side | None:
    """Return the network's side, from the face encoder's last block, which makes a vector; None if it is neither."""
    blocks = {name.split(".")[1] for name in state if name.startswith("face_encoder_blocks.")}
    to_vector = state.get(f"face_encoder_blocks.{len(blocks) - 1}.0.conv_block.0.weight")
    if to_vector is None:
        return None
    found = (len(blocks) - 1, to_vector.shape[-1])
    return next((side for side, plan in _PLANS.items() if found == (len(plan.down), plan.smallest_px)), None)


def _width_of(state: Mapping[str, Tensor], path: Path) -> int:
    first = state.get(_FIRST_CONVOLUTION)
    if first is None or first.ndim != 4:
        raise WrongArchitecture(
            f"{path} is no network of Wav2Lip: it has no {_FIRST_CONVOLUTION}.",
            "Check that the file has the right name.",
        )
    return plausible_width(len(first), _WIDTH, path)


def network_input(faces: Tensor) -> Tensor:
    """Return (n, 6, side, side) float32, 0..1: the face with its lower half black || the face.

    faces: (n, side, side, 3) uint8 RGB. The result is BGR, as in training, on the device of `faces`.
    """
    bgr = faces.flip(3).permute(0, 3, 1, 2).float().div_(255)
    masked = bgr.clone()
    masked[:, :, faces.shape[1] // 2 :] = 0
    return torch.cat([masked, bgr], dim=1)


@torch.inference_mode()
def draw(network: Wav2Lip, faces: Tensor | ImageArray, mels: Tensor | FloatArray) -> ImageArray:
    """Return (n, side, side, 3) uint8 RGB: the faces with speaking mouths.

    faces: (n, side, side, 3) uint8 RGB. mels: (n, 80, 16). They may be on any device; the network's device and dtype
    are used. Raises torch.OutOfMemoryError, and what as_pixels() raises.
    """
    weight = next(network.parameters())
    pictures = network_input(torch.as_tensor(faces, device=weight.device)).to(weight.dtype)
    speech = torch.as_tensor(mels, device=weight.device).to(weight.dtype)[:, None]
    drawn = as_pixels(network(speech, pictures))
    rgb: ImageArray = drawn.flip(1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return rgb
