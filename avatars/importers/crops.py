"""Keeps the boxes and masks of another project for the lip-sync backend that they were made for.

The avatar's owner has checked them and chosen how they are shifted. A network trained for one avatar works only with
its own boxes: with boxes that are a few pixels off, it draws a mouth that is a few pixels off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.errors import BundleError
from avatars.face_crops import RANGES, CropParameters
from avatars.face_formats import crop_parameters, face_boxes, face_format
from avatars.importers.account import AGREES
from avatars.stages import Found, Loop, Source
from models.arrays import AnyArray, FloatArray, IntArray, Mask

__all__ = ["GivenMasks", "boxes_of", "given_boxes", "given_masks", "kept_crops", "parameters_for", "whole_boxes"]


BOXES: Final = "{}/boxes"
MASKS: Final = "{}/masks"
MASK_OFFSETS: Final = "{}/mask_offsets"
"Names of the bundle's tensors; {} is the lip-sync backend."
OF_BOXES: Final = ("bbox_shift", "extra_margin", "pads", "smooth")
OF_MASKS: Final = ("parsing_mode", "left_cheek_width", "right_cheek_width", "upper_boundary_ratio")
"Parameters of boxes and of masks. Someone who changes one of them gets our boxes or masks instead."


@dataclass(frozen=True, slots=True, eq=False)
class GivenMasks:
    """The project's mask for the box of each frame."""

    "(n, 4) int32 x0, y0, x1, y1"
    boxes: IntArray
    png: npt.NDArray[np.uint8]
    "the masks as PNG files, one after another"
    offsets: npt.NDArray[np.int64]
    "(n + 1,) where each file begins in `png`, and where the last one ends"

    def __getitem__(self, frame: int) -> Mask:
        """Return the mask uint8 (h, w), of the size of that frame's box. Raises BundleError if it is damaged."""
        start, stop = self.offsets[frame : frame + 2]
        x0, y0, x1, y1 = self.boxes[frame]
        mask = cv2.imdecode(self.png[start:stop], cv2.IMREAD_GRAYSCALE) if stop > start else None
        if mask is None or mask.shape != (y1 - y0, x1 - x0):
            raise BundleError(f"The mask of frame {frame} is damaged.", "Import the avatar again.")
        return np.asarray(mask, np.uint8)


def kept_crops(source: Source, found: Found, loop: Loop) -> dict[str, AnyArray]:
    """Return the project's boxes and masks as tensors for the bundle; none if they are not certain to fit.

    They fit a clip, because its pictures are the project's own, each once. They do not fit a still, whose pictures are
    drawn here with a moving face. They are not kept either if the project saw the face elsewhere, or not in every
    picture.
    """
    backend, boxes_in_clip = source.crops_of, source.foreign.boxes()
    if backend is None or boxes_in_clip is None or found.agreement is None or source.kind == "still":
        return {}
    median = found.agreement["median_iou"]
    first, stop = loop.first, loop.first + len(loop.landmarks)
    seen = boxes_in_clip[first:stop]
    if median is None or median < AGREES or not np.isfinite(seen).all():
        return {}
    boxes = whole_boxes(seen, (loop.width, loop.height))
    if not _are_boxes(boxes):
        return {}
    tensors: dict[str, AnyArray] = {BOXES.format(backend): boxes}
    masks = source.foreign.masks(first, stop)
    if masks is not None:
        tensors[MASKS.format(backend)] = np.concatenate(masks)
        tensors[MASK_OFFSETS.format(backend)] = np.cumsum([0, *map(len, masks)], dtype=np.int64)
    return tensors


def whole_boxes(boxes: FloatArray, size: tuple[int, int]) -> IntArray:
    """Round boxes (n, 4) to whole pixels, and clip them to the picture of `size` (width, height)."""
    return np.clip(np.rint(boxes), 0, np.tile(size, 2)).astype(np.int32)


def parameters_for(bundle: AvatarBundle, backend: str, chosen: Mapping[str, object]) -> CropParameters:
    """Return the backend's parameters with what a person chose; the others are as the avatar's owner had them.

    Raises ValueError, UnknownParameter.
    """
    return crop_parameters(backend, {**_own(bundle, backend), **chosen})


def _own(bundle: AvatarBundle, backend: str) -> dict[str, object]:
    """Return the parameters that the owner of an imported avatar had chosen for this backend."""
    imported = bundle.manifest["source"].get("imported")
    shift = None if imported is None else imported.get("noted", {}).get("bbox_shift")
    low, high = RANGES["bbox_shift"]
    usable = isinstance(shift, int) and not isinstance(shift, bool) and low <= shift <= high
    return {"bbox_shift": shift} if usable and imported and imported.get("crops_of") == backend else {}


def boxes_of(bundle: AvatarBundle, backend: str, parameters: CropParameters) -> IntArray:
    """Return boxes (n, 4) int32 x0, y0, x1, y1 of the face in each frame.

    These are the avatar's imported boxes, if there are any and nobody chose other parameters. Otherwise they follow the
    backend's rule. An avatar's own network always gets the imported boxes, as it works with no others. Raises KeyError
    for a backend without a face crop, FaceNotFound, BadParameters, BundleError.
    """
    given = given_boxes(bundle, backend)
    if given is not None and (face_format(backend).own_network or _as_it_came(bundle, backend, parameters, OF_BOXES)):
        return given
    return face_boxes(backend, bundle.landmarks, (bundle.width, bundle.height), parameters)


def given_boxes(bundle: AvatarBundle, backend: str) -> IntArray | None:
    """Return the imported boxes of an avatar; None if there are none. Raises BundleError if they do not fit it."""
    boxes = bundle.backend_tensors.get(BOXES.format(backend))
    if boxes is None:
        return None
    edges = (bundle.width, bundle.height) * 2
    whole = boxes.shape == (bundle.frame_count, 4) and boxes.dtype == np.int32
    if not whole or not ((boxes >= 0) & (boxes <= edges)).all() or not _are_boxes(boxes):
        raise BundleError(f"The boxes of the avatar '{bundle.id}' for {backend} are damaged.", "Import it again.")
    return boxes


def given_masks(bundle: AvatarBundle, backend: str, parameters: CropParameters) -> GivenMasks | None:
    """Return the imported masks of an avatar; None if there are none, or a person chose other boxes or masks.

    Raises BundleError if they do not fit the avatar.
    """
    boxes = given_boxes(bundle, backend)
    png, offsets = (bundle.backend_tensors.get(name.format(backend)) for name in (MASKS, MASK_OFFSETS))
    if boxes is None or png is None or offsets is None:
        return None
    if not _as_it_came(bundle, backend, parameters, (*OF_BOXES, *OF_MASKS)):
        return None
    counted = offsets.shape == (bundle.frame_count + 1,) and offsets.dtype == np.int64 and png.dtype == np.uint8
    if not counted or offsets[0] != 0 or offsets[-1] != png.size or (np.diff(offsets) < 0).any():
        raise BundleError(f"The masks of the avatar '{bundle.id}' for {backend} are damaged.", "Import it again.")
    return GivenMasks(boxes, png, offsets)


def _as_it_came(bundle: AvatarBundle, backend: str, parameters: CropParameters, names: tuple[str, ...]) -> bool:
    came = parameters_for(bundle, backend, {})
    return all(getattr(parameters, name) == getattr(came, name) for name in names)


def _are_boxes(boxes: IntArray) -> bool:
    return bool((boxes[:, 2:] > boxes[:, :2]).all())
