"""Computes the mattes of a clip: where the person is in each picture, with an edge that does not flicker.

U²-Net examines every 15th picture. It is unreliable on single pictures: it finds dark hair in one and misses it in the
next. So its results for neighbouring pictures are carried over to each picture by optical flow, and combined. At the
edge, the matte is where the picture differs from the background, if that is known (`clip_background`). Where it is not
known, the network decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from avatars.clip_background import ClipBackground, disc, seen_background
from avatars.mattes import Mattes, MattesMaker, matte_size
from avatars.picture_flow import PictureFlow
from models.arrays import FloatArray, ImageArray

__all__ = ["mattes_of_clip"]

Progress = Callable[[float], None]
Pictures = Callable[[Sequence[int]], Iterator[ImageArray]]
"Numbers of frames of the loop -> these frames, uint8 RGB (height, width, 3), in the same order."
Find = Callable[[ImageArray, FloatArray], FloatArray | None]
"A function like PersonFinder.matte()."


_KEY_EVERY = 15
"In pictures. The network takes half a second for one."
_NEIGHBOURS = 3
"A key picture's matte is compared with those of this many key pictures on each side: about two seconds."
_MIN_KEYS = 0.5
"The network must find the person in at least this fraction of the key pictures."
_FINDING = 0.6
"Share of the progress for finding the person in the key pictures."

_DARKEST, _MIDDLE = 0.25, 0.5
"""Median brightness, 0 to 1. A picture is brightened towards _MIDDLE, which the network handles best; a median below
_DARKEST is treated like _DARKEST."""

_MAY_BE, _SURE = 0.1, 0.95
"Below the first value, the network's result is background; above the second, it is certainly the person."
_EDGE_PX = 2
"The network's edge is correct to within this distance."
_MISSED, _MISSED_PX = 0.25, 3
"""The network missed a part if it is thicker than twice _MISSED_PX, and a neighbouring picture's matte is higher there
by more than _MISSED."""
_TRUSTED = 0.5
_FAT = 0.3
"The network's result at the outline is too wide: up to this value there is only background."
_FULL_CONTRAST = 0.75
"From this fraction of the contrast between the person and the background nearby, a pixel is all person."
_OTHER = 30.0
"Away from bare background, a pixel that differs from the background by this much is the person."
_MIN_CONTRAST, _CONTRAST = 25.0, 45.0
"Below the first contrast, the difference tells nothing; above the second, it alone decides."
_CONTRAST_PX = 4


def mattes_of_clip(pictures: Pictures, landmarks: FloatArray, find: Find, progress: Progress) -> Mattes | None:
    """Return the mattes of the frames of a loop, with the background; None if `find` mostly finds no person.

    landmarks: (n, 478, 3) px of all n frames. Takes 1.8 s of CPU per second of clip. Passes on what `find` and
    `progress` raise.
    """
    count = len(landmarks)
    places = np.linspace(0, count - 1, (count - 1) // _KEY_EVERY + 2).round().astype(int).tolist()
    keys = list(_keys(places, pictures, landmarks, find, progress))
    if len(keys) < max(1, _MIN_KEYS * len(places)):
        return None
    height, width = keys[0].matte.shape
    flow = PictureFlow(width, height)
    keys = [_agreed(keys, index, flow) for index in range(len(keys))]
    behind = seen_background(pictures([key.place for key in keys]), (key.most for key in keys))
    maker = MattesMaker()
    for index, matte in enumerate(_steady(_mattes(count, pictures, keys, flow, behind))):
        maker.add(np.round(255 * matte).astype(np.uint8))
        progress(_FINDING + (1 - _FINDING) * (index + 1) / count)
    return maker.made(behind.full)


@dataclass(frozen=True, slots=True, eq=False)
class _Key:
    """A picture that the network has examined."""

    place: int
    small: ImageArray
    "grey picture for PictureFlow"
    matte: FloatArray
    "(h, w), 0 to 1"
    most: FloatArray
    "(h, w), 0 to 1; the maximum of the mattes of this and the neighbouring key pictures"


def _keys(
    places: Sequence[int], pictures: Pictures, landmarks: FloatArray, find: Find, progress: Progress
) -> Iterator[_Key]:
    """Give the key pictures in which the network finds the person."""
    for index, (place, rgb) in enumerate(zip(places, pictures(places), strict=True)):
        matte = find(_brightened(rgb), landmarks[place])
        progress(_FINDING * (index + 1) / len(places))
        if matte is None:
            continue
        size = matte_size(rgb.shape[1], rgb.shape[0])
        small = np.asarray(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), np.float32)
        yield _Key(place, PictureFlow.small(rgb), small, small)


def _brightened(rgb: ImageArray) -> ImageArray:
    """Bring a dark picture's median to the middle: in the dark, the network takes hair for background."""
    middle = float(np.clip(np.median(rgb) / 255, _DARKEST, _MIDDLE))
    tones = 255 * (np.arange(256) / 255) ** (np.log(_MIDDLE) / np.log(middle))
    return np.asarray(cv2.LUT(rgb, np.round(tones).astype(np.uint8)), np.uint8)


def _agreed(keys: Sequence[_Key], index: int, flow: PictureFlow) -> _Key:
    """Return a key picture whose matte is the median of its own and its neighbours' mattes."""
    key = keys[index]
    around = keys[max(0, index - _NEIGHBOURS) : index + _NEIGHBOURS + 1]
    said = [key.matte if other is key else flow.carry(other.matte, other.small, key.small) for other in around]
    most = np.max(said, axis=0)
    return _Key(key.place, key.small, np.asarray(np.median(said, axis=0), np.float32), most)


def _mattes(
    count: int, pictures: Pictures, keys: Sequence[_Key], flow: PictureFlow, behind: ClipBackground
) -> Iterator[FloatArray]:
    """Give the matte of each frame, float32 (h, w), 0 to 1."""
    places = [key.place for key in keys]
    size = keys[0].matte.shape[::-1]
    for place, rgb in enumerate(pictures(range(count))):
        after = int(np.searchsorted(places, place))
        before, later = keys[max(0, after - 1)], keys[min(after, len(keys) - 1)]
        small = PictureFlow.small(rgb)
        share = np.clip((place - before.place) / max(1, later.place - before.place), 0, 1)
        first = flow.carry(np.dstack([before.matte, before.most]), before.small, small)
        second = flow.carry(np.dstack([later.matte, later.most]), later.small, small)
        matte = (1 - share) * first[..., 0] + share * second[..., 0]
        most = np.maximum(first[..., 1], second[..., 1])
        picture = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        yield _matte(np.asarray(picture, np.float32), _nothing_missed(matte, most, behind.trust), most, behind)


def _nothing_missed(matte: FloatArray, most: FloatArray, trust: FloatArray) -> FloatArray:
    """Fill in parts that the network found only in a neighbouring key picture.

    This is done only before a known background: before an unknown one, the part may really be a gap beside an arm.
    """
    lacks = cv2.morphologyEx(most - matte, cv2.MORPH_OPEN, disc(_MISSED_PX)) > _MISSED
    near = cv2.dilate(np.asarray(lacks & (trust > _TRUSTED), np.uint8), disc(_EDGE_PX))
    return np.where(near > 0, most, matte)


def _matte(picture: FloatArray, seen: FloatArray, most: FloatArray, behind: ClipBackground) -> FloatArray:
    """Combine the network's matte, the maximum nearby, and the background into the final matte (h, w), 0 to 1."""
    differs = np.linalg.norm(cv2.GaussianBlur(picture, (0, 0), 0.7) - behind.small, axis=2).astype(np.float32)
    highest = cv2.dilate(differs * (most > _SURE / 2), disc(_CONTRAST_PX))
    contrast = np.asarray(cv2.GaussianBlur(highest, (0, 0), _CONTRAST_PX / 2), np.float32)
    told = behind.trust * np.clip((contrast - _MIN_CONTRAST) / (_CONTRAST - _MIN_CONTRAST), 0, 1)
    lean = np.clip((seen - _FAT) / (_SURE - _FAT), 0, 1)
    edge = told * _by_difference(differs, contrast, behind.floor) + (1 - told) * lean
    inside = cv2.erode(np.asarray(seen > _SURE, np.uint8), disc(_EDGE_PX))
    around = cv2.dilate(np.asarray(most > _MAY_BE, np.uint8), disc(_EDGE_PX))
    matte = np.where(inside > 0, 1, np.where(around > 0, edge, 0)).astype(np.float32)
    _count, parts = cv2.connectedComponents(np.asarray(matte > _MAY_BE, np.uint8))
    held = np.isin(parts, np.setdiff1d(parts[inside > 0], 0))
    return np.asarray(cv2.GaussianBlur(matte * held, (0, 0), 0.6), np.float32)


def _by_difference(differs: FloatArray, contrast: FloatArray, floor: FloatArray) -> FloatArray:
    """Return how much of each pixel is the person, by its difference from the background.

    At the outline this is relative to the contrast there. Away from the outline, dark hair may lie beside bright skin,
    so any clear difference counts as the person.
    """
    at_outline = np.clip((differs - floor) / np.maximum(_FULL_CONTRAST * contrast - floor, 1), 0, 1)
    inside = np.clip((differs - floor) / np.maximum(_OTHER - floor, _OTHER / 4), 0, 1)
    bare = cv2.morphologyEx(np.asarray(inside < 0.2, np.uint8), cv2.MORPH_OPEN, disc(1))
    away = np.clip(cv2.distanceTransform(1 - bare, cv2.DIST_L2, 3) / _EDGE_PX - 1, 0, 1)
    return np.asarray(away * inside + (1 - away) * at_outline, np.float32)


def _steady(mattes: Iterator[FloatArray]) -> Iterator[FloatArray]:
    """Average each matte with the ones before and after it, so that camera noise does not make the edge tremble."""
    last = current = next(mattes)
    for following in mattes:
        yield np.asarray((last + 2 * current + following) / 4, np.float32)
        last, current = current, following
    yield np.asarray((last + 3 * current) / 4, np.float32)
