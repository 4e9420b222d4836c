"""Avatars of MuseTalk's real-time script, and those of LiveTalking for its musetalk model, which are stored alike.

MuseTalk stores the doubled cycle and, since 1.5, its version. LiveTalking stores each picture once, and no version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from avatars.errors import BadImport
from avatars.face_formats import MUSETALK10, MUSETALK15
from avatars.importers.folder import ForeignFolder
from avatars.importers.foreign import (
    COORDS,
    MAX_PICTURE_BYTES,
    MIXED,
    Box,
    ForeignAvatar,
    Pictures,
    boxes_of,
    coords_in,
    decoded,
    fold,
    info_of,
    is_box,
    list_in,
    match,
    written_pictures,
)
from avatars.media_limits import MAX_SIDE_PX
from models.arrays import FloatArray, Mask

__all__ = ["MASK_COORDS", "MuseTalkReader", "avatar_of"]

MASKS: Final = "mask"
MASK_COORDS: Final = "mask_coords.pkl"
MAX_MASK_PIXELS: Final = round(1.5 * MAX_SIDE_PX) ** 2
"""MuseTalk's squares have 1.5 times the longer side of a face's box, and masks are kept only where no picture is larger
than MAX_SIDE_PX."""
CORNERS: Final = (0, 1, 2, 3)
"Boxes are stored as x1, y1, x2, y2."


class MuseTalkReader:
    """Reads `full_imgs`, `mask`, the boxes of faces (x1, y1, x2, y2) and of masks.

    Latents are not loaded: those of MuseTalk 1.0 were sampled from a distribution, and ours are its mean.
    """

    def recognises(self, folder: ForeignFolder) -> bool:
        return MASK_COORDS in folder and bool(folder.numbered("full_imgs"))

    def read(self, folder: ForeignFolder) -> ForeignAvatar:
        """See ForeignReader."""
        coords = coords_in(folder)
        pictures, ignored = written_pictures(folder, len(coords))
        return avatar_of(folder, coords, pictures, ignored)


def avatar_of(folder: ForeignFolder, coords: FloatArray, pictures: Pictures, ignored: int) -> ForeignAvatar:
    """Read a folder in MuseTalk's layout with these pictures; `ignored` further ones were left out.

    Raises BadImport if masks or boxes do not fit the pictures.
    """
    masks = masks_of(folder, len(coords), pictures.count)
    single, boxes, doubled = fold(pictures, coords)
    info = info_of(folder)
    height, width = pictures.decode(0).shape[:2]
    return ForeignAvatar(
        "MuseTalk" if doubled or "version" in info else "LiveTalking musetalk",
        single,
        boxes_of(boxes, CORNERS, (width, height)),
        doubled,
        crops_of=backend_of(info),
        mask_of=masks,
        ignored=ignored,
        facts=info,
    )


def backend_of(info: Mapping[str, object]) -> str:
    """Return the backend whose crops the boxes are. Without a version, it is 1.5, which today's tools make."""
    return (MUSETALK10 if info.get("version") == "v1" else MUSETALK15).name


def masks_of(folder: ForeignFolder, boxes: int, pictures: int) -> Callable[[int, Box], Mask] | None:
    """Return a function for the masks, or None if there are none.

    Each mask is a picture of the square around a face, whose place is in mask_coords.pkl. Raises BadImport unless
    mask_coords.pkl is as long as coords.pkl, and there is a mask for each entry.
    """
    squares = list_in(folder, MASK_COORDS)
    if len(squares) != boxes:
        raise BadImport(f"{MASK_COORDS} has {len(squares)} boxes, but {COORDS} has {boxes}.", MIXED, cause="mixed")
    names = folder.numbered(MASKS)
    if not names:
        return None
    if len(names) != boxes:
        match(MASKS, len(names), pictures)

    def mask_of(index: int, box: Box) -> Mask:
        data = folder.read(names[index], MAX_PICTURE_BYTES)
        return _cut_to(box, squares[index], decoded(data, names[index], MAX_MASK_PIXELS))

    return mask_of


def _cut_to(box: Box, square: object, mask: npt.NDArray[np.uint8]) -> Mask:
    """Cut the mask (h, w, 3) of a square to the face box in it. Raises BadImport if the two do not fit."""
    if is_box(square):
        left, top, right, bottom = (int(edge) for edge in square)
        x0, y0, x1, y1 = box
        inside = left <= x0 < x1 <= right and top <= y0 < y1 <= bottom
        if inside and mask.shape[:2] == (bottom - top, right - left):
            return np.ascontiguousarray(
                cv2.cvtColor(mask, cv2.COLOR_RGB2GRAY)[y0 - top : y1 - top, x0 - left : x1 - left]
            )
    raise BadImport("A mask does not fit its face.", MIXED, cause="mixed")
