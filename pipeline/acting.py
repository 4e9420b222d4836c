"""Makes a head move with its voice: nods and raised brows on stressed words, and small turns. Pure.

People do this all the time when they speak; a head that does not looks as if it read a text aloud. `pipeline.stress`
finds the stresses in a voice, and this module turns them into motion without jerks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.stress import AHEAD_PICTURES

__all__ = ["Acting", "Expression"]

_NOD_IOD, _TURN_IOD, _BROW_IOD = 0.034, 0.026, 0.030
"""Largest motions: the tip of the nose down and sideways, about 1.5 degrees; the brows up."""
_VARIED = (0.55, 1.0)
"""Random factor for each motion, so that no two are alike."""
_WITH_BROWS, _WITH_TURN = 0.55, 0.6
"""Share of the stresses that raise the brows, and that turn the head, among those that move it."""
_BROWS_FROM = 0.6
"""Weaker stresses do not raise the brows."""
_REST_PICTURES, _TURN_REST_PICTURES = 11, 32
"""Shortest interval between two nods, and between two turns. A head that marks every stress is annoying."""
_SLOWEST = 60
"""Number of pictures within which every motion reaches its peak."""


@dataclass(frozen=True, slots=True)
class Expression:
    """How head and brows are moved in one picture, relative to the frame."""

    nod: float = 0.0
    "how far the tip of the nose moves down, in IOD"
    turn: float = 0.0
    "how far the tip of the nose moves to the right of the picture, in IOD"
    brow: float = 0.0
    "how far the brows move up, in IOD"

    @property
    def is_still(self) -> bool:
        """Whether the motion is too small to be seen."""
        return max(abs(self.nod), abs(self.turn), abs(self.brow)) < 1.5e-3


class _Motion:
    """Rises to a height, stays, and comes back. Three lags in series keep it from jerking or swinging.

    lag_pictures   time constant of each lag
    held_pictures  how long the height is held
    """

    def __init__(self, lag_pictures: float, held_pictures: int) -> None:
        self._keep = float(np.exp(-1 / lag_pictures))
        self._held = held_pictures
        self._stages = [0.0, 0.0, 0.0]
        self._wanted, self._left = 1.0, held_pictures
        self._reach = max(self.next() for _ in range(_SLOWEST))
        self.stop(0)

    def begin(self, height: float) -> None:
        """Start a motion to that height."""
        self._wanted, self._left = height / self._reach, self._held

    def next(self) -> float:
        """Advance by one picture, and return the position."""
        self._left -= 1
        value = self._wanted if self._left >= 0 else 0.0
        for number, stage in enumerate(self._stages):
            self._stages[number] = value = self._keep * stage + (1 - self._keep) * value
        return value

    def stop(self, share: float) -> None:
        """Stop wanting the height, and shrink the position to this share."""
        self._left = 0
        self._stages = [share * stage for stage in self._stages]


class Acting:
    """Gives the expressions of one turn's pictures, in order. The same seed and voice give the same motion."""

    def __init__(self, seed: int) -> None:
        self._chance = np.random.default_rng(seed)
        self._nod, self._brow, self._turn = _Motion(1.3, 3), _Motion(1.6, 6), _Motion(4.5, 20)
        self._since_nod, self._since_turn = _REST_PICTURES, _TURN_REST_PICTURES

    def next(self, stress: float, left: int) -> Expression:
        """Return the expression of the next picture.

        stress  from Stress.at()
        left    pictures of the sentence after this one, AHEAD_PICTURES at most; with the last, all is back in its place
        """
        self._since_nod += 1
        self._since_turn += 1
        if stress > 0 and self._since_nod > _REST_PICTURES:
            self._mark(stress)
        shown = Expression(self._nod.next(), self._turn.next(), self._brow.next())
        if left >= AHEAD_PICTURES:
            return shown
        share = left / (left + 1)
        for motion in (self._nod, self._turn, self._brow):
            motion.stop(share)
        return Expression(share * shown.nod, share * shown.turn, share * shown.brow)

    def _mark(self, stress: float) -> None:
        # All random numbers are drawn each time, so that a motion that is left out does not change later ones.
        brows, turn, side, *varied = self._chance.random(6).tolist()
        low, high = _VARIED
        nod_share, brow_share, turn_share = (low + (high - low) * share for share in varied)
        self._nod.begin(_NOD_IOD * stress * nod_share)
        self._since_nod = 0
        if brows < _WITH_BROWS and stress >= _BROWS_FROM:
            self._brow.begin(_BROW_IOD * stress * brow_share)
        if turn < _WITH_TURN and self._since_turn > _TURN_REST_PICTURES:
            self._turn.begin(_TURN_IOD * turn_share * (1 if side < 0.5 else -1))
            self._since_turn = 0
