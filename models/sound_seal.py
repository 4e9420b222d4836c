"""AudioSeal (San Roman et al. 2024): adds an inaudible mark to speech, and finds it again.

Both networks are SEANet encoders of 16 kHz samples: convolutions that turn 320 samples into a vector, with an LSTM on
top. The generator adds the 16 bits of a message to each vector, and a decoder turns the vectors into the sound to add.
The detector upsamples its vectors, and gives for each sample the probability that it is marked. Sizes are those of the
published `generator_base.pth` and `detector_base.pth`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.arrays import FloatArray
from models.state_dicts import load_network, read_state_dict

__all__ = ["MARK_RATE_HZ", "SoundSeal"]


MARK_RATE_HZ: Final = 16_000
BITS, MESSAGE = 16, 0x5656
"All sound gets the same message. It says that the sound is marked, and nothing about who made it."
WIDTH, VECTOR, STRIDES, JUDGED = 32, 128, (2, 4, 5, 8), 32
_RENAMED: Final = (
    (r"^detector\.0\.model\.", "encoder."),
    (r"^detector\.0\.reverse_convolution\.", "lengthen."),
    (r"^detector\.1\.", "judge."),
    (r"^msg_processor\.msg_processor\.", "bits."),
    (r"^(encoder|decoder)\.model\.", r"\1."),
    (r"\.(conv\.conv|convtr\.convtr)(\.inner_conv)?\.", "."),
)
"""Names in the published files -> our names. AudioSeal 0.2 calls its convolutions `inner_conv`."""
_LENGTH: Final = r"\.(weight_g|parametrizations\.weight\.original0)$"
"""Weight norm stores a weight as length and direction, under different names before and since torch 2.0."""


class _Convolution(nn.Conv1d):
    """Convolution with zero padding that returns as many vectors as strides fit in."""

    def forward(self, x: Tensor) -> Tensor:
        stride = self.stride[0]
        missing = (self.kernel_size[0] - 1) * self.dilation[0] + 1 - stride
        right = missing // 2 + -x.shape[-1] % stride
        return super().forward(functional.pad(x, (missing - missing // 2, right)))


class _Lengthening(nn.ConvTranspose1d):
    """Transposed convolution. It cuts off the output that comes from the zero padding."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        y = super().forward(x, output_size)
        missing = self.kernel_size[0] - self.stride[0]
        return y[..., missing - missing // 2 : y.shape[-1] - missing // 2]


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = width // 2
        self.block = nn.Sequential(nn.ELU(), _Convolution(width, narrow, 3), nn.ELU(), _Convolution(narrow, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)  # type: ignore[no-any-return]


class _Recurrent(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, 2)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.permute(2, 0, 1)
        return (self.lstm(steps)[0] + steps).permute(1, 2, 0)  # type: ignore[no-any-return]


def _encoder() -> nn.Sequential:
    layers: list[nn.Module] = [_Convolution(1, WIDTH, 7)]
    width = WIDTH
    for stride in STRIDES:
        layers += [_Residual(width), nn.ELU(), _Convolution(width, 2 * width, 2 * stride, stride)]
        width *= 2
    return nn.Sequential(*layers, _Recurrent(width), nn.ELU(), _Convolution(width, VECTOR, 7))


def _decoder() -> nn.Sequential:
    width = WIDTH << len(STRIDES)
    layers: list[nn.Module] = [_Convolution(VECTOR, width, 7), _Recurrent(width)]
    for stride in reversed(STRIDES):
        width //= 2
        layers += [nn.ELU(), _Lengthening(2 * width, width, 2 * stride, stride), _Residual(width)]
    return nn.Sequential(*layers, nn.ELU(), _Convolution(width, 1, 7))


class _Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder, self.bits = _encoder(), _decoder(), nn.Embedding(2 * BITS, VECTOR)

    def forward(self, samples: Tensor, message: Tensor) -> Tensor:
        """Return the sound to add, in the shape of samples: (batch, 1, n). message: (BITS,) of 0 and 1."""
        chosen = 2 * torch.arange(BITS) + message
        vectors = self.encoder(samples) + self.bits(chosen).sum(0)[:, None]
        return self.decoder(vectors)[..., : samples.shape[-1]]  # type: ignore[no-any-return]


class _Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        hop = int(np.prod(STRIDES))
        self.encoder, self.lengthen = _encoder(), nn.ConvTranspose1d(VECTOR, JUDGED, hop, hop)
        self.judge = nn.Conv1d(JUDGED, 2 + BITS, 1)

    def forward(self, samples: Tensor) -> Tensor:
        """Return (batch, n): the probability that each sample is marked."""
        judged = self.judge(self.lengthen(self.encoder(samples))[..., : samples.shape[-1]])
        return torch.softmax(judged[:, :2], dim=1)[:, 1]


class SoundSeal:
    """Adds marks and finds them. Runs on the CPU."""

    def __init__(self, generator: Path, detector: Path) -> None:
        """Load the published files. Raises WeightsMissing, WeightsDamaged, WrongArchitecture."""
        self._generator = load_network(_Generator, _renamed_weights(read_state_dict(generator)), generator)
        self._detector = load_network(_Detector, _renamed_weights(read_state_dict(detector)), detector)
        self._message = torch.tensor([MESSAGE >> place & 1 for place in range(BITS)])

    def mark_of(self, samples: FloatArray) -> FloatArray:
        """Return the sound to add to samples, (n,) at MARK_RATE_HZ; n is at least 1."""
        with torch.inference_mode():
            return self._generator(torch.from_numpy(samples)[None, None], self._message)[0, 0].numpy()  # type: ignore[no-any-return]

    def marked_share(self, pieces: Sequence[FloatArray]) -> float:
        """Return the share of marked samples in all pieces, (n,) each at MARK_RATE_HZ; 0 without pieces."""
        with torch.inference_mode():
            found = [self._detector(torch.from_numpy(piece)[None, None])[0] > 0.5 for piece in pieces]
        return float(torch.cat(found).float().mean()) if found else 0.0


def _renamed_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the published weights under our names, with weight norm applied."""
    named: dict[str, Tensor] = {}
    for published, value in state.items():
        name = published
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        named[name] = value
    for name in [name for name in named if re.search(_LENGTH, name)]:
        direction_name = re.sub("weight_g$", "weight_v", name).replace("original0", "original1")
        if direction_name in named:
            length, direction = named.pop(name), named.pop(direction_name)
            named[re.sub(_LENGTH, ".weight", name)] = torch._weight_norm(direction, length, 0)
    return named
