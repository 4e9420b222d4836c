"""Which real mouths are shown when: a choice in sequence, so that a mouth that serves is held.

Each picture has a cost for every exemplar: how far it is from the mouth that is wanted. Changing to another exemplar
costs as well, the more the less alike they are. The cheapest way through the pictures round a picture decides what it
shows (Viterbi 1967), and one exemplar gives way to the next over a few pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["MouthChoice", "MouthPose", "Share"]

Array = npt.NDArray[np.float64]

_RATIO_FREE, _RATIO_COST = 0.3, 6.0
"a shut mouth pulled open shows lip where the mouth should be, so exemplars of another opening are dear"
_RATIO_FLOOR_IOD = 0.015
_WIDTH_COST = 0.5
_POSE_COST, _POSE_DEG = 0.5, 6.0
_CHANGE_COST = 8.0
"of any change to another exemplar, beside what sets the two apart"
_SHAPE_COST, _LOOK_COST = 1.2, 2.0
_FAST, _EASIEST = 1.0, 0.4
"a mouth that moves by so many spreads in a picture hides a change best; it then costs this part of what it does else"
_FADE = ((-2, 0.2), (-1, 0.3), (0, 0.3), (1, 0.2))
"pictures from the one that is drawn, and the part that each one's exemplar has in it"
_KNOWN_AFTER = 3
"pictures after one that decide on its exemplar; those of the fade and these are all within a window"
_MIN_SHARE = 0.12
"an exemplar that would show less is left out"


class MouthPose(NamedTuple):
    """What is asked of a mouth."""

    opening_iod: float
    width_iod: float
    tucked: float = 0.0
    "0 to 1: the lower lip is at the upper teeth, as for f and v"


class Share(NamedTuple):
    exemplar: int
    weight: float
    "0 to 1; those of one picture add up to 1"


@dataclass(frozen=True, eq=False)
class MouthChoice:
    """Chooses among k exemplars of one person."""

    opening_iod: Array
    "(k,)"
    width_iod: Array
    "(k,)"
    pose_deg: Array
    "(k, 2) of the head"
    opening_spread_iod: float
    width_spread_iod: float
    "standard deviations over the person's clip"
    change: Array
    "(k, k) cost of showing the second after the first; 0 on the diagonal"

    @staticmethod
    def change_costs(shapes: Array, looks: Array) -> Array:
        """From lip shapes (k, ...) and pictures of mouths (k, ...): `change`."""
        costs = _CHANGE_COST + _SHAPE_COST * _squared_distances(shapes) + _LOOK_COST * _squared_distances(looks)
        np.fill_diagonal(costs, 0)
        return costs

    def shares(self, course: Array, now: int, pose_deg: Array) -> list[Share]:
        """What is shown in picture `now`, the most first: one exemplar, or two of which one gives way to the other.

        course: (n, 3) MouthPose of consecutive pictures. pose_deg: (2,) of the head in picture `now`; in half a second
        it hardly changes, so it stands for the others.
        """
        settled = self._settled(self._costs(course, pose_deg), self._eased(course))
        parts: dict[int, float] = {}
        for away, part in _FADE:
            exemplar = settled(min(max(now + away, 0), len(course) - 1))
            parts[exemplar] = parts.get(exemplar, 0.0) + part
        (first, most), *others = sorted(parts.items(), key=lambda one: -one[1])
        if not others or others[0][1] < _MIN_SHARE:
            return [Share(first, 1.0)]
        second, less = others[0]
        return [Share(first, most / (most + less)), Share(second, less / (most + less))]

    def _costs(self, course: Array, pose_deg: Array) -> Array:
        """Of each picture (n) and exemplar (k)."""
        opening, width = course[:, :1], course[:, 1:2]
        ratio = np.abs(np.log((self.opening_iod + _RATIO_FLOOR_IOD) / (opening + _RATIO_FLOOR_IOD)))
        costs: Array = ((self.opening_iod - opening) / self.opening_spread_iod) ** 2
        costs += _WIDTH_COST * ((self.width_iod - width) / self.width_spread_iod) ** 2
        costs += _RATIO_COST * np.maximum(ratio - _RATIO_FREE, 0) ** 2
        costs += _POSE_COST * (((self.pose_deg - pose_deg) / _POSE_DEG) ** 2).sum(axis=1)
        return costs

    def _eased(self, course: Array) -> list[float]:
        """For each picture, the part of its cost that a change of exemplars has: less where the mouth moves fast."""
        moves = np.diff(course[:, :2], axis=0, prepend=course[:1, :2]) / (
            self.opening_spread_iod,
            self.width_spread_iod,
        )
        fast = np.minimum(np.hypot(moves[:, 0], moves[:, 1]) / _FAST, 1)
        eased: list[float] = (1 - (1 - _EASIEST) * fast).tolist()
        return eased

    def _settled(self, costs: Array, eased: list[float]) -> Callable[[int], int]:
        """Tells the exemplar of a picture: that of the cheapest way as it was when so many more pictures were known.

        The cheapest way through all pictures would not do. With each picture that becomes known, it may change in those
        that are shown already, and the mouth would jump.
        """
        exemplars = np.arange(costs.shape[1])
        change = np.ascontiguousarray(self.change.T, np.float32)  # the least along rows is found three times as fast
        so_far, came_from = costs.astype(np.float32), np.zeros(costs.shape, np.intp)
        ways = np.empty_like(change)
        for picture in range(1, len(costs)):
            np.multiply(change, np.float32(eased[picture]), out=ways)
            ways += so_far[picture - 1]
            ways.argmin(axis=1, out=came_from[picture])
            so_far[picture] += ways[exemplars, came_from[picture]]

        def exemplar_of(picture: int) -> int:
            known = min(picture + _KNOWN_AFTER, len(costs) - 1)
            exemplar = so_far[known].argmin()
            for later in range(known, picture, -1):
                exemplar = came_from[later, exemplar]
            return int(exemplar)

        return exemplar_of


def _squared_distances(items: Array) -> Array:
    """(k, k) squared distances of k items (k, ...); 1 is the usual."""
    rows = items.reshape(len(items), -1)
    squared = (rows**2).sum(axis=1)
    distances = np.maximum(squared[:, None] - 2 * rows @ rows.T + squared, 0)
    return np.asarray(distances / (np.median(distances) + 1e-12))
