"""TurnLedger: what has become of each turn of a session. It does no I/O, and it is the only place that knows.

The session tells it what happens, and passes on the events that it answers with:

    queued -> begun -> released, as often as the turn has frames -> done
    and from anywhere on this way, at any time -> interrupted

A turn is done once it has handed over all its frames and the last of them was released, whichever comes later. A turn
that failed has handed over what it had, so it ends as done too; what went wrong is an event of its own.

Between `held` and `resumed` no frames are released and no turn is done: of what was released last, some may not have
been heard, and will be released again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.types import (
    HoldEvent,
    MediaFrame,
    MetricsEvent,
    SessionEvent,
    SubtitleEvent,
    TextEvent,
    TurnEvent,
    TurnState,
)

__all__ = ["TurnLedger"]

OF_A_TURN = (TurnEvent, TextEvent, SubtitleEvent, MetricsEvent)
"""Events that come too late when their turn has ended."""


@dataclass(slots=True)
class _Entry:
    state: TurnState
    released: int = 0
    "frames of this turn that were released"
    handed_over: int | None = None
    "frames that it has in all; None while more may come"


class TurnLedger:
    """Each method returns the events that become true with it, in their order.

    What comes late for a turn that has ended changes nothing and gives no events: the parts of an interrupted turn run
    on for a few steps of the event loop before they notice. So every turn ends exactly once, and nothing follows its
    end. Only turns that have not ended are kept.
    """

    def __init__(self) -> None:
        self._open: dict[int, _Entry] = {}
        self._is_held = False
        self._held_turn = 0
        self.last_turn = 0
        "id of the turn that was queued last; 0 before the first"

    @property
    def has_open(self) -> bool:
        """Whether any turn has not ended."""
        return bool(self._open)

    def is_open(self, turn: int) -> bool:
        """Whether the turn was queued and has not ended. Frames of other turns are not shown."""
        return turn in self._open

    def state(self, turn: int) -> TurnState | None:
        """The state of a turn that has not ended, else None."""
        entry = self._open.get(turn)
        return None if entry is None else entry.state

    @property
    def speaking_turn(self) -> int:
        """The turn that has begun and may still hand over frames; 0 if there is none."""
        for turn, entry in self._open.items():
            if entry.state is not TurnState.QUEUED and entry.handed_over is None:
                return turn
        return 0

    def queue(self) -> tuple[int, tuple[SessionEvent, ...]]:
        """A new turn, after all others. Returns its id and the events."""
        self.last_turn += 1
        self._open[self.last_turn] = _Entry(TurnState.QUEUED)
        return self.last_turn, (TurnEvent(self.last_turn, TurnState.QUEUED),)

    def begun(self, turn: int) -> tuple[SessionEvent, ...]:
        """Somebody works on it from now on."""
        entry = self._open.get(turn)
        if entry is None:
            return ()
        entry.state = TurnState.THINKING
        return (TurnEvent(turn, TurnState.THINKING),)

    def released(self, frame: MediaFrame) -> tuple[SessionEvent, ...]:
        """One frame was released, of a turn or of none. The frame's own events are among those returned."""
        entry = self._open.get(frame.turn)
        if entry is None:
            return tuple(event for event in frame.events if not isinstance(event, OF_A_TURN))
        events: list[SessionEvent] = []
        if entry.state is not TurnState.SPEAKING:
            entry.state = TurnState.SPEAKING
            events.append(TurnEvent(frame.turn, TurnState.SPEAKING))
        entry.released += 1
        events += frame.events
        return (*events, *self._done(frame.turn, entry))

    def handed_over(self, turn: int, frames: int) -> tuple[SessionEvent, ...]:
        """The turn has handed over `frames` frames, and no more will come: it is complete, or it failed."""
        entry = self._open.get(turn)
        if entry is None:
            return ()
        entry.handed_over = frames
        return self._done(turn, entry)

    def held(self) -> tuple[SessionEvent, ...]:
        """Nothing more is released until resumed() or interrupted(). Idempotent."""
        if self._is_held:
            return ()
        self._is_held = True
        speaking = [turn for turn, entry in self._open.items() if entry.state is TurnState.SPEAKING]
        self._held_turn = speaking[-1] if speaking else 0
        return (HoldEvent(self._held_turn, held=True),) if speaking else ()

    def resumed(self, again: Iterable[int] = ()) -> tuple[SessionEvent, ...]:
        """Speech goes on. again: for each frame that will be released once more, the turn that it belongs to."""
        if not self._is_held:
            return ()
        self._is_held = False
        for turn in again:
            if turn in self._open:
                self._open[turn].released -= 1
        events: list[SessionEvent] = [HoldEvent(self._held_turn, held=False)] if self._held_turn else []
        self._held_turn = 0
        for turn, entry in list(self._open.items()):
            events += self._done(turn, entry)
        return tuple(events)

    def interrupted(self) -> tuple[SessionEvent, ...]:
        """All turns that have not ended end now, those that wait included. What was held is not any more."""
        self._is_held = False
        self._held_turn = 0
        ended = tuple(TurnEvent(turn, TurnState.INTERRUPTED) for turn in self._open)
        self._open.clear()
        return ended

    def concerns_nobody(self, event: SessionEvent) -> bool:
        """Whether the event is about a turn that has ended."""
        return isinstance(event, OF_A_TURN) and event.turn not in self._open

    def _done(self, turn: int, entry: _Entry) -> tuple[SessionEvent, ...]:
        if self._is_held or entry.handed_over is None or entry.released < entry.handed_over:
            return ()
        del self._open[turn]
        return (TurnEvent(turn, TurnState.DONE),)
