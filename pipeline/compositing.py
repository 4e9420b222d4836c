"""Putting a face patch into a frame. Pure: arrays in, the same frame out."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.types import FacePatch, ImageArray

__all__ = ["compose"]


def compose(frame: ImageArray, patch: FacePatch, box: Sequence[int], mask: ImageArray) -> ImageArray:
    """Blend `patch` into `frame` at `box`; returns the frame, which is changed in place.

    frame  uint8 RGB (height, width, 3), owned by the caller
    box    x0, y0, x1, y1 in pixels of the frame (x1 and y1 exclusive), the size of the patch
    mask   uint8 (y1 - y0, x1 - x0), 255 where the patch covers the frame; not used for opaque patches

    Pixels in which patch and frame agree come out unchanged, whatever the mask. Raises ValueError if sizes disagree.
    """
    x0, y0, x1, y1 = (int(edge) for edge in box)
    region = frame[y0:y1, x0:x1]
    if region.shape != patch.pixels.shape:
        raise ValueError(f"The patch is {patch.pixels.shape} but its box {x0, y0, x1, y1} holds {region.shape}.")
    if patch.opaque:
        region[:] = patch.pixels
        return frame
    if mask.shape != region.shape[:2]:
        raise ValueError(f"The mask is {mask.shape} but the patch is {patch.pixels.shape}.")
    weight = mask.astype(np.float32) * np.float32(1 / 255)
    region[:] = cv2.blendLinear(patch.pixels, np.ascontiguousarray(region), weight, 1 - weight)
    return frame
