"""How a head goes along with what it says: nods and raised brows on stressed words, small turns. Pure.

People who speak do this all the time, and a head that does not looks as if it read something out. `pipeline.stress`
hears where a voice is stressed; here that becomes motion that begins and ends without a jerk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.stress import AHEAD_PICTURES

__all__ = ["Acting", "Expression"]

_NOD_IOD, _TURN_IOD, _BROW_IOD = 0.034, 0.026, 0.030
"""The largest: of the tip of the nose down and sideways, about 1.5 degrees; of the brows up."""
_VARIED = (0.55, 1.0)
"""No two are alike: each is so much of what its stress asks for."""
_WITH_BROWS, _WITH_TURN = 0.55, 0.6
"""How many of the stresses that move the head raise the brows, and how many turn it."""
_BROWS_FROM = 0.6
"""A weaker stress leaves the brows where they are."""
_REST_PICTURES, _TURN_REST_PICTURES = 11, 32
"""After a nod and after a turn there is no other for so long. A head that marks every stress nags."""
_SLOWEST = 60
"""Pictures in which every motion has reached what it can reach."""


@dataclass(frozen=True, slots=True)
class Expression:
    """How head and brows are in one picture, against the frame as it is."""

    nod: float = 0.0
    "the tip of the nose goes down by this, IOD"
    turn: float = 0.0
    "the tip of the nose goes to the right of the picture by this, IOD"
    brow: float = 0.0
    "the brows go up by this, IOD"

    @property
    def is_still(self) -> bool:
        """Nothing of it would be seen."""
        return max(abs(self.nod), abs(self.turn), abs(self.brow)) < 1.5e-3


class _Motion:
    """Goes to a height, stays, and comes back; by three lags in a row, so that it never jerks or swings.

    lag_pictures   time constant of each lag
    held_pictures  how long it is wanted
    """

    def __init__(self, lag_pictures: float, held_pictures: int) -> None:
        self._keep = float(np.exp(-1 / lag_pictures))
        self._held = held_pictures
        self._stages = [0.0, 0.0, 0.0]
        self._wanted, self._left = 1.0, held_pictures
        self._reach = max(self.next() for _ in range(_SLOWEST))
        self.stop(0)

    def begin(self, height: float) -> None:
        self._wanted, self._left = height / self._reach, self._held

    def next(self) -> float:
        """One picture later."""
        self._left -= 1
        value = self._wanted if self._left >= 0 else 0.0
        for number, stage in enumerate(self._stages):
            self._stages[number] = value = self._keep * stage + (1 - self._keep) * value
        return value

    def stop(self, share: float) -> None:
        """It is wanted no more, and this share of it is left."""
        self._left = 0
        self._stages = [share * stage for stage in self._stages]


class Acting:
    """For the pictures of one turn, in order. The same seed and voice give the same motion."""

    def __init__(self, seed: int) -> None:
        self._chance = np.random.default_rng(seed)
        self._nod, self._brow, self._turn = _Motion(1.3, 3), _Motion(1.6, 6), _Motion(4.5, 20)
        self._since_nod, self._since_turn = _REST_PICTURES, _TURN_REST_PICTURES

    def next(self, stress: float, left: int) -> Expression:
        """The next picture's.

        stress  as Stress.at() gives it
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
        # All is drawn by lot each time, so that what is left out does not change what comes later.
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
