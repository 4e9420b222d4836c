"""Finds which part of a face each pixel is, with BiSeNet instead of from landmarks, for masks like MuseTalk's.

Its weights are optional: without them, or without torch, landmarks are used.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avatars.face_crops import Box
from models.arrays import ImageArray
from models.weights import WeightsFolder

if TYPE_CHECKING:
    from models.bisenet import BiSeNet

__all__ = ["FaceParser", "cut_out", "find_face_parser"]


def find_face_parser(weights: Path, device: str = "cpu") -> FaceParser | None:
    """Return the face parser, or None if its weights or torch are missing."""
    folder = WeightsFolder(weights)
    (part,) = folder.parts("face-parse")
    path = folder.locate(part)
    return None if path is None or find_spec("torch") is None else FaceParser(path, device)


class FaceParser:
    """BiSeNet, loaded at its first use."""

    def __init__(self, path: Path, device: str) -> None:
        self.path = path
        self._device = device
        self._network: BiSeNet | None = None

    def classes(self, crop: ImageArray) -> ImageArray:
        """Parse a crop, uint8 RGB (h, w, 3), into classes uint8 (512, 512), numbered as in `avatars.face_masks`.

        Raises WeightsDamaged, WrongArchitecture.
        """
        from models.bisenet import load_bisenet, parse

        if self._network is None:
            self._network = load_bisenet(self.path).float().to(self._device)
        return np.asarray(parse(self._network, crop[None])[0], np.uint8)


def cut_out(picture: ImageArray, crop: Box) -> ImageArray:
    """Return the crop of a picture, uint8 (h, w, 3). It may reach out of the picture; it is black there."""
    left, top, right, bottom = crop
    height, width = picture.shape[:2]
    cut = np.zeros((bottom - top, right - left, 3), np.uint8)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    cut[y0 - top : y1 - top, x0 - left : x1 - left] = picture[y0:y1, x0:x1]
    return cut
