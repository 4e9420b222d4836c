"""The face formats: for each lip-sync network the size it draws, its box rule, and its mask rule.

This is the only such table; crops, masks, parts, importers, the API and the page read it. A network from outside brings
its own format (see `models/outside.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import cv2
import numpy as np

from avatars.errors import BadParameters, FaceNotFound
from avatars.face_crops import Box, CropParameters, musetalk_boxes, ultralight_boxes, wav2lip_boxes
from avatars.face_masks import parsed_mask, pasted_mask, pasted_whole_mask
from models.arrays import IntArray, Landmarks, Mask
from models.outside import imported, outside_rows

__all__ = [
    "FACE_FORMATS",
    "MUSETALK10",
    "MUSETALK15",
    "ULTRALIGHT",
    "WAV2LIP96",
    "WAV2LIP256",
    "FaceFormat",
    "crop_parameters",
    "face_boxes",
    "face_format",
    "face_formats",
    "mask_from_landmarks",
    "parameters_of",
]

BoxRule = Callable[[Landmarks, tuple[int, int], CropParameters], IntArray]
"Landmarks (n, 478, 3), size (width, height) of the pictures, parameters -> boxes (n, 4) x0, y0, x1, y1."
MaskRule = Callable[[Landmarks, Box, CropParameters], Mask]
"Landmarks (478, 3), the face's box in that frame, parameters -> uint8 mask (h, w) of the box."


@dataclass(frozen=True, slots=True)
class FaceFormat:
    """The face format of one network."""

    name: str
    "name of the lip-sync backend"
    side_px: int
    "side of the square that it draws"
    boxes: BoxRule
    mask: MaskRule
    parameters: tuple[str, ...] = ()
    "fields of CropParameters that these two rules use"
    defaults: CropParameters = field(default_factory=CropParameters)
    interpolation: int = cv2.INTER_LINEAR
    "OpenCV's flag for the original's resizing: a network expects faces of that sharpness"
    rows: Literal["faces", "latents"] = "faces"
    "what its parts store for each frame: the face as RGB, or latents from the backend's own autoencoder"
    parsed: bool = False
    "whether a face parser makes better masks than landmarks"
    own_network: bool = False
    "whether each avatar needs its own network, stored beside its parts as NAME.pth"
    whole_face: bool = True
    "whether its box covers the whole face, so that it can be compared with boxes of face detectors"


_OF_MUSETALK = (
    *("bbox_shift", "extra_margin", "parsing_mode"),
    *("left_cheek_width", "right_cheek_width", "upper_boundary_ratio"),
)
_OF_WAV2LIP = ("pads", "smooth", "upper_boundary_ratio")

MUSETALK15 = FaceFormat(
    name="musetalk15",
    side_px=256,
    boxes=musetalk_boxes,
    mask=parsed_mask,
    parameters=_OF_MUSETALK,
    interpolation=cv2.INTER_LANCZOS4,
    rows="latents",
    parsed=True,
)
# MuseTalk 1.0 has neither the margin nor the modes of masks.
MUSETALK10 = replace(MUSETALK15, name="musetalk10", defaults=CropParameters(extra_margin=0, parsing_mode="raw"))
WAV2LIP256 = FaceFormat(name="wav2lip256", side_px=256, boxes=wav2lip_boxes, mask=pasted_mask, parameters=_OF_WAV2LIP)
WAV2LIP96 = FaceFormat(name="wav2lip96", side_px=96, boxes=wav2lip_boxes, mask=pasted_mask, parameters=_OF_WAV2LIP)
ULTRALIGHT = FaceFormat(
    name="ultralight",
    side_px=168,
    boxes=ultralight_boxes,
    mask=pasted_whole_mask,
    own_network=True,
    whole_face=False,
)

FACE_FORMATS: Mapping[str, FaceFormat] = {
    one.name: one for one in (MUSETALK15, MUSETALK10, WAV2LIP256, WAV2LIP96, ULTRALIGHT)
}
"Backend -> format, for our own backends."


@cache
def face_formats() -> Mapping[str, FaceFormat]:
    """Return backend -> format for all backends that need parts of an avatar, ours first."""
    theirs: dict[str, FaceFormat] = {}
    for row in outside_rows():
        if row.face_format and row.name not in FACE_FORMATS:
            with suppress(Exception):  # other people's code; the registry refuses the row, and the doctor reports it
                found = imported(row.face_format)
                if isinstance(found, FaceFormat) and found.name == row.name:
                    theirs.setdefault(row.name, found)
    return {**FACE_FORMATS, **theirs}


def face_format(backend: str) -> FaceFormat:
    """Return the format of a backend. Raises KeyError if it has no face crop."""
    return face_formats()[backend]


def crop_parameters(backend: str, chosen: Mapping[str, object] | None = None) -> CropParameters:
    """Return the backend's defaults with the chosen values; the general defaults for a backend without a face crop.

    Raises ValueError for an unknown name or a wrong value.
    """
    known = face_formats().get(backend)
    return (CropParameters() if known is None else known.defaults).changed(chosen or {})


def parameters_of(backend: str) -> dict[str, object]:
    """Return the parameters that a backend uses, with its defaults, as JSON. Raises KeyError without a face crop."""
    known = face_format(backend)
    defaults = known.defaults.to_json()
    return {name: defaults[name] for name in known.parameters}


def face_boxes(backend: str, landmarks: Landmarks, size: tuple[int, int], parameters: CropParameters) -> IntArray:
    """Return boxes (n, 4) int32 x0, y0, x1, y1 inside the picture of `size` (width, height). landmarks: (n, 478, 3).

    Raises KeyError for a backend without a face crop, FaceNotFound if a face is outside the picture, BadParameters if
    nothing of a face is left, but only because of the parameters.
    """
    known = face_format(backend)
    boxes = _boxes_inside(known, landmarks, size, parameters)
    if _are_filled(boxes):
        return boxes
    if _are_filled(_boxes_inside(known, landmarks, size, known.defaults)):
        raise BadParameters(
            "These parameters leave nothing of the face.",
            "Choose numbers nearer to the usual ones.",
            cause="nothing_left",
        )
    raise FaceNotFound(
        "A face lies outside the picture.", "Use a picture or clip in which it is seen whole.", cause="outside"
    )


def mask_from_landmarks(landmarks: Landmarks, box: Box, backend: str, parameters: CropParameters) -> Mask:
    """Return the backend's mask of a face box without a face parser, uint8 (h, w). landmarks: (478, 3).

    Raises KeyError for a backend without a face crop.
    """
    return face_format(backend).mask(landmarks, box, parameters)


def _boxes_inside(
    known: FaceFormat, landmarks: Landmarks, size: tuple[int, int], parameters: CropParameters
) -> IntArray:
    """Return boxes clipped to the picture; one outside of it becomes empty or inverted."""
    width, height = size
    boxes = known.boxes(landmarks, size, parameters)
    return np.clip(boxes, 0, np.array([width, height, width, height], np.int32)).astype(np.int32)


def _are_filled(boxes: IntArray) -> bool:
    return bool(((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).all())
