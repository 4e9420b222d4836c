"""Which frame of the avatar's loop is shown when (pure)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LoopCursor"]

SWAY_PICTURES = 12
"""Half a second: how far a head moves back, and then forth, while its speech is held."""


@dataclass(slots=True)
class _Sway:
    """Idle pictures go to and fro before `entry`, counted as LoopCursor counts, so that speech can go on after it."""

    entry: int
    forth: bool = False
    returning: bool = False
    "speech is to go on: the shortest way to `entry`, and no further"

    def step_from(self, place: int) -> int:
        """-1, 0 or 1: where the next picture is, seen from the one shown last."""
        if place > self.entry:
            return -1
        if self.returning:
            return int(place < self.entry)
        if place == self.entry:
            self.forth = False
        elif place <= self.entry - SWAY_PICTURES:
            self.forth = True
        return 1 if self.forth else -1


class LoopCursor:
    """Walks a loop of `length` frames so that idle and spoken pictures join without a jump.

    Spoken pictures are drawn ahead of time, so their places are reserved when they are drawn; idle pictures take the
    place after the one shown last. When speech runs dry in mid-turn the last place is held: a still head for a few
    pictures is not noticed, a jump back is. Speech that is held may take seconds to go on, and that a head stands still
    for so long is noticed: it sways, and is back at its place when the speech goes on.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError("a loop has at least one frame")
        self._length = length
        self._shown = -1
        self._reserved: int | None = None
        self._sway: _Sway | None = None

    @property
    def shown(self) -> int:
        """Place of the picture shown last (-1 before the first), within the loop."""
        return self._shown % self._length if self._shown >= 0 else -1

    def reserve(self) -> int:
        """Place for the next spoken picture."""
        last = self._shown if self._reserved is None else max(self._reserved, self._shown)
        self._reserved = last + 1
        return self._reserved % self._length

    def show_spoken(self, index: int) -> None:
        """A spoken picture that was drawn for `index` is shown now."""
        self._shown += (index - self._shown) % self._length

    def show_idle(self) -> int:
        """Take the place for an idle picture shown now."""
        if self._sway is not None:
            self._shown += self._sway.step_from(self._shown)
            return self._shown % self._length
        if self._reserved is None or self._shown >= self._reserved:
            self._shown += 1
        self._shown = max(self._shown, 0)
        return self._shown % self._length

    def sway(self, next_spoken: int | None = None) -> None:
        """Speech is held: move to and fro until come_back() and then go_on(), or until release().

        next_spoken: place of the spoken picture that will be shown first when speech goes on; None: as was said before,
        else the one after the picture shown last.
        """
        ahead = self._sway.entry - self._shown if self._sway is not None else 0
        if next_spoken is not None:
            ahead = (next_spoken - 1 - self._shown) % self._length
            ahead -= self._length if ahead > self._length // 2 else 0  # the shorter way round the loop
        # Places are counted from 0 on; whole loops more change no picture, and leave room to move back.
        whole_loops = -(-(SWAY_PICTURES - min(ahead, 0) - self._shown) // self._length)
        lifted = max(0, whole_loops) * self._length
        self._shown += lifted
        self._sway = _Sway(self._shown + ahead)
        self._reserved = self._sway.entry if self._reserved is None else self._reserved + lifted

    def come_back(self) -> None:
        """Speech is to go on: idle pictures go to its place by the shortest way."""
        if self._sway is not None:
            self._sway.returning = True

    @property
    def is_back(self) -> bool:
        """After come_back(): whether the next spoken picture joins the one shown last without a jump."""
        return self._sway is None or (self._sway.returning and self._shown == self._sway.entry)

    def go_on(self) -> None:
        """The next picture is a spoken one again."""
        self._sway = None

    def release(self) -> None:
        """No spoken pictures are drawn ahead any more (the turn ended or was interrupted)."""
        self._reserved = None
        self._sway = None
