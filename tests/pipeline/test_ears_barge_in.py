"""What somebody's speech does to an avatar that is speaking, whatever comes in whatever order."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.ears.barge_in import LONG_PATIENCE_S, NOTICED_AFTER_S, PATIENCE_S, SETTLING_S, Avatar, BargeIn, Reaction

WINDOW_S = 0.032


class Room:
    """Somebody before an avatar that has been speaking for a while, and what was done about it, with its time."""

    def __init__(self, enabled: bool = True, avatar: Avatar = Avatar.SPEAKING, sounded_s: float = 60.0) -> None:
        self.rules = BargeIn(enabled)
        self.avatar = avatar
        self.sounded_s = sounded_s
        self.now_s = 0.0
        self.speech_s = 0.0
        self.done: list[tuple[Reaction, float]] = []

    @property
    def reactions(self) -> list[Reaction]:
        return [reaction for reaction, _ in self.done]

    def note(self, reaction: Reaction | None) -> None:
        if reaction is not None:
            self.done.append((reaction, round(self.now_s, 3)))
        if reaction is Reaction.ASK:
            self.rules.stopped()  # as an interrupt does

    def begin(self) -> None:
        self.speech_s = 0.0
        self.rules.speech_began(self.avatar, self.sounded_s, self.now_s)

    def speak(self, seconds: float) -> None:
        for _ in range(round(seconds / WINDOW_S)):
            self.speech_s += WINDOW_S
            self.wait(WINDOW_S)
            self.note(self.rules.speech_goes_on(self.avatar, self.sounded_s, self.speech_s, self.now_s))

    def wait(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds / 0.04))):
            self.now_s += seconds / max(1, round(seconds / 0.04))
            self.note(self.rules.passes(self.now_s))

    def end(self) -> None:
        self.note(self.rules.speech_ended(self.now_s))

    def utter(self, seconds: float) -> None:
        self.begin()
        self.speak(seconds)
        self.end()

    def words(self, final: bool = True) -> None:
        self.note(self.rules.words(final)[0])

    def no_words(self) -> None:
        self.note(self.rules.no_words())


def test_speech_over_the_avatar_ducks_it_then_holds_it_and_its_words_are_the_next_question() -> None:
    """150 ms after its first sound, which is noticed 80 ms late, and held so early that there is silence at 300."""
    room = Room()
    room.utter(1.5)
    room.words()
    assert room.reactions == [Reaction.DUCK, Reaction.HOLD, Reaction.ASK]
    (_, ducked_s), (_, held_s), _ = room.done
    assert ducked_s + NOTICED_AFTER_S == pytest.approx(0.15, abs=0.02)
    assert held_s + NOTICED_AFTER_S == pytest.approx(0.28, abs=0.02)


def test_speech_before_a_silent_avatar_is_simply_the_next_question() -> None:
    """There is nothing to hold."""
    room = Room(avatar=Avatar.SILENT)
    room.utter(1.5)
    room.words(final=False)
    room.words()
    assert room.reactions == [Reaction.ASK]


def test_an_answer_waits_for_somebody_who_goes_on_speaking() -> None:
    """Speech that began before the answer holds it before its first sound."""
    room = Room(avatar=Avatar.SILENT, sounded_s=0.0)
    room.begin()
    room.speak(0.5)
    room.avatar = Avatar.THINKING
    room.speak(0.2)
    assert room.reactions == [Reaction.HOLD]


def test_a_short_noise_costs_a_moment_of_quiet() -> None:
    """Not 300 ms: quieter, and as loud as before while the ears still wait for the end of the utterance."""
    room = Room()
    room.begin()
    room.speak(0.15)
    room.wait(1.0)
    room.end()
    room.no_words()
    assert room.reactions == [Reaction.DUCK, Reaction.FULL_VOLUME]


def test_clicks_do_not_add_up() -> None:
    """Keys of a keyboard, a third of a second apart: each is too short to hold it, whatever their sum."""
    room = Room()
    room.begin()
    for _ in range(20):
        room.speak(0.1)
        room.wait(0.3)
    room.end()
    assert Reaction.HOLD not in room.reactions


def test_a_held_answer_goes_on_as_soon_as_it_is_known_that_there_were_no_words() -> None:
    """A long cough: the ears need not be waited for longer."""
    room = Room()
    room.utter(0.6)
    room.wait(0.5)
    room.no_words()
    assert room.reactions == [Reaction.DUCK, Reaction.HOLD, Reaction.RESUME]


@pytest.mark.parametrize(
    ("seconds", "partial", "patience_s"),
    [(0.6, False, PATIENCE_S), (0.6, True, LONG_PATIENCE_S), (2.0, False, LONG_PATIENCE_S)],
)
def test_a_held_answer_goes_on_when_no_words_come_in_time(seconds: float, partial: bool, patience_s: float) -> None:
    """2 s; longer where it certainly was speech and its recogniser is only slow. Words that come later still count."""
    room = Room()
    room.begin()
    room.speak(seconds)
    if partial:
        room.words(final=False)
    room.end()
    ended_s = room.now_s
    room.wait(patience_s - 0.1)
    assert Reaction.RESUME not in room.reactions
    room.wait(0.2)
    reaction, resumed_s = room.done[-1]
    assert reaction is Reaction.RESUME and resumed_s - ended_s == pytest.approx(patience_s, abs=0.05)
    room.words()
    assert room.reactions[-1] is Reaction.ASK


def test_an_answer_stays_held_while_the_words_of_a_sentence_are_looked_for() -> None:
    """A slow recogniser takes many seconds: the avatar is silent until then, and goes on if there are none."""
    room = Room()
    room.utter(2.0)
    room.wait(15.0)
    assert room.reactions[-1] is Reaction.HOLD
    room.no_words()
    assert room.reactions[-1] is Reaction.RESUME


def test_nobody_is_spoken_over_because_what_they_said_before_had_no_words() -> None:
    """A cough, and then a question: the answer stays held while the question goes on."""
    room = Room()
    room.utter(0.5)
    room.begin()
    room.speak(0.5)
    room.no_words()
    room.wait(3.0)
    assert Reaction.RESUME not in room.reactions
    room.end()
    room.words()
    assert room.reactions == [Reaction.DUCK, Reaction.HOLD, Reaction.ASK]


def test_while_cancellers_settle_nothing_interrupts() -> None:
    """What is heard in the first second and a half of sound may be the avatar itself, words or not."""
    room = Room(sounded_s=SETTLING_S - 1.0)
    room.begin()
    room.speak(0.9)
    room.words(final=False)
    room.end()
    room.words()
    assert room.reactions == [Reaction.IGNORE, Reaction.IGNORE]


def test_who_speaks_on_when_cancellers_have_settled_is_heard() -> None:
    """What was said before counts for the words, not for the 300 ms."""
    room = Room(sounded_s=SETTLING_S - 1.0)
    room.begin()
    room.speak(0.9)
    room.sounded_s = SETTLING_S
    room.speak(0.1)
    assert room.reactions == [Reaction.DUCK]
    room.speak(0.5)
    room.end()
    room.words()
    assert room.reactions == [Reaction.DUCK, Reaction.HOLD, Reaction.ASK]


def test_where_interrupting_is_switched_off_speech_over_the_avatar_is_nobodys() -> None:
    """It counts again when the avatar is silent, and a key to talk always counts."""
    room = Room(enabled=False)
    room.utter(2.0)
    room.words()
    assert room.reactions == [Reaction.IGNORE]
    room.avatar = Avatar.SILENT
    room.utter(2.0)
    room.words()
    assert room.reactions[1:] == [Reaction.ASK]
    room.avatar = Avatar.SPEAKING
    room.note(room.rules.pressed(room.avatar, room.now_s))
    room.utter(2.0)
    room.rules.released(room.now_s)
    room.words()
    assert room.reactions[2:] == [Reaction.HOLD, Reaction.ASK]


def test_a_key_to_talk_holds_at_once_and_for_as_long_as_it_is_down() -> None:
    """However long nobody says anything; what follows its release decides."""
    room = Room(sounded_s=0.2)
    room.note(room.rules.pressed(room.avatar, room.now_s))
    assert room.reactions == [Reaction.HOLD]
    room.wait(20.0)
    room.rules.released(room.now_s)
    room.wait(PATIENCE_S + 0.1)
    assert room.reactions == [Reaction.HOLD, Reaction.RESUME]


def test_ears_that_are_switched_off_leave_nothing_held() -> None:
    """Nobody will report words any more."""
    room = Room()
    room.begin()
    room.speak(0.5)
    room.note(room.rules.switched_off())
    room.wait(10)
    assert room.reactions == [Reaction.DUCK, Reaction.HOLD, Reaction.RESUME]


class AnyRoom(RuleBasedStateMachine):
    """Speech, words, keys, failures and interrupts in any order, as the ears may report them."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room()
        self.is_open = False
        self.is_pressed = False
        self.waiting = 0
        self.volume = 1.0
        self.held = False
        self.seen = 0

    @precondition(lambda self: not self.is_open)
    @rule()
    def begin(self) -> None:
        self.is_open = True
        self.room.begin()

    @precondition(lambda self: self.is_open)
    @rule(seconds=st.floats(0.03, 2))
    def speak(self, seconds: float) -> None:
        self.room.speak(seconds)

    @precondition(lambda self: self.is_open)
    @rule()
    def end(self) -> None:
        self.is_open = False
        self.waiting += 1
        self.room.end()

    @precondition(lambda self: self.waiting)
    @rule(found=st.booleans())
    def find(self, found: bool) -> None:
        self.waiting -= 1
        if found:
            self.room.words()
        else:
            self.room.no_words()

    @rule()
    def find_early(self) -> None:
        self.room.words(final=False)

    @rule(seconds=st.floats(0.04, 8))
    def wait(self, seconds: float) -> None:
        self.room.wait(seconds)

    @rule()
    def press(self) -> None:
        self.is_pressed = True
        self.room.note(self.room.rules.pressed(self.room.avatar, self.room.now_s))

    @rule()
    def release(self) -> None:
        self.is_pressed = False
        self.room.rules.released(self.room.now_s)

    @rule()
    def fail(self) -> None:
        self.is_open = self.is_pressed = False
        self.waiting = 0
        self.room.note(self.room.rules.switched_off())

    @rule(avatar=st.sampled_from(Avatar), sounded_s=st.sampled_from((0.5, 30.0)))
    def change(self, avatar: Avatar, sounded_s: float) -> None:
        """Another turn: what was said before has ended, or was interrupted."""
        self.room.rules.stopped()
        self.volume, self.held = 1.0, False
        self.room.avatar, self.room.sounded_s = avatar, sounded_s

    @invariant()
    def reactions_make_sense(self) -> None:
        for reaction in self.room.reactions[self.seen :]:
            if reaction is Reaction.DUCK:
                assert self.volume == 1.0 and not self.held
                self.volume = 0.25
            elif reaction is Reaction.FULL_VOLUME:
                assert self.volume == 0.25 and not self.held
                self.volume = 1.0
            elif reaction is Reaction.HOLD:
                assert not self.held
                self.held, self.volume = True, 1.0
            elif reaction is Reaction.RESUME:
                assert self.held
                self.held = False
            elif reaction is Reaction.ASK:
                self.held, self.volume = False, 1.0
        self.seen = len(self.room.reactions)

    @invariant()
    def nothing_stays_held_when_nobody_speaks(self) -> None:
        if self.is_open or self.is_pressed or not self.held:
            return
        self.room.wait(LONG_PATIENCE_S + 0.1)
        self.reactions_make_sense()
        assert not self.held


TestAnyRoom = AnyRoom.TestCase
TestAnyRoom.settings = settings(max_examples=40, stateful_step_count=30)
