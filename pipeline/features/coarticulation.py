"""From what is said to how the mouth moves: visemes blended over time, sampled once a picture.

Each viseme pulls each mouth parameter towards its own target with a Gaussian influence around its moment (dominance
blending, Cohen & Massaro 1993): a parameter is the dominance-weighted mean of the targets in view. Lips that meet
(press) have a narrow influence, spreading and rounding a broad one.
"""

from __future__ import annotations

import numpy as np

from models.visemes import DOMINANCE, MOUTH_PARAMETERS, MOUTH_SHAPES, REST, VISEMES
from pipeline.types import PICTURE_MS, FloatArray

__all__ = ["FUTURE_MS", "N_COLUMNS", "STEP_MS", "Coarticulator", "rest_steps"]

STEP_MS = 10
"""Steps of 10 ms go in; the mouth is known at each boundary between two of them."""
N_COLUMNS = len(VISEMES) + 1
"""A step is a weight for each viseme, then a gain of the opening."""

_SPREAD_MS = {"jaw": 38, "open": 30, "width": 55, "round": 55, "press": 16, "fv": 20, "teeth": 30, "tongue": 25}
_ACTIVITY_SPREAD_MS, _GAIN_SPREAD_MS = 60, 40
_PAST_STEPS, _FUTURE_STEPS = 14, 6
_LEAD_MS = 20
"""Lips are seen to move this much before they are heard."""
_STEPS_PER_PICTURE = PICTURE_MS // STEP_MS
_CENTRE = (PICTURE_MS // 2 + _LEAD_MS) // STEP_MS
"""Boundary, counted from the picture's first step, at which the mouth is sampled."""
_BEFORE, _AFTER = 3, 2
"""Boundaries around the centre that decide whether a closure peaks in the picture: those within its 40 ms, and one on
each side."""
FUTURE_MS = (_CENTRE + _AFTER + _FUTURE_STEPS) * STEP_MS - PICTURE_MS
"""What must be known after a picture's end before it can be drawn."""

_CLOSURE_SEEN = 0.45
"""A press that peaks above this is a closure, and is shown; the renderer seals lips between 0.25 and 0.7."""
_OPENING = [MOUTH_PARAMETERS.index("jaw"), MOUTH_PARAMETERS.index("open")]
_WIDTH, _ROUND = MOUTH_PARAMETERS.index("width"), MOUTH_PARAMETERS.index("round")
_PRESS, _FV = MOUTH_PARAMETERS.index("press"), MOUTH_PARAMETERS.index("fv")


def rest_steps(n: int) -> FloatArray:
    """(n, N_COLUMNS) steps of silence."""
    steps = np.zeros((n, N_COLUMNS), np.float32)
    steps[:, [REST, -1]] = 1
    return steps


def _kernels() -> FloatArray:
    """(8 + 2, past + future steps): influence of the steps around a boundary on each parameter, activity and gain."""
    at_ms = (np.arange(-_PAST_STEPS, _FUTURE_STEPS) + 0.5) * STEP_MS
    spreads = [*(_SPREAD_MS[name] for name in MOUTH_PARAMETERS), _ACTIVITY_SPREAD_MS, _GAIN_SPREAD_MS]
    influence = np.exp(-0.5 * (at_ms / np.array(spreads)[:, None]) ** 2)
    weights: FloatArray = (influence / influence.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


class Coarticulator:
    """Steps in, pictures out; the state of one sentence, which rest precedes."""

    def __init__(self, press_gain: float, fv_gain: float, round_gain: float = 1.0) -> None:
        """The gains make up for what is lost: press and fv where contacts of the lips are short, round (with narrowing)
        where a network is not sure of rounded lips.
        """
        self._press_gain, self._fv_gain, self._round_gain = press_gain, fv_gain, round_gain
        self._kernels = _kernels()
        self._steps = rest_steps(_PAST_STEPS)
        self._mouths = np.zeros((0, len(MOUTH_PARAMETERS) + 1), np.float32)
        self._boundaries_to_skip = _CENTRE - _BEFORE

    def push(self, steps: FloatArray) -> FloatArray:
        """Feed (n, N_COLUMNS) steps; get the (m, 9) pictures that have become final: mouth parameters, activity."""
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
        """(n, past + future, N_COLUMNS) -> (n, 9) at the boundary in each view; nothing is clipped yet."""
        influence = self._kernels @ views
        pull = influence[:, : len(MOUTH_PARAMETERS), :-1] * DOMINANCE.T
        mouth = (pull * MOUTH_SHAPES.T).sum(axis=2) / pull.sum(axis=2)
        mouth[:, _OPENING] *= influence[:, -1, -1:]
        mouth[:, _PRESS] *= self._press_gain
        mouth[:, _FV] *= self._fv_gain
        mouth[:, _ROUND] *= self._round_gain
        mouth[:, _WIDTH] *= np.where(mouth[:, _WIDTH] < 0, self._round_gain, 1)
        # Twice the share of speech around: a sentence begins and ends with the mouth fully in speech.
        speech = 2 * (1 - influence[:, -2, REST]) - 0.1
        return np.concatenate([mouth, speech[:, None]], axis=1)

    def _sample(self) -> FloatArray:
        """One mouth a picture, at its centre, or where its lips meet.

        A closure can fall between two centres and not be seen. Where one peaks inside a picture's 40 ms, the picture
        shows that moment instead; the peak lies in one picture only, so no closure is made longer.
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
    """Where lips meet among the boundaries near a picture: the highest inner peak, or the centre when there is none."""
    inner = press[1:-1]
    peaks = np.flatnonzero((inner >= _CLOSURE_SEEN) & (inner >= press[:-2]) & (inner > press[2:]))
    return int(peaks[inner[peaks].argmax()]) + 1 if len(peaks) else _BEFORE
