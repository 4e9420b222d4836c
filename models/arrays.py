"""Types of arrays that many modules hand to each other."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["AnyArray", "FloatArray", "ImageArray", "IntArray", "Landmarks", "Mask"]

AnyArray: TypeAlias = npt.NDArray[Any]
"""For what is handed on, stored or resampled as it is. Code that computes names the type of the numbers."""
FloatArray: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int32]
ImageArray: TypeAlias = npt.NDArray[np.uint8]
"""A picture, (height, width, 3) RGB, or several of them."""
Mask: TypeAlias = npt.NDArray[np.uint8]
"""(height, width), 0 to 255."""
Landmarks: TypeAlias = npt.NDArray[np.floating]
"""(n, 2) or (n, 3), in px, or those of several frames."""
