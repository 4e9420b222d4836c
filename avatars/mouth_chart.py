"""The mouth chart: flat, stabilised coordinates of a filmed mouth, in which real mouths are compared and moved.

The chart shows the face at rest in its average pose, in IOD, with the origin at the middle of the mouth, x to the right
and y down. Each frame has its own affine map from the chart to its pixels. The maps are fitted to points that speech
does not move, so the remaining movement of the landmarks in the chart is speech.
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
"Points of chin, jaw and cheeks, which follow the mouth."
POINTS = (*LIPS, *LOOSE_POINTS)
"The landmarks of each frame that the chart keeps, in this order."
PINS = (132, 361, 50, 280, 36, 266, *NOSE_BASE)
"Landmarks around the mouth that do not move with it."

_ANCHORS = (*SKULL, *PINS)
_CAMERA_SIGMA = 1.2
"In pictures. The smoothing removes jitter, which comes from the tracker: heads do not tremble."
_MIDDLE = slice(3, 8)
"Of the eleven points of an inner lip, those that tell how far a mouth is open."


def places(landmarks: tuple[int, ...]) -> list[int]:
    """Return the indices of these landmarks in POINTS."""
    return [POINTS.index(landmark) for landmark in landmarks]


_UPPER, _LOWER, _CORNERS = places(UPPER_LIP_INNER), places(LOWER_LIP_INNER), places(LIP_CORNERS[:2])


def opening_of(points: Array) -> Array:
    """Return how far mouths are open: the mean gap in the middle of the lips of POINTS (..., m, 2), in their unit."""
    gaps = points[..., _LOWER, 1] - points[..., _UPPER, 1]
    return np.asarray(gaps[..., _MIDDLE].mean(axis=-1))


def width_of(points: Array) -> Array:
    """Return the distance of the mouth's corners, given POINTS (..., m, 2), in their unit."""
    left, right = (points[..., corner, :] for corner in _CORNERS)
    return np.asarray(np.linalg.norm(right - left, axis=-1))


def affine(matrix: Array, points: Array) -> Array:
    """Map points (..., 2) by an affine map (2, 3)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


@dataclass(frozen=True, eq=False)
class MouthChart:
    """The chart of one clip of n frames."""

    rest: Array
    "(478, 3) the face at rest in the head's own coordinates: the median of the third of frames with most closed lips"
    origin: Array
    "(3,) the middle of the mouth in the head's own coordinates"
    flat: Array
    "(2, 3) maps the head's own coordinates, relative to `origin`, to the chart"
    to_px: Array
    "(n, 2, 3) maps the chart to the pixels of each frame"
    points: Array
    "(n, m, 2) POINTS of each frame in the chart"
    pins: Array
    "(p, 2) PINS in the chart, the same for all frames"
    pose: Array
    "(n, 2) degrees that the head is turned to the side and bent down"
    px_per_iod: float
    "median over the frames"

    @classmethod
    def of(cls, landmarks: Landmarks) -> MouthChart:
        """Build the chart from landmarks (n, 478, 3) px of consecutive frames."""
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
    """Return the pose (n, 2) in degrees from landmarks (n, 478, 3)."""
    axes = np.stack([points[:, 263] - points[:, 33], points[:, 152] - points[:, 10]], axis=1)
    return np.asarray(np.rad2deg(np.arctan2(axes[..., 2], np.hypot(axes[..., 0], axes[..., 1]))))
