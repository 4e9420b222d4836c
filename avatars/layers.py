"""Takes a still apart: the person, who moves, and the background, which does not."""

from __future__ import annotations

import cv2
import numpy as np

from models.arrays import FloatArray, ImageArray

__all__ = ["Layers", "spread"]


_SOLVED = (0.1, 0.5)
"""Range of the person's share in a pixel. At its lower end the person's colour is taken from nearby pixels, at its
upper end it is computed from picture and background. With a smaller share, that computation would be too inexact."""
_SMALLEST_PX = 4
"Colours are spread over a pyramid of pictures, down to this side length."


class Layers:
    """The layers of one picture, uint8 RGB (h, w, 3), given the person's matte, float32 (h, w), 0 to 1.

    Where the matte is 0 and the person does not cover it, composite() gives exactly the picture's pixels.
    """

    def __init__(self, picture: ImageArray, matte: FloatArray) -> None:
        self._whole = (matte == 1).astype(np.uint8)
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
        """The picture without the person, uint8 RGB (h, w, 3). The part behind the person is guessed."""
        return self._background

    def person(self, picture: ImageArray) -> ImageArray:
        """Return the person in `picture`, uint8 (h, w, 4): RGB times the matte, and the matte.

        `picture` may differ from that of the layers inside the person.
        """
        # OpenCV's calls for channels take a tenth of the time of NumPy's indices.
        colours = cv2.copyTo(picture, self._whole, self._edge.copy())
        person = cv2.cvtColor(colours, cv2.COLOR_RGB2RGBA)
        return np.asarray(cv2.insertChannel(self._matte, person, 3), np.uint8)

    def matte_of(self, person: ImageArray) -> ImageArray:
        """Return the matte uint8 (h, w) of the result of person(), which may have been moved."""
        return np.asarray(cv2.extractChannel(person, 3), np.uint8)

    def composite(self, person: ImageArray) -> ImageArray:
        """Put the result of person(), which may have been moved, in front of the background: uint8 RGB (h, w, 3)."""
        colours, matte = cv2.cvtColor(person, cv2.COLOR_RGBA2RGB), self.matte_of(person)
        uncovered = cv2.cvtColor(cv2.bitwise_not(matte), cv2.COLOR_GRAY2RGB)
        seen = cv2.multiply(self._background, uncovered, scale=1 / 255)
        return np.asarray(cv2.add(seen, colours), np.uint8)


def spread(picture: ImageArray | FloatArray, known: FloatArray) -> FloatArray:
    """Return colours (h, w, 3) that are the picture's where `known` (h, w) is 1, and smoothly extended elsewhere."""
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
