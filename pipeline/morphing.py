"""A face moved within its picture. Pure."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import FloatArray, ImageArray

__all__ = ["moved"]

STEP = 16
"""px between the points at which the motion is worked out; it changes slowly, and is filled in between them."""
WHOLE, STILL = 0.8, 1.6
"""Faces' sizes from the middle of the face: up to there the picture moves with it, and from there on it stays."""
NEAR = 0.08
"""Faces' sizes: how far the motion of a single point, such as a lid, reaches."""
FARTHEST = 0.5
"""Faces' sizes: a face that is farther away is another one, or turns; it is left where it is."""
LEAST_PX = 4.0


def moved(image: ImageArray, points: FloatArray, target: FloatArray) -> ImageArray:
    """The picture with its face moved from `points` to `target`; what is far from the face stays where it is.

    points, target: (n, 2) px, the same points of a face. Takes 2 ms for 512 x 512 px.
    """
    size = float(np.ptp(target, axis=0).max())
    back = points - target
    if size < LEAST_PX or float(np.abs(back).max()) < 0.05 or float(np.abs(back.mean(axis=0)).max()) > FARTHEST * size:
        return image
    middle = target.mean(axis=0)
    around = np.concatenate([(target - middle) / size, np.ones((len(target), 1), np.float32)], axis=1)
    whole, *_ = np.linalg.lstsq(around, back, rcond=None)  # turned, scaled and shifted as a whole

    height, width = image.shape[:2]
    rows, columns = max(2, height // STEP), max(2, width // STEP)
    xs = (np.arange(columns) + 0.5) * width / columns - 0.5
    ys = (np.arange(rows) + 0.5) * height / rows - 0.5
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32)
    out = (grid - middle) / size
    share = np.clip((STILL - np.linalg.norm(out, axis=1)) / (STILL - WHOLE), 0, 1)
    flow = (share * share * (3 - 2 * share))[:, None] * (np.concatenate([out, np.ones((len(out), 1))], axis=1) @ whole)
    apart = ((grid[:, None] - target[None]) ** 2).sum(axis=-1) / (2 * (NEAR * size) ** 2)
    nearness = np.exp(-apart)
    flow += (nearness @ (back - around @ whole)) / (nearness.sum(axis=1, keepdims=True) + 0.5)

    flow = np.asarray(cv2.resize(flow.reshape(rows, columns, 2).astype(np.float32), (width, height)), np.float32)
    from_x = np.ascontiguousarray(flow[..., 0] + np.arange(width, dtype=np.float32))
    from_y = np.ascontiguousarray(flow[..., 1] + np.arange(height, dtype=np.float32)[:, None])
    return np.asarray(cv2.remap(image, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
