"""Whatever happens to the turns of a session, in whatever order: each ends once, and nothing follows its end."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.ledger import TurnLedger
from pipeline.types import (
    SAMPLES_PER_PICTURE,
    ErrorEvent,
    MediaFrame,
    SessionEvent,
    SubtitleEvent,
    TextEvent,
    TurnEvent,
    TurnState,
)

ENDS = (TurnState.DONE, TurnState.INTERRUPTED)


def a_frame(turn: int, number: int = 0, *events: SessionEvent) -> MediaFrame:
    black = np.zeros((2, 2, 3), np.uint8)
    silence = np.zeros(SAMPLES_PER_PICTURE, np.float32)
    return MediaFrame(black, silence, number, speaking=turn > 0, turn=turn, events=events)


class TurnsOfASession(RuleBasedStateMachine):
    """Turns are queued, work one after the other, hand over frames, end, fail and are interrupted; frames come late."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = TurnLedger()
        self.told: list[SessionEvent] = []
        self.waiting: list[int] = []
        self.working = 0
        self.sent: dict[int, int] = {}  # frames that each turn has given to the playout
        self.total: dict[int, int] = {}  # the same, of turns that will give no more
        self.released: dict[int, int] = {}
        self.on_the_way: list[int] = []  # turns of the frames that wait for their moment

    @rule()
    def queue(self) -> None:
        turn, events = self.ledger.queue()
        assert turn > max(self.sent, default=0)
        self.sent[turn] = 0
        self.waiting.append(turn)
        self.told += events

    @precondition(lambda self: self.waiting and not self.working)
    @rule()
    def begin(self) -> None:
        self.working = self.waiting.pop(0)
        self.told += self.ledger.begun(self.working)

    @precondition(lambda self: self.working)
    @rule()
    def send(self) -> None:
        self.sent[self.working] += 1
        self.on_the_way.append(self.working)

    @precondition(lambda self: self.working)
    @rule()
    def end(self) -> None:
        turn, self.working = self.working, 0
        self.total[turn] = self.sent[turn]
        self.told += self.ledger.handed_over(turn, self.sent[turn])

    @precondition(lambda self: self.on_the_way)
    @rule()
    def release(self) -> None:
        turn = self.on_the_way.pop(0)
        if self.ledger.is_open(turn):
            self.released[turn] = self.released.get(turn, 0) + 1
        self.told += self.ledger.released(a_frame(turn, 0, SubtitleEvent(turn, "words", 0.0, 1.0)))

    @rule()
    def idle(self) -> None:
        assert self.ledger.released(a_frame(0)) == ()

    @rule(notices=st.booleans())
    def interrupt(self, notices: bool) -> None:
        """notices: else the turn that works runs on for a while, and gives frames that nobody wants."""
        open_turns = [turn for turn in self.sent if self.ledger.is_open(turn)]
        events = self.ledger.interrupted()
        assert list(events) == [TurnEvent(turn, TurnState.INTERRUPTED) for turn in open_turns]
        assert not self.ledger.has_open
        self.told += events
        self.waiting.clear()
        if notices:
            self.working = 0

    @invariant()
    def a_turn_that_is_not_open_has_ended_exactly_once_and_last(self) -> None:
        for turn in self.sent:
            own = [event for event in self.told if isinstance(event, TurnEvent | SubtitleEvent) and event.turn == turn]
            states = [event.state for event in own if isinstance(event, TurnEvent)]
            assert states[0] is TurnState.QUEUED
            assert len(set(states)) == len(states)
            ends = [state for state in states if state in ENDS]
            assert len(ends) == (not self.ledger.is_open(turn))
            if ends:
                last = own[-1]
                assert isinstance(last, TurnEvent) and last.state is ends[0]
                assert self.ledger.concerns_nobody(TextEvent(turn, "late"))

    @invariant()
    def a_turn_is_done_when_and_only_when_all_its_frames_were_released(self) -> None:
        for turn in self.sent:
            complete = turn in self.total and self.released.get(turn, 0) == self.total[turn]
            if TurnEvent(turn, TurnState.DONE) in self.told:
                assert complete
            elif self.ledger.is_open(turn):
                assert not complete

    @invariant()
    def the_speaking_turn_is_the_one_that_works(self) -> None:
        assert self.ledger.speaking_turn == (self.working if self.ledger.is_open(self.working) else 0)


TestTurnsOfASession = TurnsOfASession.TestCase
TestTurnsOfASession.settings = settings(max_examples=60, stateful_step_count=40)


def test_a_turn_of_one_frame_speaks_shows_its_subtitle_and_is_done_in_this_order() -> None:
    """All three become true with the same frame; the end comes last."""
    ledger = TurnLedger()
    turn, _ = ledger.queue()
    ledger.begun(turn)
    assert ledger.handed_over(turn, 1) == ()
    subtitle = SubtitleEvent(turn, "Hm.", 0.0, 0.04)
    events = ledger.released(a_frame(turn, 0, subtitle))
    assert events == (TurnEvent(turn, TurnState.SPEAKING), subtitle, TurnEvent(turn, TurnState.DONE))


def test_what_is_about_no_turn_always_concerns_somebody() -> None:
    """An error that is reported as its turn ends still reaches the viewer."""
    assert not TurnLedger().concerns_nobody(ErrorEvent("internal", "It failed."))
