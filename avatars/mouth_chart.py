"""The mouth region of a filmed person, flat and held still: the chart in which real mouths are compared and moved.

The chart is the face at rest in its average pose, unit IOD, origin at the middle of the mouth, x to the right and y
down. Each frame has an affine map of its own from the chart to its pixels. The maps are fitted to points that speech
does not move, so what is left of the landmarks in the chart is speech.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avatars.geometry import (
    LIP_CORNERS,
    LIPS,
    LOWER_LIP_INNER,
    NOSE_BASE,
    SKULL,
    UPPER_LIP_INNER,
    canonical_points,
    fit_affine_camera,
)
from models.arrays import Landmarks

__all__ = ["LOOSE_POINTS", "PINS", "POINTS", "MouthChart", "affine", "opening_of", "places", "width_of"]

Array = npt.NDArray[np.float64]

_LOOSE_JAW = (152, 148, 377, 176, 400, 150, 379, 172, 397, 58, 288, 200, 18, 175)
LOOSE_POINTS = (*_LOOSE_JAW, 205, 425, 207, 427, 212, 432, 202, 422, 214, 434)
"chin, jaw and cheeks: they follow the mouth"
POINTS = (*LIPS, *LOOSE_POINTS)
"the landmarks that the chart keeps of each frame, in this order"
PINS = (132, 361, 50, 280, 36, 266, *NOSE_BASE)
"landmarks round the mouth that stay where they are"

_ANCHORS = (*SKULL, *PINS)
_CAMERA_SIGMA = 1.2
"pictures; heads do not tremble, trackers do"
_MIDDLE = slice(3, 8)
"of the eleven points of an inner lip: those that say how far a mouth is open"


def places(landmarks: tuple[int, ...]) -> list[int]:
    """Where these landmarks are in POINTS."""
    return [POINTS.index(landmark) for landmark in landmarks]


_UPPER, _LOWER, _CORNERS = places(UPPER_LIP_INNER), places(LOWER_LIP_INNER), places(LIP_CORNERS[:2])


def opening_of(points: Array) -> Array:
    """How far mouths (..., m, 2) of POINTS are open, in their own unit: the mean over the middle of the lips."""
    gaps = points[..., _LOWER, 1] - points[..., _UPPER, 1]
    return np.asarray(gaps[..., _MIDDLE].mean(axis=-1))


def width_of(points: Array) -> Array:
    """Distance of the corners of mouths (..., m, 2) of POINTS, in their own unit."""
    left, right = (points[..., corner, :] for corner in _CORNERS)
    return np.asarray(np.linalg.norm(right - left, axis=-1))


def affine(matrix: Array, points: Array) -> Array:
    """Points (..., 2) mapped by an affine map (2, 3)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


@dataclass(frozen=True, eq=False)
class MouthChart:
    """The chart of one clip of n frames."""

    rest: Array
    "(478, 3) the face at rest in the head's own frame: the median of the third with the most closed lips"
    origin: Array
    "(3,) the middle of the mouth in the head's own frame"
    flat: Array
    "(2, 3) takes the head's own frame to the chart, from `origin`"
    to_px: Array
    "(n, 2, 3) chart -> pixels of each frame"
    points: Array
    "(n, m, 2) POINTS of each frame in the chart"
    pins: Array
    "(p, 2) PINS in the chart, the same for all frames"
    pose: Array
    "(n, 2) degrees: how far the head is turned to the side and bent down"
    px_per_iod: float
    "median over the frames"

    @classmethod
    def of(cls, landmarks: Landmarks) -> MouthChart:
        """landmarks: (n, 478, 3) px of consecutive frames."""
        found = np.asarray(landmarks, np.float64)
        canonical = canonical_points(found)
        gaps = (canonical[:, LOWER_LIP_INNER, 1] - canonical[:, UPPER_LIP_INNER, 1]).max(axis=1)
        most_closed = np.argsort(gaps, kind="stable")[: max(1, len(gaps) // 3)]
        rest = np.median(canonical[most_closed], axis=0)
        anchors = list(_ANCHORS)
        cameras = _steady(fit_affine_camera(rest[anchors], found[:, anchors, :2]))
        scales = np.linalg.svd(cameras[:, :, :3], compute_uv=False).mean(axis=1)
        flat = (cameras[:, :, :3] / scales[:, None, None]).mean(axis=0)
        origin = rest[list(LIP_CORNERS[:2])].mean(axis=0)

        fitted = rest[[*POINTS, *PINS]]
        design = np.column_stack([(fitted - origin) @ flat.T, np.ones(len(fitted))])
        seen = fitted @ cameras[:, :, :3].transpose(0, 2, 1) + cameras[:, None, :, 3]
        to_px = np.ascontiguousarray((np.linalg.pinv(design) @ seen).transpose(0, 2, 1))
        kept = found[:, [*POINTS, *PINS], :2] - to_px[:, None, :, 2]
        kept = kept @ np.linalg.inv(to_px[:, :, :2]).transpose(0, 2, 1)
        return cls(
            rest=rest,
            origin=origin,
            flat=flat,
            to_px=to_px,
            points=np.ascontiguousarray(kept[:, : len(POINTS)]),
            pins=kept[:, len(POINTS) :].mean(axis=0),
            pose=_pose_deg(found),
            px_per_iod=float(np.median(scales)),
        )


def _steady(cameras: Array) -> Array:
    reach = round(4 * _CAMERA_SIGMA)
    over_time = cv2.getGaussianKernel(2 * reach + 1, _CAMERA_SIGMA, cv2.CV_64F)
    rows = np.ascontiguousarray(cameras.reshape(len(cameras), -1))
    steady = cv2.sepFilter2D(rows, cv2.CV_64F, np.ones(1), over_time, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(steady, np.float64).reshape(cameras.shape)


def _pose_deg(points: Array) -> Array:
    """(n, 478, 3) -> (n, 2)."""
    axes = np.stack([points[:, 263] - points[:, 33], points[:, 152] - points[:, 10]], axis=1)
    return np.asarray(np.rad2deg(np.arctan2(axes[..., 2], np.hypot(axes[..., 0], axes[..., 1]))))
