"""From mouth parameters to one person's mouth: how far it opens, how wide it is, and what moves along."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from avatars.geometry import LOWER_LIP_INNER, UPPER_LIP_INNER
from avatars.mouth_chart import MouthChart, opening_of, width_of
from models.visemes import MOUTH_SHAPES, VISEMES
from pipeline.lipsync.mouth_choice import MouthPose
from pipeline.lipsync.mouth_shape import MouthShape, positions

__all__ = ["PAUSES_IOD", "SHUT_IOD", "Steering"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]

SHUT_IOD = 0.012
"a mouth that is asked to open less is shut"
PAUSES_IOD = 0.015
"real mouths that are open less count as shut: they say nothing about how far the person opens it to speak"
_WIDEST = 1.1
"mouths open by this much more than the clip shows, at most"
_WIDTH_MARGIN_IOD = 0.03
_STEADY_SIGMA, _STEADY_REACH = 1.15, 3
"pictures; a mouth is heavier than the parameters are"
_JAW_SIGMA, _JAW_REACH = 1.3, 4
"pictures; a jaw is heavier than lips are"
_SHUT_WEIGHT = 4.0
"of a shut mouth beside others, so that lips that must meet are on their way in time"
_REMEMBERED = 1024
"mouths of rows that were worked out; a picture shares all but one of its rows with the one before it"


class Steering:
    """The mouths of one person."""

    def __init__(self, chart: MouthChart) -> None:
        self._generic = MouthShape(chart.rest)
        self._asked = lru_cache(_REMEMBERED)(self._pose)
        self._chart = chart
        opening, width = opening_of(chart.points), width_of(chart.points)
        self.opening_spread = float(opening.std()) + 1e-6
        self.width_spread = float(width.std()) + 1e-6
        said = [self._measured(shape) for shape in MOUTH_SHAPES]
        spoken = opening[opening > PAUSES_IOD]
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
        asked = self._asked_of(parameters)
        shut = asked[:, 0] == 0
        apart = np.subtract.outer(np.arange(len(asked)), np.arange(len(asked)))
        weights = _near(apart, _STEADY_SIGMA, _STEADY_REACH)
        weights *= np.where(shut, _SHUT_WEIGHT, 1.0)
        steady = weights @ asked / weights.sum(axis=1, keepdims=True)
        steady[shut | (steady[:, 0] < SHUT_IOD), 0] = 0
        return np.asarray(steady, np.float64)

    def hanging(self, parameters: Field, now: int) -> MouthPose:
        """The mouth with which the jaw of picture `now` hangs: it stays half open where lips meet for a moment.

        parameters: (n, 8) of consecutive pictures.
        """
        asked = self._asked_of(parameters)
        weights = _near(np.arange(len(asked)) - now, _JAW_SIGMA, _JAW_REACH)
        return MouthPose(*(weights @ asked / weights.sum()).tolist())

    def _asked_of(self, parameters: Field) -> Array:
        """(n, 2) MouthPose that rows of parameters (n, 8) ask for, each by itself."""
        return np.array([self._asked(row.tobytes()) for row in np.ascontiguousarray(parameters, np.float32)])

    def _pose(self, parameters: bytes) -> MouthPose:
        """parameters: eight float32."""
        said = self._measured(np.frombuffer(parameters, np.float32))
        opening = min(self._gain * said.opening_iod, self._widest)
        width = self._own_narrow + self._width_gain * (said.width_iod - self._narrow)
        low, high = self._own_narrow - _WIDTH_MARGIN_IOD, self._own_spread + _WIDTH_MARGIN_IOD
        return MouthPose(opening if opening > SHUT_IOD else 0.0, float(np.clip(width, low, high)))

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


def _near(apart: npt.NDArray[np.int_], sigma: float, reach: int) -> Array:
    """Weights of pictures that are so many pictures apart."""
    return np.asarray(np.exp(-0.5 * (apart / sigma) ** 2) * (abs(apart) <= reach))
