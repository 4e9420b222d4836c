"""A session that goes on with another voice, lip-sync or persona."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from backend_rows import replace_backend
from session_room import MEASURED, Room, done

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotPrepared
from avatars.persona import Persona, write_persona
from pipeline.capacity import DrawingCost
from pipeline.engine import Engine
from pipeline.errors import AtCapacity, BadRequest, SessionClosed, UnknownBackend
from pipeline.lipsync.flash import FlashLipSync
from pipeline.lipsync.null import NullLipSync
from pipeline.tts.beep import BeepSynthesizer
from pipeline.turn_context import Choice, TurnContext
from pipeline.types import AudioChunk, FacePatch, LipSyncRequest, SubtitleEvent

SENTENCES = 12
LONG = " ".join(f"This is sentence number {number}." for number in range(SENTENCES))


class OtherVoice(BeepSynthesizer):
    """It says every sentence with a constant of its own, and remembers which."""

    name = "other"
    voices = ("low", "high")
    said: ClassVar[list[tuple[str, str | None]]] = []

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        self.said.append((text, voice))
        level = 0.5 if voice == "high" else 0.1
        yield AudioChunk(np.full(self.sample_rate, level, np.float32), self.sample_rate, final=True)


@pytest.fixture(autouse=True)
def other_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pico` is OtherVoice here."""
    monkeypatch.setattr(OtherVoice, "said", [])
    replace_backend(monkeypatch, "tts", "pico", f"{__name__}:OtherVoice")


OTHER = replace(MEASURED, tts="pico", persona=Persona(voice="high"))


async def test_a_voice_changes_with_the_next_sentence_and_nothing_is_left_out(room: Room) -> None:
    """The sentence that is spoken ends with its voice. Every sentence is spoken once, and none waits for it."""
    turn = room.session.say(LONG, mode="echo")
    await room.until(lambda: len(room.all(SubtitleEvent)) >= 2)
    await room.engine.change(room.session, OTHER)
    assert room.session.in_force["tts"] == "pico" and room.session.in_force["voice"] == "high"
    await room.until(done(room, turn))
    told = [event.text for event in room.all(SubtitleEvent)]
    assert told == [f"This is sentence number {number}." for number in range(SENTENCES)]
    late = [text for text, _voice in OtherVoice.said]
    assert late == told[-len(late) :] and 2 <= SENTENCES - len(late) <= 8  # some were made ahead already
    assert {voice for _text, voice in OtherVoice.said} == {"high"}
    assert room.session.playout.starved_pictures == 0
    assert (turn, "interrupted") not in room.states


class GreyMouth(FlashLipSync):
    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        return [replace(patch, pixels=np.full_like(patch.pixels, 60)) for patch in super().infer(requests)]


async def test_lips_and_persona_change_with_the_next_turn(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer that is spoken keeps its lips; the one after it has the others, and so has one that waits already."""
    replace_backend(monkeypatch, "lipsync", "null", f"{__name__}:GreyMouth")
    spoken = room.session.say(LONG, mode="echo")
    waiting = room.session.say("After that.", mode="echo")
    await room.until(lambda: (spoken, "speaking") in room.states)
    await room.engine.change(room.session, replace(MEASURED, lipsync="null", persona=Persona(prompt="You are a cat.")))
    await room.until(done(room, waiting))
    mouths = {
        turn: {round(float(np.asarray(frame.picture)[32, 32].mean()), -1) for frame in frames}
        for turn in (spoken, waiting)
        if (frames := [frame for frame in room.transport.frames if frame.turn == turn])
    }
    assert mouths == {spoken: {0, 260}, waiting: {60}}, "flash draws black and white, the other one grey"
    assert room.session.in_force["lipsync"] == "null" and room.session.in_force["persona"] == "session"


async def test_what_the_model_is_told_changes_and_the_conversation_goes_on(room: Room) -> None:
    """A question after the change is asked with the new instructions and with all that was said before."""
    first = room.session.say("What is a cat?")
    await room.until(done(room, first))
    before = room.session.conversation.history
    await room.engine.change(room.session, replace(MEASURED, persona=Persona(prompt="You are a cat.")))
    assert room.session.conversation.history == before
    asked = room.session.conversation.messages()
    assert asked[0].role == "system" and asked[0].content.startswith("You are a cat.")
    await room.engine.change(room.session, MEASURED)
    assert room.session.in_force["persona"] == "none" and room.session.conversation.messages() == before


async def test_an_avatars_own_voice_counts_again_when_the_wish_is_taken_back(
    room: Room, small_bundle: AvatarBundle
) -> None:
    """Of a synthesizer that has it."""
    write_persona(small_bundle.path, Persona(prompt="A robot.", voice="low"))
    await room.engine.change(room.session, OTHER)
    await room.engine.change(room.session, replace(OTHER, persona=Persona()))
    assert room.session.in_force == {
        "tts": "pico",
        "voice": "low",
        "speed": 1.0,
        "lipsync": "flash",
        "persona": "avatar",
    }


@pytest.mark.parametrize(
    ("choice", "refusal"),
    [
        (replace(OTHER, persona=Persona(voice="nobody's")), BadRequest),
        (replace(OTHER, tts="nothing"), UnknownBackend),
        (replace(MEASURED, lipsync="nothing", persona=Persona(prompt="A cat.")), UnknownBackend),
    ],
)
async def test_what_cannot_be_had_leaves_the_session_as_it_was(
    room: Room, choice: Choice, refusal: type[Exception]
) -> None:
    """All of it: also what could have been had."""
    turn = room.session.say(LONG, mode="echo")
    await room.until(lambda: (turn, "speaking") in room.states)
    before, context = room.session.in_force, room.session.context
    with pytest.raises(refusal):
        await room.engine.change(room.session, choice)
    assert room.session.in_force == before and room.session.context is context
    await room.until(done(room, turn))
    assert OtherVoice.said == []


async def test_a_session_that_has_ended_changes_no_more(room: Room) -> None:
    """And it takes no share of a device."""
    await room.engine.close_session(room.session)
    with pytest.raises(SessionClosed):
        await room.engine.change(room.session, OTHER)


class Network(FlashLipSync):
    """Runs on a device, of which two of them take more than there is."""

    on_device = True


class Unprepared(FlashLipSync):
    """No avatar is ever prepared for it."""

    on_device = True

    def prepared_from(self, bundle: AvatarBundle) -> None:
        raise AvatarNotPrepared(bundle.id, "wav2lip256")


async def test_a_share_of_a_device_goes_with_the_lip_sync(
    room: Room, small_bundle: AvatarBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who changes to a network takes a share, who leaves it gives it back, and who is refused keeps what was there."""
    replace_backend(monkeypatch, "lipsync", "null", f"{__name__}:Network")
    replace_backend(monkeypatch, "lipsync", "wav2lip256", f"{__name__}:Unprepared")
    engine, (device,) = room.engine, room.engine.devices

    async def cost(context: TurnContext) -> DrawingCost:
        return DrawingCost(picture_s=0.02 if context.lipsync.on_device else 0.0)

    monkeypatch.setattr(engine, "_cost", cost)
    network = replace(MEASURED, lipsync="null")
    other = await engine.open_session("other", small_bundle, MEASURED)
    assert engine.load(device) == 0
    await engine.change(room.session, network)
    taken = engine.load(device)
    assert taken == pytest.approx(0.5)
    with pytest.raises(AtCapacity):
        await engine.change(other, network)
    assert other.in_force["lipsync"] == "flash" and engine.load(device) == taken
    with pytest.raises(AvatarNotPrepared):
        await engine.change(room.session, replace(MEASURED, lipsync="wav2lip256"))
    assert room.session.in_force["lipsync"] == "null" and engine.load(device) == taken
    turn = room.session.say("Hello.", mode="echo")
    await room.until(done(room, turn))
    await engine.change(room.session, MEASURED)
    assert engine.load(device) == 0
    await engine.change(other, network)
    await engine.close_session(other)
    assert engine.load(device) == 0


async def test_a_session_that_ends_while_it_changes_leaves_no_share_behind(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network loads; the viewer leaves; what was taken for the session is given back."""
    replace_backend(monkeypatch, "lipsync", "null", f"{__name__}:Network")
    engine: Engine = room.engine
    changing = asyncio.create_task(engine.change(room.session, replace(MEASURED, lipsync="null")))
    await asyncio.sleep(0)
    await engine.close_session(room.session)
    with pytest.raises(SessionClosed):
        await changing
    assert engine.load(engine.devices[0]) == 0


async def test_memory_holds_one_voice_and_one_lip_sync_however_often_they_change(room: Room) -> None:
    """Each backend is loaded once; the session keeps nothing of those before."""
    other = replace(OTHER, lipsync="null")
    await room.engine.change(room.session, other)
    voice, lips = room.session.context.tts, room.session.context.lipsync
    for _ in range(20):
        await room.engine.change(room.session, MEASURED)
        await room.engine.change(room.session, other)
    assert room.session.context.tts is voice and room.session.context.lipsync is lips
    assert isinstance(lips, NullLipSync)
    assert len(room.engine._states._kept) <= 2
