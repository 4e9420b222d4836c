"""Finds the times of a voice's sounds if the voice does not report them: forced alignment with an earlier network.

Another voice says the same text, and reports the order of its visemes. A Viterbi search finds the times at which the
network finds that order most likely in the sound (Rabiner 1989).
"""

from __future__ import annotations

from itertools import groupby

import numpy as np
import numpy.typing as npt

from models.viseme_net import STEP_MS, VisemeNetwork
from models.visemes import REST

__all__ = ["aligned_labels"]

Labels = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]

_LEAST = 1e-3
"""Lowest probability of a step, so that one sound the network does not know does not spoil a sentence."""


def aligned_labels(told: Labels, speech: Float, network: VisemeNetwork) -> tuple[Labels, float] | None:
    """Return the viseme of each millisecond of `speech`, and the mean probability of the visemes along the path.

    told: the viseme of each millisecond of the other voice. speech: (n,) samples at 16 kHz. None: the sound is too
    short for so many visemes.
    """
    stream = network.stream()
    probabilities = np.concatenate([stream.push(speech).probabilities, stream.finish().probabilities])
    order = _order(told)
    if len(probabilities) < len(order):
        return None
    path = _likeliest(np.log(np.maximum(probabilities[:, order], _LEAST)), order == REST)
    along = probabilities[np.arange(len(path)), order[path]]
    return order[path].astype(np.uint8).repeat(STEP_MS), float(along.mean())


def _order(told: Labels) -> npt.NDArray[np.int64]:
    """Return the visemes in order, with optional pauses where the other voice pauses."""
    visemes = [int(viseme) for viseme, _ in groupby(told)]
    if visemes[0] != REST:
        visemes.insert(0, REST)
    if visemes[-1] != REST:
        visemes.append(REST)
    return np.array(visemes)


def _likeliest(scores: Float, may_be_skipped: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the place of each step, in order; only pauses may be skipped.

    scores: (steps, places) log probabilities.
    """
    steps, places = scores.shape
    came_from = np.zeros((steps, places), np.int64)
    best = np.full(places, -np.inf)
    best[:2] = scores[0, :2]
    over_pause = np.zeros(places, bool)
    over_pause[2:] = may_be_skipped[1:-1]
    for step in range(1, steps):
        options = np.full((3, places), -np.inf)
        options[0] = best
        options[1, 1:] = best[:-1]
        options[2, 2:] = np.where(over_pause[2:], best[:-2], -np.inf)
        came_from[step] = options.argmax(axis=0)
        best = options.max(axis=0) + scores[step]
    path = np.empty(steps, np.int64)
    path[-1] = places - 1 if best[-1] >= best[-2] else places - 2
    for step in range(steps - 1, 0, -1):
        path[step - 1] = path[step] - came_from[step, path[step]]
    return path
