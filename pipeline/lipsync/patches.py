"""From what was prepared of an avatar to what a network draws, and on to patches that can be composed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.parts import BackendParts, damaged, parts_path
from models.arrays import AnyArray
from pipeline.types import FacePatch, FloatArray, ImageArray, LipSyncRequest

__all__ = ["RowFormat", "file_stamp", "open_parts", "parts_stamp", "patches_of", "rows_of", "windows_of"]


class RowFormat(NamedTuple):
    """What a network reads of each frame of an avatar."""

    name: str
    shape: tuple[int, ...]
    dtype: npt.DTypeLike


def open_parts(bundle: AvatarBundle, backend: str, rows: RowFormat) -> BackendParts:
    """What `backend` needs of an avatar, with `rows` in it: another program may have written the file.

    Raises AvatarNotPrepared, BundleError.
    """
    parts = BackendParts.open(bundle, backend)
    try:
        found = parts.row(rows.name, 0)
    except (KeyError, TypeError, AttributeError) as error:  # the last two: float types that NumPy lacks
        raise damaged(bundle, backend, f"its {rows.name} are missing or cannot be read") from error
    if found.shape != rows.shape or found.dtype != rows.dtype:
        wanted = f"{rows.shape} {np.dtype(rows.dtype)}"
        raise damaged(bundle, backend, f"its {rows.name} are {found.shape} {found.dtype} instead of {wanted}")
    return parts


def file_stamp(path: Path) -> tuple[int, int]:
    """Tells a file from the one that was there before."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def parts_stamp(bundle: AvatarBundle, backend: str, rows: RowFormat) -> tuple[int, int]:
    """Of the parts that `backend` has of an avatar. Raises AvatarNotPrepared, BundleError."""
    open_parts(bundle, backend, rows)
    return file_stamp(parts_path(bundle, backend))


def windows_of(requests: Sequence[LipSyncRequest]) -> FloatArray:
    """(n, ...) float32: the features of each request."""
    return np.stack([request.window.data for request in requests])


def rows_of(requests: Sequence[LipSyncRequest], name: str) -> AnyArray:
    """(n, ...): of each request's avatar (its state is BackendParts), what was prepared as `name` for its frame."""
    return np.stack([request.state.row(name, request.frame_index) for request in requests])


def patches_of(requests: Sequence[LipSyncRequest], drawn: ImageArray) -> list[FacePatch]:
    """(n, h, w, 3) uint8 RGB -> a patch for each request, with the box and the mask of its avatar's frame."""
    patches = []
    for request, pixels in zip(requests, drawn, strict=True):
        x0, y0, x1, y1 = (int(edge) for edge in request.state.boxes[request.frame_index])
        patches.append(FacePatch(pixels, (x0, y0, x1, y1), request.state.mask(request.frame_index)))
    return patches
