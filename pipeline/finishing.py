"""Optional finish of a network's patch before it is composed: match its colours to the frame, and sharpen it. Pure.

Networks draw at 96 to 256 px and shift colours a little. So in a large face the mouth is soft, and a step shows at the
edge of the mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipeline.types import FacePatch, ImageArray

__all__ = ["Finish", "finish"]

_MAX_SHIFT = 40
"""Largest colour shift, in levels. A larger difference between patch and frame is not one of colour."""
_SHARPENED_PART = 0.006
"""Radius of sharpening, as a share of the box's width: detail that a network of 256 px cannot draw."""


@dataclass(frozen=True, slots=True)
class Finish:
    """How to finish a patch."""

    match_colour: bool = False
    sharpness: float = 0.0
    "how much of the fine detail to add again: 0 none, 1 strong"

    @property
    def nothing(self) -> bool:
        """Whether the patch stays as it is."""
        return not self.match_colour and self.sharpness <= 0


def finish(patch: FacePatch, frame: ImageArray, wanted: Finish) -> FacePatch:
    """Return the patch finished, at the size of its box. Returns the same patch if nothing is wanted.

    Its pixels are not changed in place.

    frame  uint8 RGB (height, width, 3) that the patch will be composed into
    """
    if wanted.nothing:
        return patch
    x0, y0, x1, y1 = patch.box
    pixels = np.asarray(cv2.resize(patch.pixels, (x1 - x0, y1 - y0)), np.uint8)
    if wanted.sharpness > 0:
        pixels = _sharpened(pixels, wanted.sharpness)
    if wanted.match_colour and patch.mask is not None:
        pixels = _in_colours_of(frame[y0:y1, x0:x1], pixels, patch.mask)
    return replace(patch, pixels=pixels)


def _sharpened(pixels: ImageArray, sharpness: float) -> ImageArray:
    """Sharpen by unsharp masking: add the difference to a blurred copy again."""
    blurred = cv2.GaussianBlur(pixels, (0, 0), max(0.8, _SHARPENED_PART * pixels.shape[1]))
    return np.asarray(cv2.addWeighted(pixels, 1 + sharpness, blurred, -sharpness, 0), np.uint8)


def _in_colours_of(region: ImageArray, pixels: ImageArray, mask: ImageArray) -> ImageArray:
    """Shift each channel so that patch and frame have the same mean in the feather of the mask, where both show."""
    seam = np.asarray(cv2.inRange(mask, np.array(1.0), np.array(254.0)), np.uint8)
    if not seam.any():
        return pixels
    shift = np.subtract(cv2.mean(region, seam), cv2.mean(pixels, seam))[:3]
    levels = np.arange(256)[:, None] + np.clip(shift, -_MAX_SHIFT, _MAX_SHIFT)
    return np.asarray(cv2.LUT(pixels, np.clip(levels.round(), 0, 255).astype(np.uint8)[None]), np.uint8)
