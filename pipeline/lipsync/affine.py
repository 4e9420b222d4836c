"""Affine maps of the plane, (2, 3), one after the other and by least squares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["affine_fits", "then"]

Array = npt.NDArray[np.float64]


def then(second: Array, first: Array) -> Array:
    """The affine map (2, 3) that does `first`, then `second`."""
    both: Array = second[:, :2] @ first
    both[:, 2] += second[:, 2]
    return both


def affine_fits(points: Array, images: Array) -> Array:
    """Affine maps (n, 2, 3) that take points (m, 2) nearest to each of images (n, m, 2), by least squares."""
    design = np.column_stack([points, np.ones(len(points))])
    return np.ascontiguousarray((np.linalg.pinv(design) @ images).transpose(0, 2, 1))
