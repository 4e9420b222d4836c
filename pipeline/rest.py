"""Decides when a mouth rests: the opacity of a network's mouth in each picture of a sentence (pure).

A network that gets silence draws a trembling mouth. So it is not asked in silence, and the avatar's own mouth shows. At
the transitions the network's mouth fades in and out; the rest of the frame does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.types import FloatArray

__all__ = ["FADE_PICTURES", "is_loud", "mouth_weight"]

LOUD_DBFS = -45.0
"""Speech is brought to about -20 dBFS before it is played; breathing between words stays below this."""
FADE_PICTURES = 3
"""A fade takes two pictures and ends on the third: 0.1 s."""


def is_loud(audio: FloatArray) -> bool:
    """Whether a picture's samples, (n,) in [-1, 1], need a speaking mouth."""
    power = float(np.mean(np.square(audio, dtype=np.float64))) if len(audio) else 0.0
    return power > 10 ** (LOUD_DBFS / 10)


def mouth_weight(loud: Sequence[bool], index: int, complete: bool) -> float:
    """Return the opacity of the network's mouth in picture `index` of a sentence, 0..1 in steps of 1 / FADE_PICTURES.

    loud      which pictures of the sentence are loud, as far as known
    complete  whether `loud` is the whole sentence

    It is 1 in loud pictures, and falls with the distance to the nearest one. A sentence begins and ends at rest. The
    result is the same for every `loud` that reaches FADE_PICTURES beyond `index`.
    """
    near = range(max(0, index - FADE_PICTURES + 1), min(len(loud), index + FADE_PICTURES))
    steps = max((FADE_PICTURES - abs(at - index) for at in near if loud[at]), default=0)
    steps = min(steps, index + 1)
    if complete:
        steps = min(steps, len(loud) - index)
    return steps / FADE_PICTURES
