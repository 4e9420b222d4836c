"""Gestures of an avatar in a session: shown, heard, spoken over, and joined with what is shown around them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest
from gesture_clips import give_gesture
from session_room import MEASURED, Room, done

from avatars.bundle import AvatarBundle
from avatars.errors import GestureNotFound
from avatars.gestures import delete_gesture
from pipeline.clock import ManualClock
from pipeline.compositing import Dissolve, pixels_of
from pipeline.device import DeviceWorker
from pipeline.drawing import Drawing
from pipeline.engine import Engine
from pipeline.errors import SessionClosed
from pipeline.gestures import DISSOLVED_PICTURES
from pipeline.idle import GestureRun
from pipeline.interfaces import LipSync
from pipeline.lipsync.flash import FlashLipSync
from pipeline.llm.echo import EchoLanguageModel
from pipeline.playout import QUEUED_PICTURES
from pipeline.redrawing import REDRAWN_AT_ONCE, REDRAWN_PER_S
from pipeline.types import (
    FPS,
    GestureEvent,
    LipSyncRequest,
    LoopPosition,
    MediaFrame,
    Message,
    NoticeEvent,
    SubtitleEvent,
    TextEvent,
)

PICTURES = 12
GREY, WHITE = 128, 255


@pytest.fixture
async def room(small_bundle: AvatarBundle) -> AsyncIterator[Room]:
    """A session with a grey avatar of six pictures that can wave, silently, and sing. Both are white."""
    give_gesture(small_bundle, "wave", PICTURES)
    give_gesture(small_bundle, "sing", PICTURES, hums=True)
    clock = ManualClock()
    engine = Engine(clock=clock)
    await engine.start()
    room = Room(engine, await engine.open_session("test", small_bundle, MEASURED), clock)
    await room.session.attach(room.transport)
    await room.pass_time(0.4)
    yield room
    await engine.aclose()


def frames(room: Room) -> list[MediaFrame]:
    return list(room.transport.frames)


def level(frame: MediaFrame) -> int:
    """Of a corner, where no mouth is drawn."""
    return int(pixels_of(frame.picture)[2, 2, 0])


async def test_a_gesture_is_shown_from_the_next_picture_on_and_the_loop_goes_on_after_it(room: Room) -> None:
    """It is told when it begins and when it has ended; then the loop is shown as before."""
    asked = room.session.playout.number
    room.session.begin_gesture("wave")
    await room.pass_time(0.04 * (PICTURES + DISSOLVED_PICTURES + 2))
    shown = frames(room)[asked:]
    assert [frame.loop_index >= 6 for frame in shown[: PICTURES + 1]] == [True] * PICTURES + [False]
    assert room.all(GestureEvent) == [GestureEvent("wave", begins=True), GestureEvent("wave", begins=False)]
    assert isinstance(shown[-1].picture, LoopPosition)


async def test_a_gesture_dissolves_at_both_ends(room: Room) -> None:
    """No picture differs from the one before by more than the part of a dissolve."""
    room.session.begin_gesture("wave")
    await room.pass_time(0.04 * (PICTURES + DISSOLVED_PICTURES + 2))
    levels = [level(frame) for frame in frames(room)]
    assert (levels[0], max(levels), levels[-1]) == (GREY, WHITE, GREY)
    assert np.abs(np.diff(levels)).max() <= (WHITE - GREY) / (DISSOLVED_PICTURES + 1) + 1


async def test_lips_are_drawn_on_a_gesture(room: Room) -> None:
    """Speech that begins before it goes on over it, with the drawn mouth and the sound that belongs to it."""
    turn = room.session.say("one two three four five six", mode="echo")
    await room.until(lambda: (turn, "speaking") in room.states)
    room.session.begin_gesture("wave")
    await room.until(done(room, turn))
    spoken = [frame for frame in frames(room) if frame.speaking and frame.loop_index >= 6]
    assert len(spoken) == PICTURES
    for frame in spoken[DISSOLVED_PICTURES:]:
        loud = float(np.sqrt(np.mean(frame.audio**2))) > 0.01
        assert (pixels_of(frame.picture)[32, 32].tolist() == [255] * 3) == loud
        assert level(frame) == WHITE


async def test_a_gesture_that_is_asked_for_in_mid_speech_begins_within_four_pictures(room: Room) -> None:
    """Whatever is drawn ahead: it is drawn anew, with its mouth. No sound is lost, and the sentence is told once."""
    turn = room.session.say("one two three four five six seven eight", mode="echo")
    await room.until(lambda: (turn, "speaking") in room.states)
    async with asyncio.timeout(30):
        while len(room.session.playout.spoken) < QUEUED_PICTURES - 2:  # noqa: ASYNC110 - threads draw ahead
            await asyncio.sleep(0.001)
    asked = room.session.playout.number
    room.session.begin_gesture("wave")
    await room.pass_time(0.4)
    room.session.end_gesture()
    ended = room.session.playout.number
    await room.until(done(room, turn))
    shown = [frame for frame in frames(room) if frame.speaking]
    on_gesture = [frame for frame in shown if frame.loop_index >= 6]
    assert on_gesture[0].number - asked == 3 and on_gesture[-1].number - ended <= 3
    assert room.session.playout.unspoken_pictures == 0
    for frame in shown:
        if isinstance(frame.picture, Dissolve):
            continue
        loud = float(np.sqrt(np.mean(frame.audio**2))) > 0.01
        assert (pixels_of(frame.picture)[32, 32] > 200).all() == loud, "the mouth is white where there is sound"
    assert len(shown) == 40 and sum(frame.audio.any() for frame in shown) == 24
    assert len(room.all(SubtitleEvent)) == 1


async def test_whoever_asks_for_gesture_after_gesture_draws_little_more_than_others(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device is shared. Of the gestures of a moment each is spoken over; of too many some have a mouth at rest."""
    drawn: list[LipSyncRequest] = []
    draw = DeviceWorker.draw

    def noted(worker: DeviceWorker, backend: LipSync, requests: Sequence[LipSyncRequest]) -> Any:
        drawn.extend(requests)
        return draw(worker, backend, requests)

    monkeypatch.setattr(DeviceWorker, "draw", noted)
    turn = room.session.say("one two three four five six seven eight nine ten " * 4, mode="echo")
    await room.until(lambda: (turn, "speaking") in room.states)
    urgent = sum(request.urgent for request in drawn)
    begun = room.session.playout.number
    for _ in range(15):
        room.session.begin_gesture("wave")
        await room.pass_time(0.12)
        room.session.end_gesture()
        await room.pass_time(0.12)
    played = room.session.playout.number - begun
    assert room.session.playout.unspoken_pictures
    assert len(drawn) <= played + 2 * QUEUED_PICTURES + REDRAWN_AT_ONCE + REDRAWN_PER_S * played / FPS
    assert sum(request.urgent for request in drawn) == urgent, "nobody else's picture waits for one drawn anew"


async def test_pictures_that_cannot_be_drawn_anew_have_the_mouth_at_rest(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gesture is shown all the same, and the turn goes on."""

    async def fail(*_any: object) -> None:
        raise RuntimeError("the device is away")

    monkeypatch.setattr(Drawing, "_draw_anew", fail)
    turn = room.session.say("one two three four five six seven eight", mode="echo")
    await room.until(lambda: (turn, "speaking") in room.states)
    await room.pass_time(0.2)
    room.session.begin_gesture("wave")
    await room.until(done(room, turn))
    assert room.session.playout.unspoken_pictures > 0
    assert sum(frame.loop_index >= 6 for frame in frames(room)) == PICTURES
    assert (turn, "interrupted") not in room.states


async def test_a_tag_in_a_text_starts_a_gesture_with_its_sentence(room: Room) -> None:
    """It is neither spoken nor written; the first picture of its sentence is the gesture's first."""
    turn = room.session.say(
        "This is the first sentence of two. [Wave] This is the second, and no [dance].", mode="echo"
    )
    await room.until(done(room, turn))
    assert "".join(event.delta for event in room.all(TextEvent)) == (
        "This is the first sentence of two. This is the second, and no [dance]."
    )
    first_s, second_s = [event.start_s for event in room.all(SubtitleEvent) if isinstance(event, SubtitleEvent)]
    assert first_s < second_s
    first = next(frame for frame in frames(room) if frame.loop_index >= 6)
    assert first.speaking and first.number == round(second_s * 25)


async def test_a_tag_at_the_end_starts_a_gesture_after_the_speech(room: Room) -> None:
    """Its first picture follows the last spoken one."""
    turn = room.session.say("one two. [wave]", mode="echo")
    await room.until(done(room, turn))
    await room.pass_time(0.04)
    last = max(frame.number for frame in frames(room) if frame.speaking)
    assert next(frame.number for frame in frames(room) if frame.loop_index >= 6) == last + 1


async def test_of_many_tags_before_a_sentence_only_the_last_begins_a_gesture(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one that begins takes time on the event loop, and thousands fit into a text."""
    begun: list[GestureRun] = []
    begin = room.session.playout.begin_gesture

    def noted(run: GestureRun, *, soon: bool = False) -> None:
        begun.append(run)
        begin(run, soon=soon)

    monkeypatch.setattr(room.session.playout, "begin_gesture", noted)
    turn = room.session.say("[wave] " * 200 + "[sing] one two." + "[sing]" * 100 + "[wave]", mode="echo")
    await room.until(done(room, turn))
    await room.pass_time(0.04)
    assert len(begun) == 2
    assert [event.name for event in room.all(GestureEvent) if event.begins] == ["sing", "wave"]


async def test_a_text_that_is_nothing_but_a_tag_shows_the_gesture(room: Room) -> None:
    """Nobody is told that there was nothing to speak."""
    turn = room.session.say("[wave]", mode="echo")
    await room.until(done(room, turn))
    await room.pass_time(0.04)
    assert GestureEvent("wave", begins=True) in room.told
    assert not room.all(NoticeEvent)


async def test_the_language_model_knows_the_tags_and_its_answer_starts_the_gesture(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its instructions name them, and the history keeps what was said without them."""
    asked: list[Message] = []

    async def answer(_model: object, messages: Sequence[Message]) -> AsyncIterator[str]:
        asked.extend(messages)
        for piece in ("[wa", "ve] Hel", "lo."):
            yield piece

    monkeypatch.setattr(EchoLanguageModel, "stream", answer)
    turn = room.session.say("Hello?")
    await room.until(done(room, turn))
    assert asked[0].role == "system" and "[sing] [wave]" in asked[0].content
    assert room.session.conversation.history[-1] == Message("assistant", "Hello.")
    assert GestureEvent("wave", begins=True) in room.told


async def test_a_gesture_of_its_own_sound_is_heard_while_nobody_speaks(room: Room) -> None:
    """With exactly its pictures, at the level of voices; the silent one makes none."""
    room.session.begin_gesture("sing")
    await room.pass_time(0.04 * (PICTURES + 1))
    room.session.begin_gesture("wave")
    await room.pass_time(0.04 * (PICTURES + 1))
    places = [frame.loop_index for frame in frames(room) if frame.audio.any()]
    first = min(places)
    assert places == list(range(first, first + PICTURES))
    loudest = max(float(np.sqrt(np.mean(frame.audio**2))) for frame in frames(room))
    assert 0.05 < loudest < 0.2


async def test_the_sound_of_a_gesture_ends_within_20_ms_of_speech_or_an_interruption(room: Room) -> None:
    """It fades out and does not come back, though the pictures go on."""
    room.session.begin_gesture("sing")
    await room.pass_time(0.12)
    room.session.interrupt()
    cut = room.session.playout.number
    await room.pass_time(0.2)
    after = frames(room)[cut:]
    assert after[0].audio[:480].any() and not after[0].audio[960:].any()
    assert not any(frame.audio.any() for frame in after[1:])
    assert all(frame.loop_index >= 6 for frame in after)


async def test_a_gesture_can_be_ended_and_asked_for_again(room: Room) -> None:
    """The loop is shown at once, and each beginning and end is told."""
    room.session.begin_gesture("wave")
    await room.pass_time(0.08)
    room.session.end_gesture()
    await room.pass_time(0.04)
    assert frames(room)[-1].loop_index < 6
    room.session.begin_gesture("sing")
    await room.pass_time(0.04)
    told = [(event.name, event.begins) for event in room.all(GestureEvent) if isinstance(event, GestureEvent)]
    assert told == [("wave", True), ("wave", False), ("sing", True)]


async def test_dissolves_of_gestures_that_follow_each_other_do_not_stack_up(room: Room) -> None:
    """However often one is asked for, a picture is made of two at most."""
    for name in ("wave", "sing") * 10:
        room.session.begin_gesture(name)
        await room.pass_time(0.04)
    picture = frames(room)[-1].picture
    assert isinstance(picture, Dissolve)
    assert not any(isinstance(part, Dissolve) for part in (picture.before, picture.after))


async def test_a_gesture_that_is_deleted_while_it_plays_goes_on_to_its_end(
    room: Room, small_bundle: AvatarBundle
) -> None:
    """Its pictures are still there for the session that has it open; the next session does not know it."""
    room.session.begin_gesture("wave")
    await room.pass_time(0.08)
    delete_gesture(small_bundle.path, "wave")
    await room.pass_time(0.04 * PICTURES)
    assert max(level(frame) for frame in frames(room)) == WHITE
    later = await room.engine.open_session("later", small_bundle, MEASURED)
    assert (room.session.context.gesture_names, later.context.gesture_names) == (("sing", "wave"), ("sing",))


async def test_a_gesture_that_the_avatar_does_not_have_is_refused(room: Room) -> None:
    """The error names those it has; so does one after the end of the session."""
    with pytest.raises(GestureNotFound) as caught:
        room.session.begin_gesture("dance")
    assert "sing, wave" in caught.value.hint
    await room.engine.close_session(room.session)
    with pytest.raises(SessionClosed):
        room.session.begin_gesture("wave")


async def test_a_network_shows_gestures_while_nobody_speaks(
    small_bundle: AvatarBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It draws the frames of the loop only: speech ends a gesture, and one asked for in speech comes after it."""
    monkeypatch.setattr(FlashLipSync, "on_device", True)
    give_gesture(small_bundle, "wave", PICTURES)
    clock = ManualClock()
    engine = Engine(clock=clock, measure=False)
    await engine.start()
    room = Room(engine, await engine.open_session("test", small_bundle, MEASURED), clock)
    await room.session.attach(room.transport)
    room.session.begin_gesture("wave")
    await room.pass_time(0.04)
    turn = room.session.say("one two", mode="echo")
    await room.until(lambda: (turn, "speaking") in room.states)
    room.session.begin_gesture("wave")
    await room.until(done(room, turn))
    await room.pass_time(0.2)
    assert all(frame.loop_index < 6 for frame in frames(room) if frame.speaking)
    assert frames(room)[-1].loop_index >= 6
    await engine.aclose()
