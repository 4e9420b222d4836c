"""What ears report, and what a session's conversation is asked to do about it: without ears, sound or an engine."""

from __future__ import annotations

import pytest

from avatars.bundle import AvatarBundle
from pipeline.backends import Backends
from pipeline.clock import ManualClock
from pipeline.ears.barge_in import PATIENCE_S
from pipeline.ears.events import NoWords, SpeechBegan, SpeechEnded, SpeechGoesOn, Words
from pipeline.ears.hearing import Hearing, HearingChoice
from pipeline.errors import AskedTooOften
from pipeline.interfaces import Output
from pipeline.listening import Listening
from pipeline.playout import Playout
from pipeline.types import EarsEvent, EarsState, ErrorEvent, SessionEvent, TranscriptEvent

WINDOW_S = 0.032


class Talk:
    """A conversation that notes what it is asked to do. `refuses`: it takes no question."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.asked: list[tuple[str, float | None]] = []
        self.refuses = False

    def ask(self, text: str, speech_ended_s: float | None) -> int:
        if self.refuses:
            raise AskedTooOften("That were many questions.", "Ask again later.")
        self.asked.append((text, speech_ended_s))
        return len(self.asked)

    def hold(self) -> None:
        self.did.append("hold")

    def resume(self) -> None:
        self.did.append("resume")

    def add_output(self, output: Output) -> None:
        self.did.append(output.name)


class House:
    def __init__(self, bundle: AvatarBundle) -> None:
        self.clock = ManualClock()
        self.talk = Talk()
        self.told: list[SessionEvent] = []
        self.playout = Playout(bundle, self.clock)
        hearing = Hearing(Backends({}), {}, HearingChoice())
        self.listening = Listening(
            self.talk, self.talk.ask, self.playout, self.talk.add_output, hearing, self.clock, self.told.append, "me"
        )

    async def utter(self, seconds: float) -> float:
        """Somebody speaks, and then pauses for half a second. Returns the clock time of the last speech."""
        self.listening.take_heard(SpeechBegan(self.clock.now_s()))
        for window in range(1, round(seconds / WINDOW_S) + 1):
            await self.clock.advance(WINDOW_S)
            self.listening.take_heard(SpeechGoesOn(window * WINDOW_S))
        ended_s = self.clock.now_s()
        await self.clock.advance(0.5)
        self.listening.take_heard(SpeechEnded())
        return ended_s

    def find(self, text: str) -> None:
        self.listening.take_heard(Words(text, final=True, language="en"))


@pytest.fixture
def house(small_bundle: AvatarBundle) -> House:
    return House(small_bundle)


async def test_each_question_has_the_time_at_which_its_own_speech_ended(house: House) -> None:
    """Words come late and in order; an utterance that was refused at once is the newest, and takes no other's time."""
    first_s = await house.utter(1.0)
    second_s = await house.utter(0.6)
    await house.utter(0.4)
    house.listening.take_heard(NoWords(busy=True))
    house.find("one")
    house.find("two")
    assert house.talk.asked == [("one", first_s), ("two", second_s)]


async def test_words_after_the_ears_were_switched_off_have_no_known_time(house: House) -> None:
    """What ended before is forgotten with the ears, so that nothing said later takes its time."""
    await house.utter(1.0)
    house.listening.take_heard(EarsEvent(EarsState.OFF))
    house.find("late")
    assert house.talk.asked == [("late", None)]


async def test_the_viewer_reads_the_words_before_they_are_asked(house: House) -> None:
    """Words that are not final are shown and not asked."""
    await house.utter(1.0)
    house.listening.take_heard(Words("what ti", final=False, language="en"))
    assert house.talk.asked == []
    house.find("what time is it")
    assert house.told == [
        TranscriptEvent("what ti", final=False, language="en"),
        TranscriptEvent("what time is it", final=True, language="en"),
    ]


async def test_a_question_that_is_refused_lets_what_is_held_go_on(house: House) -> None:
    """The viewer reads why, as if it had been typed."""
    house.talk.refuses = True
    await house.utter(1.0)
    house.find("once more")
    assert [event.code for event in house.told if isinstance(event, ErrorEvent)] == ["too_often"]
    assert house.talk.did == ["resume"]


async def test_speech_before_an_answer_holds_it_until_no_words_come(house: House) -> None:
    """The answer is on its way: it waits while somebody speaks, and no longer than the rules say."""
    house.playout.ledger.queue()
    await house.utter(0.6)
    assert house.talk.did == ["hold"]
    for _ in range(round(PATIENCE_S * 25) + 1):
        await house.clock.advance(0.04)
        house.listening.time_passes()
    assert house.talk.did == ["hold", "resume"]


async def test_who_speaks_is_there(house: House) -> None:
    """The beginning of speech counts as a sign of life of the viewer."""
    began_s = house.listening.speech_began_s
    await house.clock.advance(30)
    await house.utter(0.6)
    assert house.listening.speech_began_s == began_s + 30


async def test_nothing_is_heard_before_the_microphone_is_switched_on(house: House) -> None:
    """Switching it off first is no error either."""
    house.listening.listen("off")
    assert house.listening.stats() == {"mode": "off"}
    await house.listening.aclose()
    await house.listening.aclose()
