"""A conversation whose voice or language model does not do what it should, and what a persona makes of both."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from fake_openai import FakeOpenAI
from fake_voice_service import FakeVoiceService, pcm_tone, wav_tone
from session_room import MEASURED, Room, done

from avatars.bundle import AvatarBundle
from avatars.persona import Persona, write_persona
from avatars.voice_sample import delete_voice_sample, keep_voice_sample
from pipeline.engine import Engine
from pipeline.errors import (
    LanguageModelError,
    LanguageNotSupported,
    SpeechError,
)
from pipeline.llm.openai import OpenAILanguageModel
from pipeline.retries import PAUSES_S
from pipeline.text.apologies import APOLOGIES
from pipeline.transports.memory import MemoryTransport
from pipeline.turn_context import Limits
from pipeline.types import (
    AudioChunk,
    ErrorEvent,
    Message,
    NoticeEvent,
    SubtitleEvent,
    TextEvent,
)


class ScriptedVoice:
    """A synthesizer that does what a sentence tells it to."""

    name, sample_rate, streaming, phoneme_timing = "scripted", 48_000, True, False
    languages, voices = frozenset({"en"}), ("only",)

    def load(self) -> None: ...

    async def aclose(self) -> None: ...

    async def synthesize(self, text: str, voice: str | None = None) -> AsyncGenerator[AudioChunk, None]:
        if "unspeakable" in text:
            raise LanguageNotSupported("No voice here speaks that.", "Install one.")
        tone = np.sin(np.arange(24_000) * 0.1, dtype=np.float32) * np.float32(0.3)
        yield AudioChunk(tone, self.sample_rate)
        if "breaks" in text:
            raise SpeechError("The voice broke.", "Try again.", cause="busy")
        if "hangs" in text:
            await asyncio.Event().wait()
        yield AudioChunk(tone, self.sample_rate, start_sample=24_000, final=True)


class ScriptedModel:
    name = "scripted"

    def load(self) -> None: ...

    async def aclose(self) -> None: ...

    words = "A first sentence that is whole. And a "

    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[str]:
        yield self.words
        if messages[-1].content == "hang":
            await asyncio.Event().wait()
        raise LanguageModelError("The model went away.", "Start it again.")


@pytest.fixture
async def scripted(room: Room, small_bundle: AvatarBundle) -> Room:
    """The room with ScriptedVoice and ScriptedModel."""
    context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
    await room.session.swap_avatar(replace(context, tts=ScriptedVoice(), llm=ScriptedModel()))
    return room


async def test_a_sentence_that_no_voice_speaks_is_shown_for_as_long_as_it_is_read(scripted: Room) -> None:
    """One plain notice a session; what can be spoken is, the rest is a timed subtitle over silence."""
    room = scripted
    for _ in range(2):
        turn = room.session.say("This is unspeakable. So is this: unspeakable. **This one** is fine.", mode="echo")
        await room.until(done(room, turn))
    assert [event.code for event in room.all(NoticeEvent)] == ["language_not_supported"]
    told = room.all(SubtitleEvent)[:3]
    assert [event.text for event in told] == ["This is unspeakable.", "So is this: unspeakable.", "This one is fine."]
    assert [event.spoken for event in told] == [False, False, True]
    for event, after in itertools.pairwise(told):
        assert 1 <= event.end_s - event.start_s < 4
        assert after.start_s == pytest.approx(event.end_s, abs=0.05)
    read = [frame for frame in room.transport.frames if told[0].start_s <= frame.number / 25 < told[1].end_s]
    assert not any(frame.audio.any() for frame in read)


async def test_an_answer_that_is_only_read_is_remembered_as_far_as_it_was_shown(scripted: Room) -> None:
    """Interrupted while it is read, an answer without a voice is trimmed like one that is heard."""
    room = scripted
    context = await room.engine.context_for(room.session.bundle, MEASURED, room.session.playout)
    await room.session.swap_avatar(replace(context, tts=ScriptedVoice()))
    turn = room.session.say("This is an unspeakable sentence. And this is another unspeakable one.")
    await room.until(lambda: (turn, "speaking") in room.states)
    await room.pass_time(1.0)
    room.session.interrupt()
    assert room.session.conversation.history[-1].content.startswith("This is")
    assert room.session.conversation.history[-1].content.endswith(" …")


class AnotherVoice(ScriptedVoice):
    async def synthesize(self, text: str, voice: str | None = None) -> AsyncGenerator[AudioChunk, None]:
        yield AudioChunk(np.full(24_000, 0.3, np.float32), self.sample_rate, final=True, voice="deputy")


async def test_a_chosen_voice_that_is_replaced_is_named(room: Room, small_bundle: AvatarBundle) -> None:
    """Who chose a voice is told once which other one speaks; who chose none is not."""
    context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
    for wanted, notices in ((None, 0), ("star", 1), ("star", 1), ("deputy", 1)):
        await room.session.swap_avatar(replace(context, tts=AnotherVoice(), voice=wanted))
        turn = room.session.say("One. Two.", mode="echo")
        await room.until(done(room, turn))
        assert len(room.all(NoticeEvent)) == notices
    (notice,) = room.all(NoticeEvent)
    assert notice.code == "voice_replaced" and "'star'" in notice.message and "'deputy'" in notice.message


async def test_a_voice_that_breaks_in_mid_sentence_is_told_and_the_turn_goes_on(scripted: Room) -> None:
    """What was synthesized is played, the failure is told once, the next sentence is spoken."""
    room = scripted
    turn = room.session.say("This one breaks early. This one is fine.", mode="echo")
    await room.until(done(room, turn))
    (told,) = room.all(ErrorEvent)
    assert (told.code, told.cause) == ("speech_failed", "busy")
    assert sum(frame.speaking for frame in room.transport.frames) == 13 + 25


async def test_a_voice_that_breaks_on_every_sentence_is_told_once_a_turn(scripted: Room) -> None:
    """The same failure of three sentences is one error; the next turn tells it anew."""
    room = scripted
    for errors in (1, 2):
        turn = room.session.say("This one breaks. So does this: it breaks. This breaks too.", mode="echo")
        await room.until(done(room, turn))
        assert len(room.all(ErrorEvent)) == errors
    assert b'vivavoce_turn_errors_total{code="speech_failed"} 2.0' in room.engine.exposition()


async def impatient(room: Room, small_bundle: AvatarBundle) -> None:
    """What hangs is waited for for a twentieth of a second."""
    context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
    limits = Limits(wordless_s=0.05, speechless_s=0.05)
    await room.session.swap_avatar(replace(context, tts=ScriptedVoice(), llm=ScriptedModel(), limits=limits))


async def test_a_voice_that_hangs_in_mid_sentence_is_given_up(room: Room, small_bundle: AvatarBundle) -> None:
    """After its time the failure is told as if the voice had broken, and the next sentence is spoken."""
    await impatient(room, small_bundle)
    turn = room.session.say("This one hangs early. This one is fine.", mode="echo")
    await room.until(done(room, turn))
    (told,) = room.all(ErrorEvent)
    assert told.code == "speech_failed" and "gave nothing" in told.message and told.hint
    assert sum(frame.speaking for frame in room.transport.frames) == 13 + 25


async def test_a_model_that_hangs_in_mid_answer_is_given_up(room: Room, small_bundle: AvatarBundle) -> None:
    """After its time the failure is told, and what was said until then is spoken."""
    await impatient(room, small_bundle)
    turn = room.session.say("hang")
    await room.until(done(room, turn))
    (told,) = room.all(ErrorEvent)
    assert told.code == "language_model_failed" and "gave nothing" in told.message and told.hint
    said = [event.text for event in room.all(SubtitleEvent)]
    assert said == ["A first sentence that is whole.", "And a", APOLOGIES["en"]]


async def test_a_model_that_breaks_in_mid_answer_is_told_and_what_it_said_is_spoken(scripted: Room) -> None:
    """A lost language model costs the rest of the answer, not the session."""
    room = scripted
    turn = room.session.say("hello")
    await room.until(done(room, turn))
    assert [event.code for event in room.all(ErrorEvent)] == ["language_model_failed"]
    assert room.all(SubtitleEvent)[0].text == "A first sentence that is whole."


class FailingModel(ScriptedModel):
    """Fails without a word, until it is told to answer; notes what it is asked."""

    def __init__(self) -> None:
        self.fails = self.retryable = True
        self.asked: list[list[str]] = []

    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[str]:
        self.asked.append([f"{message.role}: {message.content}" for message in messages])
        if self.fails:
            raise LanguageModelError("The model went away.", "Start it again.", retryable=self.retryable)
        yield "Hello."


async def test_the_history_keeps_the_words_of_the_model(room: Room) -> None:
    """What a voice leaves out (code, emphasis) is in the history, so that one may ask about it."""
    text = "Look: **this** is it. ```x = 1``` Is it clear? 😀"
    await room.until(done(room, room.session.say(text)))
    assert room.session.conversation.history[-1].content == text


async def test_a_model_that_fails_before_its_first_word_is_asked_again(room: Room, small_bundle: AvatarBundle) -> None:
    """With growing pauses, at most twice; the viewer is told of the last failure alone."""
    context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
    model = FailingModel()
    await room.session.swap_avatar(replace(context, llm=model))
    turn = room.session.say("one")
    await room.pass_time(PAUSES_S[0] - 0.08)
    assert len(model.asked) == 1
    await room.until(done(room, turn))
    assert len(model.asked) == 3 and len(room.all(ErrorEvent)) == 1
    turn = room.session.say("two")
    await room.pass_time(0.08)
    model.fails = False
    await room.until(done(room, turn))
    assert len(room.all(ErrorEvent)) == 1
    assert [event.text for event in room.all(SubtitleEvent)] == ["Hello."]


async def test_a_model_that_cannot_do_better_is_not_asked_again(room: Room, small_bundle: AvatarBundle) -> None:
    """A key that is refused stays refused; nor does anybody wait who has waited for long."""
    context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
    model = FailingModel()
    model.retryable = False
    await room.session.swap_avatar(replace(context, llm=model))
    await room.until(done(room, room.session.say("one")))
    assert len(model.asked) == 1


async def test_an_interrupt_ends_the_wait_for_another_try(room: Room, small_bundle: AvatarBundle) -> None:
    """Nobody asks for somebody who has left."""
    context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
    model = FailingModel()
    await room.session.swap_avatar(replace(context, llm=model))
    room.session.say("one")
    await room.pass_time(0.2)
    room.session.interrupt()
    await room.pass_time(5.0)
    assert len(model.asked) == 1


async def test_an_answer_that_breaks_off_ends_with_an_apology_in_its_language(
    room: Room, small_bundle: AvatarBundle
) -> None:
    """It is spoken, and neither the answer's text nor the history has it."""
    context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
    model = ScriptedModel()
    model.words = "春天来了，花都开了。"
    await room.session.swap_avatar(replace(context, llm=model))
    await room.until(done(room, room.session.say("one")))
    assert room.all(SubtitleEvent)[-1].text == APOLOGIES["zh"]
    assert room.session.conversation.history[-1].content == model.words
    assert "".join(event.delta for event in room.all(TextEvent)) == model.words


@pytest.mark.parametrize(
    ("wished", "greets", "told", "said"),
    [
        (Persona(), True, (), ["Good day."]),
        (Persona(greeting="Hi there."), True, (), ["Hi there."]),
        (Persona(greeting=""), True, (), []),
        (Persona(), False, (), []),
        (Persona(), True, (Message("user", "We have met."),), []),
    ],
    ids=["its own", "the viewer's", "none wished", "switched off", "goes on"],
)
async def test_an_avatar_greets_who_comes(
    room: Room, small_bundle: AvatarBundle, wished: Persona, greets: bool, told: tuple[Message, ...], said: list[str]
) -> None:
    """Once there is somebody, once a session, and only if the conversation does not go on from an earlier one."""
    write_persona(small_bundle.path, Persona(greeting="Good day."))
    choice = replace(MEASURED, persona=wished, greets=greets)
    room.session = await room.engine.open_session("greeted", small_bundle, choice)
    room.session.recall(told)
    await room.pass_time(0.2)
    assert room.states == []
    for _ in range(2):
        await room.session.attach(MemoryTransport())
        if said:  # a thread that the room does not know of prepares what is spoken
            await room.until(lambda: bool(room.all(SubtitleEvent)))
        await room.pass_time(3.0)
    assert [event.text for event in room.all(SubtitleEvent)] == said
    assert room.session.conversation.history == told


async def test_the_model_is_told_who_it_is(room: Room, small_bundle: AvatarBundle) -> None:
    """The avatar's instructions come first, and with them how to speak; without any there is no system message."""
    model = FailingModel()
    model.fails = False
    for persona in (Persona(), Persona(prompt="You are Mira.")):
        write_persona(small_bundle.path, persona)
        context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
        await room.session.swap_avatar(replace(context, llm=model))
        await room.until(done(room, room.session.say("one")))
    plain, told = model.asked
    assert plain == ["user: one"]
    assert told[0].startswith("system: You are Mira.\n\nYou speak to a person through a talking avatar")


async def test_the_avatars_voice_goes_before_the_portals_and_behind_the_viewers(
    room: Room, small_bundle: AvatarBundle
) -> None:
    """One that the synthesizer does not have is not asked for."""
    voice = (await room.engine.context_for(small_bundle, MEASURED)).tts.voices[0]
    choice = replace(MEASURED, voice="portal's")
    write_persona(small_bundle.path, Persona(voice=voice))
    assert (await room.engine.context_for(small_bundle, choice)).voice == voice
    wished = replace(choice, persona=Persona(voice="viewer's"))
    assert (await room.engine.context_for(small_bundle, wished)).voice == "viewer's"
    write_persona(small_bundle.path, Persona(voice="gone"))
    assert (await room.engine.context_for(small_bundle, choice)).voice == "portal's"


async def test_an_avatar_with_a_voice_sample_speaks_like_it(room: Room, small_bundle: AvatarBundle) -> None:
    """In a session, where the voice can copy one; a voice that somebody names goes before it."""
    keep_voice_sample(small_bundle.path, wav_tone(0.2), 5.0, "Hello.", {"consent": True})
    async with FakeVoiceService(lambda _request, _content: pcm_tone(0.3)).serving() as service:
        options = {("tts", "cosyvoice"): {"base_url": service.base_url}}
        engine = Engine(options, room.engine.clock)
        await engine.start()
        copying = replace(MEASURED, tts="cosyvoice", voice="英文男")
        named = replace(copying, persona=Persona(voice="英文女"))
        for choice, path in ((copying, "/inference_zero_shot"), (named, "/inference_sft")):
            context = await engine.context_for(small_bundle, choice)
            async for _chunk in context.tts.synthesize("Hello there.", context.voice):
                pass
            assert service.requests[-1][0].path == path
        delete_voice_sample(small_bundle.path)
        context = await engine.context_for(small_bundle, copying)
        assert (type(context.tts).__name__, context.voice) == ("CosyVoice", "英文男")
        await engine.aclose()


async def test_an_interrupt_closes_the_request_of_the_model(room: Room, small_bundle: AvatarBundle) -> None:
    """A service that works on an answer notices at once that nobody wants it any more."""
    async with FakeOpenAI(after="hang").serving() as service:
        llm = OpenAILanguageModel(service.base_url, model="m")
        context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
        await room.session.swap_avatar(replace(context, llm=llm))
        room.session.say("one")
        while not isinstance(await anext(room.session.events), TextEvent):
            pass
        room.session.interrupt()
        await asyncio.wait_for(service.left.wait(), 30)
        await llm.aclose()


async def test_questions_that_failed_do_not_spoil_those_after_them(room: Room, small_bundle: AvatarBundle) -> None:
    """A model that demands alternation is never sent two questions in a row, whatever went wrong before."""
    context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
    model = FailingModel()
    await room.session.swap_avatar(replace(context, llm=model))
    for question in ("one", "two"):
        await room.until(done(room, room.session.say(question)))
    model.fails = False
    room.session.say("cut off")
    await room.clock.advance(0)
    await room.until(done(room, room.session.say("three")))
    await room.until(done(room, room.session.say("four")))
    assert model.asked[-2:] == [
        ["user: cut off\n\nthree"],
        ["user: cut off\n\nthree", "assistant: Hello.", "user: four"],
    ]


class QuickVoice(ScriptedVoice):
    speeds = (0.7, 1.2)

    def __init__(self) -> None:
        self.spoken: list[float] = []

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        self.spoken.append(speed)
        yield AudioChunk(np.full(24_000, 0.3, np.float32), self.sample_rate, final=True)


async def test_a_voice_speaks_as_fast_as_the_session_says(room: Room, small_bundle: AvatarBundle) -> None:
    """A speed out of its reach is kept as far as it goes, and the viewer is told; a voice of one speed is not asked."""
    context = await room.engine.context_for(small_bundle, MEASURED, room.session.playout)
    for wanted, kept, notices in ((1.0, 1.0, 0), (1.1, 1.1, 0), (1.5, 1.2, 1), (1.5, 1.2, 1)):
        voice = QuickVoice()
        await room.session.swap_avatar(replace(context, tts=voice, speed=wanted))
        await room.until(done(room, room.session.say("One. Two.", mode="echo")))
        assert voice.spoken == [kept, kept]
        assert [event.code for event in room.all(NoticeEvent)] == ["speed_not_kept"] * notices
    await room.session.swap_avatar(replace(context, tts=ScriptedVoice(), speed=0.5))
    await room.until(done(room, room.session.say("One. Two.", mode="echo")))
    assert "1 times" in room.all(NoticeEvent)[-1].message
