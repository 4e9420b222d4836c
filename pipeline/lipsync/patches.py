"""From what a network drew to patches that can be composed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.types import FacePatch, ImageArray, LipSyncRequest

__all__ = ["patches_of", "rows_of", "windows_of"]


def windows_of(requests: Sequence[LipSyncRequest]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(n, ...) float32: what each request hears."""
    return np.stack([request.window.data for request in requests])


def rows_of(requests: Sequence[LipSyncRequest], name: str) -> np.ndarray[Any, Any]:
    """(n, ...): of each request's avatar (its state is BackendParts), what was prepared as `name` for its frame."""
    return np.stack([request.state.row(name, request.frame_index) for request in requests])


def patches_of(requests: Sequence[LipSyncRequest], drawn: ImageArray) -> list[FacePatch]:
    """(n, h, w, 3) uint8 RGB -> a patch for each request, with the box and the mask of its avatar's frame."""
    patches = []
    for request, pixels in zip(requests, drawn, strict=True):
        x0, y0, x1, y1 = (int(edge) for edge in request.state.boxes[request.frame_index])
        patches.append(FacePatch(pixels, (x0, y0, x1, y1), request.state.mask(request.frame_index)))
    return patches
