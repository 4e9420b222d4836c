"""The background behind the person of a clip, as far as it was seen, and how far pictures may differ from it.

A camera that stands still shows most of the background at some time. Where it never does, the background is guessed
from what is next to it, which is right for a wall and wrong for a bookshelf.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avatars.layers import spread
from models.arrays import FloatArray, ImageArray

__all__ = ["ClipBackground", "disc", "seen_background"]


_NOT_THE_PERSON = 0.02
"A pixel shows the background if the person's share of it is below this."
_MARGIN_PX = 3
"A pixel this near to the person may contain something of them, so it does not count as background."
_SURELY_COVERED = 0.5
"From this share on, a pixel shows the person."
_MIN_SEEN, _MIN_SEEN_PART = 3, 0.15
"A pixel must have shown the background in this many pictures, and in this fraction of them."
_UNLIKE = 35.0
"""Person and background must differ by this much in a pixel that has shown both. Otherwise the network missed the
person there."""
_HARDLY_COVERED = 0.1
"A pixel that never shows the person must stay below this share."
_STEADY = 8.0
"A background that changes by more than this between pictures does not stand still."
_NEIGHBOURHOOD_PX = 6
"Size of the surroundings of a pixel, for blurs."
_PLAIN, _BUSY = 3.0, 7.0
"A guessed background is fully trusted beside areas with less detail than _PLAIN, and not at all from _BUSY on."
_MIN_FLOOR = 8.0
"Smallest difference from the background that counts."


@dataclass(frozen=True, slots=True, eq=False)
class ClipBackground:
    """What was learnt about a clip's background. Differences are lengths of RGB vectors, with channels 0 to 255."""

    full: ImageArray
    "uint8 RGB (height, width, 3), of the clip's size; guessed where it was never seen"
    small: FloatArray
    "float32 RGB (h, w, 3), of the mattes' size, like the arrays below"
    trust: FloatArray
    "(h, w), 0 to 1: how certain `small` is"
    floor: FloatArray
    "(h, w): a pixel that differs by less than this may still be background"


def disc(radius_px: int) -> ImageArray:
    """Return a round kernel for OpenCV's morphology."""
    side = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def seen_background(pictures: Iterable[ImageArray], persons: Iterable[FloatArray]) -> ClipBackground:
    """Compute the background behind the person from pictures of one clip, uint8 RGB (height, width, 3).

    persons: for each picture, float32 (h, w), how much of each pixel may be the person, 0 to 1.
    """
    seen: _Sums | None = None
    for rgb, person in zip(pictures, persons, strict=True):
        seen = seen or _Sums(rgb.shape, person.shape)
        seen.add(rgb, person)
    if seen is None:
        raise ValueError("a clip has pictures")
    return seen.background()


class _Sums:
    """Sums over the pictures of a clip, of what they show of the background and of the person."""

    def __init__(self, full: tuple[int, ...], small: tuple[int, ...]) -> None:
        self._count = 0
        self._bare = np.zeros(small, np.float32)
        self._colours, self._squares = np.zeros((*small, 3), np.float32), np.zeros((*small, 3), np.float32)
        self._covered, self._person = np.zeros(small, np.float32), np.zeros((*small, 3), np.float32)
        self._most = np.zeros(small, np.float32)
        self._full, self._full_bare = np.zeros(full, np.float32), np.zeros(full[:2], np.float32)

    def add(self, rgb: ImageArray, person: FloatArray) -> None:
        """Add a picture, uint8 RGB (height, width, 3), with the person's share in it, float32 (h, w)."""
        height, width = rgb.shape[:2]
        h, w = person.shape
        small = cv2.resize(rgb, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
        near = cv2.dilate((person > _NOT_THE_PERSON).astype(np.uint8), disc(_MARGIN_PX))
        bare = np.asarray(near == 0, np.float32)
        covered = np.asarray(person > _SURELY_COVERED, np.float32)
        self._count += 1
        self._bare += bare
        self._colours += bare[..., None] * small
        self._squares += bare[..., None] * small * small
        self._covered += covered
        self._person += covered[..., None] * small
        np.maximum(self._most, person, out=self._most)
        bare_full = np.asarray(cv2.resize(bare, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)
        self._full += bare_full[..., None] * rgb
        self._full_bare += bare_full

    def background(self) -> ClipBackground:
        """Return what the pictures so far tell about the background."""
        mean = np.asarray(self._colours / np.maximum(self._bare, 1)[..., None], np.float32)
        variance = self._squares / np.maximum(self._bare, 1)[..., None] - mean * mean
        noise: FloatArray = np.sqrt(np.maximum(variance, 0).mean(axis=2)).astype(np.float32)
        known = self._known(mean, noise)
        full_known = np.asarray(
            cv2.resize(known, (self._full.shape[1], self._full.shape[0]), interpolation=cv2.INTER_NEAREST), np.float32
        )
        full = np.asarray(self._full / np.maximum(self._full_bare, 1)[..., None], np.float32)
        full = spread(full, full_known)
        full_rgb = np.clip(np.round(full), 0, 255).astype(np.uint8)
        small = cv2.resize(full_rgb, known.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        busy = np.abs(small - cv2.GaussianBlur(small, (0, 0), _NEIGHBOURHOOD_PX)).mean(axis=2)
        nearby = spread(np.dstack([noise, busy, busy]).astype(np.float32), known)
        nearby = np.asarray(cv2.GaussianBlur(nearby, (0, 0), _NEIGHBOURHOOD_PX - 2), np.float32)
        guess = np.clip((_BUSY - nearby[..., 1]) / (_BUSY - _PLAIN), 0, 1)
        slope = sum(np.abs(cv2.Sobel(small, cv2.CV_32F, dx, 1 - dx, scale=1 / 8)).mean(axis=2) for dx in (0, 1))
        # A trembling camera may move an edge in the picture by a pixel, so more difference is allowed at edges.
        floor = _MIN_FLOOR + 2.5 * nearby[..., 0] + np.where(known > 0, slope, 0)
        trust = np.where(known > 0, 1, guess)
        return ClipBackground(full_rgb, small, np.asarray(trust, np.float32), np.asarray(floor, np.float32))

    def _known(self, mean: FloatArray, noise: FloatArray) -> FloatArray:
        """Return float32 (h, w), 1 where the background was seen."""
        person = self._person / np.maximum(self._covered, 1)[..., None]
        apart = np.linalg.norm(mean - person, axis=2)
        enough = self._bare >= min(self._count, max(_MIN_SEEN, _MIN_SEEN_PART * self._count))
        told: npt.NDArray[np.bool_] = np.where(self._covered > 0, apart > _UNLIKE, self._most < _HARDLY_COVERED)
        never = cv2.dilate((self._most > _NOT_THE_PERSON).astype(np.uint8), disc(_MARGIN_PX + 1)) == 0
        return np.asarray(never | (enough & told & (noise < _STEADY)), np.float32)
