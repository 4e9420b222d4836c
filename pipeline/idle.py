"""Which frame of the avatar's loop, or of a gesture, is shown when (pure)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["GestureRun", "LoopCursor"]

KEPT_RUNS = 4
"""Gestures of which it is remembered where they were: more than can be told apart within the pictures drawn ahead."""
REDRAWN_AFTER = 3
"""Spoken pictures that are shown as they were drawn when a gesture is asked for; those after them are drawn anew."""
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


@dataclass(frozen=True, slots=True)
class GestureRun:
    """A gesture that is to be shown once."""

    place: int
    "of its first picture: the length of the loop, or more"
    pictures: int
    loop_place_like: Callable[[int], int]
    "the place of the loop that is most like the picture of a place"
    spoken_over: bool = True
    "False: no mouth can be drawn on it, so it waits for the end of speech, and ends where speech begins"


@dataclass(slots=True)
class _Laid:
    """A gesture in the place of a stretch of the loop, counted as LoopCursor counts."""

    run: GestureRun
    start: int
    stop: int
    shift: int = 0
    "from `stop` on, what is added to a count to find the place in the loop"

    def end_at(self, stop: int) -> None:
        """Its last picture is the one before `stop`; the loop goes on with the picture that is most like it."""
        self.stop = stop
        self.shift = self.run.loop_place_like(self.run.place + stop - 1 - self.start) + 1 - stop


class LoopCursor:
    """Walks a loop of `length` frames so that idle and spoken pictures join without a jump.

    A gesture takes the place of a stretch of the loop. Its pictures have places from `length` on. After it, the loop
    goes on where it is most like the gesture's last picture.

    Spoken pictures are drawn ahead of time, so their places are reserved when they are drawn; idle pictures take the
    place after the one shown last. A gesture that begins or ends soon changes the places of pictures that are drawn
    already: place_of() says where they are now.
    When speech runs dry in mid-turn the last place is held: a still head for a few
    pictures is not noticed, a jump back is. Speech that is held may take seconds to go on, and that a head stands still
    for so long is noticed: it sways, and is back at its place when the speech goes on.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError("a loop has at least one frame")
        self._length = length
        self._shown = -1
        self._reserved: int | None = None
        self._lifted = 0
        "added to all counts since the first, so that there is room to move back"
        self._sway: _Sway | None = None
        self._laid: list[_Laid] = []
        "the newest last; at most KEPT_RUNS"
        self._shift = 0
        "before all of these, what is added to a count to find the place in the loop"
        self._waiting: GestureRun | None = None

    @property
    def shown(self) -> int:
        """Place of the picture shown last (-1 before the first)."""
        return self._place(self._shown) if self._shown >= 0 else -1

    def begin(self, run: GestureRun, *, soon: bool = False) -> None:
        """Show a gesture from the next picture on that has no place yet. It ends one that is shown, or is to be.

        soon: also in the place of pictures that are drawn already, but for the next few.
        """
        self._waiting = None
        if not run.spoken_over and self._reserved is not None:
            self._waiting = run
            return
        start = self._soon if soon else self._free
        self._make_way(start)
        if len(self._laid) == KEPT_RUNS:
            self._shift = self._laid.pop(0).shift
        laid = _Laid(run, start, start)
        laid.end_at(start + run.pictures)
        self._laid.append(laid)

    def end(self) -> None:
        """Go on with the loop, if a gesture is shown or is to be; also in the place of pictures that are drawn already,
        but for the next few.
        """
        self._waiting = None
        self._make_way(self._soon)

    def reserve(self, loop_only: bool = False) -> int:
        """Place for the next spoken picture. loop_only: no mouth can be drawn on gestures; one that is shown ends."""
        if self._laid and self._free < self._laid[-1].stop and (loop_only or not self._laid[-1].run.spoken_over):
            self._cut(self._free)
        self._reserved = self._free
        return self._place(self._reserved)

    @property
    def reserved(self) -> int:
        """Names the place that was reserved last: see place_of()."""
        return (0 if self._reserved is None else self._reserved) - self._lifted

    def place_of(self, reserved: int) -> int:
        """Where the picture is to be shown now for which that place was reserved."""
        return self._place(reserved + self._lifted)

    def show_spoken(self, index: int) -> None:
        """A spoken picture that was drawn for `index` is shown now."""
        furthest = max([self._shown, *(laid.stop for laid in self._laid)]) + self._length
        self._shown = next((at for at in range(self._shown, furthest) if self._place(at) == index), self._shown)

    def show_idle(self) -> int:
        """Take the place for an idle picture shown now."""
        if self._sway is not None:
            self._shown += self._sway.step_from(self._shown)
            return self._place(self._shown)
        if self._waiting is not None and self._reserved is None:
            self.begin(self._waiting)
        if self._reserved is None or self._shown >= self._reserved:
            self._shown += 1
        self._shown = max(self._shown, 0)
        return self._place(self._shown)

    def sway(self, next_spoken: int | None = None) -> None:
        """Speech is held: move to and fro until come_back() and then go_on(), or until release().

        next_spoken: place of the spoken picture that will be shown first when speech goes on; None: as was said before,
        else the one after the picture shown last.
        """
        ahead = self._sway.entry - self._shown if self._sway is not None else 0
        if next_spoken is not None:
            ahead = self._before(next_spoken)
        # Places are counted from 0 on; whole loops more change no picture, and leave room to move back.
        whole_loops = -(-(SWAY_PICTURES - min(ahead, 0) - self._shown) // self._length)
        lifted = max(0, whole_loops) * self._length
        self._shown += lifted
        self._lifted += lifted
        for laid in self._laid:
            laid.start, laid.stop = laid.start + lifted, laid.stop + lifted
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
        if self._laid and self._laid[-1].start > self._free:  # it was to come after them
            self.begin(self._laid.pop().run)

    @property
    def _free(self) -> int:
        """The count of the next picture that has no place yet."""
        return 1 + (self._shown if self._reserved is None else max(self._reserved, self._shown))

    @property
    def _soon(self) -> int:
        """The count of the next picture that can still be drawn anew in time. Held speech is left as it was drawn."""
        return self._free if self._sway is not None else min(self._free, self._shown + 1 + REDRAWN_AFTER)

    def _place(self, count: int) -> int:
        for laid in reversed(self._laid):
            if count >= laid.stop:
                return (count + laid.shift) % self._length
            if count >= laid.start:
                return laid.run.place + count - laid.start
        return (count + self._shift) % self._length

    def _make_way(self, start: int) -> None:
        """Nothing but the loop is shown from `start` on."""
        while self._laid and start < self._laid[-1].stop:
            is_gone = self._laid[-1].start >= start
            self._cut(start)
            if not is_gone:
                break

    def _cut(self, stop: int) -> None:
        """The gesture that was laid last ends before `stop`, or is forgotten if none of its pictures has a place."""
        if self._laid[-1].start < stop:
            self._laid[-1].end_at(stop)
        else:
            self._laid.pop()

    def _before(self, place: int) -> int:
        """How far the picture before a place is from the one shown last, by the shorter way; back is negative."""
        nearest_first = (way for far in range(self._length // 2 + 1) for way in (far, -far))
        return next((way for way in nearest_first if self._place(self._shown + way + 1) == place), 0)
