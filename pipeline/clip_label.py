"""The visible label in a clip's pictures. It tells people that AI made the clip, in any player.

The words are stored as pictures (labels/*.png, drawn from Noto Sans CJK, OFL), so no font is needed to make clips.
Sizes follow China's GB 45438-2025: text of 5 % of the shorter side, for at least two seconds.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from avatars.bundle import AvatarBundle
from pipeline.types import FPS, ImageArray

__all__ = ["START_S", "ClipLabel", "label_language"]

Corner = tuple[int, int]

FOLDER: Final = Path(__file__).with_name("labels")
HEIGHT: Final = 0.085
"height of the label as a share of the shorter side, border included; the letters are two thirds of it"
MARGIN: Final = 0.03
START_S: Final = 3.0
FADE_PICTURES: Final = 8
CHINESE: Final = re.compile(r"[\u3400-\u9fff]")


def label_language(*texts: str | None) -> str:
    """Return "zh" if a text has Chinese characters, else "en"."""
    return "zh" if any(CHINESE.search(text) for text in texts if text) else "en"


class ClipLabel:
    """Draws the label into the pictures of one clip, in the corner farthest from the face.

    always: show it throughout; otherwise it shows for the first three seconds and then fades out.
    """

    def __init__(self, bundle: AvatarBundle, language: str, *, always: bool = False) -> None:
        label = _label(language)
        shorter = min(bundle.width, bundle.height)
        height = max(2, round(HEIGHT * shorter))
        width = max(2, min(round(label.shape[1] * height / label.shape[0]), bundle.width))
        small = cv2.resize(label, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        self._grey, self._strength = small[:, :, :1], small[:, :, 1:] / 255
        self._x, self._y = _corner(bundle, (width, height), round(MARGIN * shorter))
        self._pictures = None if always else round(START_S * FPS)

    def draw(self, rgb: ImageArray, index: int) -> ImageArray:
        """Return a copy with the label of the picture at `index` in the clip, or the picture itself without it.

        rgb: uint8 RGB (h, w, 3) or RGBA (h, w, 4); the result has the same form.
        """
        shown = 1.0 if self._pictures is None else np.clip((self._pictures - index) / FADE_PICTURES, 0, 1)
        if not shown:
            return rgb
        labelled = rgb.copy()
        height, width = self._grey.shape[:2]
        place = labelled[self._y : self._y + height, self._x : self._x + width]
        strength = self._strength * np.float32(shown)
        label = np.repeat(self._grey, rgb.shape[2], axis=2)
        label[:, :, 3:] = 255  # the label is opaque even where the picture is transparent
        place[:] = np.rint(place * (1 - strength) + label * strength)
        return labelled


@cache
def _label(language: str) -> ImageArray:
    """Return uint8 (h, w, 2): grey, and opacity."""
    drawn = cv2.imread(str(FOLDER / f"{language}.png"), cv2.IMREAD_UNCHANGED)
    assert drawn is not None, "the labels are part of the program"
    return np.asarray(drawn[:, :, [0, 3]] if drawn.shape[2] == 4 else drawn, np.uint8)


def _corner(bundle: AvatarBundle, size: tuple[int, int], margin: int) -> Corner:
    """Return left and top of the label in the corner where it covers the face least. Prefers right, then bottom."""
    width, height = size
    right, bottom = max(0, bundle.width - width - margin), max(0, bundle.height - height - margin)
    left, top = min(margin, right), min(margin, bottom)
    points = bundle.landmarks[:, :, :2]
    x0, y0 = points.min(axis=(0, 1))
    x1, y1 = points.max(axis=(0, 1))

    def covered(corner: Corner) -> float:
        x, y = corner
        across = min(x + width, x1) - max(x, x0)
        down = min(y + height, y1) - max(y, y0)
        return float(max(0.0, across) * max(0.0, down))

    return min(((right, bottom), (right, top), (left, bottom), (left, top)), key=covered)
