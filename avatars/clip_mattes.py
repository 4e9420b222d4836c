"""The mattes of a clip: where the person is in each of its pictures, without a flicker at their edge.

U²-Net sees every 15th picture. It is unsure of single pictures: dark hair is there in one and gone in the next. So what
it saw in neighbouring pictures is carried over to each by optical flow. In between, the edge is where the picture
differs from the background, as far as that is known (`clip_background`); elsewhere the network has the last word.
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
"frames of the loop, by their numbers -> uint8 RGB (height, width, 3), in that order"
Find = Callable[[ImageArray, FloatArray], FloatArray | None]
"as PersonFinder.matte()"


_KEY_EVERY = 15
"pictures; the network takes half a second for one"
_NEIGHBOURS = 3
"on each side, whose mattes a key picture's is compared with: about two seconds"
_LEAST_KEYS = 0.5
"part of the key pictures in which the network must have seen the person"
_FINDING = 0.6
"of the progress: finding the person in the key pictures"

_DARKEST, _MIDDLE = 0.25, 0.5
"middle tones, 0 to 1: of the darkest picture that is brightened in full, and of what the network sees best"

_MAY_BE, _SURE = 0.1, 0.95
_EDGE_PX = 2
"the network's edge is right within this"
_MISSED, _MISSED_PX = 0.25, 3
"what is thicker than twice this, and was the person by so much more a moment ago, was missed"
_TRUSTED = 0.5
_FAT = 0.3
"share of the person in what the network sees at the outline, where there is background only"
_FULL_CONTRAST = 0.75
"part of the contrast between a person and the background nearby, from which on a pixel is nothing but person"
_OTHER = 30.0
"a pixel that differs by so much from the background, and is away from it, is the person"
_LEAST_CONTRAST, _CONTRAST = 25.0, 45.0
"less of it tells nothing, more of it all"
_CONTRAST_PX = 4


def mattes_of_clip(pictures: Pictures, landmarks: FloatArray, find: Find, progress: Progress) -> Mattes | None:
    """The mattes of the frames of a loop, and what is behind the person; None where `find` mostly sees no person.

    landmarks (n, 478, 3) px of all n frames. Takes 1.8 s of CPU for a second of clip. Raises what `find` and `progress`
    raise.
    """
    count = len(landmarks)
    places = np.linspace(0, count - 1, (count - 1) // _KEY_EVERY + 2).round().astype(int).tolist()
    keys = list(_keys(places, pictures, landmarks, find, progress))
    if len(keys) < max(1, _LEAST_KEYS * len(places)):
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
    """A picture that the network has seen."""

    place: int
    small: ImageArray
    "as PictureFlow compares it"
    matte: FloatArray
    "(h, w), 0 to 1"
    most: FloatArray
    "the most that it or a picture nearby says"


def _keys(
    places: Sequence[int], pictures: Pictures, landmarks: FloatArray, find: Find, progress: Progress
) -> Iterator[_Key]:
    """Those in which the network sees the person."""
    for index, (place, rgb) in enumerate(zip(places, pictures(places), strict=True)):
        matte = find(_brightened(rgb), landmarks[place])
        progress(_FINDING * (index + 1) / len(places))
        if matte is None:
            continue
        size = matte_size(rgb.shape[1], rgb.shape[0])
        small = np.asarray(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), np.float32)
        yield _Key(place, PictureFlow.small(rgb), small, small)


def _brightened(rgb: ImageArray) -> ImageArray:
    """A dark picture with its middle tone in the middle: in the dark, the network takes hair for background."""
    middle = float(np.clip(np.median(rgb) / 255, _DARKEST, _MIDDLE))
    tones = 255 * (np.arange(256) / 255) ** (np.log(_MIDDLE) / np.log(middle))
    return np.asarray(cv2.LUT(rgb, np.round(tones).astype(np.uint8)), np.uint8)


def _agreed(keys: Sequence[_Key], index: int, flow: PictureFlow) -> _Key:
    """A key picture whose matte is what most of its neighbours say."""
    key = keys[index]
    around = keys[max(0, index - _NEIGHBOURS) : index + _NEIGHBOURS + 1]
    said = [key.matte if other is key else flow.carried(other.matte, other.small, key.small) for other in around]
    most = np.max(said, axis=0)
    return _Key(key.place, key.small, np.asarray(np.median(said, axis=0), np.float32), most)


def _mattes(
    count: int, pictures: Pictures, keys: Sequence[_Key], flow: PictureFlow, behind: ClipBackground
) -> Iterator[FloatArray]:
    """Of each frame: float32 (h, w), 0 to 1."""
    places = [key.place for key in keys]
    size = keys[0].matte.shape[::-1]
    for place, rgb in enumerate(pictures(range(count))):
        after = int(np.searchsorted(places, place))
        before, later = keys[max(0, after - 1)], keys[min(after, len(keys) - 1)]
        small = PictureFlow.small(rgb)
        share = np.clip((place - before.place) / max(1, later.place - before.place), 0, 1)
        first = flow.carried(np.dstack([before.matte, before.most]), before.small, small)
        second = flow.carried(np.dstack([later.matte, later.most]), later.small, small)
        matte = (1 - share) * first[..., 0] + share * second[..., 0]
        most = np.maximum(first[..., 1], second[..., 1])
        picture = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        yield _matte(np.asarray(picture, np.float32), _nothing_missed(matte, most, behind.trust), most, behind)


def _nothing_missed(matte: FloatArray, most: FloatArray, trust: FloatArray) -> FloatArray:
    """With what the network saw a moment before or after. Before a background that nobody knows, that may have been a
    gap beside an arm.
    """
    lacks = cv2.morphologyEx(most - matte, cv2.MORPH_OPEN, disc(_MISSED_PX)) > _MISSED
    near = cv2.dilate(np.asarray(lacks & (trust > _TRUSTED), np.uint8), disc(_EDGE_PX))
    return np.where(near > 0, most, matte)


def _matte(picture: FloatArray, seen: FloatArray, most: FloatArray, behind: ClipBackground) -> FloatArray:
    """By what the network saw, the most that it saw, and what is behind: (h, w), 0 to 1."""
    differs = np.linalg.norm(cv2.GaussianBlur(picture, (0, 0), 0.7) - behind.small, axis=2).astype(np.float32)
    highest = cv2.dilate(differs * (most > _SURE / 2), disc(_CONTRAST_PX))
    contrast = np.asarray(cv2.GaussianBlur(highest, (0, 0), _CONTRAST_PX / 2), np.float32)
    told = behind.trust * np.clip((contrast - _LEAST_CONTRAST) / (_CONTRAST - _LEAST_CONTRAST), 0, 1)
    lean = np.clip((seen - _FAT) / (_SURE - _FAT), 0, 1)
    edge = told * _by_difference(differs, contrast, behind.floor) + (1 - told) * lean
    inside = cv2.erode(np.asarray(seen > _SURE, np.uint8), disc(_EDGE_PX))
    around = cv2.dilate(np.asarray(most > _MAY_BE, np.uint8), disc(_EDGE_PX))
    matte = np.where(inside > 0, 1, np.where(around > 0, edge, 0)).astype(np.float32)
    _count, parts = cv2.connectedComponents(np.asarray(matte > _MAY_BE, np.uint8))
    held = np.isin(parts, np.setdiff1d(parts[inside > 0], 0))
    return np.asarray(cv2.GaussianBlur(matte * held, (0, 0), 0.6), np.float32)


def _by_difference(differs: FloatArray, contrast: FloatArray, floor: FloatArray) -> FloatArray:
    """How much of a pixel is the person, by how far it differs from the background.

    At the outline that is a matter of the contrast there. Away from it there is dark hair beside bright skin: what
    differs at all is the person.
    """
    at_outline = np.clip((differs - floor) / np.maximum(_FULL_CONTRAST * contrast - floor, 1), 0, 1)
    inside = np.clip((differs - floor) / np.maximum(_OTHER - floor, _OTHER / 4), 0, 1)
    bare = cv2.morphologyEx(np.asarray(inside < 0.2, np.uint8), cv2.MORPH_OPEN, disc(1))
    away = np.clip(cv2.distanceTransform(1 - bare, cv2.DIST_L2, 3) / _EDGE_PX - 1, 0, 1)
    return np.asarray(away * inside + (1 - away) * at_outline, np.float32)


def _steady(mattes: Iterator[FloatArray]) -> Iterator[FloatArray]:
    """Each averaged with the one before and the one after: noise of the camera does not make the edge tremble."""
    last = current = next(mattes)
    for following in mattes:
        yield np.asarray((last + 2 * current + following) / 4, np.float32)
        last, current = current, following
    yield np.asarray((last + 3 * current) / 4, np.float32)
