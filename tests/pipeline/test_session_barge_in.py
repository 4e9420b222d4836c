"""A session whose viewer speaks over the avatar: what stops it, what does not, and what the history keeps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import replace

import numpy as np
import pytest
from session_room import MEASURED, Room, done

from avatars.bundle import AvatarBundle
from pipeline.clock import ManualClock
from pipeline.ears.events import Failed, NoWords, SpeechBegan, SpeechEnded, SpeechGoesOn, Words
from pipeline.ears.hearing import HearingChoice
from pipeline.engine import Engine
from pipeline.errors import RecognitionError
from pipeline.question_pace import QuestionPace
from pipeline.types import (
    FPS,
    AudioChunk,
    CutEvent,
    ErrorEvent,
    HoldEvent,
    MediaFrame,
    TranscriptEvent,
    TurnEvent,
    TurnState,
)

WORD_PICTURES = 6
RATE_HZ = 24_000


class WordVoice:
    """A synthesizer that takes 240 ms for each word, whatever it is."""

    name, sample_rate, streaming, phoneme_timing = "words", RATE_HZ, True, False
    languages, voices, online_voices = frozenset({"en"}), ("only",), frozenset[str]()

    def load(self) -> None: ...

    async def aclose(self) -> None: ...

    async def synthesize(self, text: str, voice: str | None = None) -> AsyncGenerator[AudioChunk, None]:
        samples = len(text.split()) * WORD_PICTURES * RATE_HZ // FPS
        tone = 0.3 * np.sin(np.arange(samples) * 0.1)
        yield AudioChunk(tone.astype(np.float32), RATE_HZ, final=True)


def sentences(words: int) -> str:
    """Words of one length, eight to a sentence, so that a share of the text is the same share of its time."""
    spoken = [f"w{number:03}" + ("." if number % 8 == 7 else "") for number in range(words)]
    return " ".join(spoken) + "."


async def with_word_voice(room: Room) -> Room:
    context = await room.engine.context_for(room.session.bundle, MEASURED, room.session.playout)
    await room.session.swap_avatar(replace(context, tts=WordVoice()))
    return room


@pytest.fixture
async def talking(room: Room) -> Room:
    """An avatar that has said something, so that cancellers have settled."""
    await with_word_voice(room)
    await room.until(done(room, room.session.say("one two three four five six seven eight")))
    await room.pass_time(1.0)
    room.told.clear()
    return room


async def speak(room: Room, seconds: float, end: bool = True) -> None:
    """What ears report of so much speech, window by window."""
    room.session.listening.take_heard(SpeechBegan(room.clock.now_s()))
    for index in range(1, round(seconds / 0.04) + 1):
        room.session.listening.take_heard(SpeechGoesOn(index * 0.04))
        await room.pass_time(0.04)
    if end:
        room.session.listening.take_heard(SpeechEnded())


def level_of(frame: MediaFrame) -> float:
    return float(np.sqrt(np.mean(np.square(frame.audio))))


async def begun(room: Room, words: int, seconds: float = 1.0) -> int:
    """An answer that has been sounding for so long."""
    turn = room.session.say(sentences(words))
    await room.until(lambda: (turn, "speaking") in room.states)
    await room.pass_time(seconds)
    return turn


async def test_speech_over_the_avatar_silences_it_and_its_words_are_answered(talking: Room) -> None:
    """Quieter, then silent, then the viewer's question is the next turn; the answer before is marked as cut."""
    turn = await begun(talking, 40)
    before = len(talking.transport.frames)
    await speak(talking, 1.0)
    frames = list(talking.transport.frames)[before:]
    loud = level_of(talking.transport.frames[before - 2])
    assert level_of(frames[3]) == pytest.approx(loud / 4, rel=0.2)
    silent = next(index for index, frame in enumerate(frames) if level_of(frame) == 0)
    assert silent <= 7 and not any(level_of(frame) for frame in frames[silent:])
    talking.session.listening.take_heard(Words("and what else", final=True, language="en"))
    await talking.until(done(talking, turn + 1))
    assert (turn, "interrupted") in talking.states
    transcript = TranscriptEvent("and what else", final=True, language="en")
    assert talking.told.index(transcript) < next(
        index for index, event in enumerate(talking.told) if getattr(event, "turn", 0) == turn + 1
    )
    *_, cut, question, answer = [message.content for message in talking.session.conversation.history]
    assert cut.endswith(" …") and sentences(40).startswith(cut.removesuffix(" …"))
    assert (question, answer) == ("and what else", "and what else")
    (told,) = talking.all(CutEvent)
    assert told == CutEvent(turn, len(cut.removesuffix(" …")))
    assert talking.told.index(told) < talking.told.index(TurnEvent(turn, TurnState.INTERRUPTED))


@pytest.mark.parametrize("verdict", ["no words", "silence", "failure"])
async def test_speech_without_words_only_pauses_the_avatar(talking: Room, verdict: str) -> None:
    """A long cough: the answer goes on within 3 s, and is said to its end."""
    turn = await begun(talking, 24)
    await speak(talking, 0.5)
    if verdict == "no words":
        talking.session.listening.take_heard(NoWords())
    elif verdict == "failure":
        talking.session.listening.take_heard(Failed(RecognitionError("It failed.", "Say it again.")))
    await talking.pass_time(3.0)
    assert [event.held for event in talking.all(HoldEvent)] == [True, False]
    await talking.until(done(talking, turn))
    assert talking.session.conversation.history[-1].content == sentences(24)


async def test_a_click_does_not_even_pause_it(talking: Room) -> None:
    """A tenth of a second: it is quieter for half a second, and not held."""
    turn = await begun(talking, 16)
    await speak(talking, 0.12)
    talking.session.listening.take_heard(NoWords())
    await talking.until(done(talking, turn))
    assert talking.all(HoldEvent) == []
    quieter = [frame for frame in talking.transport.frames if frame.turn == turn and level_of(frame) < 0.05]
    assert 0 < len(quieter) <= 15


async def test_nothing_interrupts_the_first_sound_of_a_session(room: Room) -> None:
    """What ears hear then may be the avatar itself, so its words are nobody's and are not shown."""
    await with_word_voice(room)
    turn = await begun(room, 24, seconds=0.2)
    await speak(room, 0.8)
    room.session.listening.take_heard(Words("w003 w004", final=False, language="en"))
    room.session.listening.take_heard(Words("w003 w004 w005", final=True, language="en"))
    await room.until(done(room, turn))
    assert [event.text for event in room.all(TranscriptEvent)] == [""]
    assert room.all(HoldEvent) == []


async def test_where_it_is_switched_off_speech_over_the_avatar_is_nobodys(small_bundle: AvatarBundle) -> None:
    """With the setting off, only a silent avatar is spoken to."""
    clock = ManualClock()
    engine = Engine(clock=clock, hearing=HearingChoice(barge_in=False))
    await engine.start()
    room = Room(engine, await engine.open_session("test", small_bundle, MEASURED), clock)
    await room.session.attach(room.transport)
    try:
        await with_word_voice(room)
        turn = await begun(room, 24, seconds=2.0)
        await speak(room, 1.0)
        room.session.listening.take_heard(Words("stop", final=True, language="en"))
        await room.until(done(room, turn))
        await room.pass_time(1.0)
        await speak(room, 1.0)
        room.session.listening.take_heard(Words("and now", final=True, language="en"))
        await room.until(done(room, turn + 1))
    finally:
        await engine.aclose()
    assert room.all(HoldEvent) == []


async def test_an_answer_does_not_begin_while_its_viewer_goes_on_speaking(talking: Room) -> None:
    """The first part of what was said is asked; the second part belongs to it, so the model gets both."""
    await speak(talking, 0.4)
    await speak(talking, 0.6, end=False)
    talking.session.listening.take_heard(Words("what is a", final=True, language="en"))
    for index in range(1, 40):
        talking.session.listening.take_heard(SpeechGoesOn(0.6 + index * 0.04))
        await talking.pass_time(0.04)
    talking.session.listening.take_heard(SpeechEnded())
    assert not any(frame.turn == 2 for frame in talking.transport.frames)
    talking.session.listening.take_heard(Words("good question", final=True, language="en"))
    await talking.until(done(talking, 3))
    assert talking.session.conversation.history[-2].content == "what is a\n\ngood question"


async def test_words_that_may_not_be_asked_let_the_held_answer_go_on(talking: Room) -> None:
    """Too many questions within a minute: the viewer is told, and is not left with a silent avatar."""
    for _ in range(29):
        talking.session.say("again")
    await talking.pass_time(1.0)
    await speak(talking, 0.5)
    talking.session.listening.take_heard(Words("once more", final=True, language="en"))
    await talking.pass_time(2.0)
    assert [event.code for event in talking.all(ErrorEvent)][-1] == "too_often"
    assert not talking.session.playout.holds


@pytest.mark.thorough
async def test_of_100_interruptions_in_random_places_the_history_keeps_what_was_played(talking: Room) -> None:
    """By voice, by key or typed, with any delay at the viewer: within a word. Nothing sounds after, no task is left."""
    chance = random.Random(10)
    tasks_before = len(asyncio.all_tasks())
    off: list[float] = []
    # A person asks no 100 questions a minute.
    talking.session.conversation._questions = QuestionPace(talking.clock, max_a_minute=1000)
    for round_number in range(100):
        talking.session.note_delay(delay_s := chance.uniform(0.0, 0.35))
        turn = await begun(talking, 40, seconds=chance.uniform(0.3, 4.0))
        by_voice = round_number % 2
        if by_voice:
            await speak(talking, 0.4)
            (hold,) = [event for event in talking.all(HoldEvent) if event.turn == turn]
            assert hold.held
        cut = (
            next((frame.number for frame in reversed(talking.transport.frames) if frame.turn == turn), 0)
            + 1
            - round(delay_s * FPS)
        )
        if by_voice:
            talking.session.note_reached(cut / FPS)
            talking.session.listening.take_heard(Words("stop", final=True, language="en"))
        talking.session.interrupt()
        sent = len(talking.transport.frames)
        played = sum(1 for frame in talking.transport.frames if frame.turn == turn and frame.number < cut)
        await talking.pass_time(0.6)
        assert not any(frame.audio.any() for frame in list(talking.transport.frames)[sent + 1 :])
        last = talking.session.conversation.history[-1]  # the question itself if nothing of its answer was played
        kept = len(last.content.removesuffix(" …").split()) if last.role == "assistant" else 0
        off.append(kept - played / WORD_PICTURES)
        assert (turn, "interrupted") in talking.states and (turn, "done") not in talking.states
        talking.told.clear()
        talking.transport.frames.clear()
    assert np.abs(off).max() <= 1.0
    await talking.pass_time(0.5)
    assert len(asyncio.all_tasks()) <= tasks_before
