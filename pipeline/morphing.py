"""Moves a face within its picture. Pure."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import FloatArray, ImageArray

__all__ = ["moved"]

STEP = 16
"""Spacing in px of the grid on which the motion is computed. It varies slowly, so it is interpolated in between."""
WHOLE, STILL = 0.8, 1.6
"""Distances from the face's middle, in face sizes: up to the first the picture moves with the face, from the second on
it stays still."""
NEAR = 0.08
"""Reach of the motion of a single point, such as a lid, in face sizes."""
FARTHEST = 0.5
"""Largest shift, in face sizes. A face farther away is another one, or turns, and is not moved."""
MIN_PX = 4.0


def moved(image: ImageArray, points: FloatArray, target: FloatArray) -> ImageArray:
    """Return the picture with its face moved from `points` to `target`. Parts far from the face stay where they are.

    points, target: (n, 2) px, the same points of a face. Takes 2 ms for 512 x 512 px.
    """
    size = float(np.ptp(target, axis=0).max())
    back = points - target
    if size < MIN_PX or float(np.abs(back).max()) < 0.05 or float(np.abs(back.mean(axis=0)).max()) > FARTHEST * size:
        return image
    middle = target.mean(axis=0)
    around = np.concatenate([(target - middle) / size, np.ones((len(target), 1), np.float32)], axis=1)
    whole, *_ = np.linalg.lstsq(around, back, rcond=None)  # the affine motion of the face as a whole

    height, width = image.shape[:2]
    rows, columns = max(2, height // STEP), max(2, width // STEP)
    xs = (np.arange(columns) + 0.5) * width / columns - 0.5
    ys = (np.arange(rows) + 0.5) * height / rows - 0.5
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32)
    out = (grid - middle) / size
    share = np.clip((STILL - np.linalg.norm(out, axis=1)) / (STILL - WHOLE), 0, 1)
    # The affine motion fades out smoothly outside the face. What single points move beyond it is added near them;
    # the 0.5 lets that fade out where no point is near.
    flow = (share * share * (3 - 2 * share))[:, None] * (np.concatenate([out, np.ones((len(out), 1))], axis=1) @ whole)
    apart = ((grid[:, None] - target[None]) ** 2).sum(axis=-1) / (2 * (NEAR * size) ** 2)
    nearness = np.exp(-apart)
    flow += (nearness @ (back - around @ whole)) / (nearness.sum(axis=1, keepdims=True) + 0.5)

    flow = np.asarray(cv2.resize(flow.reshape(rows, columns, 2).astype(np.float32), (width, height)), np.float32)
    from_x = np.ascontiguousarray(flow[..., 0] + np.arange(width, dtype=np.float32))
    from_y = np.ascontiguousarray(flow[..., 1] + np.arange(height, dtype=np.float32)[:, None])
    return np.asarray(cv2.remap(image, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
