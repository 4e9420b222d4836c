"""The folds beside nose and mouth of a still, which go along with its lips.

A photo of a smile has deep folds that a mouth saying "oo" does not have. How much darker they are than the skin around
them is measured once, in the chart. A picture whose mouth is narrower than the photo's gives that light back, so the
folds smooth out; one whose mouth is wider takes some more, so they deepen. A face without folds stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avatars.geometry import LIPS, NOSE_BASE
from pipeline.lipsync.affine import then

__all__ = ["SkinFolds"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_LINES = ((129, 203, 206, 216, 212), (358, 423, 426, 436, 432))
"landmarks along the folds from the wings of the nose to beside the mouth"
_REACH_IOD, _LIP_MARGIN_IOD, _NOSE_MARGIN_IOD = 0.13, 0.035, 0.06
"folds lie within this distance of the lines; lips and nostrils, and what is nearer to them than this, are none"
_WIDEST_IOD = 0.20
"what is wider is shade, not a fold"
_FINE_IOD = 0.012
"what is finer is a pore, a whisker or noise"
_MIN_LEVELS, _MIN_SEEN = 2.0, 4.0
"what is darker by less is no fold; a face whose deepest fold is less dark than the second has none"
_MAX_PX_PER_IOD = 90.0
_SMOOTHED_BY_IOD, _DEEPENED_BY_IOD = 0.16, 0.12
"narrowing that takes a fold away, as far as it goes, and widening that deepens it most"
_MAX_SMOOTHED, _MAX_DEEPENED = 0.95, 0.5
"parts of a fold's darkness"
_UNSEEN = 0.03
_RIM, _RIM_FADES = 0.03, 0.06
"parts of the box's sides: what is left alone at its rim, and over how much folds fade towards that"


@dataclass(frozen=True, eq=False)
class _Fold:
    """One fold, at the side of the mouth."""

    light: Field
    "(h, w, 3) RGB levels by which it is darker than the skin around it"
    from_chart: Array
    "(2, 3) chart -> pixels of `light`"

    def lay(self, pixels: Image, to_chart: Array, part: float) -> None:
        """Give a box (h, w, 3) that part of the light, in place."""
        to_box = cv2.invertAffineTransform(then(self.from_chart, to_chart))
        height, width = self.light.shape[:2]
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ to_box[:, :2].T + to_box[:, 2]
        limits = [pixels.shape[1], pixels.shape[0]]
        x0, y0 = np.clip(np.floor(corners.min(axis=0)), 0, limits).astype(int)
        x1, y1 = np.clip(np.ceil(corners.max(axis=0)), 0, limits).astype(int)
        if x1 > x0 and y1 > y0:
            to_box[:, 2] -= [x0, y0]
            light = cv2.warpAffine(self.light * np.float32(part), to_box, (int(x1 - x0), int(y1 - y0)))
            pixels[y0:y1, x0:x1] = cv2.add(pixels[y0:y1, x0:x1], light, dtype=cv2.CV_8U)


@dataclass(frozen=True, eq=False)
class SkinFolds:
    """The folds of one still."""

    folds: tuple[_Fold, ...]

    @classmethod
    def of(cls, frame: Image, landmarks: Array, to_px: Array, px_per_iod: float, box: Array) -> SkinFolds | None:
        """None where the face has no folds.

        landmarks: (478, 3) px. to_px: (2, 3) chart -> pixels of the frame. box: x0, y0, x1, y1 of what is drawn of it;
        nothing near its rim changes.
        """
        density = min(px_per_iod, _MAX_PX_PER_IOD)
        back = cv2.invertAffineTransform(to_px)
        points = landmarks[:, :2] @ back[:, :2].T + back[:, 2]
        found = (_found(frame, points, line, to_px, density, box) for line in _LINES)
        folds = tuple(fold for fold in found if fold is not None)
        return cls(folds) if folds else None

    def moved(self, pixels: Image, to_chart: Array, narrower_iod: float) -> Image:
        """A box (h, w, 3) whose mouth is to be drawn that much narrower than it shows; the same if nothing changes.

        to_chart: (2, 3) pixels of the box -> chart.
        """
        smoothed = np.clip(narrower_iod / _SMOOTHED_BY_IOD, 0, 1) * _MAX_SMOOTHED
        smoothed -= np.clip(-narrower_iod / _DEEPENED_BY_IOD, 0, 1) * _MAX_DEEPENED
        if abs(smoothed) < _UNSEEN:
            return pixels
        changed = pixels.copy()
        for fold in self.folds:
            fold.lay(changed, to_chart, float(smoothed))
        return changed


def _found(
    frame: Image, points: Array, line: tuple[int, ...], to_px: Array, density: float, box: Array
) -> _Fold | None:
    """The fold along a line of landmarks; points (478, 2) in the chart."""
    low, high = points[list(line)].min(axis=0) - _REACH_IOD, points[list(line)].max(axis=0) + _REACH_IOD
    left, top = low
    columns, rows = np.ceil((high - low) * density).astype(int).tolist()
    to_frame = then(to_px, np.array([[1 / density, 0, left], [0, 1 / density, top]]))
    from_chart = np.array([[density, 0, -left * density], [0, density, -top * density]])
    flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(frame, to_frame, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    fine = max(0.8, _FINE_IOD * density)
    skin = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), fine)
    widest = 2 * int(0.5 * _WIDEST_IOD * density) + 1
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (widest, widest))
    # Each channel by itself: a fold is redder than skin, and light of the skin's colour would leave it orange.
    darker = np.maximum(cv2.morphologyEx(skin, cv2.MORPH_BLACKHAT, around) - _MIN_LEVELS, 0)
    there = points @ from_chart[:, :2].T + from_chart[:, 2]
    darker *= _beside_mouth(there, line, (columns, rows), density)[..., None]
    darker = cv2.GaussianBlur(darker, (0, 0), fine)
    darker *= _away_from_rim(to_frame, (columns, rows), box)[..., None]
    return None if darker.max() < _MIN_SEEN else _Fold(np.asarray(darker, np.float32), from_chart)


def _beside_mouth(points: Array, line: tuple[int, ...], size: tuple[int, int], density: float) -> Field:
    """Weight (h, w) of what may be a fold; points (478, 2) in its pixels."""
    near = np.full(size[::-1], 255, np.uint8)
    cv2.polylines(near, [points[list(line)].round().astype(np.int32)], False, 0, 1)
    distance = cv2.distanceTransform(near, cv2.DIST_L2, 5) / density
    weight = np.clip(2 * (1 - distance / _REACH_IOD), 0, 1)
    for landmarks, margin in ((LIPS, _LIP_MARGIN_IOD), (NOSE_BASE, _NOSE_MARGIN_IOD)):
        free = np.full(size[::-1], 255, np.uint8)
        hull = cv2.convexHull(points[list(landmarks)].astype(np.float32)).round().astype(np.int32)
        cv2.fillConvexPoly(free, hull, 0)
        away = cv2.distanceTransform(free, cv2.DIST_L2, 5) / density
        weight *= np.clip(away / margin - 0.5, 0, 1)
    return np.asarray(weight, np.float32)


def _away_from_rim(to_frame: Array, size: tuple[int, int], box: Array) -> Field:
    """Weight (h, w): 1 within the box, 0 near its rim and outside. to_frame: (2, 3) its pixels -> the frame's."""
    y, x = np.mgrid[: size[1], : size[0]]
    places = np.dstack([x, y]) @ to_frame[:, :2].T + to_frame[:, 2]
    sides = box[2:] - box[:2]
    inside = np.minimum(places - box[:2], box[2:] - places) / sides
    return np.asarray(np.clip((inside.min(axis=2) - _RIM) / _RIM_FADES, 0, 1), np.float32)
