"""Decides which frame of the avatar's loop, or of a gesture, is shown at each moment (pure)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["GestureRun", "LoopCursor"]

KEPT_RUNS = 4
"""Past gestures whose places are remembered: more than can begin within the pictures that are drawn ahead."""
REDRAWN_AFTER = 3
"""When a gesture is requested, this many spoken pictures are still shown as drawn; later ones are drawn anew."""
SWAY_PICTURES = 12
"""Half a second: how far a head moves back and forth while its speech is held."""


@dataclass(slots=True)
class _Sway:
    """Idle pictures move to and fro before `entry` (a LoopCursor count), so that speech can resume there."""

    entry: int
    forth: bool = False
    returning: bool = False
    "speech is to go on: move to `entry` by the shortest way, and stop there"

    def step_from(self, place: int) -> int:
        """Return the step from the picture shown last to the next one: -1, 0 or 1."""
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
    """A gesture that will be shown once."""

    place: int
    "place of its first picture: at least the length of the loop"
    pictures: int
    loop_place_like: Callable[[int], int]
    "returns the place of the loop whose picture is most like the picture at a given place"
    spoken_over: bool = True
    "False: no mouth can be drawn on it, so it waits for the end of speech, and ends when speech begins"


@dataclass(slots=True)
class _Laid:
    """A gesture in place of a stretch of the loop. `start` and `stop` are LoopCursor counts."""

    run: GestureRun
    start: int
    stop: int
    shift: int = 0
    "offset from a count to its place in the loop, from `stop` on"

    def end_at(self, stop: int) -> None:
        """End the gesture before `stop`. The loop goes on with the picture that is most like the gesture's last one."""
        self.stop = stop
        self.shift = self.run.loop_place_like(self.run.place + stop - 1 - self.start) + 1 - stop


class LoopCursor:
    """Walks a loop of `length` frames so that idle and spoken pictures join without a jump.

    A count is the number of steps from the start; it is mapped to a place in the loop or in a gesture. A gesture takes
    the place of a stretch of the loop, and its pictures have places from `length` on. After it, the loop goes on where
    it is most like the gesture's last picture.

    Spoken pictures are drawn ahead of time, so their places are reserved when they are drawn. Idle pictures take the
    place after the one shown last. A gesture that begins or ends soon moves pictures that are drawn already:
    place_of() tells where they are now.

    When speech runs dry in mid-turn, the last place is held: nobody notices a still head for a few pictures, but a jump
    back is visible. Held speech may take seconds to go on, and a still head would be noticed then. So the head sways,
    and is back in its place when speech goes on.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError("a loop has at least one frame")
        self._length = length
        self._shown = -1
        self._reserved: int | None = None
        self._lifted = 0
        "offset added to all counts so far, to leave room for moving back"
        self._sway: _Sway | None = None
        self._laid: list[_Laid] = []
        "oldest first; at most KEPT_RUNS"
        self._shift = 0
        "offset from a count to its place in the loop, before all of these gestures"
        self._waiting: GestureRun | None = None

    @property
    def shown(self) -> int:
        """Place of the picture shown last; -1 before the first."""
        return self._place(self._shown) if self._shown >= 0 else -1

    def begin(self, run: GestureRun, *, soon: bool = False) -> None:
        """Show a gesture from the next picture that has no place yet. It ends any gesture that is shown or due.

        soon: begin a few pictures from now, in place of pictures that are drawn already.
        """
        self._waiting = None
        if not run.spoken_over and self._reserved is not None:
            self._waiting = run
            return
        start = self._next_redrawable if soon else self._free
        self._make_way(start)
        if len(self._laid) == KEPT_RUNS:
            self._shift = self._laid.pop(0).shift
        laid = _Laid(run, start, start)
        laid.end_at(start + run.pictures)
        self._laid.append(laid)

    def end(self) -> None:
        """Return to the loop from any gesture that is shown or due, a few pictures from now.

        Pictures that are drawn already change their places, too.
        """
        self._waiting = None
        self._make_way(self._next_redrawable)

    def reserve(self, loop_only: bool = False) -> int:
        """Return the place for the next spoken picture.

        loop_only: mouths cannot be drawn on gestures, so end a gesture that is shown.
        """
        if self._laid and self._free < self._laid[-1].stop and (loop_only or not self._laid[-1].run.spoken_over):
            self._cut(self._free)
        self._reserved = self._free
        return self._place(self._reserved)

    @property
    def reserved(self) -> int:
        """Handle of the place reserved last, for place_of()."""
        return (0 if self._reserved is None else self._reserved) - self._lifted

    def place_of(self, reserved: int) -> int:
        """Return where the picture with that reserved place is shown now. reserved: from `reserved`."""
        return self._place(reserved + self._lifted)

    def show_spoken(self, index: int) -> None:
        """Move to the place `index`, because a spoken picture drawn for it is shown now."""
        # Each place comes once per pass of the loop, so it is found within one pass after the last gesture.
        furthest = max([self._shown, *(laid.stop for laid in self._laid)]) + self._length
        self._shown = next((at for at in range(self._shown, furthest) if self._place(at) == index), self._shown)

    def show_idle(self) -> int:
        """Move on to the place of an idle picture shown now, and return it."""
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
        """Sway while speech is held: move to and fro until come_back() and then go_on(), or until release().

        next_spoken: place of the spoken picture that will be shown first when speech goes on. None: as in the previous
        call, else the place after the picture shown last.
        """
        ahead = self._sway.entry - self._shown if self._sway is not None else 0
        if next_spoken is not None:
            ahead = self._before(next_spoken)
        # Counts must not be negative. Adding whole loops changes no picture, and leaves room for moving back.
        whole_loops = -(-(SWAY_PICTURES - min(ahead, 0) - self._shown) // self._length)
        lifted = max(0, whole_loops) * self._length
        self._shown += lifted
        self._lifted += lifted
        for laid in self._laid:
            laid.start, laid.stop = laid.start + lifted, laid.stop + lifted
        self._sway = _Sway(self._shown + ahead)
        self._reserved = self._sway.entry if self._reserved is None else self._reserved + lifted

    def come_back(self) -> None:
        """Return to the place of the held speech by the shortest way, because it is to go on."""
        if self._sway is not None:
            self._sway.returning = True

    @property
    def is_back(self) -> bool:
        """Whether the head has come back, so that the next spoken picture joins without a jump."""
        return self._sway is None or (self._sway.returning and self._shown == self._sway.entry)

    def go_on(self) -> None:
        """End the sway: the next picture is a spoken one."""
        self._sway = None

    def release(self) -> None:
        """Free the reserved places: the turn ended or was interrupted, so no spoken pictures are drawn ahead."""
        self._reserved = None
        self._sway = None
        if self._laid and self._laid[-1].start > self._free:  # it was due after the pictures that are dropped
            self.begin(self._laid.pop().run)

    @property
    def _free(self) -> int:
        """Count of the next picture that has no place yet."""
        return 1 + (self._shown if self._reserved is None else max(self._reserved, self._shown))

    @property
    def _next_redrawable(self) -> int:
        """Count of the next picture that can still be redrawn in time. Held speech is not redrawn."""
        return self._free if self._sway is not None else min(self._free, self._shown + 1 + REDRAWN_AFTER)

    def _place(self, count: int) -> int:
        for laid in reversed(self._laid):
            if count >= laid.stop:
                return (count + laid.shift) % self._length
            if count >= laid.start:
                return laid.run.place + count - laid.start
        return (count + self._shift) % self._length

    def _make_way(self, start: int) -> None:
        """Show nothing but the loop from `start` on."""
        while self._laid and start < self._laid[-1].stop:
            is_gone = self._laid[-1].start >= start
            self._cut(start)
            if not is_gone:
                break

    def _cut(self, stop: int) -> None:
        """End the newest gesture before `stop`, or drop it if none of its pictures comes before that."""
        if self._laid[-1].start < stop:
            self._laid[-1].end_at(stop)
        else:
            self._laid.pop()

    def _before(self, place: int) -> int:
        """Return the steps from the picture shown last to the one before `place`; negative is back.

        Of the two ways around the loop, it takes the shorter one.
        """
        nearest_first = (way for far in range(self._length // 2 + 1) for way in (far, -far))
        return next((way for way in nearest_first if self._place(self._shown + way + 1) == place), 0)
