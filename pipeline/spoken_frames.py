"""Frames of speech in a session: those that wait to be released, and those that were released a moment ago.

Speech that is held goes on from shortly before the place where it was cut. So what was released last is remembered, and
can be put before what waits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from pipeline.channel import Channel
from pipeline.ledger import TurnLedger
from pipeline.redrawing import DrawnFrame, Subtitle

__all__ = ["REMEMBERED_PICTURES", "Played", "SpokenFrames"]

REMEMBERED_PICTURES = 15
"""600 ms of what was released can be released again: what a viewer's buffers hold, and a little before it."""


@dataclass(frozen=True, slots=True)
class Played:
    """How far the speech has come that was released."""

    turn: int = 0
    sentence: int = 0
    share: float = 0.0
    "of the sentence, 0..1"


@dataclass(frozen=True, slots=True)
class _Released:
    """A spoken frame that was released a moment ago."""

    drawn: DrawnFrame
    number: int
    before: Played
    "how far the speech had come before it"
    subtitle: Subtitle | None
    "of the sentence that it belongs to"

    def again(self) -> DrawnFrame:
        """The frame, to be released once more as the first of all: with a subtitle for the rest of its sentence."""
        before, drawn = self.before, self.drawn
        if self.subtitle is None or (before.turn, before.sentence) != (drawn.turn, drawn.sentence):
            return drawn
        rest_s = self.subtitle.duration_s * (1 - before.share)
        return replace(drawn, subtitle=replace(self.subtitle, duration_s=rest_s))


class SpokenFrames:
    """Made by the Playout. Numbers are those of MediaFrames.

    queue: where frames come from. ledger: says which turns have not ended; frames of others wait for nothing.
    """

    def __init__(self, queue: Channel[DrawnFrame], ledger: TurnLedger) -> None:
        self.played = Played()
        self._queue = queue
        self._ledger = ledger
        self._again: deque[DrawnFrame] = deque()
        "to be released once more, before what is in the queue; never more frames than are remembered"
        self._recent: deque[_Released] = deque(maxlen=REMEMBERED_PICTURES)
        "those that were released last; kept while a turn is open"
        self._subtitle: Subtitle | None = None

    @property
    def first(self) -> DrawnFrame | None:
        """The next one, of whatever turn."""
        return self._again[0] if self._again else self._queue.peek()

    def waiting(self) -> list[DrawnFrame]:
        """Those of turns that have not ended, the next one first."""
        return [drawn for drawn in (*self._again, *self._queue.waiting()) if self._ledger.is_open(drawn.turn)]

    def take(self) -> DrawnFrame | None:
        """The next one, of whatever turn; it waits no more."""
        return self._again.popleft() if self._again else self._queue.receive_nowait()

    def released(self, drawn: DrawnFrame, number: int) -> None:
        """It was released under this number: remember it."""
        if drawn.subtitle is not None:
            self._subtitle = drawn.subtitle
        self._recent.append(_Released(drawn, number, self.played, self._subtitle))
        self.played = Played(drawn.turn, drawn.sentence, drawn.played_share)

    def played_before(self, number: int) -> Played:
        """How far the speech had come before the frame of that number, or has come if that is not remembered."""
        lost = self._from(number)
        return lost[0].before if lost else self.played

    def first_from(self, number: int) -> DrawnFrame | None:
        """The first remembered one from that number on; without any, the next one that waits."""
        lost = self._from(number)
        return lost[0].drawn if lost else self.first

    def rewind(self, number: int) -> list[int]:
        """Release remembered ones from that number on once more. Returns their turns: one for each frame."""
        lost = self._from(number)
        for _ in lost:
            self._recent.pop()
        again = [released for released in lost if self._ledger.is_open(released.drawn.turn)]
        if again:
            self.played = again[0].before
            self._again.extendleft(released.drawn for released in reversed(again[1:]))
            self._again.appendleft(again[0].again())
        return [released.drawn.turn for released in again]

    def forget_released(self) -> None:
        """Nothing of what was released will be released again."""
        self._recent.clear()

    def clear(self) -> None:
        """Nothing waits any more, and nothing is remembered."""
        self._queue.clear()
        self._again.clear()
        self._recent.clear()

    def _from(self, number: int) -> list[_Released]:
        return [released for released in self._recent if released.number >= number]
