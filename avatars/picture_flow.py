"""Optical flow: finds each point of a picture in another picture of the same clip."""

from __future__ import annotations

import cv2
import numpy as np

from models.arrays import FloatArray, ImageArray

__all__ = ["PictureFlow"]


_SIDE_PX = 256
"Longer side of the compared pictures: enough to follow a person's edge, in 5 ms."


class PictureFlow:
    """Carries values known for one picture over to another picture of the same clip. Must be used by one thread."""

    def __init__(self, width: int, height: int) -> None:
        """width, height: size in px of the arrays that are carried over."""
        self._size = (width, height)
        self._x = np.arange(width, dtype=np.float32)
        self._y = np.arange(height, dtype=np.float32)[:, None]
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    @staticmethod
    def small(rgb: ImageArray) -> ImageArray:
        """Return a picture, uint8 RGB (h, w, 3), as it is compared: small and grey, uint8."""
        height, width = rgb.shape[:2]
        scale = min(1.0, _SIDE_PX / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY))

    def carry(self, known: FloatArray, source: ImageArray, target: ImageArray) -> FloatArray:
        """Carry `known`, float32 (height, width, channels), over from the picture `source` to the picture `target`.

        Both pictures are results of small().
        """
        width, height = self._size
        flow = self._flow.calc(target, source, np.zeros((*target.shape, 2), np.float32))
        moved_x, moved_y = cv2.split(cv2.resize(flow, self._size, interpolation=cv2.INTER_LINEAR))
        from_x = (self._x + moved_x * (width / target.shape[1])).astype(np.float32)
        from_y = (self._y + moved_y * (height / target.shape[0])).astype(np.float32)
        carried = cv2.remap(known, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(carried, np.float32)
