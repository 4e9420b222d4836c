"""Finds discontinuities in a clip: cuts to another scene or face, and pictures that do not belong to it.

Small pictures are compared: whole ones, and faces that are turned upright and scaled to one size, so that the person's
movement does not count. A cut is a difference that is large both in itself and compared with those around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from models.arrays import ImageArray

__all__ = ["LONGEST_FLASH", "SceneCuts", "face_changes", "scene_cuts", "small_picture"]

FloatArray = npt.NDArray[np.floating]

SMALL_SIDE_PX: Final = 192
WHOLE_PX, FACE_PX = 32, 24
SCENE_STEP, FACE_STEP = 12.0, 25.0
"Mean difference in levels. A blink changes a face by 10, another person (measured on portraits) by 50."
CUT_RATIO: Final = 5.0
"A cut is this many times as large as the usual difference around it. Pans and flicker are not."
AROUND: Final = 12
"The usual difference is the median over this many pictures on either side."
LONGEST_FLASH: Final = 5
"""If the former scene is back within this many pictures, it was not a cut, but something in between: a black picture,
or a flash."""
EYE_CORNERS, LIP_CORNERS = (33, 263), (61, 291)
FACE_PLACES: Final = np.array([[6, 8], [18, 8], [12, 19]], np.float32)
"Where the eye corners and the middle of the mouth are placed in an upright face."


@dataclass(frozen=True, slots=True)
class SceneCuts:
    """The discontinuities of a clip; pictures are numbers."""

    cuts: frozenset[int]
    "pictures at which another scene begins"
    foreign: frozenset[int]
    "pictures that do not belong to the scene before and after them"


def small_picture(rgb: ImageArray) -> ImageArray:
    """Scale uint8 RGB (h, w, 3) down to 192 px."""
    scale = SMALL_SIDE_PX / max(rgb.shape[:2])
    return np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def scene_cuts(pictures: Sequence[ImageArray]) -> SceneCuts:
    """Find cuts and foreign pictures among the small pictures of a clip, in order."""
    size = (WHOLE_PX, WHOLE_PX)
    wholes = np.array([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in pictures], np.float32)
    steps = sorted(_steps(wholes, SCENE_STEP))
    foreign: set[int] = set()
    cuts: set[int] = set()
    for index in steps:
        if index in foreign:
            continue
        back = [at for at in range(index + 1, min(index + LONGEST_FLASH, len(wholes) - 1) + 1) if at in steps]
        returned = next((at for at in back if _difference(wholes[at], wholes[index - 1]) < SCENE_STEP), None)
        if returned is None:
            cuts.add(index)
        else:
            foreign |= set(range(index, returned))
    returns = {index + 1 for index in foreign}
    return SceneCuts(frozenset(cuts - returns), frozenset(foreign))


def face_changes(
    pictures: Sequence[ImageArray], landmarks: FloatArray, width: int, seen: Sequence[bool]
) -> frozenset[int]:
    """Return the pictures at which another face takes the place of the one before.

    landmarks: (n, 478, 3) for pictures `width` px wide. seen: whether the face was found in each picture.
    """
    known = [index for index, one in enumerate(seen) if one]
    if not known:
        return frozenset()
    faces = np.array([_upright_face(pictures[index], landmarks[index], width) for index in known], np.float32)
    return frozenset(known[index] for index in _steps(faces, FACE_STEP))


def _steps(pictures: npt.NDArray[np.float32], least: float) -> list[int]:
    """Return the indices of pictures (n, h, w, 3) that differ from the one before by much more than others nearby."""
    if len(pictures) < 2:
        return []
    steps = np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2, 3))
    usual = [float(np.median(steps[max(0, at - AROUND) : at + AROUND + 1])) for at in range(len(steps))]
    return [at + 1 for at, step in enumerate(steps) if step > max(least, CUT_RATIO * usual[at])]


def _difference(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    return float(np.abs(one - other).mean())


def _upright_face(picture: ImageArray, landmarks: FloatArray, width: int) -> ImageArray:
    points = np.asarray(landmarks[:, :2], np.float32) * np.float32(picture.shape[1] / width)
    mouth = points[list(LIP_CORNERS)].mean(axis=0, keepdims=True)
    turn = cv2.getAffineTransform(np.concatenate([points[list(EYE_CORNERS)], mouth]), FACE_PLACES)
    face = cv2.warpAffine(picture, turn, (FACE_PX, FACE_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(face, np.uint8)
