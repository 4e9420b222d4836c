"""MovingFace: moves the pixels of a picture so that the head nods, turns a little and raises its brows.

If a head turns by a degree or two about the axis through its ears, the tip of the nose moves most, and the outline not
at all. So only the inside of the face moves, from the forehead to below the chin, by one small displacement field per
picture. The mouth moves with it, whatever drew the mouth.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.errors import BundleError
from avatars.geometry import CHIN_TIP, FACE_TOP, face_axes, face_scales
from avatars.mattes import Mattes
from pipeline.acting import Expression
from pipeline.types import FloatArray, ImageArray

__all__ = ["MovingFace", "moving_face_of"]

logger = logging.getLogger(__name__)

Points = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]

_OUTLINE = ((10, 109, 67, 103, 54, 21, 162, 127, 234, 93, 132), (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361))
"Landmarks of the edge of a face from its top to its ears, on the left and on the right of the picture."
_EYES = (33, 133, 362, 263)
"Landmarks of the eyes' corners, the outer ones first and last."
_NOSE_RIDGE = (168, 6, 197, 195, 5)
_BROW_LINE = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
"Landmarks of the upper edge of both brows, left to right."
_UPPER_LIDS = (159, 386)

_CELL_IOD = 0.08
"Spacing of the field's points; the field is smooth, and interpolated between them."
_MIN_CELL_PX = 4
_NARROWER_CHIN = 0.62
"Share of the face's half width that moves at the chin: farther out may be background."
_BELOW_CHIN_IOD = 0.36
"Distance below the chin within which the motion ends, in the throat."
_BROW_SIDE_IOD = 0.14
"Distance beyond the ends of the brows within which their motion ends."
_MAX_MOVED_PX = 8
"Upper bound of any pixel's motion."
_UNSEEN_PX = 0.2
"Motion is shortened by this; what would move less stays where it is, and costs nothing."
_KEPT_SHAPES = 2048
"Number of frames whose shapes are kept, 4 kB each. A loop of a minute has 1500 frames, and repeats."
_SURELY = 250
"Matte value, of 255, from which a pixel is certainly part of the person."


def moving_face_of(bundle: AvatarBundle) -> MovingFace | None:
    """Return the avatar's MovingFace; None if its data is damaged, so that only the mouth moves.

    Call it in a thread.
    """
    try:
        return MovingFace(bundle)
    except BundleError as error:
        logger.warning("the avatar %s does not act: %s", bundle.id, error)
        return None


class MovingFace:
    """The moving face of one avatar. Thread-safe: it keeps only what depends on the frame alone."""

    def __init__(self, bundle: AvatarBundle) -> None:
        """Read the mattes of a still, in 20 ms.

        Raises BundleError if they are damaged or the landmarks are not a face.
        """
        if not np.isfinite(bundle.landmarks).all():
            raise BundleError(f"The landmarks of the avatar '{bundle.id}' are no numbers.", "Make the avatar again.")
        between = bundle.landmarks[:, [_EYES[0], FACE_TOP]] - bundle.landmarks[:, [_EYES[-1], CHIN_TIP]]
        if not (np.linalg.norm(between, axis=2) > 1).all():
            raise BundleError(f"The landmarks of the avatar '{bundle.id}' are no face.", "Make the avatar again.")
        self._faces = _Faces(bundle.landmarks.astype(np.float64))
        self._loop_frames = bundle.without_gestures.frame_count
        self._shapes: dict[int, _Shape] = {}
        # Only for stills: hardly any pixel of a clip shows the person throughout, and clips move well without mattes.
        mattes = Mattes.open(bundle.mattes_path) if bundle.kind == "still" else None
        self._person: FloatArray | None = None
        if mattes is not None:
            person = mattes.person_throughout()
            near_px = _cell_px(float(face_scales(bundle.landmarks[:1])[0])) + _MAX_MOVED_PX
            self._person = _inside(person, near_px * person.shape[1] / bundle.width)

    def show(self, picture: ImageArray, frame_index: int, expression: Expression) -> ImageArray:
        """Apply the expression to the picture in place, and return the picture.

        picture  uint8 RGB (height, width, 3): the frame of that index, with anything drawn into it
        """
        if expression.is_still:
            return picture
        shape = self._shape(frame_index, picture.shape)
        x0, y0, x1, y1 = shape.box
        width, height = x1 - x0, y1 - y0
        if width < 2 * _MIN_CELL_PX or height < 2 * _MIN_CELL_PX:
            return picture
        field = shape.field(expression)
        x, y = _moving(field, width, height)
        if x.start == x.stop:
            return picture
        # Plane by plane: to split a field of this size takes ten times as long as to make it.
        from_x, from_y = (cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)[y, x] for plane in field)
        from_x += np.arange(x.start, x.stop, dtype=np.float32)
        from_y += np.arange(y.start, y.stop, dtype=np.float32)[:, None]
        box = picture[y0:y1, x0:x1]
        before = box.copy()
        # Cubic interpolation keeps the pores of a face moved by half a pixel, so it does not flicker between sharp and
        # soft.
        cv2.remap(before, from_x, from_y, cv2.INTER_CUBIC, dst=box[y, x], borderMode=cv2.BORDER_REPLICATE)
        return picture

    def _shape(self, frame_index: int, picture: tuple[int, ...]) -> _Shape:
        """Return the shape of a frame of that size (height, width, 3). Keeps the first ones, because a loop repeats."""
        shape = self._shapes.get(frame_index)
        if shape is None:
            shape = self._faces.shape(frame_index, picture[1], picture[0])
            if self._person is not None and frame_index < self._loop_frames:
                near = self._person_in(shape.box, shape.head.shape, picture)
                shape = replace(shape, head=shape.head * near, brow=shape.brow * near)
            if len(self._shapes) < _KEPT_SHAPES:
                self._shapes[frame_index] = shape
        return shape

    def _person_in(self, box: Box, shape: tuple[int, ...], picture: tuple[int, ...]) -> FloatArray:
        """Return float32 (rows, columns) for a field's points: 1 where only the person is near, else down to 0."""
        assert self._person is not None
        x0, y0, x1, y1 = box
        rows, columns = shape
        high, wide = self._person.shape
        to_x, to_y = wide / picture[1], high / picture[0]
        step_x, step_y = (x1 - x0) / columns * to_x, (y1 - y0) / rows * to_y
        left, top = x0 * to_x + step_x / 2 - 0.5, y0 * to_y + step_y / 2 - 0.5
        matrix = np.array([[step_x, 0, left], [0, step_y, top]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        inside = cv2.warpAffine(self._person, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(inside, np.float32)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What moves in one frame, and how far: everything that does not depend on the expression."""

    box: Box
    head: FloatArray
    "float32 (rows, columns) at points of the box: 1 where the head's motion is largest, 0 where there is none"
    brow: FloatArray
    "the same for the motion of the brows"
    across_px: FloatArray
    "(2,) px: a step of one IOD (distance between the eyes) to the right of the face"
    down_px: FloatArray
    "(2,) px: a step of one IOD down the face"

    def field(self, expression: Expression) -> FloatArray:
        """Return float32 (2, rows, columns) px: for points of the box, the offset to where their pixels come from."""
        head_px = expression.turn * self.across_px + expression.nod * self.down_px
        brow_px = -expression.brow * self.down_px
        planes = np.stack([-(self.head * head + self.brow * brow) for head, brow in zip(head_px, brow_px, strict=True)])
        length = np.maximum(np.hypot(*planes), _UNSEEN_PX)
        return np.asarray(planes * (1 - _UNSEEN_PX / length), np.float32)


class _Faces:
    """The geometry of a face in all frames, and how far its parts move. Lengths are in IOD, along the face's axes.

    What needs one frame's landmarks only is computed for all frames at once: numpy takes longer to be called than to
    compute so few numbers.
    """

    def __init__(self, landmarks: Points) -> None:
        """landmarks (frames, 478, 3) px."""
        axes = face_axes(landmarks)[:, :2, :2]
        self._axes = axes / np.linalg.norm(axes, axis=2, keepdims=True)
        self._iod_px = face_scales(landmarks)
        self._middles = landmarks[:, list(_EYES), :2].mean(axis=1, dtype=np.float64)
        self._ridges = self._points(landmarks, _NOSE_RIDGE)[:, :, 0].mean(axis=1)
        self._tops, self._chins = self._points(landmarks, (FACE_TOP, CHIN_TIP))[:, :, 1].T
        sides = [self._points(landmarks, side) for side in _OUTLINE]
        self._reaches = np.stack([side[:, :, 0] for side in sides], axis=1)
        self._edges = [self._edge(side) for side in sides]
        self._brows = self._points(landmarks, _BROW_LINE)
        self._lids = self._points(landmarks, _UPPER_LIDS)[:, :, 1].mean(axis=1)

    def shape(self, index: int, width: int, height: int) -> _Shape:
        """Return the shape of the face in a frame of that size."""
        iod_px, middle, (across, down) = float(self._iod_px[index]), self._middles[index], self._axes[index]
        box = x0, y0, x1, y1 = self._box(index, width, height)
        cell = _cell_px(iod_px)
        columns, rows = max(2, round((x1 - x0) / cell)), max(2, round((y1 - y0) / cell))
        x = (x0 + (np.arange(columns) + 0.5) * ((x1 - x0) / columns) - 0.5 - middle[0]) / iod_px
        y = ((y0 + (np.arange(rows) + 0.5) * ((y1 - y0) / rows) - 0.5 - middle[1]) / iod_px)[:, None]
        u, v = x * across[0] + y * across[1], x * down[0] + y * down[1]
        head, brow, across_px, down_px = (
            np.asarray(values, np.float32)
            for values in (self._head(index, u, v), self._brow(index, u, v), iod_px * across, iod_px * down)
        )
        return _Shape(box, head, brow, across_px, down_px)

    def _points(self, landmarks: Points, numbers: Sequence[int]) -> Points:
        """Return (frames, n, 2): where landmarks lie, from the middle between the eyes, along the face's axes."""
        places_px = landmarks[:, list(numbers), :2] - self._middles[:, None]
        return np.asarray(places_px @ self._axes.transpose(0, 2, 1) / self._iod_px[:, None, None], np.float64)

    def _box(self, index: int, width: int, height: int) -> Box:
        """Return x0, y0, x1, y1 px: the box of all that moves, clipped to a picture of that size."""
        reach = self._reaches[index]
        ends = self._tops[index], self._end(index)
        corners = np.array([(u, v) for u in (reach.min(), reach.max()) for v in ends])
        places = self._middles[index] + self._iod_px[index] * (corners @ self._axes[index])
        (left, top), (right, bottom) = np.floor(places.min(axis=0)), np.ceil(places.max(axis=0))
        return (
            min(max(0, int(left)), width),
            min(max(0, int(top)), height),
            min(max(0, int(right)), width),
            min(max(0, int(bottom)), height),
        )

    def _end(self, index: int) -> float:
        return float(self._chins[index]) + _BELOW_CHIN_IOD

    def _head(self, index: int, u: Points, v: Points) -> Points:
        """Return how far the face lies in front of the axis through the ears: 1 along the nose, 0 at the edge."""
        ridge, top, chin = self._ridges[index], self._tops[index], self._chins[index]
        left, right = (np.interp(v, down[index], side[index]) for down, side in self._edges)
        width = np.where(u < ridge, ridge - left, right - ridge)
        dome = np.clip(1 - ((u - ridge) / np.maximum(width, 0.05)) ** 2, 0, 1) ** 1.25
        forehead = _rise(v, top, top + 0.55)
        return np.asarray(dome * forehead * (1 - _rise(v, chin - 0.1, self._end(index))), np.float64)

    def _edge(self, side: Points) -> tuple[Points, Points]:
        """Return v and u of one edge in all frames, from the top of the face to below the chin; v is rising."""
        down = np.maximum.accumulate(side[:, :, 1], axis=1)
        end = np.maximum(self._chins, down[:, -1])
        chin = self._ridges + _NARROWER_CHIN * (side[:, -1, 0] - self._ridges)
        return np.column_stack([down, end]), np.column_stack([side[:, :, 0], chin])

    def _brow(self, index: int, u: Points, v: Points) -> Points:
        """Return how far the skin moves with the brows: 1 at the brows, 0 at the lids and at the top of the face."""
        across, heights = self._brows[index].T
        line = np.interp(u, across, heights)
        beside = np.maximum(across.min() - u, u - across.max())
        above = _rise(v, line - 0.85 * (line - self._tops[index]), line)
        end = np.maximum(self._lids[index] - _CELL_IOD, line + _CELL_IOD)
        below = 1 - _rise(v, line + 0.25 * (end - line), end)
        return np.asarray(above * below * (1 - _rise(beside, 0.0, _BROW_SIDE_IOD)), np.float64)


def _moving(field: FloatArray, width: int, height: int) -> tuple[slice, slice]:
    """Return the columns and rows of a box of that size that hold all moving pixels; empty ones if none moves."""
    moving = np.asarray(field.any(axis=0))
    columns, rows = (np.asarray(moving.any(axis=axis)) for axis in (0, 1))
    return _reach(columns, width), _reach(rows, height)


def _reach(moving: npt.NDArray[np.bool_], size: int) -> slice:
    """Return the pixels, along a side of that size, which the first to the last moving point of a field affect."""
    (found,) = np.nonzero(moving)
    if not len(found):
        return slice(0, 0)
    # The field is interpolated between points, so a point affects pixels up to the next points.
    step = size / len(moving)
    return slice(max(0, int((found[0] - 1) * step)), min(size, int((found[-1] + 2) * step) + 1))


def _cell_px(iod_px: float) -> float:
    return max(_MIN_CELL_PX, _CELL_IOD * iod_px)


def _rise(value: Points, low: float | Points, high: float | Points) -> Points:
    """Return a smooth step from 0 at `low` to 1 at `high`."""
    share = np.clip((value - low) / np.maximum(np.subtract(high, low), 1e-3), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float64)


def _inside(person: ImageArray, near: float) -> FloatArray:
    """Return float32 (h, w): 1 well inside the person of a matte, falling to 0 near anything else.

    near: distance within which it is 0, in px of the matte.
    """
    reach = int(np.ceil(near))
    sure = (person >= _SURELY).astype(np.float32)
    side = 2 * (reach + reach // 2 + 1) + 1  # as far as the blur below reaches, too
    return np.asarray(cv2.blur(cv2.erode(sure, np.ones((side, side), np.uint8)), (reach, reach)), np.float32)
