"""How much detail a part of a picture has: what teeth are compared with the face around them by."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from avatars.geometry import LIPS
from pipeline.lipsync.mouth_interior import MouthOpening

__all__ = ["between_lips", "detail_around", "detail_of"]

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

_RIM_PX = 7
"the outline of a face counts as background within half of this"


def detail_of(picture: Image, where: npt.NDArray[np.bool_]) -> float:
    """How strong the strongest edges are in a part of a picture: 90th percentile of the Laplacian; 0 of no part."""
    edges = np.abs(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F))
    return float(np.percentile(edges[where], 90)) if where.any() else 0.0


def detail_around(frame: Image, landmarks: Array) -> float:
    """The detail of a face without its mouth and its outline."""
    face, lips = np.zeros(frame.shape[:2], np.uint8), np.zeros(frame.shape[:2], np.uint8)
    for mask, points in ((face, landmarks[:468, :2]), (lips, landmarks[list(LIPS), :2])):
        cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.float32)).round().astype(np.int32), 1)
    margin = np.ones((_RIM_PX, _RIM_PX), np.uint8)
    return detail_of(frame, (cv2.erode(face, margin) > 0) & (cv2.dilate(lips, margin) == 0))


def between_lips(opening: MouthOpening, patch: Image) -> npt.NDArray[np.bool_]:
    """The opening without a rim of a pixel."""
    mask = np.zeros(patch.shape[:2], np.uint8)
    ring = np.concatenate([opening.upper, opening.lower[::-1]])
    cv2.fillPoly(mask, [ring.round().astype(np.int32)], 1)
    return np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0)
