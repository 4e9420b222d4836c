"""The sinusoids that MuseTalk adds to its audio windows before they go into the UNet."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["positional_encoding"]


def positional_encoding(n_steps: int = 50, n_channels: int = 384) -> Tensor:
    """Return float32 (n_steps, n_channels), to add to audio (n, n_steps, n_channels) in the audio's own dtype.

    Channel 2i is sin(p / 10000^(2i / n_channels)) at position p; channel 2i + 1 is the cosine (Vaswani et al. 2017,
    3.5).
    """
    positions = torch.arange(n_steps, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, n_channels, 2, dtype=torch.float32) * (-math.log(10000.0) / n_channels))
    angles = positions * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
