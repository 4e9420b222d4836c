"""Follows one face through the pictures of a clip: which face it is, where it is, and which stretch can be used."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from avatars.detect import Face
from models.arrays import FloatArray

__all__ = [
    "LONGEST_GAP",
    "MAX_PITCH_DEG",
    "MAX_YAW_DEG",
    "MIN_FACE_PX",
    "FaceStatus",
    "Track",
    "follow",
    "judge",
    "ping_pong",
    "smooth",
]


MIN_FACE_PX = 60.0
"A face smaller than this from forehead to chin gives no sharp mouth."
MAX_YAW_DEG = 42.0
MAX_PITCH_DEG = 32.0
LONGEST_GAP = 5
"Gaps of up to this many pictures without a usable face are bridged; a longer gap ends the stretch."
LARGEST_JUMP = 0.6
"A face that moves further than this between two pictures, in face heights, is another face or another scene."
QUIET_ENDS = 0.12
"Part of a stretch, at either end, in which the quietest point for turning round is searched."
LANDMARK_SIGMA = 1.0


class FaceStatus(StrEnum):
    """What was found in one picture."""

    OK = "ok"
    MISSING = "missing"
    TOO_SMALL = "too_small"
    TURNED_AWAY = "turned_away"
    SEVERAL_FACES = "several_faces"
    "usable: the largest face, or the one followed so far, was chosen"

    @property
    def usable(self) -> bool:
        """Whether an avatar may show this picture."""
        return self in (FaceStatus.OK, FaceStatus.SEVERAL_FACES)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One face followed through all pictures, and the stretch of them that can be used."""

    landmarks: FloatArray
    "(n, 478, 3) float32; gaps are interpolated, and pictures before the first face repeat it; all NaN if there is none"
    statuses: tuple[FaceStatus, ...]
    first: int
    stop: int
    "[first, stop) is the stretch of usable pictures; empty if there is none"
    cuts: frozenset[int] = frozenset()
    "pictures at which another scene or another face begins"
    foreign: frozenset[int] = frozenset()
    "pictures that do not belong to the clip, such as black ones; a neighbour is shown instead"

    @property
    def usable_count(self) -> int:
        """Number of pictures in the usable stretch."""
        return self.stop - self.first


def judge(face: Face | None, faces: int) -> FaceStatus:
    """Return the status of one picture. face: the face chosen in it. faces: how many there are."""
    if face is None:
        return FaceStatus.MISSING
    if face.size_px < MIN_FACE_PX:
        return FaceStatus.TOO_SMALL
    if abs(face.yaw_deg) > MAX_YAW_DEG or abs(face.pitch_deg) > MAX_PITCH_DEG:
        return FaceStatus.TURNED_AWAY
    return FaceStatus.SEVERAL_FACES if faces > 1 else FaceStatus.OK


def follow(
    pictures: Sequence[Sequence[Face]], cuts: AbstractSet[int] = frozenset(), foreign: AbstractSet[int] = frozenset()
) -> Track:
    """Follow the largest face from picture to picture, and find the longest stretch in which it is usable.

    Gaps of up to LONGEST_GAP pictures, including `foreign` pictures, are bridged by interpolation. A cut, or a jump to
    another place, ends a stretch.
    """
    chosen: list[Face | None] = []
    breaks: set[int] = set(cuts)
    last: Face | None = None
    for index, every in enumerate(pictures):
        faces = () if index in foreign else every
        last = None if index in cuts else last
        face = _continuation(last, faces)
        # After a gap that is too long to bridge, start a new stretch with the largest face, wherever it is.
        if face is None and faces and (last is None or not any(chosen[-LONGEST_GAP:])):
            face = faces[0]
            breaks.add(index)
        chosen.append(face)
        last = face or last
    statuses = tuple(judge(face, len(faces)) for face, faces in zip(chosen, pictures, strict=True))
    first, stop = _longest_stretch(statuses, breaks)
    return Track(_filled(chosen), statuses, first, stop, frozenset(cuts), frozenset(foreign))


def smooth(landmarks: FloatArray, sigma: float = LANDMARK_SIGMA) -> FloatArray:
    """Smooth landmarks (n, 478, 3) over time; sigma in pictures. The ends are extended by repeating them."""
    reach = round(4 * sigma)
    over_time = cv2.getGaussianKernel(2 * reach + 1, sigma, cv2.CV_64F)
    rows = landmarks.astype(np.float64).reshape(len(landmarks), -1)
    smoothed = cv2.sepFilter2D(rows, cv2.CV_64F, np.ones(1), over_time, borderType=cv2.BORDER_REPLICATE)
    return smoothed.reshape(landmarks.shape).astype(np.float32)


def ping_pong(landmarks: FloatArray) -> tuple[int, int, npt.NDArray[np.int32]]:
    """Choose the least visible turning points; return first, stop and the playing order (m,), numbered from `first`.

    The turning points are where the face moves least near either end. The order goes forwards and back, and shows no
    picture twice in a row.
    """
    count = len(landmarks)
    if count < 3:
        return 0, count, np.arange(count, dtype=np.int32)
    speed = np.linalg.norm(np.gradient(smooth(landmarks, 2.0)[:, :, :2], axis=0), axis=2).mean(axis=1)
    window = max(1, int(count * QUIET_ENDS))
    first = int(np.argmin(speed[:window]))
    stop = count - int(np.argmin(speed[::-1][:window]))
    forth = np.arange(stop - first, dtype=np.int32)
    return first, stop, np.concatenate([forth, forth[-2:0:-1]])


def _continuation(last: Face | None, faces: Sequence[Face]) -> Face | None:
    """Return the face that continues the last one; the largest if there was none; None if no face does."""
    if last is None or not faces:
        return faces[0] if faces and last is None else None
    nearest = min(faces, key=lambda face: _distance(face, last))
    return nearest if _distance(nearest, last) < LARGEST_JUMP * max(last.size_px, nearest.size_px) else None


def _distance(one: Face, other: Face) -> float:
    return float(np.hypot(one.centre[0] - other.centre[0], one.centre[1] - other.centre[1]))


def _longest_stretch(statuses: Sequence[FaceStatus], breaks: set[int]) -> tuple[int, int]:
    """Return [first, stop) of the longest run between usable pictures without a break or a gap over LONGEST_GAP."""
    best = (0, 0)
    start: int | None = None
    last_usable = -1
    for index, status in enumerate(statuses):
        if start is not None and (index in breaks or index - last_usable > LONGEST_GAP + 1):
            start = None
        if status.usable:
            start = index if start is None else start
            last_usable = index
            best = max(best, (start, index + 1), key=lambda stretch: stretch[1] - stretch[0])
    return best


def _filled(chosen: Sequence[Face | None]) -> FloatArray:
    landmarks = np.full((len(chosen), 478, 3), np.nan, np.float32)
    known = np.array([index for index, face in enumerate(chosen) if face is not None], int)
    if not len(known):
        return landmarks
    found = np.stack([face.landmarks for face in chosen if face is not None])
    place = np.interp(np.arange(len(chosen)), known, np.arange(len(known)))
    low = np.floor(place).astype(int)
    part = (place - low).astype(np.float32)[:, None, None]
    filled: FloatArray = found[low] * (1 - part) + found[np.minimum(low + 1, len(known) - 1)] * part
    return filled
