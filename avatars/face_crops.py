"""Box rules: which part of a frame each network sees, as in its training. `face_formats` assigns the rules to networks.

Other projects find faces with detectors of their own (DWPose, s3fd, PFLD). Here all boxes are computed from the 478
FaceMesh points in a bundle: the points of those detectors have counterparts at the same places of the face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from models.arrays import AnyArray, IntArray, Landmarks

__all__ = [
    "RANGES",
    "CropParameters",
    "UnknownParameter",
    "crop_box",
    "musetalk_boxes",
    "smooth_boxes",
    "ultralight_boxes",
    "wav2lip_boxes",
]

Box = tuple[int, int, int, int]

PARSING_MODES = ("raw", "jaw", "neck")

# FaceMesh points at the places of the 68-point layout (iBUG; DWPose's 23:91). Only extreme points matter for a box, so
# the points of the nose between bridge and tip are left out.
_JAW_17 = (127, 234, 93, 132, 58, 172, 150, 148, 152, 377, 379, 397, 288, 361, 323, 454, 356)
_BROWS_10 = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_EYES_12 = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_MOUTH_20 = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402, 14, 178)
_FACE_68 = (*_JAW_17, *_BROWS_10, *_EYES_12, *_MOUTH_20)
_NOSE_BRIDGE = (195, 5)
"Index 29 of 68, the third of the four points from between the eyes to the tip, lies between these two."

_CONTOUR_ENDS = (234, 454)
"lms[1] and lms[31] of PFLD's 110 points: the second and the last but one of 33 around the face, from ear to ear."
_UPPER_BRIDGE = 197
"lms[52]: the second of the four points down the nose."

_SURFACE_POINTS = 468
"Number of FaceMesh points without the irises."
_SMOOTHING_FRAMES = 5
_PX = (-1000, 1000)
RANGES: Mapping[str, tuple[float, float]] = {
    "bbox_shift": _PX,
    "extra_margin": _PX,
    "left_cheek_width": (0, 256),
    "right_cheek_width": (0, 256),
    "upper_boundary_ratio": (0, 0.99),
    "pads": _PX,
}
"Ranges of the numeric parameters, both ends included. All but the ratio are integers."


class UnknownParameter(ValueError):
    """There is no parameter of that name."""


@dataclass(frozen=True, slots=True)
class CropParameters:
    """The parameters of boxes and masks that a person may choose. Names and defaults are MuseTalk's and Wav2Lip's."""

    bbox_shift: int = 0
    "px by which the middle of MuseTalk's box is moved down; this opens or closes mouths a little"
    extra_margin: int = 10
    "px below the chin (MuseTalk 1.5)"
    parsing_mode: str = "jaw"
    "raw, jaw or neck: how far down MuseTalk's mask reaches"
    left_cheek_width: int = 90
    "half width, of 512 for the whole crop, of the middle strip in which the jaw is not cut back (mode jaw)"
    right_cheek_width: int = 90
    upper_boundary_ratio: float = 0.5
    "fraction of the crop, from its top, that stays as filmed"
    pads: tuple[int, int, int, int] = (0, 10, 0, 0)
    "px added above, below, left and right of the face (Wav2Lip)"
    smooth: bool = True
    "whether Wav2Lip's boxes are averaged over 5 frames"

    def __post_init__(self) -> None:
        """Raise ValueError, naming the wrong parameter and what it may be."""
        if self.parsing_mode not in PARSING_MODES:
            raise ValueError(f"parsing_mode must be one of {', '.join(PARSING_MODES)}")
        if not isinstance(self.pads, tuple) or len(self.pads) != 4:
            raise ValueError("pads must be four numbers: above, below, left and right")
        if not isinstance(self.smooth, bool):
            raise ValueError("smooth must be true or false")
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            fits, kind = (_is_number, "a number") if name == "upper_boundary_ratio" else (_is_whole, "a whole number")
            if not all(fits(number, least, most) for number in (value if name == "pads" else [value])):
                each = "each of the pads" if name == "pads" else name
                raise ValueError(f"{each} must be {kind} from {least} to {most}")

    def changed(self, chosen: Mapping[str, Any]) -> CropParameters:
        """Return a copy with the chosen values. Raises UnknownParameter for a name, ValueError for a value."""
        values = dict(chosen)
        unknown = values.keys() - asdict(self).keys()
        if unknown:
            raise UnknownParameter(f"there is no parameter {', '.join(sorted(repr(name[:40]) for name in unknown))}")
        if isinstance(values.get("pads"), list):  # JSON has no tuples
            values["pads"] = tuple(values["pads"])
        return replace(self, **values)

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "pads": list(self.pads)}


def _is_number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_whole(value: object, least: float, most: float) -> bool:
    return isinstance(value, int) and _is_number(value, least, most)


def musetalk_boxes(landmarks: Landmarks, size: tuple[int, int], parameters: CropParameters) -> IntArray:
    """Return boxes from ear to ear, as high above the middle of the nose as the chin is below it; then add the margin.

    This is MuseTalk's rule (`get_landmark_and_bbox`), on points rounded down to whole pixels.
    """
    points = landmarks[:, list(_FACE_68), :2].astype(np.int32)
    left, right = points[:, :, 0].min(axis=1), points[:, :, 0].max(axis=1)
    bottom = points[:, :, 1].max(axis=1)
    middle = landmarks[:, list(_NOSE_BRIDGE), 1].mean(axis=1).astype(np.int32) + parameters.bbox_shift
    top = np.maximum(middle - (bottom - middle), 0)
    return np.stack([left, top, right, bottom + parameters.extra_margin], axis=1).astype(np.int32)


def wav2lip_boxes(landmarks: Landmarks, size: tuple[int, int], parameters: CropParameters) -> IntArray:
    """Return boxes of the face with Wav2Lip's pads, smoothed over time.

    s3fd's rectangle covers the face from the hair line to the chin. The FaceMesh points cover the same part, so their
    bounding box is used instead.
    """
    surface = landmarks[:, :_SURFACE_POINTS, :2]
    above, below, left, right = parameters.pads
    low = surface.min(axis=1).astype(np.int64) - np.array([left, above])
    high = surface.max(axis=1).astype(np.int64) + np.array([right, below])
    boxes = np.concatenate([np.maximum(low, 0), np.minimum(high, size)], axis=1)
    return (smooth_boxes(boxes) if parameters.smooth else boxes).astype(np.int32)


def ultralight_boxes(landmarks: Landmarks, size: tuple[int, int], parameters: CropParameters) -> IntArray:
    """Return squares as wide as the face that begin at the upper bridge of the nose."""
    left, right = landmarks[:, _CONTOUR_ENDS[0], 0].astype(np.int32), landmarks[:, _CONTOUR_ENDS[1], 0].astype(np.int32)
    top = landmarks[:, _UPPER_BRIDGE, 1].astype(np.int32)
    return np.stack([left, top, right, top + right - left], axis=1)


def smooth_boxes(boxes: AnyArray, frames: int = _SMOOTHING_FRAMES) -> AnyArray:
    """Replace each row by the mean of `frames` rows from it on; the last rows by that of the last `frames` rows.

    As in Wav2Lip (`get_smoothened_boxes`), rows are replaced in place, so the last means include smoothed rows, and
    integer results are truncated.
    """
    smoothed = boxes.copy()
    for row in range(len(smoothed)):
        first = row if row + frames <= len(smoothed) else max(len(smoothed) - frames, 0)
        smoothed[row] = smoothed[first : first + frames].mean(axis=0)
    return smoothed


def crop_box(box: Box, expand: float = 1.5) -> tuple[Box, int]:
    """Return the square around a face box that MuseTalk parses and blends, and its half side; it may leave the picture.

    As in MuseTalk (`get_crop_box`), centre and half side are truncated to whole pixels.
    """
    x0, y0, x1, y1 = box
    x, y = (x0 + x1) // 2, (y0 + y1) // 2
    half = int(max(x1 - x0, y1 - y0) // 2 * expand)
    return (x - half, y - half, x + half, y + half), half
