"""Turns visemes into mouth movement: blends them over time, and samples the result once per picture.

Each viseme pulls each mouth parameter towards its own target, with a Gaussian influence around its moment (dominance
blending, Cohen & Massaro 1993). A parameter is the dominance-weighted mean of the targets in view. Closing the lips
(press) has a narrow influence; spreading and rounding have a broad one.
"""

from __future__ import annotations

import numpy as np

from models.visemes import DOMINANCE, MOUTH_PARAMETERS, MOUTH_SHAPES, REST, VISEMES
from pipeline.types import PICTURE_MS, FloatArray

__all__ = ["FUTURE_MS", "N_COLUMNS", "STEP_MS", "Coarticulator", "rest_steps"]

STEP_MS = 10
"""Input comes in steps of 10 ms. The mouth is computed at each boundary between two steps."""
N_COLUMNS = len(VISEMES) + 1
"""Columns of a step: a weight for each viseme, and a gain for the opening."""

_SPREAD_MS = {"jaw": 38, "open": 30, "width": 55, "round": 55, "press": 16, "fv": 20, "teeth": 30, "tongue": 25}
_ACTIVITY_SPREAD_MS, _GAIN_SPREAD_MS = 60, 40
_PAST_STEPS, _FUTURE_STEPS = 14, 6
_LEAD_MS = 20
"""Lips move this much before the sound is heard."""
_STEPS_PER_PICTURE = PICTURE_MS // STEP_MS
_CENTRE = (PICTURE_MS // 2 + _LEAD_MS) // STEP_MS
"""Boundary at which the mouth is sampled, counted from the picture's first step."""
_BEFORE, _AFTER = 3, 2
"""Boundaries around the centre that decide whether a closure peaks in the picture: those within its 40 ms, and one on
either side."""
FUTURE_MS = (_CENTRE + _AFTER + _FUTURE_STEPS) * STEP_MS - PICTURE_MS
"""Sound that must be known after a picture's end before the picture can be drawn."""

_CLOSURE_SEEN = 0.45
"""A press that peaks above this is a closure, and is shown. The renderer closes the lips between 0.25 and 0.7."""
_OPENING = [MOUTH_PARAMETERS.index("jaw"), MOUTH_PARAMETERS.index("open")]
_WIDTH, _ROUND = MOUTH_PARAMETERS.index("width"), MOUTH_PARAMETERS.index("round")
_PRESS, _FV = MOUTH_PARAMETERS.index("press"), MOUTH_PARAMETERS.index("fv")


def rest_steps(n: int) -> FloatArray:
    """Return (n, N_COLUMNS) steps of silence."""
    steps = np.zeros((n, N_COLUMNS), np.float32)
    steps[:, [REST, -1]] = 1
    return steps


def _kernels() -> FloatArray:
    """Return (8 + 2, past + future steps): weights of the steps around a boundary.

    The rows are the parameters, activity and gain.
    """
    at_ms = (np.arange(-_PAST_STEPS, _FUTURE_STEPS) + 0.5) * STEP_MS
    spreads = [*(_SPREAD_MS[name] for name in MOUTH_PARAMETERS), _ACTIVITY_SPREAD_MS, _GAIN_SPREAD_MS]
    influence = np.exp(-0.5 * (at_ms / np.array(spreads)[:, None]) ** 2)
    weights: FloatArray = (influence / influence.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


class Coarticulator:
    """Takes the steps of one sentence and returns pictures. Rest precedes the sentence."""

    def __init__(self, press_gain: float, fv_gain: float, round_gain: float = 1.0) -> None:
        """The gains compensate for losses.

        press_gain, fv_gain: for short contacts of the lips. round_gain: for rounded lips that a network is unsure of;
        it also narrows the mouth.
        """
        self._press_gain, self._fv_gain, self._round_gain = press_gain, fv_gain, round_gain
        self._kernels = _kernels()
        self._steps = rest_steps(_PAST_STEPS)
        self._mouths = np.zeros((0, len(MOUTH_PARAMETERS) + 1), np.float32)
        self._boundaries_to_skip = _CENTRE - _BEFORE

    def push(self, steps: FloatArray) -> FloatArray:
        """Take (n, N_COLUMNS) steps.

        Returns the (m, 9) pictures that are final now: mouth parameters, then activity.
        """
        self._steps = np.concatenate([self._steps, steps])
        n = max(0, len(self._steps) - _PAST_STEPS - _FUTURE_STEPS + 1)
        if n:
            views = np.lib.stride_tricks.sliding_window_view(self._steps, _PAST_STEPS + _FUTURE_STEPS, axis=0)
            mouths = self._blend(views.transpose(0, 2, 1))
            self._steps = self._steps[n:]
            skipped = min(self._boundaries_to_skip, n)
            self._boundaries_to_skip -= skipped
            self._mouths = np.concatenate([self._mouths, mouths[skipped:]])
        return self._sample()

    def _blend(self, views: FloatArray) -> FloatArray:
        """Return (n, 9), the unclipped mouth at the boundary in each view. views: (n, past + future, N_COLUMNS)."""
        influence = self._kernels @ views
        pull = influence[:, : len(MOUTH_PARAMETERS), :-1] * DOMINANCE.T
        mouth = (pull * MOUTH_SHAPES.T).sum(axis=2) / pull.sum(axis=2)
        mouth[:, _OPENING] *= influence[:, -1, -1:]
        mouth[:, _PRESS] *= self._press_gain
        mouth[:, _FV] *= self._fv_gain
        mouth[:, _ROUND] *= self._round_gain
        mouth[:, _WIDTH] *= np.where(mouth[:, _WIDTH] < 0, self._round_gain, 1)
        # Twice the share of speech around, so that the mouth is fully active at the ends of a sentence.
        speech = 2 * (1 - influence[:, -2, REST]) - 0.1
        return np.concatenate([mouth, speech[:, None]], axis=1)

    def _sample(self) -> FloatArray:
        """Return one mouth per picture: at its centre, or where the lips close.

        A closure between two centres would be missed. If one peaks within a picture's 40 ms, the picture shows that
        moment instead. The peak lies in one picture only, so no closure becomes longer.
        """
        needed = _BEFORE + 1 + _AFTER
        n = max(0, (len(self._mouths) - needed) // _STEPS_PER_PICTURE + 1)
        pictures = np.empty((n, self._mouths.shape[1]), np.float32)
        for i, picture in enumerate(pictures):
            near = self._mouths[i * _STEPS_PER_PICTURE :][:needed]
            picture[:] = near[_BEFORE]
            picture[:-1] = near[_closure(near[:, _PRESS]), :-1]
        self._mouths = self._mouths[n * _STEPS_PER_PICTURE :]
        np.clip(pictures[:, :_PRESS], -1, 1, out=pictures[:, :_PRESS])
        np.clip(pictures[:, _PRESS:], 0, 1, out=pictures[:, _PRESS:])
        return pictures


def _closure(press: FloatArray) -> int:
    """Return where the lips close among the boundaries near a picture: the highest inner peak, else the centre."""
    inner = press[1:-1]
    peaks = np.flatnonzero((inner >= _CLOSURE_SEEN) & (inner >= press[:-2]) & (inner > press[2:]))
    return int(peaks[inner[peaks].argmax()]) + 1 if len(peaks) else _BEFORE
