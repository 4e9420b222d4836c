"""Whether what a network gives is numbers: half precision overflows, and NaN made into a colour is black."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["as_pixels", "finite"]


def finite(values: Tensor) -> Tensor:
    """The same float32 tensor. Raises FloatingPointError if it holds an infinity or NaN.

    By the sum, which takes one pass and is as finite as the numbers are.
    """
    if not torch.isfinite(values.sum()):
        raise FloatingPointError("the network's output is not finite")
    return values


def as_pixels(drawn: Tensor) -> Tensor:
    """0..1 as uint8 levels: cut off, not rounded, as Wav2Lip and Ultralight do it. Raises as finite()."""
    return finite(drawn.float()).mul_(255).to(torch.uint8)
