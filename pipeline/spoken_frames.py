"""Spoken frames of a session: those that wait to be released, and those released a moment ago.

Held speech resumes from shortly before the cut. So the last released frames are remembered, and can be put before
those that wait.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from pipeline.channel import Channel
from pipeline.ledger import TurnLedger
from pipeline.redrawing import DrawnFrame, Subtitle
from pipeline.types import Picture

__all__ = ["REMEMBERED_PICTURES", "Played", "SpokenFrames"]

REMEMBERED_PICTURES = 15
"""600 ms of released frames can be released again: what a viewer's buffers hold, and a little more."""


@dataclass(frozen=True, slots=True)
class Played:
    """How far the released speech has come."""

    turn: int = 0
    sentence: int = 0
    share: float = 0.0
    "share of the sentence, 0..1"


@dataclass(frozen=True, slots=True)
class _Released:
    """A spoken frame that was released a moment ago."""

    drawn: DrawnFrame
    number: int
    before: Played
    "how far the speech had come before this frame"
    subtitle: Subtitle | None
    "subtitle of the frame's sentence"

    def again(self) -> DrawnFrame:
        """Return the frame as the first one to be released again. Its subtitle lasts for the rest of the sentence."""
        before, drawn = self.before, self.drawn
        if self.subtitle is None or (before.turn, before.sentence) != (drawn.turn, drawn.sentence):
            return drawn
        rest_s = self.subtitle.duration_s * (1 - before.share)
        return replace(drawn, subtitle=replace(self.subtitle, duration_s=rest_s))


class SpokenFrames:
    """Made by the Playout. All numbers are those of MediaFrames.

    queue: holds the drawn frames. ledger: knows which turns are open; frames of other turns are dropped.
    """

    def __init__(self, queue: Channel[DrawnFrame], ledger: TurnLedger) -> None:
        self.played = Played()
        self._queue = queue
        self._ledger = ledger
        self._again: deque[DrawnFrame] = deque()
        "frames to release again, before those in the queue; at most as many as are remembered"
        self._recent: deque[_Released] = deque(maxlen=REMEMBERED_PICTURES)
        "the frames released last; kept while a turn is open"
        self._subtitle: Subtitle | None = None

    @property
    def first(self) -> DrawnFrame | None:
        """The next frame, whatever its turn."""
        return self._again[0] if self._again else self._queue.peek()

    def waiting(self) -> list[DrawnFrame]:
        """Return the frames that wait and belong to open turns, in order of release."""
        return [drawn for drawn in (*self._again, *self._queue.waiting()) if self._ledger.is_open(drawn.turn)]

    def take(self) -> DrawnFrame | None:
        """Take the next frame off the queue, whatever its turn. None: there is none."""
        return self._again.popleft() if self._again else self._queue.receive_nowait()

    def released(self, drawn: DrawnFrame, number: int, picture: Picture) -> None:
        """Remember a frame that was released under this number.

        picture: the one to show if the frame is released again. It may be one that takes less memory.
        """
        if drawn.subtitle is not None:
            self._subtitle = drawn.subtitle
        # A picture at rest is not redrawn, so what redrawing needs can go, too.
        again = drawn if picture is drawn.picture else replace(drawn, picture=picture, anew=None)
        self._recent.append(_Released(again, number, self.played, self._subtitle))
        self.played = Played(drawn.turn, drawn.sentence, drawn.played_share)

    def played_before(self, number: int) -> Played:
        """Return how far the speech had come before that frame; if it is not remembered, how far it has come by now."""
        lost = self._from(number)
        return lost[0].before if lost else self.played

    def first_from(self, number: int) -> DrawnFrame | None:
        """Return the first remembered frame at or after that number; if there is none, the next one that waits."""
        lost = self._from(number)
        return lost[0].drawn if lost else self.first

    def rewind(self, number: int) -> list[int]:
        """Release the remembered frames from that number on again. Returns the turn of each."""
        lost = self._from(number)
        for _ in lost:  # they are the newest
            self._recent.pop()
        again = [released for released in lost if self._ledger.is_open(released.drawn.turn)]
        if again:
            self.played = again[0].before
            self._again.extendleft(released.drawn for released in reversed(again[1:]))
            self._again.appendleft(again[0].again())
        return [released.drawn.turn for released in again]

    def forget_released(self) -> None:
        """Forget the released frames, because none will be released again."""
        self._recent.clear()

    def clear(self) -> None:
        """Drop all frames, waiting and remembered."""
        self._queue.clear()
        self._again.clear()
        self._recent.clear()

    def _from(self, number: int) -> list[_Released]:
        return [released for released in self._recent if released.number >= number]
