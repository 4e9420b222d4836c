"""One session's ears, from the samples of a microphone to words, with networks that listen to levels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from microphone import InlineExecutor, LoudnessVad, RecordingRecognizer, SameSound, SetEndpoint, pieces, quiet, speech

from pipeline import registry
from pipeline.backends import Backends
from pipeline.clock import ManualClock
from pipeline.ears.ears import BACKLOG_S, LOADING_BACKLOG_S, Ears
from pipeline.ears.events import Failed, Heard, NoWords, SpeechBegan, SpeechEnded, SpeechGoesOn, Words
from pipeline.ears.hearing import Hearing, HearingChoice
from pipeline.errors import BackendUnavailable, RecognitionError
from pipeline.types import EarsEvent, FloatArray, ListenMode


class SetBackends(Backends):
    """Hands out what the test made. While `loading`, it is not loaded yet."""

    def __init__(self) -> None:
        super().__init__({})
        self.recognizer, self.endpoint = RecordingRecognizer(), SetEndpoint()
        self.loading = asyncio.Event()
        self.loading.set()
        self.error: Exception | None = None

    async def get(self, kind: str, name: str, device: object = None) -> object:
        await self.loading.wait()
        if self.error is not None:
            raise self.error
        return {"vad": LoudnessVad(), "endpoint": self.endpoint, "asr": self.recognizer}[kind]


@dataclass
class House:
    backends: SetBackends
    hearing: Hearing
    clock: ManualClock
    heard: list[Heard] = field(default_factory=list)
    ears: Ears = field(init=False)

    def __post_init__(self) -> None:
        self.ears = Ears(self.hearing, self.clock, self.heard.append)
        self.ears.start()

    async def listen(self, mode: ListenMode, language: str | None = None) -> None:
        self.ears.listen(mode, language)
        await self.settled()

    async def hear(self, *sounds: FloatArray) -> None:
        """As fast as it is taken: time is counted in samples."""
        for piece in pieces(np.concatenate(sounds)):
            self.ears.hear(piece)
            await self.settled()

    async def settled(self) -> None:
        """Until all that can happen has happened: each step takes a few turns of the event loop."""
        for _ in range(40):
            await asyncio.sleep(0)

    def all(self, *kinds: type) -> list[Heard]:
        return [event for event in self.heard if isinstance(event, kinds)]

    @property
    def states(self) -> list[str]:
        return [str(event.state) for event in self.heard if isinstance(event, EarsEvent)]


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    backends = SetBackends()
    choice = HearingChoice(asr="faster-whisper", vad="silero", endpoint="smart-turn")
    hearing = Hearing(backends, {}, choice, InlineExecutor())
    monkeypatch.setattr(registry, "create", lambda kind, name: None)
    house = House(backends, hearing, ManualClock())
    yield house
    await house.ears.aclose()
    await house.ears.aclose()
    await hearing.aclose()
    await hearing.aclose()


async def test_a_sentence_becomes_words(house: House) -> None:
    """Its beginning, its going on, its end and its words are reported in order, and the states with them."""
    await house.listen("open", "en")
    await house.hear(quiet(1), speech(1), quiet(2))
    assert [type(event) for event in house.all(SpeechBegan, SpeechEnded, Words)] == [SpeechBegan, SpeechEnded, Words]
    assert house.heard[-2] == Words("hello", final=True, language="en")
    assert house.states == ["listening", "hearing", "recognising", "listening"]
    spoken_s = [event.speech_s for event in house.all(SpeechGoesOn)]
    assert spoken_s == sorted(spoken_s)
    assert spoken_s[-1] == pytest.approx(1.0, abs=0.07)
    assert house.backends.recognizer.heard_s == [pytest.approx(0.3 + 1 + 1.2, abs=0.1)]


async def test_a_pause_that_sounds_like_the_end_is_the_end(house: House) -> None:
    """The detector is asked once in a pause of 200 ms; if it is sure, the words are looked for at once."""
    house.backends.endpoint.answer = 0.9
    await house.listen("open")
    await house.hear(speech(1), quiet(0.25))
    assert len(house.all(Words)) == 1
    assert house.backends.endpoint.asked == [pytest.approx(1.2, abs=0.1)]


async def test_a_pause_in_mid_sentence_is_waited_out(house: House) -> None:
    """An unsure detector leaves it to the silence; what is said after the pause belongs to the same utterance."""
    await house.listen("open")
    await house.hear(speech(1), quiet(0.6), speech(1), quiet(0.6))
    assert not house.all(SpeechEnded)
    await house.hear(quiet(0.7))
    assert len(house.all(SpeechBegan)) == len(house.all(Words)) == 1
    assert len(house.backends.endpoint.asked) == 2


async def test_a_cough_asks_no_recogniser(house: House) -> None:
    """Less than 0.3 s of speech is no utterance with words, whatever the end-of-turn detector would say."""
    house.backends.endpoint.answer = 1.0
    await house.listen("open")
    await house.hear(speech(0.2), quiet(1.3))
    assert [type(event) for event in house.all(SpeechEnded, NoWords, Words)] == [SpeechEnded, NoWords]
    assert not house.backends.recognizer.heard_s
    assert not house.backends.endpoint.asked


async def test_noise_without_words_is_reported_as_that(house: House) -> None:
    """A recogniser that finds nothing leads to NoWords."""
    house.backends.recognizer.texts = [""]
    await house.listen("open")
    await house.hear(speech(1), quiet(1.3))
    assert house.all(Words, NoWords) == [NoWords()]


async def test_a_held_key_is_one_question(house: House) -> None:
    """From hold to off all is one utterance, pauses and all; then nothing more is listened to."""
    await house.listen("hold", "zh")
    await house.hear(speech(1), quiet(3), speech(1))
    assert not house.all(SpeechEnded)
    await house.listen("off")
    assert house.all(Words) == [Words("hello", final=True, language="zh")]
    assert house.states == ["hearing", "recognising", "off"]
    await house.hear(speech(1), quiet(2))
    assert len(house.all(SpeechBegan)) == 1
    assert house.backends.recognizer.heard_s == [pytest.approx(5, abs=0.1)]


async def test_a_key_held_in_silence_has_no_words(house: House) -> None:
    """Nobody asks a recogniser about silence."""
    await house.listen("hold")
    await house.hear(quiet(3))
    await house.listen("off")
    assert house.all(Words, NoWords) == [NoWords()]


async def test_switching_off_ends_what_is_being_said(house: House) -> None:
    """What was said until then is recognised; no sound is taken afterwards."""
    await house.listen("open")
    await house.hear(speech(1))
    await house.listen("off")
    await house.hear(speech(1), quiet(2))
    assert len(house.all(Words)) == 1
    assert house.states[-1] == "off"


async def test_a_microphone_that_falls_silent_in_mid_word_was_unplugged(house: House) -> None:
    """Nothing arrives for a second, twice: by then the silence is long enough for the end."""
    await house.listen("open")
    await house.hear(speech(1))
    for _ in range(2):
        await house.clock.advance(1.0)
        await house.settled()
    assert len(house.all(Words)) == 1


async def test_where_nobody_speaks_and_nothing_is_hurried_sound_is_looked_at_in_longer_pieces(house: House) -> None:
    """A tenth of a second at a time, until somebody begins to speak; what is heard is the same."""
    canceller, heard, hurried = Canceller(), [], [False]
    ears = Ears(house.hearing, house.clock, heard.append, canceller, is_hurried=lambda: hurried[0])
    ears.start()
    ears.listen("open")
    await house.settled()

    async def goes(sound: FloatArray) -> int:
        before = len(canceller.told)
        for piece in pieces(sound):
            ears.hear(piece)
            await house.settled()
        return len(canceller.told) - before

    assert await goes(quiet(1)) == 10
    hurried[0] = True
    assert await goes(quiet(1)) == 25
    await ears.aclose()


async def test_sound_that_nobody_has_time_for_is_dropped_and_counted(house: House) -> None:
    """Of three seconds that arrive at once the first is dropped; while networks are loaded, ten seconds wait."""
    await house.listen("open")
    for piece in pieces(np.concatenate([speech(1), quiet(BACKLOG_S)])):
        house.ears.hear(piece)
    await house.settled()
    assert house.ears.stats()["dropped_ms"] == 1000
    assert not house.all(SpeechBegan)


async def test_what_is_said_while_networks_are_loaded_is_heard(house: House) -> None:
    """Push to talk, the first time: the key is released before anything is loaded."""
    house.backends.loading.clear()
    await house.listen("hold")
    await house.hear(speech(LOADING_BACKLOG_S - 1))
    await house.listen("off")
    assert not house.heard
    house.backends.loading.set()
    await house.settled()
    assert house.all(Words) == [Words("hello", final=True, language="en")]
    assert house.ears.stats()["dropped_ms"] == 0


async def test_networks_that_cannot_be_loaded_are_an_error_and_may_be_tried_again(house: House) -> None:
    """The viewer is told why; the next time it may work."""
    house.backends.error = BackendUnavailable("faster-whisper", "damaged", "Fetch it.")
    await house.listen("open")
    await house.hear(speech(1), quiet(2))
    assert house.heard == [Failed(house.backends.error)]
    house.backends.error = None
    await house.listen("off")
    await house.listen("open")
    await house.hear(speech(1), quiet(2))
    assert len(house.all(Words)) == 1


async def test_a_failure_of_the_recogniser_costs_one_utterance(house: House) -> None:
    """It is reported in the place of its words; the next utterance is recognised."""
    error = RecognitionError("It failed.", "Say it again.")
    house.backends.recognizer.texts = [error, "again"]
    await house.listen("open")
    await house.hear(speech(1), quiet(1.5), speech(1), quiet(1.5))
    assert house.all(Words, Failed) == [Failed(error), Words("again", final=True, language="en")]


async def test_words_come_in_the_order_of_utterances(house: House) -> None:
    """While one is looked at, others wait; more than the bound are given up as busy."""
    recognizer = house.backends.recognizer
    recognizer.may_answer.clear()
    recognizer.texts = [f"number {number}" for number in range(7)]
    await house.listen("open")
    for _ in range(7):
        await house.hear(speech(0.5), quiet(1.5))
    assert house.all(NoWords) == [NoWords(busy=True)] * 2
    recognizer.may_answer.set()
    await house.settled()
    assert [event.text for event in house.all(Words)] == [f"number {number}" for number in range(5)]


async def test_a_long_speech_is_recognised_in_parts(house: House) -> None:
    """40 s: the first part is shown as it is known, the final words are those of both parts."""
    house.backends.recognizer.texts = ["first part", "second part"]
    await house.listen("open")
    await house.hear(speech(40), quiet(1.5))
    assert house.all(Words) == [
        Words("first part", final=False, language="en"),
        Words("first part second part", final=True, language="en"),
    ]
    assert sum(house.backends.recognizer.heard_s) == pytest.approx(40 + 1.2, abs=0.2)
    assert max(house.backends.recognizer.heard_s) <= 30


async def test_a_quick_recogniser_shows_words_as_they_come(house: House) -> None:
    """About every second; the run that was begun in the last pause is the one whose words are asked."""
    house.backends.recognizer.partial = True
    house.backends.recognizer.texts = ["I", "I would", "I would like"]
    await house.listen("open")
    await house.hear(speech(2.5), quiet(1.5))
    assert [(event.text, event.final) for event in house.all(Words)] == [
        ("I", False),
        ("I would", False),
        ("I would like", False),
        ("I would like", True),
    ]
    assert len(house.backends.recognizer.heard_s) == 3


async def test_closing_stops_everything(house: House) -> None:
    """No task is left, and nothing is reported afterwards."""
    house.backends.recognizer.may_answer.clear()
    await house.listen("open")
    await house.hear(speech(1), quiet(1.5), speech(1))
    before = len(house.heard)
    await house.ears.aclose()
    house.backends.recognizer.may_answer.set()
    await house.settled()
    assert len(house.heard) == before
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("ears")]


async def test_closing_ends_runs_that_were_begun_early(house: House) -> None:
    """Also those of utterances that wait for their words behind another."""
    house.backends.recognizer.partial = True
    house.backends.recognizer.may_answer.clear()
    await house.listen("open")
    await house.hear(speech(1.5), quiet(1.5), speech(1.5), quiet(1.5))
    await house.ears.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("ears")]


class Canceller(SameSound):
    """Remembers what it was told, in order; what it gives back is silence."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []

    def cancel(self, samples: FloatArray, arrived_s: float) -> FloatArray:
        self.told.append(("cancel", arrived_s))
        return np.zeros_like(samples)

    def skip(self, count: int) -> None:
        self.told.append(("skip", count))

    def restart(self) -> None:
        self.told.append(("restart", 0))


async def test_a_canceller_hears_all_sound_with_its_time(house: House) -> None:
    """It gets what has arrived, and what it gives back is what is listened to."""
    canceller, heard = Canceller(), []
    ears = Ears(house.hearing, house.clock, heard.append, canceller)
    ears.start()
    ears.listen("open")
    await house.clock.advance(5.0)
    for piece in pieces(speech(1)):
        ears.hear(piece)
        await house.settled()
    await ears.aclose()
    assert canceller.told == [("restart", 0)] + [("cancel", 5.0)] * 25
    assert [type(event) for event in heard] == [EarsEvent]


async def test_a_canceller_is_told_how_much_was_dropped_and_that_nobody_listened(house: House) -> None:
    """What it compares the sound with has to move by as much."""
    canceller = Canceller()
    ears = Ears(house.hearing, house.clock, lambda heard: None, canceller)
    ears.start()
    ears.listen("open")
    await house.settled()
    for piece in pieces(speech(BACKLOG_S + 0.1), 0.1):
        ears.hear(piece)
    await house.settled()
    assert [told for told in canceller.told if told[0] == "skip"] == [("skip", 1600)]
    assert canceller.told[1] == ("skip", 1600)
    ears.listen("off")
    ears.listen("open")
    await house.settled()
    ears.listen("off")
    await house.settled()
    ears.listen("open")
    await house.settled()
    assert canceller.told.count(("restart", 0)) == 2
    await ears.aclose()
