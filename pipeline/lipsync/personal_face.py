"""One avatar that speaks with real mouths of its person, cut from the clip that it was made of.

What is said decides how far a mouth is open and how wide it is, mapped onto the range of this person. Exemplars are
chosen in sequence, moved onto the lip shape that goes with it and pasted into the frame by its head pose, in the light
of the frame.

Everything about a picture follows from its own window, which holds its neighbours too, and from its own frame: nothing
is remembered from one picture to the next. So sessions share this, and what is streamed is what is rendered offline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.geometry import CHIN_TIP, LOWER_LIP_INNER, LOWER_LIP_OUTER, UPPER_LIP_INNER, UPPER_LIP_OUTER
from avatars.mouth_chart import POINTS, MouthChart, affine, opening_of, places, width_of
from avatars.real_mouths import CHART_IOD, EXEMPLARS, SKIN
from models.arrays import AnyArray
from models.visemes import MOUTH_SHAPES, VISEMES
from pipeline.lipsync.mouth_choice import MouthChoice, MouthPose, Share
from pipeline.lipsync.mouth_shape import MouthShape, positions, smoothstep
from pipeline.types import FacePatch

__all__ = ["PersonalFace"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
Real = TypeVar("Real", np.float32, np.float64)

_SHUT_IOD = 0.012
"a mouth that is asked to open less is shut"
_WIDEST = 1.1
"mouths open by this much more than the clip shows, at most"
_PAUSES_IOD = 0.015
"real mouths that are open less count as shut: they say nothing about how far the person opens it to speak"
_WIDTH_MARGIN_IOD = 0.03
_OWN_SHAPE = 0.35
"part of an exemplar's own shape in what is drawn"
_STRETCH = 1.3
"an opening is that of the exemplar up to this factor, because teeth stretch with it"
_STEADY_SIGMA, _STEADY_REACH = 1.15, 3
"pictures; a mouth is heavier than the parameters are"
_SHUT_WEIGHT = 4.0
"of a shut mouth beside others, so that lips that must meet are on their way in time"
_REMEMBERED = 1024
"mouths of rows that were worked out; a picture shares all but one of its rows with the one before it"
_LOOK_PX, _LOOK_SIZE, _LOOK_AT_IOD = 40, (40, 32), (-0.5, -0.3)
"scale of the small pictures by which exemplars are told apart, their size, and where they begin in the chart"
_ACTIVITY_FULL = 0.3
"activity from which nothing of the resting mouth shows"
_REST_POSE_DEG = 8.0
"a head that is turned further away from how it mostly is serves badly for rest"

_CELL_IOD = 1 / 18
_STIFFNESS = 2e-4
"regularisation of the spline, in the kernel's unit (IOD squared)"
_HALF_WIDTH_IOD, _ABOVE_IOD = 0.47, 0.27
"of the ellipse that is pasted; downwards it ends above the chin"
_CHIN_KEPT_IOD = 0.04
_FEATHER_IOD = 0.09
_CROP_MARGIN_IOD = 0.10

_UPPER_IN, _LOWER_IN = places(UPPER_LIP_INNER), places(LOWER_LIP_INNER)
_UPPER_OUT, _LOWER_OUT = places(UPPER_LIP_OUTER), places(LOWER_LIP_OUTER)
_CHIN_POINTS = places((152, 148, 377, 176, 400, 200, 18))
_BUMP = 1 - np.abs(np.linspace(-1, 1, 11)) ** 2.5
"how much of an opening each point of a lip takes, from corner to corner"
_LOWER_TAKES, _LOWER_OUTER_TAKES, _UPPER_OUTER_TAKES, _CHIN_TAKES = 0.75, 0.70, 0.20, 0.45


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


def _skin_of(bundle: AvatarBundle) -> AnyArray:
    """The skin of each frame. A gesture's picture is lit as the loop's picture in which the face is most like it."""
    skin = bundle.backend_tensors[SKIN]
    of_gestures = range(bundle.frame_count, len(bundle.landmarks))
    alike = [bundle.frame_index(bundle.loop_place_like(frame)) for frame in of_gestures]
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
        self._choice = self._choice_among(chosen)
        self._spline = _Spline(chart.pins)
        self._alpha = _ellipse(chart)
        self._rest = self._resting(chosen)

    @property
    def nbytes(self) -> int:
        """Memory held now, without the bundle's own tensors."""
        return self._alpha.nbytes + self._chart.points.nbytes + sum(one.pixels.nbytes for one in self._exemplars)

    def patch(self, frame_index: int, visemes: Field, now: int) -> FacePatch:
        """The mouth of one picture, where it goes in that frame; the resting one where its activity is 0.

        visemes: (n, 9) mouth parameters and activity of consecutive pictures, of which row `now` is to be drawn.
        """
        strength = float(smoothstep(float(visemes[now, 8]), 0, _ACTIVITY_FULL))
        if strength == 0:
            return self.quiet(frame_index)
        course = self.steering.course(visemes[:, :8])
        wanted = MouthPose(*course[now].tolist())
        shares = self._choice.shares(course, now, self._chart.pose[frame_index])
        patch = self._pasted(frame_index, self._shape(wanted, shares), shares)
        if strength < 1:
            quiet = self.quiet(frame_index)
            pixels = cv2.addWeighted(patch.pixels, strength, quiet.pixels, 1 - strength, 0)
            return replace(patch, pixels=np.asarray(pixels, np.uint8))
        return patch

    def quiet(self, frame_index: int) -> FacePatch:
        """The mouth of the person who says nothing, where it goes in that frame."""
        return self._pasted(frame_index, *self._rest)

    def _pasted(self, frame_index: int, target: Array, shares: list[Share]) -> FacePatch:
        box = self._box(frame_index)
        to_box = self._chart.to_px[frame_index].copy()
        to_box[:, 2] -= box[:2]
        size = (box[2] - box[0], box[3] - box[1])
        pixels = self._draw(target, shares, self._skin[frame_index].astype(np.float32), to_box, size)
        return FacePatch(pixels, box, _laid(self._alpha, (1 / self._chart.px_per_iod,) * 2, to_box, size))

    def _box(self, frame_index: int) -> tuple[int, int, int, int]:
        corners = affine(self._chart.to_px[frame_index], _corners(0))
        limits = [self.bundle.width, self.bundle.height]
        x0, y0 = np.clip(np.floor(corners.min(axis=0)), 0, limits).astype(int).tolist()
        x1, y1 = np.clip(np.ceil(corners.max(axis=0)), 0, limits).astype(int).tolist()
        return min(x0, limits[0] - 1), min(y0, limits[1] - 1), max(x1, x0 + 1), max(y1, y0 + 1)

    def _cut(self, frame_index: int) -> _Exemplar:
        to_px = self._chart.to_px[frame_index].copy()
        corners = affine(to_px, _corners(_CROP_MARGIN_IOD))
        limits = [self.bundle.width, self.bundle.height]
        x0, y0 = np.clip(np.floor(corners.min(axis=0)), 0, limits).astype(int)
        x1, y1 = np.clip(np.ceil(corners.max(axis=0)), 0, limits).astype(int)
        pixels = self.bundle.frame(frame_index)[y0:y1, x0:x1].copy()
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

    def _resting(self, chosen: npt.NDArray[np.int32]) -> tuple[Array, list[Share]]:
        """The shut mouth that is closest to this person's usual one, from a single exemplar, so that nothing jumps."""
        points = self._chart.points[chosen]
        opening, width = opening_of(points), width_of(points)
        shut = opening_of(self._chart.points) < _PAUSES_IOD
        usual = float(np.median(width_of(self._chart.points)[shut])) if shut.any() else float(np.median(width))
        pose = (self._chart.pose[chosen] - np.median(self._chart.pose, axis=0)) / _REST_POSE_DEG
        costs = np.maximum(opening, 0) / self.steering.opening_spread + (pose**2).sum(axis=1)
        costs += ((width - usual) / self.steering.width_spread) ** 2
        shares = [Share(int(costs.argmin()), 1.0)]
        return self._shape(MouthPose(0.0, usual), shares), shares

    def _shape(self, wanted: MouthPose, shares: list[Share]) -> Array:
        """(m, 2) POINTS in the chart of the mouth to be drawn."""
        own = np.zeros((len(POINTS), 2))
        for share in shares:
            own += share.weight * self._exemplars[share.exemplar].points
        shape = _OWN_SHAPE * own + (1 - _OWN_SHAPE) * self.steering.shape(wanted)
        opening, own_opening = wanted.opening_iod, float(opening_of(own))
        if opening > _SHUT_IOD:
            opening = min(max(opening, own_opening / _STRETCH), max(own_opening, 0.0) * _STRETCH + 0.008)
        return _opened(shape, opening)

    def _draw(self, target: Array, shares: list[Share], skin: Field, to_box: Array, size: tuple[int, int]) -> Image:
        """uint8 RGB of a box `size` (w, h)."""
        fields = self._spline.fields(target, [self._exemplars[share.exemplar].points for share in shares])
        drawn = np.zeros((size[1], size[0], 3), np.uint8)
        for share, field in zip(shares, fields, strict=True):
            moved = self._moved(self._exemplars[share.exemplar], field, skin, to_box, size)
            drawn = moved if share.weight == 1 else np.asarray(cv2.scaleAdd(moved, share.weight, drawn), np.uint8)
        return drawn

    @staticmethod
    def _moved(exemplar: _Exemplar, field: Array, skin: Field, to_box: Array, size: tuple[int, int]) -> Image:
        """A real mouth in a box `size` (w, h), in the light of `skin`; `field`: where in the chart it comes from."""
        came_from = affine(exemplar.to_px, field).astype(np.float32)
        x, y = cv2.split(_laid(came_from, (_CELL_IOD, _CELL_IOD), to_box, size))
        moved = cv2.remap(exemplar.pixels, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        left, top, right, bottom = CHART_IOD
        cells = ((right - left) / skin.shape[1], (bottom - top) / skin.shape[0])
        light = _laid(skin - exemplar.skin, cells, to_box, size, centred=True)
        return np.asarray(cv2.add(moved, light, dtype=cv2.CV_8U), np.uint8)


class Steering:
    """From mouth parameters to this person's mouth: how far it opens, how wide it is, and what moves along."""

    def __init__(self, chart: MouthChart) -> None:
        self._generic = MouthShape(chart.rest)
        self._asked = lru_cache(_REMEMBERED)(self._pose)
        self._chart = chart
        opening, width = opening_of(chart.points), width_of(chart.points)
        self.opening_spread = float(opening.std()) + 1e-6
        self.width_spread = float(width.std()) + 1e-6
        said = [self._measured(shape) for shape in MOUTH_SHAPES]
        spoken = opening[opening > _PAUSES_IOD]
        self._gain = float(np.percentile(spoken, 95)) / said[VISEMES.index("aa")].opening_iod
        self._widest = _WIDEST * float(np.percentile(spoken, 99))
        narrow, spread = (said[VISEMES.index(name)].width_iod for name in ("ou", "ih"))
        self._own_narrow, self._own_spread = np.percentile(width, [5, 95]).tolist()
        self._width_gain = (self._own_spread - self._own_narrow) / max(spread - narrow, 1e-3)
        self._narrow = narrow
        self._usual = opening.mean(), width.mean()
        design = self._design(opening, width)
        damping = 1e-3 * len(design) * np.diag([0, 1e-2, 1e-2, 1e-2, 1e-2])
        shapes = chart.points.reshape(len(chart.points), -1)
        self._shapes = np.linalg.solve(design.T @ design + damping, design.T @ shapes)

    def course(self, parameters: Field) -> Array:
        """(n, 2) MouthPose of consecutive pictures with these parameters (n, 8).

        Parameters jump where a mouth has to move, so its course is made steady. Lips that have to meet do so all the
        same.
        """
        asked = np.array([self._asked(row.tobytes()) for row in np.ascontiguousarray(parameters, np.float32)])
        shut = asked[:, 0] == 0
        apart = np.subtract.outer(np.arange(len(asked)), np.arange(len(asked)))
        weights = np.exp(-0.5 * (apart / _STEADY_SIGMA) ** 2) * (abs(apart) <= _STEADY_REACH)
        weights *= np.where(shut, _SHUT_WEIGHT, 1.0)
        steady = weights @ asked / weights.sum(axis=1, keepdims=True)
        steady[shut | (steady[:, 0] < _SHUT_IOD), 0] = 0
        return np.asarray(steady, np.float64)

    def _pose(self, parameters: bytes) -> MouthPose:
        """parameters: eight float32."""
        said = self._measured(np.frombuffer(parameters, np.float32))
        opening = min(self._gain * said.opening_iod, self._widest)
        width = self._own_narrow + self._width_gain * (said.width_iod - self._narrow)
        low, high = self._own_narrow - _WIDTH_MARGIN_IOD, self._own_spread + _WIDTH_MARGIN_IOD
        return MouthPose(opening if opening > _SHUT_IOD else 0.0, float(np.clip(width, low, high)))

    def shape(self, wanted: MouthPose) -> Array:
        """(m, 2) POINTS in the chart: how this person's lips, chin and cheeks lie when a mouth is open like this."""
        row = self._design(np.array([wanted.opening_iod]), np.array([wanted.width_iod]))
        return np.asarray((row @ self._shapes).reshape(-1, 2))

    def _measured(self, parameters: npt.NDArray[np.floating]) -> MouthPose:
        """Of the mouth that is painted for these parameters."""
        posed = (self._generic.pose(parameters) - self._chart.origin) @ self._chart.flat.T
        gap = posed[positions(LOWER_LIP_INNER), 1] - posed[positions(UPPER_LIP_INNER), 1]
        left, right = posed[positions((61, 291))]
        return MouthPose(max(0.0, float(gap[3:8].mean())), float(np.linalg.norm(right - left)))

    def _design(self, opening: Array, width: Array) -> Array:
        o = (opening - self._usual[0]) / self.opening_spread
        w = (width - self._usual[1]) / self.width_spread
        return np.column_stack([np.ones_like(o), o, w, o * o, o * w])


class _Spline:
    """Where each place of a moved face comes from: a thin-plate spline (Bookstein 1989) over the chart.

    Tied to the target's points, so that one solution serves all exemplars of a picture.
    """

    def __init__(self, pins: Array) -> None:
        left, top, right, bottom = CHART_IOD
        columns, rows = (int(np.ceil(side / _CELL_IOD)) + 1 for side in (right - left, bottom - top))
        y, x = np.mgrid[:rows, :columns]
        nodes = np.column_stack([left + _CELL_IOD * x.ravel(), top + _CELL_IOD * y.ravel()])
        self._nodes = nodes.astype(np.float32)
        self._affine_nodes = np.column_stack([np.ones(len(nodes)), nodes])
        self._shape = (rows, columns, 2)
        self._pins = pins

    def fields(self, target: Array, sources: list[Array]) -> list[Array]:
        """For each source (m, 2): chart places (rows, columns, 2) that the nodes come from."""
        points = np.concatenate([target, self._pins])
        count = len(points)
        flat = np.column_stack([np.ones(count), points])
        system = np.zeros((count + 3, count + 3))
        system[:count, :count] = _kernel(points, points) + _STIFFNESS * np.eye(count)
        system[:count, count:], system[count:, :count] = flat, flat.T
        moves = np.zeros((count + 3, 2 * len(sources)))
        moves[: len(target)] = np.concatenate([source - target for source in sources], axis=1)
        weights = np.linalg.solve(system, moves)
        # In float32 the many logarithms take a third of the time, and places are right to 1e-5 IOD.
        bent = _kernel(self._nodes, points.astype(np.float32)) @ weights[:count].astype(np.float32)
        moved = bent + self._affine_nodes @ weights[count:]
        nodes = self._affine_nodes[:, 1:]
        return [(nodes + moved[:, 2 * n : 2 * n + 2]).reshape(self._shape) for n in range(len(sources))]


def _kernel(a: npt.NDArray[Real], b: npt.NDArray[Real]) -> npt.NDArray[Real]:
    squared = (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)
    squared = np.maximum(squared, 0) + 1e-9
    return np.asarray(squared * np.log(squared))


def _opened(shape: Array, opening_iod: float) -> Array:
    """The mouth `shape` (m, 2) with its inner lips apart by exactly that much; the lower lip and the chin do most."""
    out = shape.copy()
    change = opening_iod - float(opening_of(shape))
    out[_LOWER_IN, 1] += _LOWER_TAKES * change * _BUMP
    out[_UPPER_IN, 1] -= (1 - _LOWER_TAKES) * change * _BUMP
    out[_LOWER_OUT, 1] += _LOWER_OUTER_TAKES * change * _BUMP
    out[_UPPER_OUT, 1] -= _UPPER_OUTER_TAKES * change * _BUMP
    out[_CHIN_POINTS, 1] += _CHIN_TAKES * change
    crossed = np.maximum(out[_UPPER_IN, 1] - out[_LOWER_IN, 1], 0) / 2
    out[_UPPER_IN, 1] -= crossed
    out[_LOWER_IN, 1] += crossed
    return out


def _corners(margin: float) -> Array:
    left, top, right, bottom = CHART_IOD
    return np.array([[x, y] for x in (left - margin, right + margin) for y in (top - margin, bottom + margin)])


def _laid(
    image: AnyArray,
    cell_iod: tuple[float, float],
    to_box: Array,
    size: tuple[int, int],
    *,
    centred: bool = False,
) -> AnyArray:
    """An image over the chart as it lies in a box of `size` (w, h).

    cell_iod: distance of its pixels, across and down. centred: the first pixel's middle is half a cell inside the
    chart's corner, otherwise at the corner.
    """
    across, down = cell_iod
    inside = 0.5 if centred else 0.0
    left, top = CHART_IOD[0] + inside * across, CHART_IOD[1] + inside * down
    chart = np.array([[across, 0, left], [0, down, top], [0, 0, 1]])
    return np.asarray(
        cv2.warpAffine(image, to_box @ chart, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _ellipse(chart: MouthChart) -> Image:
    """uint8 weight over CHART_IOD of what is pasted, one pixel per pixel of an average frame; 0 on the rim."""
    left, top, right, bottom = CHART_IOD
    px = chart.px_per_iod
    columns, rows = (max(8, round(px * side)) for side in (right - left, bottom - top))
    y, x = np.mgrid[:rows, :columns]
    x, y = left + x / px, top + y / px
    chin = POINTS.index(CHIN_TIP)
    below = float(np.percentile(chart.points[:, chin, 1], 90)) - _CHIN_KEPT_IOD
    reach = np.where(y < 0, _ABOVE_IOD, min(below, bottom - 1.5 * _FEATHER_IOD))
    inside = ((x / _HALF_WIDTH_IOD) ** 2 + (y / reach) ** 2 < 1).astype(np.uint8) * 255
    feather = max(3, int(_FEATHER_IOD * px))
    kept = cv2.erode(inside, np.ones((feather, feather), np.uint8))
    return np.asarray(cv2.GaussianBlur(kept, (0, 0), 0.55 * feather), np.uint8)
