"""Which real mouths are shown when: a choice in sequence, so that a mouth that serves is held.

Each picture has a cost for every exemplar: how far it is from the mouth that is wanted. Changing to another exemplar
costs as well, the more the less alike they are. The cheapest way through the pictures round a picture decides what it
shows (Viterbi 1967), and one exemplar gives way to the next over a few pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["MouthChoice", "MouthPose", "Share"]

Array = npt.NDArray[np.float64]

_RATIO_FREE, _RATIO_COST = 0.2, 6.0
"a shut mouth pulled open shows lip where the mouth should be, so exemplars of another opening are dear"
_RATIO_FLOOR_IOD = 0.015
_WIDTH_COST = 0.5
_POSE_COST, _POSE_DEG = 0.5, 6.0
_CHANGE_COST = 4.0
"of any change to another exemplar, beside what sets the two apart"
_SHAPE_COST, _LOOK_COST = 0.4, 1.0
_FADE = ((-3, 0.10), (-2, 0.20), (-1, 0.30), (0, 0.25), (1, 0.15))
"pictures from the one that is drawn, and the part that each one's exemplar has in it"
_LEAST_SHARE = 0.12
"an exemplar that would show less is left out"


class MouthPose(NamedTuple):
    """What is asked of a mouth."""

    opening_iod: float
    width_iod: float


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
        costs = _CHANGE_COST + _SHAPE_COST * _apart(shapes) + _LOOK_COST * _apart(looks)
        np.fill_diagonal(costs, 0)
        return costs

    def shares(self, course: Array, now: int, pose_deg: Array) -> list[Share]:
        """What is shown in picture `now`, the most first: one exemplar, or two of which one gives way to the other.

        course: (n, 2) MouthPose of consecutive pictures. pose_deg: (2,) of the head in picture `now`; in half a second
        it hardly changes, so it stands for the others.
        """
        path = self._cheapest_path(self._costs(course, pose_deg))
        parts: dict[int, float] = {}
        for away, part in _FADE:
            exemplar = int(path[min(max(now + away, 0), len(path) - 1)])
            parts[exemplar] = parts.get(exemplar, 0.0) + part
        (first, most), *others = sorted(parts.items(), key=lambda one: -one[1])
        if not others or others[0][1] < _LEAST_SHARE:
            return [Share(first, 1.0)]
        second, less = others[0]
        return [Share(first, most / (most + less)), Share(second, less / (most + less))]

    def _costs(self, course: Array, pose_deg: Array) -> Array:
        """Of each picture (n) and exemplar (k)."""
        opening, width = course[:, :1], course[:, 1:]
        ratio = np.abs(np.log((self.opening_iod + _RATIO_FLOOR_IOD) / (opening + _RATIO_FLOOR_IOD)))
        costs: Array = ((self.opening_iod - opening) / self.opening_spread_iod) ** 2
        costs += _WIDTH_COST * ((self.width_iod - width) / self.width_spread_iod) ** 2
        costs += _RATIO_COST * np.maximum(ratio - _RATIO_FREE, 0) ** 2
        costs += _POSE_COST * (((self.pose_deg - pose_deg) / _POSE_DEG) ** 2).sum(axis=1)
        return costs

    def _cheapest_path(self, costs: Array) -> npt.NDArray[np.intp]:
        """The exemplar of each picture."""
        exemplars = np.arange(costs.shape[1])
        change = np.ascontiguousarray(self.change.T)  # the least along rows is found three times as fast
        so_far, came_from = costs[0], np.zeros(costs.shape, np.intp)
        for picture in range(1, len(costs)):
            ways = change + so_far
            came_from[picture] = ways.argmin(axis=1)
            so_far = ways[exemplars, came_from[picture]] + costs[picture]
        path = np.zeros(len(costs), np.intp)
        path[-1] = so_far.argmin()
        for picture in range(len(costs) - 1, 0, -1):
            path[picture - 1] = came_from[picture, path[picture]]
        return path


def _apart(items: Array) -> Array:
    """(k, k) squared distances of k items (k, ...); 1 is the usual."""
    rows = items.reshape(len(items), -1)
    squared = (rows**2).sum(axis=1)
    distances = np.maximum(squared[:, None] - 2 * rows @ rows.T + squared, 0)
    return np.asarray(distances / (np.median(distances) + 1e-12))
