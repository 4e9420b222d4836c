"""Animates a still: blinks, gaze and small motion of the head are drawn into the frames of its loop.

All motion of the head is one smooth displacement field that is zero at the picture's borders. The landmarks are moved
by the same field. Only the person moves, in front of a fixed background. `idle_life` chooses the poses and their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from avatars.eyelids import Eyelids
from avatars.gaze import Gaze
from avatars.geometry import CHIN_TIP, FACE_TOP
from avatars.idle_life import IdleLife
from avatars.layers import Layers
from models.arrays import FloatArray, ImageArray

__all__ = ["HeadMotion", "enlarged", "enliven"]


SUPERSAMPLING = 2
GRID = 48
"Nodes of the displacement field on each axis. The motion is smooth, so the grid is much coarser than the picture."


def enliven(
    picture: ImageArray,
    landmarks: FloatArray,
    life: IdleLife,
    layers: Layers | None = None,
    closed: ImageArray | None = None,
) -> Iterator[tuple[ImageArray, FloatArray, ImageArray]]:
    """Draw the frames of a still. Gives uint8 RGB (h, w, 3), landmarks (478, 3), and the matte uint8 (h, w).

    layers: the picture taken apart, so that the background stays fixed. None: the surroundings of the head move along,
    and the matte is all person. closed: the same picture with closed eyes, if there is one (for painted characters);
    otherwise the lids are warped.
    """
    height, width = picture.shape[:2]
    motion = HeadMotion(landmarks, width, height)
    eyes = Gaze(picture, landmarks)
    layers = layers or Layers(picture, np.ones((height, width), np.float32))
    looking: tuple[float, float] | None = None
    for pose, closure, gaze in zip(life.poses, life.closures, life.gazes, strict=True):
        if looking != (looking := (float(gaze[0]), float(gaze[1]))):  # redraw only on a change: gaze stays for long
            lids = Eyelids(*eyes.at(*looking), closed)
            awake = enlarged(layers.person(lids.at(0)[0]))
        base, points = lids.at(closure)
        field = motion.field(pose)
        person = motion.warp(awake if closure == 0 else enlarged(layers.person(base)), field)
        yield layers.composite(person), motion.move(points, field), layers.matte_of(person)


def enlarged(picture: ImageArray) -> ImageArray:
    """Return the picture enlarged for HeadMotion.warp().

    Linear interpolation in an enlarged picture is as even in sharpness as cubic interpolation in the original, at half
    the cost. Linear interpolation in the original would flicker between sharp and soft as the head moves.
    """
    return np.asarray(
        cv2.resize(picture, None, fx=SUPERSAMPLING, fy=SUPERSAMPLING, interpolation=cv2.INTER_CUBIC), np.uint8
    )


class HeadMotion:
    """The displacement fields of a head in a picture of width x height px, given its landmarks (478, 3)."""

    def __init__(self, landmarks: FloatArray, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._cell = np.array([width / GRID, height / GRID], np.float32)
        self._bases = _bases(landmarks, width, height)
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        self._places = np.stack([x, y], axis=-1) * SUPERSAMPLING + (SUPERSAMPLING - 1) / 2

    def field(self, pose: FloatArray) -> FloatArray:
        """Return the displacement (GRID, GRID, 2) in px for a pose (7,); see idle_life.MOTIONS."""
        return np.tensordot(pose, self._bases, 1).astype(np.float32)

    def warp(self, large: ImageArray, field: FloatArray) -> ImageArray:
        """Return the picture moved by the field. large: the picture after enlarged()."""
        size = (self._width, self._height)
        moved = cv2.resize(field * SUPERSAMPLING, size, interpolation=cv2.INTER_LINEAR)
        places = cv2.subtract(self._places, moved, dst=moved)
        nothing: Any = None  # the type stub of cv2.remap() demands a second map
        shown = cv2.remap(large, places, nothing, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(shown, np.uint8)

    def move(self, landmarks: FloatArray, field: FloatArray) -> FloatArray:
        """Move landmarks (n, 3) to where warp() shows them. Solved by fixed-point iteration."""
        start = landmarks[:, :2]
        points = start.copy()
        for _ in range(4):
            nodes = (points + 0.5) / self._cell - 0.5
            points = start + cv2.remap(
                field, nodes[:, 0], nodes[:, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            ).reshape(-1, 2)
        return np.concatenate([points, landmarks[:, 2:]], axis=1).astype(np.float32)


def _bases(landmarks: FloatArray, width: int, height: int) -> FloatArray:
    """Return displacements (7, GRID, GRID, 2) in px for one unit of each of MOTIONS.

    Motion is full within the head and falls to nothing around it. Yaw and pitch shift a dome: its middle moves one way,
    its rim slightly the other. Breath lifts the part below the chin.
    """
    top, chin = landmarks[FACE_TOP, :2], landmarks[CHIN_TIP, :2]
    unit = float(np.linalg.norm(chin - top))
    centre = (top + chin) / 2 + (top - chin) * 0.12
    x = (np.arange(GRID, dtype=np.float32) + 0.5) * (width / GRID) - 0.5
    y = (np.arange(GRID, dtype=np.float32) + 0.5) * (height / GRID) - 0.5
    dx, dy = np.meshgrid((x - centre[0]) / unit, (y - centre[1]) / unit)
    ellipse = (dx / 0.62) ** 2 + (dy / 0.85) ** 2
    side = np.minimum(x, width - 1 - x)[None, :] / unit
    ends = np.minimum(y, height - 1 - y)[:, None] / unit
    head = _fall(np.sqrt(ellipse), 0.95, 2.1) * _rise(np.minimum(side, ends), 0.0, 0.25)
    dome = np.sqrt(np.clip(1 - ellipse, 0, 1)) - 0.35
    chest = _rise(dy, 0.55, 1.3) * _rise(side, 0.0, 0.4) + 0 * dx
    neck = 0.75
    nothing = np.zeros_like(dx)
    fields = (
        (head, nothing),
        (nothing, head),
        (-(dy - neck) * head, dx * head),
        (dome * head, nothing),
        (nothing, dome * head),
        (dx * head, dy * head),
        (nothing, -chest),
    )
    return np.stack([np.stack(field, axis=-1) for field in fields]).astype(np.float32) * unit


def _rise(value: FloatArray, low: float, high: float) -> FloatArray:
    """Return a smooth step from 0 at `low` to 1 at `high`."""
    t: FloatArray = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _fall(value: FloatArray, low: float, high: float) -> FloatArray:
    return 1 - _rise(value, low, high)
