"""Types of arrays that are exchanged between many modules."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["AnyArray", "FloatArray", "ImageArray", "IntArray", "Landmarks", "Mask"]

AnyArray: TypeAlias = npt.NDArray[Any]
"""For arrays that are only passed on, stored or resampled. Code that computes names the number type."""
FloatArray: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int32]
ImageArray: TypeAlias = npt.NDArray[np.uint8]
"""One picture, (height, width, 3) RGB, or several."""
Mask: TypeAlias = npt.NDArray[np.uint8]
"""(height, width), 0 to 255."""
Landmarks: TypeAlias = npt.NDArray[np.floating]
"""(n, 2) or (n, 3) points in px, of one frame or of several."""
