"""How a mouth moves: from the eight mouth parameters to the places of lips, chin and cheeks.

Everything here is in the head's own frame (see `avatars.geometry.canonical_points`): x to the right in the picture,
y down, z away from the viewer, unit IOD. The shape model was fitted by eye and by measure on photos, a painting and
drawn portraits; its amplitudes are those of ordinary speech.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatars.geometry import (
    CHEEKS,
    CHIN,
    CHIN_TIP,
    JAW,
    LIPS,
    LOWER_LIP_INNER,
    LOWER_LIP_OUTER,
    UPPER_LIP_INNER,
    UPPER_LIP_OUTER,
)

__all__ = ["JAW_DROP_IOD", "MOVING", "MouthShape", "positions", "smoothstep"]

Array = npt.NDArray[np.float64]

MOVING = tuple(sorted({*LIPS, *JAW, *CHIN, *CHEEKS}))
"Landmarks that speech moves; every array of this module is ordered like it."

JAW_DROP_IOD = 0.150
"how far the lower lip follows a jaw parameter of 1"
_CHIN_FOLLOWS = 0.80
_LIP_WIDER, _LIP_NARROWER = 0.12, 0.32
_TUCK_RAISES_JAW, _SEAL_RAISES_JAW = 0.60, 0.45
"lips that meet lips or teeth bring the jaw up with them"
_F_STRIP = 0.016
"height of the strip of upper teeth that f and v show above the tucked lower lip"
_ROLLED_IN = 0.70
"part of the lower lip that f and v hide behind the upper teeth"
_USUAL_HALF_WIDTH = 0.285
_LARGEST_NARROWING = 0.22
_SMILE_STRAIGHTENS = 0.40
_ROUNDING_LEVELS = 0.85
"part of a raised or hanging corner that rounded lips bring to the height of their middle"
_ROUNDING_LOWERS = 0.030
"how far below that the corners of rounded lips are: half-way between lips that are apart, so that they make an O"


def positions(landmarks: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Where these landmarks are in MOVING."""
    return np.searchsorted(MOVING, landmarks)


def smoothstep(x: float | Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((np.asarray(x, np.float64) - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _between(contour: tuple[int, ...]) -> tuple[int, ...]:
    """A contour without its corners."""
    return contour[1:-1]


class MouthShape:
    """The speaking mouth of one face. Built from its landmarks at rest, which may well be an open smile."""

    def __init__(self, rest: Array) -> None:
        """`rest` is (478, 3), the face at rest in the head's own frame."""
        self._upper_inner, self._lower_inner = positions(UPPER_LIP_INNER), positions(LOWER_LIP_INNER)
        self._upper_outer, self._lower_outer = positions(UPPER_LIP_OUTER), positions(LOWER_LIP_OUTER)
        moving = np.asarray(rest, np.float64)[list(MOVING)]
        gap = moving[self._lower_inner, 1] - moving[self._upper_inner, 1]
        self.rest_gap = float(max(gap.max(), 0.0))
        "height of the mouth opening of the face at rest"
        self.neutral = self._narrowed(self._closed(moving))
        "(n, 3) closed lips, ready to speak"
        self._describe()
        self._moves = self._linear_moves()

    def pose(self, parameters: npt.NDArray[np.floating]) -> Array:
        """Places (n, 3) of the MOVING landmarks for the eight parameters of `models.visemes.MOUTH_PARAMETERS`."""
        jaw, opening, width, rounding, press, fv, teeth, _tongue = (float(value) for value in parameters)
        sealed = float(smoothstep(press, 0.25, 0.70))
        tucked = float(smoothstep(fv, 0.20, 0.70)) * (1 - sealed)
        jaw *= 1 - _TUCK_RAISES_JAW * tucked - _SEAL_RAISES_JAW * sealed
        amounts = np.array([jaw, opening, max(width, 0.0), min(width, 0.0), rounding, press, fv, teeth])
        points = self.neutral + (amounts @ self._moves).reshape(self.neutral.shape)
        self._close(points, sealed, tucked)
        return points

    def _closed(self, points: Array) -> Array:
        """Lips brought together at the seam, each keeping its thickness; the jaw comes up half of the opening."""
        out = points.copy()
        upper, lower = points[self._upper_inner], points[self._lower_inner]
        gap = lower[:, 1] - upper[:, 1]
        seam = upper + 0.4 * (lower - upper)
        seam[:, 1] = np.where(gap > 0, upper[:, 1] + 0.4 * gap, 0.5 * (upper[:, 1] + lower[:, 1]))
        out[self._upper_inner] = out[self._lower_inner] = seam
        out[self._upper_outer[1:-1]] += 0.7 * (seam - upper)[1:-1]
        out[self._lower_outer[1:-1]] += 0.85 * (seam - lower)[1:-1]
        corner_y = out[positions((61, 291)), 1].mean()
        chin_y = out[positions((CHIN_TIP,))[0], 1]
        below = positions((*JAW, *CHIN, *CHEEKS))
        out[below, 1] -= 0.5 * self.rest_gap * np.clip((out[below, 1] - corner_y) / (chin_y - corner_y), 0, 1)
        return out

    def _narrowed(self, points: Array) -> Array:
        """A smile drawn together to a speaking width: people do not say "oo" with the corners at their ears."""
        out = points.copy()
        left, right = out[positions((61,))[0]], out[positions((291,))[0]]
        middle, half = 0.5 * (left + right), 0.5 * (right[0] - left[0])
        smile = 0.5 * np.clip(2.2 * self.rest_gap, 0, _LARGEST_NARROWING)
        smile += 0.5 * np.clip(half / _USUAL_HALF_WIDTH - 1, 0, 0.2)
        lips, cheeks = positions(LIPS), positions(CHEEKS)
        out[lips, 0] = middle[0] + (1 - smile) * (out[lips, 0] - middle[0])
        near = np.exp(-((np.hypot(*(out[cheeks, :2] - middle[:2]).T) / half - 1) ** 2))
        out[cheeks, 0] -= 0.35 * smile * near * (out[cheeks, 0] - middle[0])
        seam_y = out[self._upper_inner[5], 1]
        lowered = _SMILE_STRAIGHTENS * smile / _LARGEST_NARROWING * max(0.0, seam_y - middle[1])
        out[lips, 1] += lowered * np.clip((out[lips, 0] - middle[0]) / ((1 - smile) * half), -1, 1) ** 2
        out[cheeks, 1] += 0.4 * lowered * near
        return out

    def _describe(self) -> None:
        """How much of each movement every point takes."""
        neutral = self.neutral
        corners = neutral[positions((61, 291))]
        self.middle_x = float(corners[:, 0].mean())
        half = 0.5 * (corners[1, 0] - corners[0, 0])
        across = np.clip((neutral[:, 0] - self.middle_x) / half, -1.6, 1.6)
        self._bump = np.maximum(0, 1 - across**2) ** 0.9
        "1 at the middle of the mouth, 0 at its corners and beyond"
        self._hang = np.maximum(0, 1 - np.abs(across) ** 2.6) ** 0.95
        "the same for the lower lip under a dropped jaw, which hangs like a U"
        corner_y = corners[:, 1].mean()
        chin_y = neutral[positions((CHIN_TIP,))[0], 1]
        self._down = np.clip((neutral[:, 1] - corner_y) / (chin_y - corner_y), 0, 1)
        lip_y = neutral[positions((17,))[0], 1]
        chin = positions(CHIN)
        self._under_lip = np.zeros(len(MOVING))
        "1 for the skin right under the lower lip, 0 at the tip of the chin"
        self._under_lip[chin] = self._bump[chin] * np.clip(1 - (neutral[chin, 1] - lip_y) / (chin_y - lip_y), 0, 1)
        self._radius = np.hypot(neutral[:, 0] - self.middle_x, neutral[:, 1] - corner_y) / half

    def _weights(self, landmarks: tuple[int, ...], value: float | Array = 1.0) -> Array:
        """An array over MOVING that is `value` at these landmarks and 0 elsewhere."""
        out = np.zeros(len(MOVING))
        out[positions(landmarks)] = value
        return out

    def _linear_moves(self) -> Array:
        """(8, n * 3) displacement for one unit of: jaw, open, wider, narrower, round, press, fv, teeth."""
        bump, chin = self._bump, positions(CHIN)
        upper = self._weights((*_between(UPPER_LIP_OUTER), *_between(UPPER_LIP_INNER)))
        lower = self._weights((*_between(LOWER_LIP_OUTER), *_between(LOWER_LIP_INNER)))
        upper_outer, lower_outer = self._weights(_between(UPPER_LIP_OUTER)), self._weights(_between(LOWER_LIP_OUTER))
        upper_inner, lower_inner = self._weights(_between(UPPER_LIP_INNER)), self._weights(_between(LOWER_LIP_INNER))
        corner = self._weights((61, 291, 78, 308))
        lips = self._weights(LIPS)

        chin_jaw = self._weights((*JAW, *CHIN, *CHEEKS)) * self._down**0.8
        chin_jaw[chin] = np.maximum(chin_jaw[chin], 0.97 * (0.30 + 0.70 * bump[chin]))
        follow = 1 - (1 - _CHIN_FOLLOWS) * smoothstep(self._down, 0.45, 1.0)
        around = self._weights((*CHEEKS, *CHIN)) * 0.45
        around *= np.where(self._radius > 1, np.exp(-(((self._radius - 1) / 0.9) ** 2)), 1)
        sideways = (self.neutral[:, 0] - self.middle_x) * (lips + around)

        moves = np.zeros((8, len(MOVING), 3))
        jaw, opening, wider, narrower, rounding, press, fv, teeth = moves
        jaw[:, 1] = JAW_DROP_IOD * (
            lower * (0.34 + 0.66 * self._hang) + 0.34 * corner + chin_jaw * follow + 0.18 * upper * (1 - bump)
        )
        opening[:, 1] = 0.055 * lower * bump - 0.022 * upper * bump + 0.045 * self._under_lip
        wider[:, 0] = _LIP_WIDER * sideways
        wider[:, 1] = -0.012 * corner
        narrower[:, 0] = _LIP_NARROWER * sideways
        rounding[:, 1] = -0.016 * upper_outer + 0.020 * upper_inner * bump + 0.024 * lower_outer
        rounding[:, 1] += self._levelled(lips)
        rounding[:, 2] = -0.05 * lips * (0.3 + 0.7 * bump)
        press[:, 1] = bump * (0.020 * upper_outer + 0.004 * upper_inner - 0.026 * lower_outer - 0.004 * lower_inner)
        fv[:, 1] = -0.012 * upper * bump - 0.022 * self._under_lip
        fv[:, 2] = 0.03 * lower * bump
        teeth[:, 1] = 0.010 * lower * bump - 0.014 * upper * bump
        return moves.reshape(8, -1)

    def _levelled(self, lips: Array) -> Array:
        """How far each point of the lips moves down for the corners to be where those of an O are."""
        left, right = self.neutral[positions((61, 291))]
        middle_y = self.neutral[self._upper_inner[5], 1]
        across = np.clip(2 * (self.neutral[:, 0] - self.middle_x) / (right[0] - left[0]), -1, 1)
        raised = middle_y - np.where(across < 0, left[1], right[1])
        return np.asarray(lips * (_ROUNDING_LEVELS * raised + _ROUNDING_LOWERS) * across**2)

    def _close(self, points: Array, sealed: float, tucked: float) -> None:
        """Bilabials seal the lips whatever the jaw does; f and v tuck the lower lip under the upper teeth. In place."""
        gap = points[self._lower_inner, 1] - points[self._upper_inner, 1]
        wanted = np.maximum(gap, 0) * (1 - sealed)
        strip = _F_STRIP * self._bump[self._lower_inner] ** 0.5
        wanted += tucked * (strip - wanted)
        change = gap - wanted
        lower_share = 0.72 + 0.28 * tucked
        thickness = points[self._lower_outer, 1] - points[self._lower_inner, 1]
        points[self._lower_inner, 1] -= lower_share * change
        points[self._upper_inner, 1] += (1 - lower_share) * change
        points[self._upper_outer[1:-1], 1] += 0.75 * (1 - lower_share) * change[1:-1]
        rolled_in = 0.92 * lower_share * change + _ROLLED_IN * tucked * thickness
        points[self._lower_outer[1:-1], 1] -= rolled_in[1:-1]
        points[:, 1] -= 0.55 * lower_share * change.max() * self._under_lip
