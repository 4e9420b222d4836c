"""From mouth parameters to one person's mouth: how far it opens, how wide it is, and what moves along."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from avatars.geometry import LOWER_LIP_INNER, UPPER_LIP_INNER
from avatars.mouth_chart import MouthChart, opening_of, width_of
from models.visemes import MOUTH_PARAMETERS, MOUTH_SHAPES, VISEMES
from pipeline.lipsync.mouth_choice import MouthPose
from pipeline.lipsync.mouth_shape import MouthShape, positions, smoothstep

__all__ = ["SHUT_IOD", "Steering", "talking"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]

_FV = MOUTH_PARAMETERS.index("fv")
SHUT_IOD = 0.012
"a mouth that is asked to open less is shut"
_WIDEST = 1.1
"mouths open by this much more than the clip shows, at most"
_STEADY_SIGMA, _STEADY_REACH = (2.3, 2.5), 4
"pictures; a mouth is heavier than the parameters are, and gets narrow more slowly than it opens"
_JAW_SIGMA, _JAW_REACH = 1.3, 4
"pictures; a jaw is heavier than lips are"
_SHUT_WEIGHT = 2.5
"of a shut mouth beside others, so that lips that must meet are on their way in time"
_TUCK, _TUCKED_IOD = (0.2, 0.7), 0.035
"how much of an f or v makes the lower lip go to the upper teeth, and how far the lips are then apart at most"
_CONTACT_NEAR = 0.5
"lips that meet lips or teeth are so near to that in the picture before and after it"
_LENGTHS = 8
"of windows, for each sigma, whose weights are kept; a backend's windows are all of one length"
_REMEMBERED = 1024
"mouths of rows that were worked out; a picture shares all but one of its rows with the one before it"

_TALKS_REACH, _TALKS_IOD = 6, 0.04
"a person talks where a mouth opens or shuts by more than that within so many pictures"
_MIN_TALKING = 10
"pictures; of a clip with fewer, all are taken for speech"
_PERCENT = (0, 5, 25, 50, 75, 95, 99.5)
_SAID_OPENINGS = (0.0, 0.08, 0.22, 0.33, 0.44, 0.6, 0.8)
"at these percentiles of ordinary speech, steady: how far the painted mouth opens, 1 being that of an `aa`"
_SAID_WIDTHS = (0.15, 0.31, 0.57, 0.7, 0.82, 0.89, 0.93)
"likewise how wide it is, from 0, that of an `ou`, to 1, that of an `ih`"


class Steering:
    """The mouths of one person, who opens the mouth and widens it as often and as far as in the clip."""

    def __init__(self, chart: MouthChart) -> None:
        self._generic = MouthShape(chart.rest)
        self._measured = lru_cache(_REMEMBERED)(self._painted)
        self._near = lru_cache(_LENGTHS)(_near)
        self._chart = chart
        opening, width = opening_of(chart.points), width_of(chart.points)
        self.opening_spread = float(opening.std()) + 1e-6
        self.width_spread = float(width.std()) + 1e-6
        aa, ou, ih = (self._painted(MOUTH_SHAPES[VISEMES.index(name)].tobytes()) for name in ("aa", "ou", "ih"))
        talks = talking(opening)
        self._said_openings = aa.opening_iod * np.array(_SAID_OPENINGS)
        self._said_widths = ou.width_iod + (ih.width_iod - ou.width_iod) * np.array(_SAID_WIDTHS)
        self._own_openings = np.maximum(np.percentile(opening[talks], _PERCENT), 0)
        self._own_widths = np.percentile(width[talks], _PERCENT)
        self._own_openings[0] = 0
        self._own_openings[-1] *= _WIDEST
        self._usual = opening.mean(), width.mean()
        design = self._design(opening, width)
        damping = 1e-3 * len(design) * np.diag([0, 1e-2, 1e-2, 1e-2, 1e-2])
        shapes = chart.points.reshape(len(chart.points), -1)
        self._shapes = np.linalg.solve(design.T @ design + damping, design.T @ shapes)

    def course(self, parameters: Field) -> Array:
        """(n, 3) MouthPose of consecutive pictures with these parameters (n, 8).

        Parameters jump where a mouth has to move, so its course is made steady. Lips that have to meet do so all the
        same. Steady mouths move less, so only then is it worked out how far this person opens the mouth for them.
        """
        said = self._painted_poses(parameters)
        tucked = smoothstep(parameters[:, _FV].astype(np.float64), *_TUCK)
        shut = (self._own(said)[:, 0] < SHUT_IOD) & (tucked == 0)
        steady = np.empty_like(said)
        for axis, sigma in enumerate(_STEADY_SIGMA):
            weights = self._near(len(said), sigma, _STEADY_REACH) * np.where(shut, _SHUT_WEIGHT, 1.0)
            steady[:, axis] = weights @ said[:, axis] / weights.sum(axis=1)
        course = self._own(steady)
        meets = np.maximum(tucked, shut)
        near = _CONTACT_NEAR * np.maximum(np.append(meets[1:], 0), np.append(0, meets[:-1]))
        course[:, 0] -= np.maximum(tucked, near) * np.maximum(course[:, 0] - _TUCKED_IOD, 0)
        course[shut | (course[:, 0] < SHUT_IOD), 0] = 0
        return np.column_stack([course, tucked])

    def hanging(self, course: Array, now: int) -> MouthPose:
        """The mouth with which the jaw of picture `now` hangs: it stays half open where lips meet for a moment.

        course: (n, 3) of consecutive pictures.
        """
        weights = self._near(len(course), _JAW_SIGMA, _JAW_REACH)[now]
        return MouthPose(*(weights @ course[:, :2] / weights.sum()).tolist())

    def shapes(self, *wanted: MouthPose) -> Array:
        """(n, m, 2) POINTS in the chart: how this person's lips, chin and cheeks lie when a mouth is open like that."""
        opening, width, _tucked = np.array(wanted).T
        return np.asarray((self._design(opening, width) @ self._shapes).reshape(len(wanted), -1, 2))

    def _own(self, said: Array) -> Array:
        """(..., 2) MouthPose of this person for that of painted mouths."""
        opening = np.interp(said[..., 0], self._said_openings, self._own_openings)
        width = np.interp(said[..., 1], self._said_widths, self._own_widths)
        return np.stack([opening, width], axis=-1)

    def _painted_poses(self, parameters: Field) -> Array:
        """(n, 2) MouthPose of the mouths that are painted for rows of parameters (n, 8)."""
        return np.array([self._measured(row.tobytes()) for row in np.ascontiguousarray(parameters, np.float32)])

    def _painted(self, parameters: bytes) -> MouthPose:
        """parameters: eight float32."""
        pose = self._generic.pose(np.frombuffer(parameters, np.float32))
        posed = (pose - self._chart.origin) @ self._chart.flat.T
        gap = posed[positions(LOWER_LIP_INNER), 1] - posed[positions(UPPER_LIP_INNER), 1]
        left, right = posed[positions((61, 291))]
        return MouthPose(max(0.0, float(gap[3:8].mean())), float(np.linalg.norm(right - left)))

    def _design(self, opening: Array, width: Array) -> Array:
        o = (opening - self._usual[0]) / self.opening_spread
        w = (width - self._usual[1]) / self.width_spread
        return np.column_stack([np.ones_like(o), o, w, o * o, o * w])


def talking(opening: Array) -> npt.NDArray[np.bool_]:
    """(n,) of consecutive pictures: where the mouth of the person moves, for a pause says nothing of speech."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(opening, _TALKS_REACH, mode="edge"), 2 * _TALKS_REACH + 1)
    talks = np.ptp(around, axis=1) > _TALKS_IOD
    return np.asarray(talks if talks.sum() >= _MIN_TALKING else np.ones_like(talks))


def _near(pictures: int, sigma: float, reach: int) -> Array:
    """(n, n), not to be written to: the weights that n consecutive pictures have for each other."""
    apart = np.subtract.outer(np.arange(pictures), np.arange(pictures))
    weights = np.asarray(np.exp(-0.5 * (apart / sigma) ** 2) * (abs(apart) <= reach))
    weights.setflags(write=False)
    return weights
