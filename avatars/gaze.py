"""The gaze of a still: its irises are moved by a few pixels between lids that stay.

An eye is moved in its own axes: along the line between its corners, and across it. The iris moves as a whole, and the
white beside it is stretched or compressed up to the corners. No pixel is ever taken from outside the lids.
"""

from __future__ import annotations

import cv2
import numpy as np

from avatars.eyelids import Eye, measured_eyes
from avatars.geometry import LEFT_IRIS, RIGHT_IRIS
from models.arrays import FloatArray, ImageArray

__all__ = ["Gaze"]


_REACH_RIGHT, _REACH_DOWN = 0.045, 0.018
"How far an iris moves for a gaze of 1, in eye widths: 6 degrees to the side, 2 degrees up or down."
_MIN_WIDTH_PX = 18
"In a narrower eye, a jump of the iris would be less than a pixel."
_MIN_OPENING = 0.16
"In an eye that is less open (in eye widths), the lids cover so much of the iris that moving it would show as a smear."
_MIDDLE = (0.22, 0.78)
"An iris outside this part of its eye looks aside already, or was detected in a wrong place."
_LIGHTER, _MAX_BLUE = 1.15, 0.18
"""The area beside an iris must be lighter than it by this factor, and its blue may exceed its red by at most this
fraction: the white of an eye is grey, or warm like the light. Otherwise the iris was not detected correctly. A robot's
iris, for instance, may be larger than what a face tracker finds."""
_IRIS_MARGIN = 1.25
"Radius of the area that moves as a whole, in radii of the iris. It includes the iris' dark rim."
_RIM_PX = 1.5
"Near the lids, the moved eye fades into the picture over this distance."


class Gaze:
    """Draws the eyes of one picture, uint8 RGB (h, w, 3) with landmarks (478, 3), with a different gaze."""

    def __init__(self, picture: ImageArray, landmarks: FloatArray) -> None:
        self._picture, self._landmarks = picture, landmarks
        eyes = measured_eyes(picture, landmarks)
        irises = [_Iris(eye, landmarks, iris) for eye, iris in zip(eyes, (LEFT_IRIS, RIGHT_IRIS), strict=True) if eye]
        self._irises = irises if len(irises) == 2 and all(iris.moves_well(picture) for iris in irises) else []

    @property
    def moves(self) -> bool:
        """Whether both eyes are large, open and visible. Otherwise they always look as in the picture."""
        return bool(self._irises)

    def at(self, right: float, down: float) -> tuple[ImageArray, FloatArray]:
        """Return picture and landmarks with both eyes moved. right, down: -1 to 1; 0, 0 changes nothing."""
        if not self._irises or (right == 0 and down == 0):
            return self._picture, self._landmarks
        picture, landmarks = self._picture.copy(), self._landmarks.copy()
        for iris in self._irises:
            iris.draw(self._picture, picture, right, down)
            landmarks[list(iris.points), :2] += iris.shift(right, down)
        return picture, landmarks


class _Iris:
    """One eye and the iris in it."""

    def __init__(self, eye: Eye, landmarks: FloatArray, points: tuple[int, ...]) -> None:
        self._eye = eye
        self.points = points
        self._along = np.array([eye.across[1], -eye.across[0]], np.float32)
        centre, *rim = landmarks[list(points), :2]
        self._place = float((centre - eye.start) @ self._along) / eye.width
        radius = float(np.linalg.norm(np.array(rim) - centre, axis=1).mean())
        aside = (eye.x - centre[0]) * self._along[0] + (eye.y - centre[1]) * self._along[1]
        beside = (eye.v > eye.upper + 1) & (eye.v < eye.lower - 1) & (eye.sides == 1)
        self._white = beside & (np.abs(aside) > _IRIS_MARGIN * radius)
        self._dark = beside & (np.abs(aside) < 0.8 * radius)
        to_corner = np.where(aside > 0, 1 - self._place, self._place) * eye.width
        whole = np.minimum(_IRIS_MARGIN * radius, 0.9 * to_corner)
        t = np.clip((np.abs(aside) - whole) / np.maximum(to_corner - whole, 1), 0, 1)
        self._share = (1 - t * t * (3 - 2 * t)).astype(np.float32)
        "how much of the shift each pixel of the eye's patch takes"

    def moves_well(self, picture: ImageArray) -> bool:
        """Whether the eye is large and open, and its iris is visible."""
        eye, (first, last) = self._eye, _MIDDLE
        in_sight = eye.width >= _MIN_WIDTH_PX and eye.opening > _MIN_OPENING and first < self._place < last
        if not in_sight or not self._white.any() or not self._dark.any():
            return False
        patch = picture[eye.y0 : eye.y0 + eye.v.shape[0], eye.x0 : eye.x0 + eye.v.shape[1]]
        white, iris = (np.median(patch[where], axis=0) for where in (self._white, self._dark))
        blue = float((white[2] - white[0]) / max(white.max(), 1))
        return bool(white.mean() > _LIGHTER * iris.mean() and blue < _MAX_BLUE)

    def shift(self, right: float, down: float) -> FloatArray:
        """Return the shift (2,) in px of the picture."""
        moved = self._along * (_REACH_RIGHT * right) + self._eye.across * (_REACH_DOWN * down)
        return np.asarray(moved * self._eye.width, np.float32)

    def draw(self, source: ImageArray, picture: ImageArray, right: float, down: float) -> None:
        """Draw the eye of `source`, with its gaze moved, into `picture`."""
        eye = self._eye
        rows, columns = slice(eye.y0, eye.y0 + eye.v.shape[0]), slice(eye.x0, eye.x0 + eye.v.shape[1])
        back = -self._share * (_REACH_RIGHT * right * eye.width)
        x, y = eye.x + back * self._along[0], eye.y + back * self._along[1]
        upper, lower = (
            cv2.remap(curve, x - eye.x0, y - eye.y0, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for curve in (eye.upper, eye.lower)
        )
        v = eye.v - self._share * (_REACH_DOWN * down * eye.width)
        v = np.maximum(np.minimum(v, lower - 1), np.minimum(upper + 1, lower))
        x, y = x + (v - eye.v) * eye.across[0], y + (v - eye.v) * eye.across[1]
        moved = cv2.remap(source, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        within = np.clip(np.minimum(eye.v - eye.upper, eye.lower - eye.v) / _RIM_PX, 0, 1) * eye.sides
        patch = picture[rows, columns].astype(np.float32)
        patch += (moved - patch) * within[..., None]
        picture[rows, columns] = np.clip(np.round(patch), 0, 255).astype(np.uint8)
