"""TurnLedger: the state of each turn of a session. It does no I/O, and nothing else keeps this state.

The session reports what happens, and passes on the events that the ledger returns:

    queued -> begun -> released, once per frame of the turn -> done
    and from any of these, at any time -> interrupted

A turn is done once it has handed over all its frames and the last of them was released, whichever comes later. A
turn that failed has handed over the frames it had, so it ends as done, too. The error is reported by an event of
its own.

Between `held` and `resumed` no frames are released, and no turn is done: the last released frames may not have been
heard, and will be released again.
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
"""Events that are dropped if their turn has ended."""


@dataclass(slots=True)
class _Entry:
    state: TurnState
    released: int = 0
    "number of frames of this turn that were released"
    handed_over: int | None = None
    "number of frames the turn has in all; None while more may come"


class TurnLedger:
    """Each method returns the events that it causes, in order.

    Late reports about a turn that has ended change nothing and return no events: the parts of an interrupted turn run
    on for a few steps of the event loop until they notice. So every turn ends exactly once, and no event follows its
    end. Only open turns are kept.
    """

    def __init__(self) -> None:
        self._open: dict[int, _Entry] = {}
        self._is_held = False
        self._held_turn = 0
        self.last_turn = 0
        "Id of the turn queued last; 0 before the first."

    @property
    def has_open(self) -> bool:
        """Whether any turn is open: queued, and not ended."""
        return bool(self._open)

    def is_open(self, turn: int) -> bool:
        """Whether the turn was queued and has not ended. Only frames of open turns are shown."""
        return turn in self._open

    def state(self, turn: int) -> TurnState | None:
        """Return the state of an open turn; None if it has ended."""
        entry = self._open.get(turn)
        return None if entry is None else entry.state

    @property
    def speaking_turn(self) -> int:
        """Id of the turn that has begun and may still hand over frames; 0 if there is none."""
        for turn, entry in self._open.items():
            if entry.state is not TurnState.QUEUED and entry.handed_over is None:
                return turn
        return 0

    def queue(self) -> tuple[int, tuple[SessionEvent, ...]]:
        """Add a turn after all others. Returns its id and the events."""
        self.last_turn += 1
        self._open[self.last_turn] = _Entry(TurnState.QUEUED)
        return self.last_turn, (TurnEvent(self.last_turn, TurnState.QUEUED),)

    def begun(self, turn: int) -> tuple[SessionEvent, ...]:
        """Note that work on the turn has begun."""
        entry = self._open.get(turn)
        if entry is None:
            return ()
        entry.state = TurnState.THINKING
        return (TurnEvent(turn, TurnState.THINKING),)

    def released(self, frame: MediaFrame) -> tuple[SessionEvent, ...]:
        """Note that a frame was released, of a turn or of none. The result includes the frame's own events."""
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
        """Note that the turn has handed over `frames` frames, and no more will come: it is complete, or it failed."""
        entry = self._open.get(turn)
        if entry is None:
            return ()
        entry.handed_over = frames
        return self._done(turn, entry)

    def held(self) -> tuple[SessionEvent, ...]:
        """Note that nothing is released until resumed() or interrupted(). Idempotent."""
        if self._is_held:
            return ()
        self._is_held = True
        speaking = [turn for turn, entry in self._open.items() if entry.state is TurnState.SPEAKING]
        self._held_turn = speaking[-1] if speaking else 0
        return (HoldEvent(self._held_turn, held=True),) if speaking else ()

    def resumed(self, again: Iterable[int] = ()) -> tuple[SessionEvent, ...]:
        """Note that speech goes on. again: the turn of each frame that will be released again."""
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
        """End all open turns, including those that wait and those that are held."""
        self._is_held = False
        self._held_turn = 0
        ended = tuple(TurnEvent(turn, TurnState.INTERRUPTED) for turn in self._open)
        self._open.clear()
        return ended

    def concerns_nobody(self, event: SessionEvent) -> bool:
        """Whether the event is about a turn that has ended, so that nobody needs it."""
        return isinstance(event, OF_A_TURN) and event.turn not in self._open

    def _done(self, turn: int, entry: _Entry) -> tuple[SessionEvent, ...]:
        if self._is_held or entry.handed_over is None or entry.released < entry.handed_over:
            return ()
        del self._open[turn]
        return (TurnEvent(turn, TurnState.DONE),)
