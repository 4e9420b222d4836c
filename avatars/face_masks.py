"""Masks: how strongly a generated face replaces the filmed one in each pixel. MuseTalk's, and plain feathered ones.

MuseTalk finds the skin with a face parser and blurs the result. `face_classes` draws the same classes from FaceMesh
points, which needs no network. The classes of a real parser go through the same steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from avatars.face_crops import Box, CropParameters, crop_box
from avatars.geometry import (
    FACE_TOP,
    LEFT_EYE,
    LOWER_LIP_INNER,
    LOWER_LIP_OUTER,
    RIGHT_EYE,
    UPPER_LIP_INNER,
    UPPER_LIP_OUTER,
    mouth_mask,
)
from models.arrays import Landmarks, Mask

__all__ = [
    "PARSE_PX",
    "blurred_mask",
    "classes_to_mask",
    "face_classes",
    "feathered_mask",
    "mask_in_box",
    "musetalk_mask",
    "parsed_mask",
    "pasted_mask",
    "pasted_whole_mask",
]


PARSE_PX = 512
"Side of the picture that MuseTalk's face parser gets. Sizes in its rules are in these pixels."

# Classes of CelebAMask-HQ, with the numbers that the face parser gives them.
_SKIN, _EYE, _NOSE, _MOUTH, _UPPER_LIP, _LOWER_LIP, _NECK = 1, 4, 10, 11, 12, 13, 14
_WITHIN_LIPS = (_MOUTH, _UPPER_LIP, _LOWER_LIP)

_FACE_OVAL = (
    *(FACE_TOP, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_NOSE_OUTLINE = (168, 193, 245, 188, 174, 198, 129, 98, 97, 2, 326, 327, 358, 420, 399, 412, 465, 417)
_JAW_CORNERS = (58, 288)

_CONE_HEIGHT, _CONE_TAIL = 21, 12
_CHEEK_KERNEL_PX = (35, 3)
_BLUR_OF_CROP = 0.1


def parsed_mask(landmarks: Landmarks, box: Box, parameters: CropParameters) -> Mask:
    """Return MuseTalk's mask of a face box, uint8 (h, w), with classes drawn from landmarks (478, 3)."""
    return musetalk_mask(face_classes(landmarks, crop_box(box)[0]), box, parameters)


def pasted_mask(_landmarks: Landmarks, box: Box, parameters: CropParameters) -> Mask:
    """Return the mask uint8 (h, w) of a box that begins at the hair: only its lower part is pasted."""
    x0, y0, x1, y1 = box
    return feathered_mask(x1 - x0, y1 - y0, parameters.upper_boundary_ratio)


def pasted_whole_mask(_landmarks: Landmarks, box: Box, _parameters: CropParameters) -> Mask:
    """Return the mask uint8 (h, w) of a box that begins at the nose: all of it is pasted."""
    x0, y0, x1, y1 = box
    return feathered_mask(x1 - x0, y1 - y0)


def musetalk_mask(classes: Mask, box: Box, parameters: CropParameters) -> Mask:
    """Return the weight of the generated face in its box, uint8 (h, w), from the classes (512, 512) of its crop."""
    (left, top, right, bottom), _ = crop_box(box)
    parsed = cv2.resize(classes_to_mask(classes, parameters), (right - left, bottom - top))
    mask = blurred_mask(np.asarray(parsed, np.uint8), box, parameters.upper_boundary_ratio)
    return mask_in_box(mask, box)


def feathered_mask(width: int, height: int, upper_boundary_ratio: float = 0.0) -> Mask:
    """Return a mask uint8 (height, width) for networks whose originals paste whole rectangles.

    Its edges are soft, and its lower corners are rounded like a jaw. Above the boundary it is 0, because there the
    network only copies its input, and the filmed picture is better.
    """
    first = int(height * upper_boundary_ratio)
    mask = np.zeros((height, width), np.uint8)
    mask[first:] = mouth_mask(width, height - first)
    return mask


def mask_in_box(mask: Mask, box: Box) -> Mask:
    """Cut the mask of a crop to the face box. Outside the box, both pictures of the blend are the same."""
    (left, top, _, _), _ = crop_box(box)
    x0, y0, x1, y1 = box
    return np.ascontiguousarray(mask[y0 - top : y1 - top, x0 - left : x1 - left])


def blurred_mask(parsed: Mask, box: Box, upper_boundary_ratio: float = 0.5) -> Mask:
    """Return the mask uint8 (side, side) of the crop box, from the parsed one.

    These are MuseTalk's steps (`get_image_prepare_material`): cut to the face box, clear everything above the boundary,
    which is measured on the crop, then blur by a Gaussian with a tenth of the crop's width.
    """
    (left, top, _, _), _ = crop_box(box)
    x0, y0, x1, y1 = box
    face = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    mask = np.zeros_like(parsed)
    mask[face] = parsed[face]
    height, width = mask.shape
    mask[: int(height * upper_boundary_ratio)] = 0
    kernel = int(_BLUR_OF_CROP * width // 2 * 2) + 1
    return np.asarray(cv2.GaussianBlur(mask, (kernel, kernel), 0), np.uint8)


def classes_to_mask(classes: Mask, parameters: CropParameters) -> Mask:
    """Return 255 where the generated face may show, from the classes (512, 512) of a crop, by MuseTalk's modes.

    raw: skin and mouth. neck: the neck as well. jaw: skin grown downwards to leave room for a dropping jaw, but cut
    back outside the middle strip between the cheek widths; without the nose.
    """
    within_lips = np.isin(classes, _WITHIN_LIPS)
    if parameters.parsing_mode != "jaw":
        shown = (classes == _SKIN) | within_lips
        if parameters.parsing_mode == "neck":
            shown |= classes == _NECK
        return np.asarray(shown * 255, np.uint8)
    grown = cv2.dilate(np.asarray((classes == _SKIN) * 255, np.uint8), _cone())
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, _CHEEK_KERNEL_PX)
    cut_back = cv2.erode(grown, ellipse, iterations=2)
    columns = np.arange(PARSE_PX) - PARSE_PX // 2
    beside = (columns <= -parameters.left_cheek_width) | (columns >= parameters.right_cheek_width)
    jaw = np.where(beside[None, :], cut_back, grown)
    shown = ((jaw == 255) & (classes != _NOSE)) | within_lips
    return np.asarray(shown * 255, np.uint8)


def face_classes(landmarks: Landmarks, crop: Box) -> Mask:
    """Draw the classes of a crop's pixels, uint8 (512, 512), as a face parser would give them. landmarks: (478, 3)."""
    left, top, right, bottom = crop
    points = (np.asarray(landmarks, np.float64)[:, :2] - (left, top)) * PARSE_PX / (right - left, bottom - top)
    classes = np.zeros((PARSE_PX, PARSE_PX), np.uint8)
    jaw_left, jaw_right = points[list(_JAW_CORNERS)]
    neck = np.array([jaw_left, jaw_right, (jaw_right[0], 2 * PARSE_PX), (jaw_left[0], 2 * PARSE_PX)])
    lip_outline = (*UPPER_LIP_OUTER, *LOWER_LIP_OUTER[-2:0:-1])
    mouth_outline = (*UPPER_LIP_INNER, *LOWER_LIP_INNER[-2:0:-1])
    upper_lip = (*UPPER_LIP_OUTER, *UPPER_LIP_INNER[::-1])
    _fill(classes, neck, _NECK)
    for outline, kind in (
        (_FACE_OVAL, _SKIN),
        (LEFT_EYE, _EYE),
        (RIGHT_EYE, _EYE),
        (_NOSE_OUTLINE, _NOSE),
        (lip_outline, _LOWER_LIP),
        (upper_lip, _UPPER_LIP),
        (mouth_outline, _MOUTH),
    ):
        _fill(classes, points[list(outline)], kind)
    return classes


def _fill(classes: Mask, outline: npt.NDArray[np.float64], kind: int) -> None:
    polygons: Sequence[npt.NDArray[np.int32]] = [np.round(outline).astype(np.int32)]
    cv2.fillPoly(classes, polygons, kind)


def _cone() -> Mask:
    """Return MuseTalk's kernel (33, 33), a widening wedge and then a tail. It grows shapes up and down."""
    size = _CONE_HEIGHT + _CONE_TAIL
    kernel = np.zeros((size, size), np.uint8)
    centre, first = size // 2, _CONE_HEIGHT // 2
    for row in range(first, size):
        half = min(row, _CONE_HEIGHT - 1) - first
        kernel[row, centre - half : centre + half + 1] = 1
    return kernel
