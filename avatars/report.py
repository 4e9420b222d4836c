"""The face report: what was found in each picture, in numbers, in words, and as a strip of small pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from avatars.bundle import encode_jpeg
from avatars.geometry import CHIN_TIP, LEFT_EYE, LIPS, RIGHT_EYE, face_scale, mouth_box
from avatars.media_limits import FPS, even_size
from avatars.records import FaceReportRecord
from avatars.tracking import MIN_FACE_PX, FaceStatus, Track
from models.arrays import FloatArray, ImageArray

__all__ = [
    "Concern",
    "FaceReport",
    "StripPicture",
    "concerns_of",
    "draw_strip",
    "report_of",
]


STRIP_LENGTH = 12
STRIP_SIDE_PX = 320
COLOURS: Mapping[FaceStatus, tuple[int, int, int]] = {
    FaceStatus.OK: (52, 199, 89),
    FaceStatus.SEVERAL_FACES: (255, 204, 0),
    FaceStatus.TOO_SMALL: (255, 149, 0),
    FaceStatus.TURNED_AWAY: (255, 149, 0),
    FaceStatus.MISSING: (255, 69, 58),
}
WORDS: Mapping[FaceStatus, str] = {
    FaceStatus.MISSING: "no face was found",
    FaceStatus.TOO_SMALL: f"the face is lower than {MIN_FACE_PX:.0f} px",
    FaceStatus.TURNED_AWAY: "the face is turned too far away",
    FaceStatus.SEVERAL_FACES: "there are several faces, and the largest one is used",
}


class Concern(StrEnum):
    """A flaw of a usable face that makes a worse avatar. The page has its own words for each."""

    SMALL_FACE = "small_face"
    SMALL_MOUTH = "small_mouth"
    MOUTH_CUT = "mouth_cut"
    CHIN_CUT = "chin_cut"
    MOUTH_OPEN = "mouth_open"
    CUTS = "cuts"
    FOREIGN = "foreign"


SMALL_FACE = 0.15
"Width of the face as a fraction of the picture's width."
SMALL_MOUTH_PX = 40.0
OPEN_MOUTH_IOD = 0.10
"Gap between the lips at rest."
USUAL_GAP = 0.2
"Quantile of the gap over a clip: people close their mouths now and then while they talk."
OFTEN = 0.2
"A flaw of the mouth's position is reported if it occurs in more than this fraction of the pictures."
CONCERN_WORDS: Mapping[Concern, str] = {
    Concern.SMALL_FACE: "The face is small in the picture: choose a part of it, or come closer.",
    Concern.SMALL_MOUTH: f"The mouth is narrower than {SMALL_MOUTH_PX:.0f} px, so it will look soft.",
    Concern.MOUTH_CUT: "The edge of the picture cuts the mouth off: it will look wrong when it speaks.",
    Concern.CHIN_CUT: "The chin lies outside the picture: the mouth may look cut off when it opens.",
    Concern.MOUTH_OPEN: "The mouth is open at rest: closed lips give a better avatar.",
    Concern.CUTS: "There is a cut to another scene or person; only the longest part between cuts is used.",
    Concern.FOREIGN: "Pictures that do not belong to the clip, such as black ones, are not shown.",
}


@dataclass(frozen=True, slots=True)
class StripPicture:
    """One small picture of the strip."""

    file: str
    "file name beside report.json"
    frame: int
    status: FaceStatus
    used: bool


@dataclass(frozen=True, slots=True)
class FaceReport:
    """The result of looking for a face. Bundles and the page carry it as `to_json()`."""

    frames: int
    first: int
    stop: int
    "[first, stop) is the stretch that is used"
    counts: Mapping[str, int]
    "status -> number of pictures"
    runs: tuple[tuple[str, int, int], ...]
    "the status of every picture, as runs (status, first, count)"
    face_px: float
    "median height of the face; 0 if there is no face"
    rest_gap_iod: float
    "gap between the lips at rest; 0 if no picture is used"
    words: tuple[str, ...]
    "the findings in plain English"
    concerns: tuple[Concern, ...] = ()
    strip: tuple[StripPicture, ...] = ()

    def to_json(self) -> FaceReportRecord:
        """Return the report as the manifest and the page have it."""
        return {
            "frames": self.frames,
            "used": [self.first, self.stop],
            "counts": dict(self.counts),
            "runs": [list(run) for run in self.runs],
            "face_px": round(self.face_px, 1),
            "rest_gap_iod": round(self.rest_gap_iod, 3),
            "words": list(self.words),
            "concerns": [str(concern) for concern in self.concerns],
            "strip": [
                {"file": one.file, "frame": one.frame, "status": str(one.status), "used": one.used}
                for one in self.strip
            ],
        }


def report_of(
    track: Track, face_px: float, concerns: tuple[Concern, ...] = (), strip: tuple[StripPicture, ...] = ()
) -> FaceReport:
    """Summarise a track."""
    counts = Counter(track.statuses)
    return FaceReport(
        frames=len(track.statuses),
        first=track.first,
        stop=track.stop,
        counts={str(status): counts[status] for status in FaceStatus},
        runs=_runs(track.statuses),
        face_px=face_px,
        rest_gap_iod=_rest_gap_iod(track.landmarks[track.first : track.stop]) if track.usable_count else 0.0,
        words=(*_words(track, counts, concerns), *(CONCERN_WORDS[concern] for concern in concerns)),
        concerns=concerns,
        strip=strip,
    )


def concerns_of(track: Track, width: int, height: int) -> tuple[Concern, ...]:
    """Return the flaws in the used part of a track; its pictures are width x height px."""
    used = track.landmarks[track.first : track.stop]
    if not len(used):
        return ()
    x, y = used[..., 0], used[..., 1]
    lips = list(LIPS)
    mouth_px = np.linalg.norm(used[:, 291, :2] - used[:, 61, :2], axis=1)
    outside = (x[:, lips] < 0) | (x[:, lips] > width - 1) | (y[:, lips] < 0) | (y[:, lips] > height - 1)
    chin_outside = (y[:, CHIN_TIP] > height - 1) | (x[:, CHIN_TIP] < 0) | (x[:, CHIN_TIP] > width - 1)
    mouth_cut = bool(outside.any(axis=1).mean() > OFTEN)
    found = {
        Concern.SMALL_FACE: np.median(np.ptp(x, axis=1)) < SMALL_FACE * width,
        Concern.SMALL_MOUTH: np.median(mouth_px) < SMALL_MOUTH_PX,
        Concern.MOUTH_CUT: mouth_cut,
        Concern.CHIN_CUT: chin_outside.mean() > OFTEN and not mouth_cut,
        Concern.MOUTH_OPEN: _rest_gap_iod(used) > OPEN_MOUTH_IOD,
        Concern.CUTS: bool(track.cuts),
        Concern.FOREIGN: any(track.first <= index < track.stop for index in track.foreign),
    }
    return tuple(concern for concern, is_so in found.items() if is_so)


def _rest_gap_iod(landmarks: FloatArray) -> float:
    """Return the gap between the lips at rest, in IOD, from landmarks (n, 478, 3)."""
    gaps = [np.linalg.norm(one[14, :2] - one[13, :2]) / face_scale(one) for one in landmarks]
    return float(np.quantile(gaps, USUAL_GAP))


def draw_strip(track: Track, picture: Callable[[int], ImageArray]) -> tuple[tuple[StripPicture, bytes], ...]:
    """Draw up to STRIP_LENGTH small JPEGs: spread evenly, plus one from each stretch with a problem.

    picture: returns a frame as uint8 RGB (h, w, 3). Landmarks and mouth box are drawn in the status's colour.
    """
    strip = []
    for place, index in enumerate(_telling_frames(track)):
        status = track.statuses[index]
        name = f"strip-{place:02d}.jpg"
        landmarks = None if status is FaceStatus.MISSING else track.landmarks[index]
        small = _annotated(picture(index), landmarks, COLOURS[status])
        entry = StripPicture(name, index, status, track.first <= index < track.stop)
        strip.append((entry, encode_jpeg(small, 85)))
    return tuple(strip)


def _runs(statuses: Sequence[FaceStatus]) -> tuple[tuple[str, int, int], ...]:
    runs: list[tuple[str, int, int]] = []
    for index, status in enumerate(statuses):
        if runs and runs[-1][0] == status:
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((str(status), index, 1))
    return tuple(runs)


def _words(track: Track, counts: Mapping[FaceStatus, int], concerns: tuple[Concern, ...]) -> tuple[str, ...]:
    total = len(track.statuses)
    if total == 1:
        status = track.statuses[0]
        if status is FaceStatus.OK and concerns:
            return ()
        return ("The face is good.",) if status is FaceStatus.OK else (f"In this picture {WORDS[status]}.",)
    words = [f"{total} pictures, {total / FPS:.1f} s; the face is good in {counts[FaceStatus.OK]}."]
    words += [f"In {counts[status]} of them {text}." for status, text in WORDS.items() if counts[status]]
    if 0 < track.usable_count < total:
        words.append(f"Used is the longest good stretch, {track.first / FPS:.1f} s to {track.stop / FPS:.1f} s.")
    return tuple(words)


def _telling_frames(track: Track) -> list[int]:
    total = len(track.statuses)
    bad = [first + count // 2 for status, first, count in _runs(track.statuses) if status != FaceStatus.OK]
    # Bad stretches get at most half of the strip; -(-a // b) is the quotient rounded up.
    bad = bad[:: max(1, -(-len(bad) // (STRIP_LENGTH // 2)))]
    even = np.linspace(0, total - 1, min(total, STRIP_LENGTH - len(bad)))
    return sorted({*bad, *(int(place) for place in even)})


def _annotated(rgb: ImageArray, landmarks: FloatArray | None, colour: tuple[int, int, int]) -> ImageArray:
    height, width = rgb.shape[:2]
    size = even_size(width, height, STRIP_SIDE_PX)
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    if landmarks is not None:
        scale = np.array([size[0] / width, size[1] / height])
        points = landmarks[[*LIPS, *LEFT_EYE, *RIGHT_EYE], :2] * scale
        for x, y in np.round(points * 8).astype(int):
            cv2.circle(small, (int(x), int(y)), 5, colour, -1, cv2.LINE_AA, shift=3)
        box = np.array(mouth_box(landmarks, width, height)).reshape(2, 2) * scale
        corners = np.round(box).astype(int)
        cv2.rectangle(small, tuple(corners[0].tolist()), tuple(corners[1].tolist()), colour, 1, cv2.LINE_AA)
    cv2.rectangle(small, (0, 0), (size[0] - 1, size[1] - 1), colour, 3)
    return np.asarray(small, np.uint8)
