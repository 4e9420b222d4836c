"""When a mouth rests: how far a network's mouth shows in each picture of a sentence (pure).

A network asked about silence draws a mouth that trembles, so in silence it is not asked: the avatar's own mouth shows.
Between the two the network's mouth fades in and out, the mouth alone and not the whole frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.types import FloatArray

__all__ = ["FADE_PICTURES", "is_loud", "mouth_weight"]

LOUD_DBFS = -45.0
"""Speech is brought to about -20 dBFS before it is played; the breath between words stays below this."""
FADE_PICTURES = 3
"""A fade takes two pictures and ends on the third: 0.1 s."""


def is_loud(audio: FloatArray) -> bool:
    """Whether a picture's samples (n,) in [-1, 1] are to be seen as speech."""
    power = float(np.mean(np.square(audio, dtype=np.float64))) if len(audio) else 0.0
    return power > 10 ** (LOUD_DBFS / 10)


def mouth_weight(loud: Sequence[bool], index: int, complete: bool) -> float:
    """How far the network's mouth shows in picture `index` of a sentence, 0..1 in steps of 1 / FADE_PICTURES.

    loud      which pictures of the sentence are loud, as far as they are known
    complete  whether `loud` is the whole sentence

    1 where it is loud, less the farther the nearest loud picture is; and a sentence begins and ends at rest. It is the
    same for every `loud` that reaches FADE_PICTURES beyond `index`.
    """
    near = range(max(0, index - FADE_PICTURES + 1), min(len(loud), index + FADE_PICTURES))
    steps = max((FADE_PICTURES - abs(at - index) for at in near if loud[at]), default=0)
    steps = min(steps, index + 1)
    if complete:
        steps = min(steps, len(loud) - index)
    return steps / FADE_PICTURES
