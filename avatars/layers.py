"""A still taken apart: the person, who moves, in front of a background that does not."""

from __future__ import annotations

import cv2
import numpy as np

from models.arrays import FloatArray, ImageArray

__all__ = ["Layers", "spread"]


_SOLVED = (0.1, 0.5)
"""Between these parts of the person, a pixel's colour of the person goes from what is next to it to what the picture
and the background say it must be. Less than that tells too little."""
_SMALLEST_PX = 4
"colours are spread over a pyramid of pictures, down to this side"


class Layers:
    """The layers of one picture, uint8 RGB (h, w, 3), by the person's matte, float32 (h, w) of 0 to 1.

    Where the matte is 0, what together() gives is the picture, to the bit, wherever the person moves.
    """

    def __init__(self, picture: ImageArray, matte: FloatArray) -> None:
        self._whole = matte == 1
        self._matte = np.round(255 * matte).astype(np.uint8)
        share = matte[..., None]
        behind = spread(picture, (matte == 0).astype(np.float32))
        self._background = np.where(share == 0, picture, np.round(behind)).astype(np.uint8)
        nearby = spread(picture, self._whole.astype(np.float32))
        low, high = _SOLVED
        trust = np.clip((share - low) / (high - low), 0, 1)
        solved = (picture - (1 - share) * self._background) / np.maximum(share, low)
        edge = nearby + trust * (np.clip(solved, 0, 255) - nearby)
        self._edge = np.round(edge * share).astype(np.uint8)

    @property
    def background(self) -> ImageArray:
        """The picture without the person, uint8 RGB (h, w, 3). Where the person hides it, it is guessed."""
        return self._background

    def person(self, picture: ImageArray) -> ImageArray:
        """The person in `picture`, which may differ from that of the layers within the person: RGB times the matte, and
        the matte, uint8 (h, w, 4).
        """
        colours = self._edge.copy()
        colours[self._whole] = picture[self._whole]
        return np.dstack([colours, self._matte])

    def matte_of(self, person: ImageArray) -> ImageArray:
        """How much of each pixel is the person(), moved: uint8 (h, w)."""
        return np.asarray(cv2.extractChannel(person, 3), np.uint8)

    def together(self, person: ImageArray) -> ImageArray:
        """The picture with a person(), moved, in front: uint8 RGB (h, w, 3)."""
        colours, matte = np.ascontiguousarray(person[..., :3]), self.matte_of(person)
        uncovered = cv2.cvtColor(cv2.bitwise_not(matte), cv2.COLOR_GRAY2RGB)
        seen = cv2.multiply(self._background, uncovered, scale=1 / 255)
        return np.asarray(cv2.add(seen, colours), np.uint8)


def spread(picture: ImageArray | FloatArray, known: FloatArray) -> FloatArray:
    """A picture's colours (h, w, 3) where `known` (h, w) is 1; elsewhere those of the nearest such places, softened."""
    height, width = known.shape
    total = picture * known[..., None]
    if min(height, width) > _SMALLEST_PX:
        half = (max(1, width // 2), max(1, height // 2))
        fewer = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
        sums = np.asarray(cv2.resize(total, half, interpolation=cv2.INTER_AREA), np.float32)
        smaller = np.asarray(sums / np.maximum(fewer, 1e-4)[..., None], np.float32)
        coarse = spread(smaller, np.asarray(np.minimum(1, 4 * fewer), np.float32))
        rest = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        rest = np.broadcast_to(total.sum(axis=(0, 1)) / max(float(known.sum()), 1e-4), total.shape)
    return np.asarray(total + rest * (1 - known[..., None]), np.float32)
