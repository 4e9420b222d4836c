"""Chooses the mouths of a clip that are good enough to draw speech with: the exemplars of a personal mouth.

An exemplar is a frame of the avatar's loop. The bundle keeps no second picture of it, only its number, and for each
frame how the skin around the mouth is lit, so that the mouth of one frame can be pasted into another.

Frames are clustered by lip shape, appearance of the mouth and head pose, into as many groups as exemplars are wanted.
From each group the sharpest of the frames near its centre is taken. This alone would miss rare mouths, which matter
most for understanding speech. So the most closed mouth is always added, and an open, a narrow, a wide and a round one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.errors import NoRealMouths
from avatars.geometry import LIPS
from avatars.mouth_chart import MouthChart, opening_of, places, width_of
from avatars.records import MouthRecord
from models.arrays import AnyArray, IntArray

__all__ = [
    "CHART_IOD",
    "CHOSEN",
    "EXEMPLARS",
    "FEW_CLOSED",
    "FEW_OPEN",
    "NOT_LOOKED_AT",
    "REAL_MOUTHS_VERSION",
    "SKIN",
    "SMALL",
    "STILL",
    "RealMouths",
    "find_real_mouths",
    "has_real_mouths",
    "mouth_of",
    "skin_map",
    "with_mouth",
]

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

REAL_MOUTHS_VERSION: Final = 1
EXEMPLARS: Final = "viseme/exemplars"
SKIN: Final = "viseme/skin"
"Names of the bundle's tensors."

_NO_REASON: Final = ""
"Value of `why_not` for an avatar with a personal mouth. The names below are reasons why an avatar has none."
STILL: Final = "still"
SMALL: Final = "small"
FEW_OPEN: Final = "few_open"
FEW_CLOSED: Final = "few_closed"
NOT_LOOKED_AT: Final = "not_looked_at"
"The avatar was prepared by a version without personal mouths, or with a choice in a format unknown to this version."
CHOSEN: Final = "chosen"
"It has real mouths, but somebody chose the painted one."

CHART_IOD: Final = (-0.62, -0.42, 0.62, 0.94)
"Left, top, right, bottom of the examined region, in the chart."
SKIN_COLUMNS, SKIN_ROWS = 16, 14

_COUNT = 40
"Number of groups, and so of most exemplars."
_FEWEST = 3
"Fewest exemplars with which `viseme` draws speech."
_MIN_FRAMES = 25
_OPEN_IOD, _OPEN_FRAMES, _OPEN_P95_IOD = 0.06, 15, 0.09
"Open means a gap over 0.06 IOD. Needed are 15 open frames, and a 95th percentile of the gap of at least 0.09 IOD."
_CLOSED_IOD, _CLOSED_FRAMES = 0.02, 3
"Closed means a gap below 0.02 IOD; 3 such frames are needed."
_SMALLEST_IOD_PX = 36.0
_POSE_DEG = 12.0
"Scale of the head pose among the features of the clustering."
_APPEARANCE_WEIGHT = 2.0
_LOOK_PX = 90
"Width at which a mouth is examined; a larger one would not change the choice."
_THUMBNAIL = (24, 18)
_STRANGE_LEVELS, _STRANGE_DEVIATIONS = 14.0, 4.0
"Skin that differs from the median by more than both limits means that a hand or hair covers the mouth."
_SKIN_SIGMA = 2.2
"Sigma of the blur over the skin map, in cells of the map."
_RARE_PERCENT = 2.0
"A rare mouth is within this many percent at one end, such as the narrowest."
_SEED = 1


@dataclass(frozen=True, slots=True, eq=False)
class RealMouths:
    """The personal mouth found in a clip of n frames, or the reason why there is none."""

    why_not: str
    "empty, or why speech is painted instead"
    exemplars: IntArray
    "(k,) frame numbers; empty if speech is painted"
    skin: npt.NDArray[np.float16]
    """(n, SKIN_ROWS, SKIN_COLUMNS, 3) RGB levels of the skin around the mouth over CHART_IOD, smoothed; empty if speech
    is painted"""

    @classmethod
    def none(cls, why_not: str) -> RealMouths:
        """Return the result for a clip without a personal mouth."""
        return cls(why_not, np.zeros(0, np.int32), np.zeros((0, SKIN_ROWS, SKIN_COLUMNS, 3), np.float16))

    def tensors(self) -> dict[str, AnyArray]:
        """Return the tensors for the bundle."""
        return {EXEMPLARS: self.exemplars, SKIN: self.skin} if len(self.exemplars) else {}

    def to_json(self) -> MouthRecord:
        """Return the manifest's entry `mouth`."""
        drawn = "painted" if self.why_not else "personal"
        return {"version": REAL_MOUTHS_VERSION, "drawn": drawn, "why_not": self.why_not}


def mouth_of(manifest: Mapping[str, object]) -> tuple[str, str]:
    """Read from a manifest how `viseme` draws the mouth: ("personal", "") or ("painted", the reason)."""
    known = manifest.get("mouth")
    if not isinstance(known, dict) or known.get("version") != REAL_MOUTHS_VERSION:
        return "painted", STILL if manifest.get("kind") == "still" else NOT_LOOKED_AT
    if known.get("why_not"):
        return "painted", str(known["why_not"])
    return ("painted", CHOSEN) if known.get("painted_by_choice") else ("personal", _NO_REASON)


def with_mouth(manifest: Mapping[str, object], drawn: str) -> dict[str, object]:
    """Return the manifest with its real mouths switched on (`personal`) or off (`painted`).

    Raises NoRealMouths if it has none to switch on.
    """
    known = manifest.get("mouth")
    if not isinstance(known, dict) or mouth_of(manifest)[1] not in (_NO_REASON, CHOSEN):
        if drawn == "painted":
            return dict(manifest)
        raise NoRealMouths(
            f"The avatar '{manifest.get('name')}' has no real mouths to speak with.",
            "Make it again from a clip in which the person talks, with a large face.",
        )
    return {**manifest, "mouth": {**known, "painted_by_choice": drawn == "painted"}}


def has_real_mouths(bundle: AvatarBundle) -> bool:
    """Whether an avatar has exemplars that this version can draw with; otherwise its speech is painted."""
    exemplars, skin = (bundle.backend_tensors.get(name) for name in (EXEMPLARS, SKIN))
    if mouth_of(bundle.manifest)[0] != "personal" or exemplars is None or skin is None:
        return False
    count = bundle.frame_count
    within = exemplars.ndim == 1 and len(exemplars) >= _FEWEST and (0 <= exemplars.min() <= exemplars.max() < count)
    return bool(within and skin.shape == (count, SKIN_ROWS, SKIN_COLUMNS, 3))


def find_real_mouths(landmarks: npt.NDArray[np.float32], pictures: Iterable[Image]) -> RealMouths:
    """Choose exemplars in a clip: landmarks (n, 478, 3) px, and its n pictures, uint8 RGB (h, w, 3), in order.

    Each picture is examined once and dropped; it takes about 2 ms of CPU and leaves 2 kB. If the landmarks alone show
    that there is nothing to choose from, `pictures` is not read.
    """
    if len(landmarks) < _MIN_FRAMES:
        return RealMouths.none(FEW_OPEN)
    chart = MouthChart.of(landmarks)
    if chart.px_per_iod < _SMALLEST_IOD_PX:
        return RealMouths.none(SMALL)
    opening = opening_of(chart.points)
    if reason := _lacking(opening):
        return RealMouths.none(reason)
    looks = [_Look.at(picture, chart, index) for index, picture in enumerate(pictures)]
    skin = np.stack([look.skin for look in looks])
    sharpness = np.array([look.sharpness for look in looks])
    fit = np.flatnonzero(_usual(skin) & (sharpness > 0.5 * np.median(sharpness)))
    if reason := _lacking(opening[fit]):
        return RealMouths.none(reason)
    appearance = np.stack([look.thumbnail for look in looks])
    chosen = _chosen(chart, appearance, sharpness, opening, fit)
    return RealMouths(_NO_REASON, chosen.astype(np.int32), skin.astype(np.float16))


def _lacking(opening: Array) -> str:
    """Return why mouths with these openings (n,) in IOD are not sufficient; empty if they are."""
    wide = (opening > _OPEN_IOD).sum() >= _OPEN_FRAMES and np.percentile(opening, 95) >= _OPEN_P95_IOD
    if not wide:
        return FEW_OPEN
    return "" if (opening < _CLOSED_IOD).sum() >= _CLOSED_FRAMES else FEW_CLOSED


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What one frame's mouth looks like."""

    thumbnail: Field
    skin: Field
    sharpness: float

    @classmethod
    def at(cls, picture: Image, chart: MouthChart, index: int) -> _Look:
        """Examine the mouth of the frame `index` in its picture, uint8 RGB (h, w, 3)."""
        left, top, right, bottom = CHART_IOD
        px = min(_LOOK_PX, chart.px_per_iod)
        size = (round(px * (right - left)), round(px * (bottom - top)))
        to_px = chart.to_px[index] @ np.array([[1 / px, 0, left], [0, 1 / px, top], [0, 0, 1]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cut = np.asarray(cv2.warpAffine(picture, to_px, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)
        lips = (chart.points[index][places(LIPS)] - [left, top]) * px
        mouth = _around(lips, size)
        grey = cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY)[mouth]
        thumbnail = cv2.resize(cut[mouth], _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        sharpness = float(cv2.Laplacian(grey.astype(np.float32), cv2.CV_32F).var())
        return cls(thumbnail.ravel(), skin_map(cut, lips, px), sharpness)


def _around(lips: Array, size: tuple[int, int]) -> tuple[slice, slice]:
    (x0, y0), (x1, y1) = np.maximum(lips.min(axis=0) - 4, 0).astype(int), np.ceil(lips.max(axis=0) + 5).astype(int)
    return slice(y0, max(y0 + 8, min(y1, size[1]))), slice(x0, max(x0 + 8, min(x1, size[0])))


def skin_map(cut: Image, lips: Array, px_per_iod: float) -> Field:
    """Return the colour of the skin around the mouth, without the lips and the inside: float32 RGB levels
    (SKIN_ROWS, SKIN_COLUMNS, 3).

    cut: uint8 RGB picture of the region CHART_IOD. lips: (n, 2) px in it.
    """
    covered = np.zeros(cut.shape[:2], np.uint8)
    cv2.fillConvexPoly(covered, cv2.convexHull(lips.astype(np.float32)).round().astype(np.int32), 255)
    reach = int(0.08 * px_per_iod) | 1
    skin = (cv2.dilate(covered, np.ones((reach, reach), np.uint8)) == 0).astype(np.float32)
    size = (SKIN_COLUMNS, SKIN_ROWS)
    colour = cv2.resize(cut * skin[..., None], size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(skin, size, interpolation=cv2.INTER_AREA)
    colour, share = (cv2.GaussianBlur(plane, (0, 0), _SKIN_SIGMA) for plane in (colour, share))
    return np.asarray(colour / (share[..., None] + 1e-3), np.float32)


def _usual(skin: Field) -> npt.NDArray[np.bool_]:
    """Return (n,) bool: whether the skin in each frame is like that in most, so nothing covers the mouth."""
    apart = np.abs(skin - np.median(skin, axis=0)).mean(axis=(1, 2, 3))
    spread = np.median(np.abs(apart - np.median(apart)))
    return np.asarray(apart < max(_STRANGE_LEVELS, float(np.median(apart) + _STRANGE_DEVIATIONS * 1.5 * spread)))


def _chosen(
    chart: MouthChart, appearance: Field, sharpness: Array, opening: Array, fit: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Return the exemplars among the frames `fit`, in rising order."""
    width = width_of(chart.points)
    shape = np.column_stack([opening, width])[fit]
    looks = _principal(appearance[fit], 12)
    features = np.concatenate(
        [
            shape / (shape.std(axis=0) + 1e-6),
            _APPEARANCE_WEIGHT * looks / (np.sqrt(looks.var(axis=0).sum()) + 1e-6),
            chart.pose[fit] / _POSE_DEG,
        ],
        axis=1,
    ).astype(np.float32)
    chosen = list(_sharpest_of_groups(features, sharpness[fit]))
    chosen.append(int(np.argmin(opening[fit])))
    chosen.append(int(np.argmax(np.where(sharpness[fit] >= np.median(sharpness[fit]), opening[fit], -1))))
    for rare in (-width, width, opening / width):
        beyond = np.flatnonzero(rare[fit] >= np.percentile(rare[fit], 100 - _RARE_PERCENT))
        chosen.append(int(beyond[sharpness[fit][beyond].argmax()]))
    return np.unique(fit[chosen])


def _sharpest_of_groups(features: Field, sharpness: Array) -> Iterator[int]:
    cv2.setRNGSeed(_SEED)
    ends = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 1e-3)
    count = min(_COUNT, len(features))
    unset: Any = None  # OpenCV allocates the labels itself, but its type stubs do not allow None
    _, labels, middles = cv2.kmeans(features, count, unset, ends, 2, cv2.KMEANS_PP_CENTERS)
    for group, middle in enumerate(middles):
        members = np.flatnonzero(labels.ravel() == group)
        if len(members):
            distance = ((features[members] - middle) ** 2).sum(axis=1)
            near = members[np.argsort(distance)[: max(1, len(members) // 3)]]
            yield int(near[sharpness[near].argmax()])


def _principal(rows: Field, count: int) -> Field:
    """Return the first `count` principal components of rows (n, d)."""
    centred = rows - rows.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(centred @ axes[:count].T, np.float32)
