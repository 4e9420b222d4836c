"""Closes the eyes of a still.

A lid is moved in the eye's own axes: along the line between its corners, and across it. Each column of skin between the
lid's fold and its edge is stretched downwards. The edge itself, with the lashes, moves without being stretched. If
there is a second picture with closed eyes, the same is done backwards: its lid is squeezed upwards, and at full closure
the eye is that of the second picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from avatars.geometry import LEFT_EYE, RIGHT_EYE
from models.arrays import AnyArray, FloatArray, ImageArray

__all__ = ["Eye", "Eyelids", "measured_eyes"]

Ring = tuple[int, ...]

UPPER, LOWER = slice(1, 8), slice(15, 8, -1)
"The lids in a ring of 16 points, both from its first corner (index 0) to its second (index 8)."

# FaceMesh points of the fold above the lid, and of the lower edge of the brow.
LEFT_FOLD, RIGHT_FOLD = (247, 30, 29, 27, 28, 56, 190), (414, 286, 258, 257, 259, 260, 467)
LEFT_BROW, RIGHT_BROW = (46, 53, 52, 65, 55), (285, 295, 282, 283, 276)

ALREADY_SHUT = 0.09
"An eye whose opening, in eye widths, is below this does not blink."
FOLD_TO_BROW = 0.7
"Skin for the lid is taken from up to this far above the fold, as a fraction of the distance from fold to brow."
LASH_BAND = 0.15
"Height of the lid's edge that moves without being stretched, in eye widths: lashes, and make-up along them."
LASHES_FLAT = 0.6
"Lashes that stand up from an open eye lie down as it closes, and lose this fraction of their height."
LASH_THICKNESS = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Eye:
    """One eye in its own axes, in px: u from corner to corner, v across. Curves are sampled at its patch's pixels."""

    x0: int
    y0: int
    x: FloatArray
    y: FloatArray
    "(h, w) coordinates of the patch's pixels in the picture"
    across: FloatArray
    "(2,) unit vector of v"
    v: FloatArray
    top: FloatArray
    upper: FloatArray
    lower: FloatArray
    "(h, w) v of the fold, of the upper lid and of the lower lid at each pixel's u"
    sides: FloatArray
    "(h, w) 1 between the corners, falling to 0 beyond them"
    width: float
    start: FloatArray
    "(2,) px, its left corner in the picture"

    @property
    def opening(self) -> float:
        """How far the eye is open: the mean gap between the lids, in widths of the eye."""
        return float(np.mean((self.lower - self.upper)[self.sides > 0.9])) / self.width


class Eyelids:
    """The eyes of one picture, at any degree of closure.

    closed: the same picture with the eyes closed, if there is one.
    """

    def __init__(self, picture: ImageArray, landmarks: FloatArray, closed: ImageArray | None = None) -> None:
        self._picture, self._landmarks, self._closed = picture, landmarks, closed
        rings: tuple[Ring, Ring] = (LEFT_EYE, RIGHT_EYE)
        eyes = zip(rings, measured_eyes(picture, landmarks), strict=True)
        self._eyes = [(ring, eye) for ring, eye in eyes if eye is not None and eye.opening > ALREADY_SHUT]

    def at(self, closure: float) -> tuple[ImageArray, FloatArray]:
        """Return picture and landmarks with the lids closed this far: 0 leaves them unchanged, 1 is shut."""
        if closure <= 0 or not self._eyes:
            return self._picture, self._landmarks
        picture, landmarks = self._picture.copy(), self._landmarks.copy()
        if self._closed is not None:
            cv2.addWeighted(self._closed, closure, self._picture, 1 - closure, 0, dst=picture)
        for ring, eye in self._eyes:
            self._close(picture, eye, closure)
            upper, lower = list(ring[UPPER]), list(ring[LOWER])
            landmarks[upper] += (landmarks[lower] - landmarks[upper]) * closure
        return picture, landmarks

    def _close(self, picture: ImageArray, eye: Eye, closure: float) -> None:
        """Draw one eye with its lid closed this far into the picture."""
        rows, columns = slice(eye.y0, eye.y0 + eye.v.shape[0]), slice(eye.x0, eye.x0 + eye.v.shape[1])
        lid = eye.upper + (eye.lower - eye.upper) * closure
        source, source_lid = self._picture, eye.upper
        if self._closed is not None:
            source, source_lid = self._closed, eye.lower
        flat = LASHES_FLAT * closure if self._closed is None else 0.0
        moved = _lid_displacement(eye, lid, source_lid, flat)
        skin = cv2.remap(
            source,
            eye.x + moved * eye.across[0],
            eye.y + moved * eye.across[1],
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        below = _ramp(eye.v - lid - LASH_THICKNESS * eye.width, 1.2)
        on_lid = (1 - below) * _ramp(eye.v - eye.top, 0.1 * eye.width) * eye.sides
        within = below * _ramp(eye.lower - eye.v, 1.2) * eye.sides
        patch = picture[rows, columns].astype(np.float32)
        if self._closed is not None:  # the part of the eye that is still open must not fade to the closed picture
            patch += (self._picture[rows, columns] - patch) * within[..., None] * (1 - closure**4)
        patch += (skin - patch) * on_lid[..., None]
        picture[rows, columns] = np.clip(np.round(patch), 0, 255).astype(np.uint8)


def _lid_displacement(eye: Eye, lid: FloatArray, source_lid: FloatArray, flat: float) -> FloatArray:
    """Return (h, w), in px along v, the distance from each pixel to its source. lid: where the lid's edge is to lie.

    flat: the fraction of their height that the lashes lose.
    """
    band = LASH_BAND * eye.width
    edge = np.maximum(lid - band * (1 - flat), eye.top + 1)
    source_edge = np.maximum(source_lid - band, eye.top + 1)
    stretched = eye.top + (eye.v - eye.top) * (source_edge - eye.top) / (edge - eye.top)
    flattened = source_edge + (eye.v - edge) * (source_lid - source_edge) / np.maximum(lid - edge, 0.5)
    below = source_lid + eye.v - lid
    source_v = np.select([eye.v < eye.top, eye.v < edge, eye.v < lid], [eye.v, stretched, flattened], below)
    return np.asarray(source_v - eye.v, np.float32)


def measured_eyes(picture: ImageArray, landmarks: FloatArray) -> tuple[Eye | None, Eye | None]:
    """Return the left and the right eye; None for one that is too narrow or at the picture's border."""
    return (
        _eye(picture, landmarks, LEFT_EYE, LEFT_FOLD, LEFT_BROW),
        _eye(picture, landmarks, RIGHT_EYE, RIGHT_FOLD, RIGHT_BROW),
    )


def _eye(picture: ImageArray, landmarks: FloatArray, ring: Ring, fold: Ring, brow: Ring) -> Eye | None:
    height, width = picture.shape[:2]
    points = landmarks[:, :2].astype(np.float32)
    start, end = points[ring[0]], points[ring[8]]
    span = float(np.linalg.norm(end - start))
    if span < 6:
        return None
    along = (end - start) / span
    across = np.array([-along[1], along[0]], np.float32)
    reach = points[[*ring, *fold, *brow]]
    low, high = np.floor(reach.min(0) - 0.2 * span).astype(int), np.ceil(reach.max(0) + 0.2 * span).astype(int)
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, [width, height])
    if x1 - x0 < 4 or y1 - y0 < 4:
        return None
    x, y = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
    u = (x - start[0]) * along[0] + (y - start[1]) * along[1]
    v = (x - start[0]) * across[0] + (y - start[1]) * across[1]

    def curve(indices: list[int], corners: bool) -> tuple[AnyArray, AnyArray]:
        relative = points[indices] - start
        knots_u, knots_v = relative @ along, relative @ across
        if corners:
            knots_u, knots_v = np.r_[0, knots_u, span], np.r_[0, knots_v, 0]
        order = np.argsort(knots_u)
        return knots_u[order], knots_v[order]

    upper = np.interp(u, *curve(list(ring[UPPER]), True))
    # Landmarks of a nearly shut eye may cross, so the lower lid is never above the upper one.
    lower = np.maximum(np.interp(u, *curve(list(ring[LOWER]), True)), upper)
    folded = np.interp(u, *curve(list(fold), False))
    browed = np.interp(u, *curve(list(brow), False))
    top = np.minimum(folded + FOLD_TO_BROW * (browed - folded), upper - 0.12 * span)
    sides = _ramp(u + 0.05 * span, 0.1 * span) * _ramp(1.05 * span - u, 0.1 * span)
    v, top, upper, lower, sides = (np.asarray(field, np.float32) for field in (v, top, upper, lower, sides))
    return Eye(int(x0), int(y0), x, y, across, v, top, upper, lower, sides, span, start)


def _ramp(value: FloatArray, width: float) -> FloatArray:
    """Return 0 below zero, 1 above `width`, and a linear ramp between."""
    ramp: FloatArray = np.clip(value / width, 0, 1)
    return ramp
