"""Decides which pictures of speech are left out where drawing all of them takes too long. Pure.

A picture and its sound are released together, so a picture that comes late makes a gap in the sound. People forgive a
mouth that moves less smoothly, but not a voice with gaps.
"""

from __future__ import annotations

from collections import deque

from pipeline.types import FPS

__all__ = ["DrawingPace"]

FEW_AHEAD, MANY_AHEAD = 3, 8
"""Pictures are left out from when fewer than the first number are drawn ahead, until as many as the second are."""
MEASURED_BATCHES, MIN_MEASURED = 8, 6
"""The pace is that of the last batches, once they have so many pictures."""
MAX_LEFT_OUT = 2
"""Most pictures left out in a row: at least every third is drawn, 8 a second."""


class DrawingPace:
    """The pace at which one turn's pictures are drawn."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, float]] = deque(maxlen=MEASURED_BATCHES)
        self._is_behind = False
        self._left_out = 0

    def note(self, pictures: int, waited_s: float) -> None:
        """Note how long the turn waited for a batch of pictures to be drawn and composed."""
        self._batches.append((pictures, waited_s))

    def leaves_out(self, ahead: int) -> bool:
        """Whether the next picture is left out. ahead: pictures that are drawn and have not been released."""
        drawn, waited_s = (sum(column) for column in zip((0, 0.0), *self._batches, strict=True))
        shown_meanwhile = waited_s * FPS
        if ahead >= MANY_AHEAD:
            self._is_behind = False
        elif ahead < FEW_AHEAD and drawn >= MIN_MEASURED and shown_meanwhile > drawn:
            self._is_behind = True
        # As many are left out as are shown while one is drawn.
        most = min(MAX_LEFT_OUT, int(shown_meanwhile / drawn)) if self._is_behind and drawn else 0
        self._left_out = self._left_out + 1 if self._left_out < most else 0
        return self._left_out > 0
