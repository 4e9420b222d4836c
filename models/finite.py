"""Checks that a network's output is finite: half precision may overflow, and NaN turned into a colour is black."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["as_pixels", "finite"]


def finite(values: Tensor) -> Tensor:
    """Return the same float32 tensor. Raises FloatingPointError if it contains an infinity or NaN.

    It checks the sum, which takes one pass, and is finite only if all numbers are.
    """
    if not torch.isfinite(values.sum()):
        raise FloatingPointError("the network's output is not finite")
    return values


def as_pixels(drawn: Tensor) -> Tensor:
    """Convert 0..1 to uint8 levels, truncated like in Wav2Lip and Ultralight, not rounded. Raises as finite() does."""
    return finite(drawn.float()).mul_(255).to(torch.uint8)
