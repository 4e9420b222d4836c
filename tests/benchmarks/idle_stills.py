"""Sheets and figures of how stills idle: five rest poses of each portrait, and the edge of the hair enlarged.

    python -m tests.benchmarks.idle_stills OUT [--portrait NAME=FILE ...]

Each portrait has two rows: as it was before there was a matte, where what is near the head moves along, and as it is.
A further row has its eyes: as they are, looking four ways, and half closed. Where they do not move, it has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avatars.eyelids import Eyelids
from avatars.gaze import Gaze
from avatars.geometry import CHIN_TIP, FACE_TOP, LEFT_EYE, RIGHT_EYE
from avatars.idle_life import IdleLife, idle_life
from avatars.layers import Layers
from avatars.life import enliven
from avatars.matte import person_matte
from avatars.media_limits import FPS
from tests.benchmarks.still_sheets import asked_portraits, tile

__all__ = ["IdleFigures", "measure_idle", "outside_person", "repeat_s"]

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

MARGIN = 0.03
"pixels count as background from this part of the picture's side away from the person: no motion reaches so far"
EVERY = 7
"of the frames of a loop, each so many-th is drawn to be measured"
TILE_PX = 320
EYES_PX = (300, 120)
GAZES = ((0.75, 0.2), (-0.8, 0.1), (-0.45, -0.3), (0.4, 0.35))
"where a still looks while it rests (`avatars/idle_life.py`): right and down"


@dataclass(frozen=True, slots=True)
class IdleFigures:
    """What is measured of one idle still."""

    repeat_s: float
    background: float
    "largest change of any pixel outside the person while it moves, in levels; nan where the picture has no background"


def repeat_s(life: IdleLife) -> float:
    """The shortest time after which more than half of the loop is shown again."""
    order = life.order
    alike = [(order == np.roll(order, shift)).mean() for shift in range(1, len(order))]
    repeated = np.flatnonzero(np.array(alike) > 0.5)
    return float((repeated[0] + 1 if len(repeated) else len(order)) / FPS)


def outside_person(picture: Image, landmarks: Points) -> Mask | None:
    """Where nothing of the person is seen nor can come; None if the picture has no such place."""
    matte = person_matte(picture, landmarks)
    if matte is None:
        return None
    reach = 2 * round(MARGIN * max(picture.shape[:2])) + 1
    near = cv2.dilate((matte > 0).astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    return near == 0 if (near == 0).any() else None


def measure_idle(picture: Image, landmarks: Points, with_matte: bool = True) -> IdleFigures:
    """Without the matte: what it was before."""
    life = idle_life(0)
    chosen = life.subset(slice(None, None, EVERY), life.order[:0])
    outside = outside_person(picture, landmarks)
    if outside is None:
        return IdleFigures(repeat_s(life), float("nan"))
    layers = _layers(picture, landmarks) if with_matte else None
    lowest, highest = np.full_like(picture, 255), np.zeros_like(picture)
    for drawn, *_ in enliven(picture, landmarks, chosen, layers):
        np.minimum(lowest, drawn, out=lowest)
        np.maximum(highest, drawn, out=highest)
    return IdleFigures(repeat_s(life), float((highest - lowest)[outside].max()))


def idle_rows(picture: Image, landmarks: Points) -> Image:
    """Rest poses without and with the matte, each with the hair's edge enlarged beside it."""
    life = idle_life(0)
    rests, frames = np.unique(life.poses, axis=0, return_index=True)
    held = [frame for pose, frame in zip(rests, frames, strict=True) if (life.poses == pose).all(axis=1).sum() > 2]
    chosen = life.subset(np.array(held), life.order[:0])
    rows = []
    for layers in (None, _layers(picture, landmarks)):
        tiles = [_tiles(drawn, landmarks) for drawn, *_ in enliven(picture, landmarks, chosen, layers)]
        rows.append(np.hstack([_tiles(picture, landmarks), *tiles]))
    return np.vstack(rows)


def gaze_row(picture: Image, landmarks: Points) -> Image | None:
    """The eyes as they are, looking four ways, and half closed; None where they do not move."""
    gaze = Gaze(picture, landmarks)
    if not gaze.moves:
        return None
    half_closed, _landmarks = Eyelids(*gaze.at(*GAZES[0])).at(0.5)
    pictures = [picture, *(gaze.at(*way)[0] for way in GAZES), half_closed]
    corners = landmarks[[LEFT_EYE[0], RIGHT_EYE[8]], :2]  # the outer ones
    middle, apart = corners.mean(axis=0), float(np.linalg.norm(corners[1] - corners[0]))
    scale = EYES_PX[0] / (1.4 * apart)
    shift = np.array(EYES_PX) / 2 - scale * middle
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    tiles = [cv2.warpAffine(one, matrix, EYES_PX, flags=cv2.INTER_CUBIC) for one in pictures]
    return np.asarray(np.hstack(tiles), np.uint8)


def _layers(picture: Image, landmarks: Points) -> Layers | None:
    matte = person_matte(picture, landmarks)
    return None if matte is None else Layers(picture, matte)


def _tiles(picture: Image, landmarks: Points) -> Image:
    """The head, and below it the side of its hair, four times as large."""
    top, chin = landmarks[FACE_TOP, :2], landmarks[CHIN_TIP, :2]
    size = float(np.linalg.norm(chin - top))
    middle, hair = (top + chin) / 2, (top + chin) / 2 + size * np.array([0.6, -0.25])
    return np.vstack(
        [
            tile(picture, middle, 1.1 * size, TILE_PX),
            tile(picture, hair, 0.3 * size, TILE_PX),
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    out, portraits = asked_portraits("idle_stills", arguments)
    for name, (picture, landmarks) in portraits.items():
        cv2.imwrite(str(out / f"{name}-idle.png"), idle_rows(picture, landmarks)[..., ::-1])
        if (eyes := gaze_row(picture, landmarks)) is not None:
            cv2.imwrite(str(out / f"{name}-gaze.png"), eyes[..., ::-1])
        before, now = (measure_idle(picture, landmarks, with_matte) for with_matte in (False, True))
        print(
            f"{name}: background {before.background:.0f} -> {now.background:.0f} levels, {now.repeat_s:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
