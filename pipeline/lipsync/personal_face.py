"""One avatar that speaks with real mouths of its person, cut from the clip that it was made of.

What is said decides how far a mouth is open and how wide it is, mapped onto the range of this person. Exemplars are
chosen in sequence, moved onto the lip shape that goes with it and pasted into the frame by its head pose, in the light
of the frame. The frame's own jaw is hung as low as goes with that mouth, whatever it was filmed with.

Everything about a picture follows from its own window, which holds its neighbours too, and from its own frame: nothing
is remembered from one picture to the next. So sessions share this, and what is streamed is what is rendered offline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, floor

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.geometry import CHIN_TIP, LOWER_LIP_INNER, LOWER_LIP_OUTER, UPPER_LIP_INNER, UPPER_LIP_OUTER
from avatars.mouth_chart import POINTS, MouthChart, affine, opening_of, places, width_of
from avatars.real_mouths import CHART_IOD, EXEMPLARS, SKIN, SKIN_COLUMNS, SKIN_ROWS
from models.arrays import AnyArray
from pipeline.compositing import compose
from pipeline.lipsync.affine import then
from pipeline.lipsync.jaw import Jaw, corners_of
from pipeline.lipsync.mouth_choice import MouthChoice, MouthPose, Share
from pipeline.lipsync.mouth_shape import smoothstep
from pipeline.lipsync.mouth_steering import SHUT_IOD, Steering
from pipeline.lipsync.thin_plate import Spline
from pipeline.lipsync.warp import ChartGrid
from pipeline.types import FacePatch

__all__ = ["PersonalFace"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

_LOST_PX, _LOST = 1.0, 0.1
"detail that a mouth loses when it is moved: of which size, and how much of it an exemplar is given beforehand"
_TEETH_FADE = (0.1, 0.5)
"shares of the lesser mouth: under the first its teeth do not show, at the second half; two rows of teeth are a blur"
_OWN_SHAPE = 0.35
"part of what sets an exemplar's shape apart from other mouths of this person, open and wide like it, that is drawn"
_STRETCH = 1.3
"an opening is that of the exemplar up to this factor, because teeth stretch with it"
_LOOK_PX, _LOOK_SIZE, _LOOK_AT_IOD = 40, (40, 32), (-0.5, -0.3)
"scale of the small pictures by which exemplars are told apart, their size, and where they begin in the chart"
_ACTIVITY_FULL = 0.3
"activity from which nothing of the resting mouth shows"
_RESTS_IOD = 0.015
"lips that are less apart are shut"
_REST_POSE_DEG = 8.0
"a head that is turned further away from how it mostly is serves badly for rest"

_CELL_IOD = 1 / 18
_HALF_WIDTH_IOD, _ABOVE_IOD = 0.47, 0.27
"of the ellipse that is pasted; downwards it ends above the chin"
_CHIN_KEPT_IOD = 0.03
_FADE_IOD, _FADE_AT_CHIN_IOD = (-0.055, 0.145), (-0.03, 0.07)
"inside the edge of that ellipse: where a pasted mouth begins to show, and where nothing else does; two chins half seen"
"would have the folds of neither"
_CHINS = 64
"places of the chin, a hundredth apart, for which that is kept"
_CROP_MARGIN_IOD = 0.10

_UPPER_IN, _LOWER_IN = places(UPPER_LIP_INNER), places(LOWER_LIP_INNER)
_UPPER_OUT, _LOWER_OUT = places(UPPER_LIP_OUTER), places(LOWER_LIP_OUTER)
_CHIN_TIP = POINTS.index(CHIN_TIP)
_BUMP = 1 - np.abs(np.linspace(-1, 1, 11)) ** 2.5
"how much of an opening each point of a lip takes, from corner to corner"
_ROLLED_IN = 0.5
"part of the lower lip that f and v hide behind the upper teeth"
_LOWER_TAKES, _LOWER_OUTER_TAKES, _UPPER_OUTER_TAKES = 0.75, 0.70, 0.20


@dataclass(frozen=True, eq=False)
class _Exemplar:
    """One real mouth."""

    pixels: Image
    "as it was filmed"
    to_px: Array
    "(2, 3) chart -> its pixels"
    points: Array
    "(m, 2) POINTS in the chart"
    skin: Field

    def look(self) -> Array:
        """A small picture of it, held as the chart is, RGB levels."""
        chart = np.array([[1 / _LOOK_PX, 0, _LOOK_AT_IOD[0]], [0, 1 / _LOOK_PX, _LOOK_AT_IOD[1]], [0, 0, 1]])
        flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(self.pixels, self.to_px @ chart, _LOOK_SIZE, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(seen, np.float64)


@dataclass(frozen=True, eq=False)
class _Moved:
    """An exemplar on its way to a lip shape, and the part that it has in the mouth which is drawn."""

    exemplar: _Exemplar
    weight: float
    came_from_px: Field
    "(rows, columns, 2) at the nodes of the spline: where in its pixels they come from"


@dataclass(frozen=True, eq=False)
class _Mouth:
    """What is drawn into a frame."""

    shape: Array
    "(m, 2) POINTS in the chart"
    moved: list[_Moved]
    "the one that has most of it first"


def _skin_of(bundle: AvatarBundle) -> AnyArray:
    """The skin of each frame. A gesture's picture is lit as the loop's picture in which the face is most like it."""
    skin = bundle.backend_tensors[SKIN]
    of_gestures = range(bundle.frame_count, len(bundle.landmarks))
    alike = [bundle.frame_index(place) for place in bundle.loop_places_like(of_gestures)]
    return np.concatenate([skin, skin[alike]]) if alike else skin


class PersonalFace:
    """What the viseme backend keeps of an avatar with a personal mouth: 3 to 10 MB."""

    def __init__(self, bundle: AvatarBundle) -> None:
        self.bundle = bundle
        chosen = bundle.backend_tensors[EXEMPLARS]
        self._skin = _skin_of(bundle)
        self._chart = chart = MouthChart.of(bundle.landmarks)
        self._exemplars = [self._cut(int(frame)) for frame in chosen]
        self.steering = Steering(chart)
        self._apart = [one.points - self.steering.shapes(_pose_of(one.points))[0] for one in self._exemplars]
        self._choice = self._choice_among(chosen)
        self._jaw = Jaw(chart)
        lowest = float(chart.points[:, _CHIN_TIP, 1].max())
        self._grid = ChartGrid.covering(_ellipse_corners(lowest), _CELL_IOD)
        nodes, self._nodes_to_chart = self._grid.nodes(), self._grid.to_chart()
        self._x, self._y = (nodes[:, axis].reshape(self._grid.rows, self._grid.columns) for axis in (0, 1))
        self._weights = lru_cache(_CHINS)(self._weights_above)
        self._spline = Spline(nodes, chart.pins)
        self._at_rest, usual = self._resting(chosen)  # one exemplar, so that nothing jumps
        shares, shut = [Share(self._at_rest, 1.0)], MouthPose(0.0, usual)
        self._rest = self._mouth(self._shape(shut, shut, shares), shares)

    @property
    def nbytes(self) -> int:
        """Memory held now, without the bundle's own tensors."""
        exemplars = sum(one.pixels.nbytes for one in self._exemplars)
        return self._jaw.nbytes + self._chart.points.nbytes + exemplars

    def patch(
        self, frame_index: int, visemes: Field, now: int, read_frame: Callable[[], Image] | None = None
    ) -> FacePatch:
        """The mouth and the jaw of one picture, where they go in that frame; resting where its activity is 0.

        visemes: (n, 9) mouth parameters and activity of consecutive pictures, of which row `now` is to be drawn.
        read_frame: gives the frame's pixels, where somebody needs them besides; None: they are decoded here.
        """
        strength = float(smoothstep(float(visemes[now, 8]), 0, _ACTIVITY_FULL))
        if strength == 0:
            return self.quiet(frame_index, read_frame)
        course = self.steering.course(visemes[:, :8])
        wanted, hanging = MouthPose(*course[now].tolist()), self.steering.hanging(course, now)
        shares = self._choice.shares(course, now, self._chart.pose[frame_index])
        shape = self._shape(wanted, hanging, shares)
        if strength < 1:  # one mouth on its way from the other, for two half seen have four lips
            shape = self._rest.shape + strength * (shape - self._rest.shape)
            shares = [Share(one.exemplar, strength * one.weight) for one in shares]
            shares = sorted([*shares, Share(self._at_rest, 1 - strength)], key=lambda one: -one.weight)
        return self._pasted(frame_index, self._mouth(shape, shares), read_frame)

    def quiet(self, frame_index: int, read_frame: Callable[[], Image] | None = None) -> FacePatch:
        """The mouth and the jaw of the person who says nothing, where they go in that frame."""
        return self._pasted(frame_index, self._rest, read_frame)

    def _pasted(self, frame_index: int, mouth: _Mouth, read_frame: Callable[[], Image] | None) -> FacePatch:
        frame = self.bundle.frame(frame_index) if read_frame is None else read_frame()
        place = float(self._jaw.place(mouth.shape))
        moved = self._box(frame_index, self._jaw.corners(place))
        pasted = self._box(frame_index, _ellipse_corners(mouth.shape[_CHIN_TIP, 1]))
        box = (*np.minimum(moved[:2], pasted[:2]).tolist(), *np.maximum(moved[2:], pasted[2:]).tolist())
        pixels = _part(frame, box).copy()
        self._jaw.move(_part(pixels, _within(moved, box)), self._to_box(frame_index, moved), frame_index, place)
        patch = self._draw(mouth, frame_index, pasted)
        return FacePatch(compose(pixels, replace(patch, box=_within(pasted, box))), box, None)

    def _to_box(self, frame_index: int, box: Box) -> Array:
        """(2, 3) from the chart to the pixels of a part of that frame."""
        to_box: Array = self._chart.to_px[frame_index].copy()
        to_box[:, 2] -= box[:2]
        return to_box

    def _box(self, frame_index: int, corners: Array) -> Box:
        """Round corners (n, 2) of the chart, in the frame."""
        corners = affine(self._chart.to_px[frame_index], corners)
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        left, top = min(max(floor(x0), 0), self.bundle.width - 1), min(max(floor(y0), 0), self.bundle.height - 1)
        return (
            left,
            top,
            max(min(ceil(x1), self.bundle.width), left + 1),
            max(min(ceil(y1), self.bundle.height), top + 1),
        )

    def _cut(self, frame_index: int) -> _Exemplar:
        to_px = self._chart.to_px[frame_index].copy()
        corners = affine(to_px, _CROPPED)
        limits = [self.bundle.width, self.bundle.height]
        x0, y0 = np.clip(np.floor(corners.min(axis=0)), 0, limits).astype(int)
        x1, y1 = np.clip(np.ceil(corners.max(axis=0)), 0, limits).astype(int)
        pixels = self.bundle.frame(frame_index)[y0:y1, x0:x1]
        blurred = cv2.GaussianBlur(pixels, (0, 0), _LOST_PX)
        pixels = np.asarray(cv2.addWeighted(pixels, 1 + _LOST, blurred, -_LOST, 0), np.uint8)
        to_px[:, 2] -= [x0, y0]
        return _Exemplar(pixels, to_px, self._chart.points[frame_index], self._skin[frame_index].astype(np.float32))

    def _choice_among(self, chosen: npt.NDArray[np.int32]) -> MouthChoice:
        points = self._chart.points[chosen]
        return MouthChoice(
            opening_iod=opening_of(points),
            width_iod=width_of(points),
            pose_deg=self._chart.pose[chosen],
            opening_spread_iod=self.steering.opening_spread,
            width_spread_iod=self.steering.width_spread,
            change=MouthChoice.change_costs(points, np.stack([exemplar.look() for exemplar in self._exemplars])),
        )

    def _resting(self, chosen: npt.NDArray[np.int32]) -> tuple[int, float]:
        """The exemplar of the shut mouth that is closest to this person's usual one, and how wide that is, IOD."""
        points = self._chart.points[chosen]
        opening, width = opening_of(points), width_of(points)
        shut = opening_of(self._chart.points) < _RESTS_IOD
        usual = float(np.median(width_of(self._chart.points)[shut])) if shut.any() else float(np.median(width))
        pose = (self._chart.pose[chosen] - np.median(self._chart.pose, axis=0)) / _REST_POSE_DEG
        costs = np.maximum(opening, 0) / self.steering.opening_spread + (pose**2).sum(axis=1)
        costs += ((width - usual) / self.steering.width_spread) ** 2
        return int(costs.argmin()), usual

    def _shape(self, wanted: MouthPose, hanging: MouthPose, shares: list[Share]) -> Array:
        """(m, 2) POINTS in the chart of the mouth to be drawn, with the jaw of another: it is heavier than lips are."""
        own, apart = np.zeros((2, len(POINTS), 2))
        for share in shares:
            own += share.weight * self._exemplars[share.exemplar].points
            apart += share.weight * self._apart[share.exemplar]
        spoken, hangs = self.steering.shapes(wanted, hanging)
        shape = spoken + _OWN_SHAPE * apart
        opening, own_opening = wanted.opening_iod, float(opening_of(own))
        if opening > SHUT_IOD:
            opening = min(max(opening, own_opening / _STRETCH), max(own_opening, 0.0) * _STRETCH + 0.008)
        place = float(self._jaw.place(hangs))
        return self._jaw.hung(_tucked(_opened(shape, opening), wanted.tucked), place)

    def _mouth(self, shape: Array, shares: list[Share]) -> _Mouth:
        """The exemplars of these shares, moved so that their lips lie at `shape` (m, 2)."""
        exemplars = [self._exemplars[share.exemplar] for share in shares]
        fields = self._spline.fields(shape, [exemplar.points for exemplar in exemplars])
        size = (self._grid.rows, self._grid.columns, 2)
        moved = [
            _Moved(exemplar, share.weight, affine(exemplar.to_px, field).astype(np.float32).reshape(size))
            for exemplar, share, field in zip(exemplars, shares, fields, strict=True)
        ]
        return _Mouth(shape, moved)

    def _draw(self, mouth: _Mouth, frame_index: int, box: Box) -> FacePatch:
        """The mouth alone, in a box of that frame and in its light."""
        size = (box[2] - box[0], box[3] - box[1])
        to_box = self._to_box(frame_index, box)
        nodes_to_box = then(to_box, self._nodes_to_chart)
        light = self._skin[frame_index].astype(np.float32)
        first, *others = mouth.moved
        drawn = inside = _remapped(first, nodes_to_box, size)
        light -= np.float32(first.weight) * first.exemplar.skin
        so_far = first.weight
        for one in others:
            moved = _remapped(one, nodes_to_box, size)
            so_far += one.weight
            drawn = _mixed(drawn, moved, one.weight / so_far)
            inside = _mixed(inside, moved, 0.5 * float(smoothstep(one.weight, *_TEETH_FADE)))
            light -= np.float32(one.weight) * one.exemplar.skin
        if others:
            lips = affine(to_box, np.concatenate([mouth.shape[_UPPER_IN], mouth.shape[_LOWER_IN[::-1]]]))
            between = cv2.fillPoly(np.zeros(drawn.shape[:2], np.uint8), [lips.round().astype(np.int32)], 255)
            cv2.copyTo(inside, between, drawn)
        pixels = cv2.add(drawn, _laid(light, then(to_box, _SKIN_TO_CHART), size), dtype=cv2.CV_8U)
        mask = _laid(self._weights(round(float(mouth.shape[_CHIN_TIP, 1]), 2)), nodes_to_box, size)
        return FacePatch(np.asarray(pixels, np.uint8), box, mask)

    def _weights_above(self, chin: float) -> Image:
        """uint8 (rows, columns) at the nodes: how much of a mouth is seen above a chin at that place, IOD."""
        height = np.where(self._y[:, :1] < 0, _ABOVE_IOD, chin - _CHIN_KEPT_IOD)
        across, down = self._x / _HALF_WIDTH_IOD, self._y / height
        out = np.hypot(across, down) + 1e-6  # 1 on the ellipse
        steep_iod = np.hypot(across / _HALF_WIDTH_IOD, down / height) / out + 1e-9
        inside_iod = (1 - out) / steep_iod
        beside, below = (smoothstep(inside_iod, *fade) for fade in (_FADE_IOD, _FADE_AT_CHIN_IOD))
        return np.asarray(255 * (beside + smoothstep(down / out, 0, 1) * (below - beside)), np.uint8)


def _part(picture: Image, box: Box) -> Image:
    return picture[box[1] : box[3], box[0] : box[2]]


def _within(box: Box, outer: Box) -> Box:
    """A box as it lies in another."""
    left, top = outer[:2]
    return box[0] - left, box[1] - top, box[2] - left, box[3] - top


def _pose_of(points: Array) -> MouthPose:
    """Of a mouth (m, 2)."""
    return MouthPose(float(opening_of(points)), float(width_of(points)))


def _opened(shape: Array, opening_iod: float) -> Array:
    """The mouth `shape` (m, 2) with its inner lips apart by exactly that much; the lower lip does most."""
    out = shape.copy()
    change = opening_iod - float(opening_of(shape))
    out[_LOWER_IN, 1] += _LOWER_TAKES * change * _BUMP
    out[_UPPER_IN, 1] -= (1 - _LOWER_TAKES) * change * _BUMP
    out[_LOWER_OUT, 1] += _LOWER_OUTER_TAKES * change * _BUMP
    out[_UPPER_OUT, 1] -= _UPPER_OUTER_TAKES * change * _BUMP
    crossed = np.maximum(out[_UPPER_IN, 1] - out[_LOWER_IN, 1], 0) / 2
    out[_UPPER_IN, 1] -= crossed
    out[_LOWER_IN, 1] += crossed
    return out


def _tucked(shape: Array, tucked: float) -> Array:
    """The mouth `shape` (m, 2) whose lower lip is, as far as `tucked` says (0 to 1), rolled in behind the teeth."""
    out = shape.copy()
    thickness = shape[_LOWER_OUT, 1] - shape[_LOWER_IN, 1]
    out[_LOWER_OUT, 1] -= tucked * _ROLLED_IN * thickness * _BUMP
    return out


_CROPPED = corners_of(*np.add(CHART_IOD, (-_CROP_MARGIN_IOD, -_CROP_MARGIN_IOD, _CROP_MARGIN_IOD, _CROP_MARGIN_IOD)))
"of an exemplar's pixels"


def _ellipse_corners(chin: float) -> Array:
    """(4, 2) in the chart: round what is pasted above a chin at that place, IOD."""
    rim = -_FADE_IOD[0]
    return corners_of(-_HALF_WIDTH_IOD - rim, -_ABOVE_IOD - rim, _HALF_WIDTH_IOD + rim, chin - _CHIN_KEPT_IOD + rim)


def _mixed(one: Image, other: Image, part: float) -> Image:
    return np.asarray(cv2.addWeighted(one, 1 - part, other, part, 0), np.uint8) if part else one


def _remapped(moved: _Moved, nodes_to_box: Array, size: tuple[int, int]) -> Image:
    """A mouth alone, in a box of that size (w, h); its pixels are interpolated once."""
    came_from_px = _laid(moved.came_from_px, nodes_to_box, size)
    # OpenCV takes None for the second map when the first holds both coordinates; its stubs do not say so.
    drawn = cv2.remap(  # type: ignore[call-overload]
        moved.exemplar.pixels, came_from_px, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(drawn, np.uint8)


def _skin_to_chart() -> Array:
    """(2, 3) from the pixels of a skin map, whose middles are half a cell inside the chart's corner."""
    left, top, right, bottom = CHART_IOD
    across, down = (right - left) / SKIN_COLUMNS, (bottom - top) / SKIN_ROWS
    return np.array([[across, 0, left + across / 2], [0, down, top + down / 2]])


_SKIN_TO_CHART = _skin_to_chart()


def _laid(image: AnyArray, to_box: Array, size: tuple[int, int]) -> AnyArray:
    """An image as it lies in a box of `size` (w, h)."""
    return np.asarray(cv2.warpAffine(image, to_box, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
