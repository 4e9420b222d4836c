"""The pixels in the box of each frame of an avatar, decoded when they are needed and kept within a budget.

An avatar whose person smiles throughout keeps its own teeth: a region then also says where the frame shows them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.geometry import LOWER_LIP_INNER, UPPER_LIP_INNER

__all__ = ["MouthRegion", "MouthRegions", "shows_teeth"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_INNER_LIPS = [*UPPER_LIP_INNER, *LOWER_LIP_INNER[::-1]]
"Landmarks round what lies between the lips."
_TEETH_LIGHT, _TEETH_COLOUR, _TEETH_SHARE = 0.72, 0.36, 0.35
"what is as light as this part of painted enamel and less saturated than this counts as tooth, if it fills this share"
_KEPT_BYTES = 32 << 20
"budget of an avatar for decoded mouth regions; the 330 frames of a still of 512x512 need 30 MB"


@dataclass(frozen=True)
class MouthRegion:
    """The box of one frame, before anything is drawn into it."""

    pixels: Image
    own_teeth: Field | None
    "float32 (h, w) weight of what the frame shows between its lips, None where it shows nothing worth keeping"

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes + (0 if self.own_teeth is None else self.own_teeth.nbytes)


class MouthRegions:
    """The mouth regions of an avatar's frames."""

    def __init__(self, bundle: AvatarBundle, in_box: Array, scales: Array, keeps_teeth: bool) -> None:
        """in_box: (n, 478, 2) landmarks, in pixels from the corner of each frame's box. scales: (n,) pixels per IOD."""
        self._bundle = bundle
        self._lips = in_box[:, _INNER_LIPS].astype(np.float32)
        self._scales = scales
        self._keeps_teeth = keeps_teeth
        self._kept: dict[int, MouthRegion] = {}
        self._kept_bytes = 0

    @property
    def nbytes(self) -> int:
        """Memory held now."""
        return self._lips.nbytes + self._kept_bytes

    def of(self, frame_index: int, read_frame: Callable[[], Image] | None = None) -> MouthRegion:
        """Return the region of a frame. As many as fit into the budget are kept; the others are decoded each time.

        Loops are read round and round: forgetting the least recently used would forget each just before its next use.

        read_frame: gives the frame's pixels, where somebody needs them besides; None: they are decoded here
        """
        if frame_index in self._kept:
            return self._kept[frame_index]
        x0, y0, x1, y1 = (int(edge) for edge in self._bundle.boxes[frame_index])
        frame = self._bundle.frame(frame_index) if read_frame is None else read_frame()
        pixels = frame[y0:y1, x0:x1].copy()
        region = MouthRegion(pixels, self._own_teeth(frame_index, pixels) if self._keeps_teeth else None)
        if self._kept_bytes + region.nbytes <= _KEPT_BYTES:
            self._kept[frame_index] = region
            self._kept_bytes += region.nbytes
        return region

    def _own_teeth(self, frame_index: int, pixels: Image) -> Field:
        mask = np.zeros(pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(self._lips[frame_index] * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        margin = 0.018 * float(self._scales[frame_index])
        inner = cv2.erode(mask, np.ones((2 * int(np.ceil(margin)) + 1, 2 * int(np.ceil(2 * margin)) + 1), np.uint8))
        soft = max(0.8, 0.012 * float(self._scales[frame_index]))
        return cv2.GaussianBlur(inner, (0, 0), soft).astype(np.float32) * np.float32(1 / 255)


def shows_teeth(frame: Image, landmarks: Array, enamel: Array) -> bool:
    """Whether what lies between the lips of the frame is teeth: light and with little colour, unlike a tongue.

    enamel: the colour that painted teeth have in the light of this frame, RGB levels.
    """
    mask = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(landmarks[_INNER_LIPS, :2] * 16).astype(np.int32)], 255, shift=4)
    inside = frame[mask > 0].astype(np.float64)
    if not len(inside):
        return False
    colour = (inside.max(axis=1) - inside.min(axis=1)) / np.maximum(inside.max(axis=1), 1)
    light = inside.mean(axis=1) > _TEETH_LIGHT * enamel.mean()
    return bool((light & (colour < _TEETH_COLOUR)).mean() > _TEETH_SHARE)
