"""Speech that somebody speaks over: it gets quieter, is held, and goes on or ends, and nothing of it is lost."""

import weakref
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.clock import ManualClock
from pipeline.idle import SWAY_PICTURES
from pipeline.playout import FADE_SAMPLES, LEAD_PICTURES, Playout
from pipeline.redrawing import DrawnFrame, Subtitle
from pipeline.spoken_frames import REMEMBERED_PICTURES, Played
from pipeline.types import (
    FPS,
    SAMPLES_PER_PICTURE,
    HoldEvent,
    LoopPosition,
    MediaFrame,
    SessionEvent,
    SubtitleEvent,
    TurnEvent,
    TurnState,
)

LOOP = 60


class LongBundle:
    """All that a playout asks of an avatar."""

    loop = np.arange(LOOP)


class Talk:
    """A playout whose frames are released one by one, and what its ledger told. Sound is how far the turn has come."""

    def __init__(self, *, keeps_pictures: bool = True) -> None:
        self.playout = Playout(LongBundle(), ManualClock())  # type: ignore[arg-type]
        self.playout.keeps_pictures = keeps_pictures
        self.ledger = self.playout.ledger
        self.told: list[SessionEvent] = []
        self.frames: list[MediaFrame] = []
        self.sent = 0

    def begin(self) -> int:
        turn, events = self.ledger.queue()
        self.told += [*events, *self.ledger.begun(turn)]
        self.sent = 0
        return turn

    def send(self, turn: int, subtitle: Subtitle | None = None) -> None:
        self.sent += 1
        picture = np.full((2, 2, 3), self.sent, np.uint8)
        place = self.playout.cursor.reserve()
        audio = np.full(SAMPLES_PER_PICTURE, 0.5, np.float32)
        assert self.playout.spoken.offer(DrawnFrame(picture, audio, turn, place, 0, self.sent / 100, subtitle))

    def say(self, frames: int) -> int:
        turn = self.begin()
        for index in range(frames):
            self.send(turn, Subtitle("Words.", 4.0) if index == 0 else None)
        self.told += self.ledger.handed_over(turn, frames)
        return turn

    def release(self, frames: int = 1) -> None:
        for _ in range(frames):
            frame = self.playout.release()
            self.frames.append(frame)
            self.told += self.ledger.released(frame)

    def hold(self) -> None:
        self.playout.hold()
        self.told += self.ledger.held()

    def resume(self) -> None:
        self.told += self.ledger.resumed(self.playout.resume())

    def interrupt(self) -> None:
        self.playout.interrupt()
        self.told += self.ledger.interrupted()

    @property
    def spoken(self) -> list[int]:
        """What was released, by the place of the frame within its turn; those that only fade left out."""
        return [int(frame.picture[0, 0, 0]) for frame in self.frames if frame.turn]  # type: ignore[index]


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_ducked_speech_is_12_db_quieter_and_its_volume_never_jumps(talk: Talk) -> None:
    """The volume goes down, and up again, within 20 ms."""
    talk.say(6)
    talk.release(2)
    talk.playout.volume.duck()
    talk.release(2)
    talk.playout.volume.restore()
    talk.release(2)
    sound = np.concatenate([frame.audio for frame in talk.frames])
    assert np.abs(np.diff(sound)).max() < 0.001
    levels = [float(frame.audio[FADE_SAMPLES]) for frame in talk.frames]
    assert levels == pytest.approx([0.5, 0.5, 0.125, 0.125, 0.5, 0.5])


def test_held_speech_is_silent_within_20_ms(talk: Talk) -> None:
    """One picture fades out, from whatever volume it had; then idle pictures come, as long as it takes."""
    talk.say(6)
    talk.release()
    talk.playout.volume.duck()
    talk.release()
    talk.hold()
    talk.release(20)
    fading, *after = talk.frames[2:]
    assert fading.speaking and fading.audio[0] == pytest.approx(0.125) and not fading.audio[FADE_SAMPLES:].any()
    assert not any(frame.speaking or frame.audio.any() for frame in after)
    assert talk.playout.starved_pictures == 0
    assert talk.told[-1] == HoldEvent(1, held=True)


def test_held_speech_goes_on_shortly_before_the_place_where_it_was_cut(talk: Talk) -> None:
    """Every frame is heard, the last 100 ms before the cut twice, and the turn is done with its last."""
    turn = talk.say(9)
    talk.release(6)
    talk.hold()
    talk.release(30)
    assert TurnEvent(turn, TurnState.DONE) not in talk.told
    talk.resume()
    talk.release(30)
    assert talk.spoken == [1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9]
    own = [event for event in talk.told if isinstance(event, TurnEvent | HoldEvent)]
    assert own[3:] == [HoldEvent(turn, held=True), HoldEvent(turn, held=False), TurnEvent(turn, TurnState.DONE)]
    again = next(frame for frame in talk.frames[20:] if frame.turn)
    assert again.audio[0] == 0.0 and again.audio[FADE_SAMPLES:] == pytest.approx(0.5)


def test_a_turn_whose_last_frame_was_released_before_it_was_held_has_ended(talk: Talk) -> None:
    """There is nothing left to hold, so nothing is told, and nothing comes back."""
    talk.say(4)
    talk.release(4)
    talk.hold()
    talk.release(5)
    talk.resume()
    talk.release(40)
    assert talk.spoken == [1, 2, 3, 4]
    assert not any(isinstance(event, HoldEvent) for event in talk.told)


def test_what_a_viewer_did_not_hear_is_released_again(talk: Talk) -> None:
    """The delay on the way counts; a viewer who says what was heard last knows better."""
    talk.playout.viewer_delay_s = 0.2
    talk.say(10)
    talk.release(8)
    talk.hold()
    assert talk.playout.reached == Played(1, 0, 0.03)
    talk.playout.note_reached(1e308)  # nobody has heard more than was released
    talk.playout.note_reached(5.4 / FPS)
    assert talk.playout.reached == Played(1, 0, 0.05)
    talk.release(30)
    talk.resume()
    talk.release(30)
    first = 5 - LEAD_PICTURES + 1
    assert talk.spoken == [*range(1, 9), *range(first, 11)]


def test_no_more_than_600_ms_come_again(talk: Talk) -> None:
    """Pictures are large, so only so many are kept, and none once nothing is being said."""
    turn = talk.begin()
    talk.playout.viewer_delay_s = 10.0
    for _ in range(20):
        talk.send(turn)
        talk.release()
    talk.hold()
    assert len(talk.playout.resume()) == REMEMBERED_PICTURES


def test_released_pictures_are_kept_only_for_a_session_that_has_listened() -> None:
    """Fifteen pictures of each session are megabytes. Without them the sound comes again, over a still mouth."""
    talk = Talk(keeps_pictures=False)
    talk.say(10)
    pictures = [weakref.ref(drawn.picture) for drawn in talk.playout.spoken.waiting()]
    talk.release(8)
    talk.frames.clear()
    assert [number for number, picture in enumerate(pictures, 1) if picture() is not None] == [9, 10]
    talk.hold()
    talk.release(30)
    talk.resume()
    talk.release(30)
    again = [frame for frame in talk.frames if frame.turn]
    assert [isinstance(frame.picture, LoopPosition) for frame in again] == [True] * LEAD_PICTURES + [False] * 2
    assert all(frame.audio[FADE_SAMPLES:].all() for frame in again)
    places = [frame.loop_index for frame in again]
    assert [frame.picture.index for frame in again if isinstance(frame.picture, LoopPosition)] == places[:LEAD_PICTURES]


def test_the_subtitle_comes_again_for_the_rest_of_its_sentence(talk: Talk) -> None:
    """The sentence ends later than was said at its start."""
    talk.say(9)
    talk.release(6)
    talk.hold()
    talk.release(30)
    talk.resume()
    talk.release(30)
    first, again = [event for event in talk.told if isinstance(event, SubtitleEvent)]
    begins = next(frame.number for frame in talk.frames[7:] if frame.turn)
    assert (first.start_s, first.end_s) == (0.0, 4.0)
    assert again.text == first.text
    assert again.start_s == begins / FPS
    assert again.end_s - again.start_s == pytest.approx(4.0 * 0.97)


def test_an_interrupted_hold_leaves_nothing_behind(talk: Talk) -> None:
    """What was held is forgotten, the turn ends once, and the next one is as loud and as whole as any."""
    talk.say(9)
    talk.release(5)
    talk.hold()
    talk.release(10)
    talk.interrupt()
    talk.resume()
    talk.say(3)
    talk.release(20)
    assert talk.spoken == [1, 2, 3, 4, 5, 1, 2, 3]
    ends = [event for event in talk.told if isinstance(event, TurnEvent) and event.turn == 1]
    assert [event.state for event in ends[2:]] == [TurnState.SPEAKING, TurnState.INTERRUPTED]
    assert all(frame.audio == pytest.approx(0.5) for frame in talk.frames[-30:] if frame.turn == 2)


def test_a_head_whose_speech_is_held_moves_and_is_back_when_it_goes_on(talk: Talk) -> None:
    """It does not stand still for seconds, it never jumps, and nobody waits longer than half a second for it."""
    talk.release(30)
    talk.say(10)
    talk.release(8)
    talk.hold()
    talk.release(70)
    places = [frame.loop_index for frame in talk.frames]
    assert len(set(places[40:])) > SWAY_PICTURES
    talk.resume()
    asked = len(talk.frames)
    talk.release(40)
    places = [frame.loop_index for frame in talk.frames]
    steps = {(after - before + LOOP // 2) % LOOP - LOOP // 2 for before, after in pairwise(places)}
    assert steps <= {-1, 0, 1}
    begins = next(at for at, frame in enumerate(talk.frames) if at >= asked and frame.turn)
    assert begins - asked <= SWAY_PICTURES


def test_an_answer_that_has_not_begun_waits_while_somebody_speaks(talk: Talk) -> None:
    """Held before its first picture, it begins after the hold, and the page is told of no hold: nothing was cut."""
    turn = talk.begin()
    talk.hold()
    talk.send(turn)
    talk.release(10)
    assert talk.spoken == []
    talk.resume()
    talk.release(20)
    assert talk.spoken == [1]
    assert not any(isinstance(event, HoldEvent) for event in talk.told)


class HeldTurns(RuleBasedStateMachine):
    """Turns speak, are held, resumed, ducked and interrupted at any time; the viewer hears with any delay."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk()
        self.turn = 0
        self.sent: dict[int, int] = {}

    @precondition(lambda self: not self.turn)
    @rule()
    def begin(self) -> None:
        self.turn = self.talk.begin()
        self.sent[self.turn] = 0

    @precondition(lambda self: self.turn)
    @rule(frames=st.integers(1, 12))
    def speak(self, frames: int) -> None:
        for _ in range(frames):
            if len(self.talk.playout.spoken) < 10:
                self.talk.send(self.turn)
                self.sent[self.turn] += 1

    @precondition(lambda self: self.turn)
    @rule()
    def end(self) -> None:
        self.talk.told += self.talk.ledger.handed_over(self.turn, self.sent[self.turn])
        self.turn = 0

    @rule(frames=st.integers(1, 30))
    def release(self, frames: int) -> None:
        self.talk.release(frames)

    @rule(delay_s=st.sampled_from((0.0, 0.1, 0.4, 3.0)))
    def hold(self, delay_s: float) -> None:
        self.talk.playout.viewer_delay_s = delay_s
        self.talk.hold()

    @rule(late_s=st.floats(0, 1))
    def hear(self, late_s: float) -> None:
        self.talk.playout.note_reached(self.talk.playout.number / FPS - late_s)

    @rule()
    def resume(self) -> None:
        self.talk.resume()

    @rule()
    def duck(self) -> None:
        self.talk.playout.volume.duck()

    @rule()
    def interrupt(self) -> None:
        self.talk.interrupt()
        self.turn = 0

    @invariant()
    def each_turn_ends_once_and_last(self) -> None:
        for turn in self.sent:
            own = [event for event in self.talk.told if getattr(event, "turn", 0) == turn]
            states = [event.state for event in own if isinstance(event, TurnEvent)]
            assert len(set(states)) == len(states)
            ended = [state for state in states if state in (TurnState.DONE, TurnState.INTERRUPTED)]
            assert len(ended) == (not self.talk.ledger.is_open(turn))
            if ended:
                assert isinstance(own[-1], TurnEvent)

    @invariant()
    def what_is_done_was_released_whole_and_in_order(self) -> None:
        for turn, sent in self.sent.items():
            places = [int(frame.picture[0, 0, 0]) for frame in self.talk.frames if frame.turn == turn]  # type: ignore[index]
            news = list(dict.fromkeys(places))
            assert news == list(range(1, len(news) + 1))
            if TurnEvent(turn, TurnState.DONE) in self.talk.told:
                assert len(news) == sent and (not sent or places[-1] == sent)

    @invariant()
    def holds_are_told_in_pairs(self) -> None:
        held = False
        for event in self.talk.told:
            if isinstance(event, HoldEvent):
                assert event.held is not held
                held = event.held
            elif isinstance(event, TurnEvent) and event.state is TurnState.INTERRUPTED:
                held = False

    @invariant()
    def the_head_never_jumps(self) -> None:
        places = [frame.loop_index for frame in self.talk.frames]
        for before, after in pairwise(places):
            assert (after - before) % LOOP in (0, 1, LOOP - 1)


TestHeldTurns = HeldTurns.TestCase
TestHeldTurns.settings = settings(max_examples=60, stateful_step_count=30)
