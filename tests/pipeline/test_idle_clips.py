"""An avatar to which nothing happens shows one of its idle clips now and then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from gesture_clips import give_gesture
from session_room import MEASURED, Room, done

from avatars.bundle import AvatarBundle
from pipeline.clock import ManualClock
from pipeline.compositing import Dissolve
from pipeline.engine import Engine
from pipeline.idle_clips import LONGEST_PAUSE_S, SHORTEST_PAUSE_S, IdleClips
from pipeline.types import GestureEvent, LoopPosition

PICTURES = 12
LOOP = 6


def order(seed: int, names: tuple[str, ...] = ("look", "sigh", "blink"), pictures: int = 20_000) -> list[str]:
    clips = IdleClips(names, seed)
    return [name for _ in range(pictures) if (name := clips.due()) is not None]


def test_they_come_after_pauses_in_an_order_of_the_sessions_own() -> None:
    """The same for the same seed, another for another; all of them come, none twice in a row."""
    shown = order(1)
    assert shown == order(1) and shown != order(2)
    assert set(shown) == {"look", "sigh", "blink"} and all(one != other for one, other in pairwise(shown))
    assert 20_000 / 25 / LONGEST_PAUSE_S - 1 <= len(shown) <= 20_000 / 25 / SHORTEST_PAUSE_S
    assert order(1, ("look",)).count("look") > 10 and order(1, ()) == []


def test_a_pause_begins_anew_when_something_happens() -> None:
    """Who is spoken to all the time shows none."""
    clips = IdleClips(("look",), 1)
    for _ in range(50):
        assert not any(clips.due() for _ in range(round(25 * SHORTEST_PAUSE_S) - 1))
        clips.interrupted()


@pytest.fixture
async def room(small_bundle: AvatarBundle, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    """A session of an avatar that looks about, by itself and soon, and can wave."""
    monkeypatch.setattr("pipeline.idle_clips.SHORTEST_PAUSE_S", 0.8)
    monkeypatch.setattr("pipeline.idle_clips.LONGEST_PAUSE_S", 1.2)
    give_gesture(small_bundle, "look", PICTURES, hums=True, idle=True)
    give_gesture(small_bundle, "wave", PICTURES)
    clock = ManualClock()
    engine = Engine(clock=clock)
    await engine.start()
    room = Room(engine, await engine.open_session("test", small_bundle, MEASURED), clock)
    await room.session.attach(room.transport)
    yield room
    await engine.aclose()


async def test_an_idle_avatar_shows_them_and_goes_back_to_its_loop(room: Room) -> None:
    """Whole, dissolved at both ends, after pauses; nobody is told, and nobody can ask for one by the page."""
    await room.pass_time(6)
    frames = list(room.transport.frames)
    apart = [frame.loop_index >= LOOP for frame in frames]
    begun = [number for number, (before, now) in enumerate(pairwise(apart)) if now and not before]
    assert len(begun) >= 2 and all(later - first >= PICTURES + 0.8 * 25 for first, later in pairwise(begun))
    assert all(apart[begun[0] + 1 : begun[0] + 1 + PICTURES]) and not apart[begun[0] + 1 + PICTURES]
    for edge in (begun[0] + 1, begun[0] + 1 + PICTURES):
        assert isinstance(frames[edge].picture, Dissolve)
    assert isinstance(frames[begun[0]].picture, LoopPosition)
    assert not room.all(GestureEvent) and not any(frame.audio.any() for frame in frames[: begun[0] + PICTURES // 2])
    assert room.session.context.gesture_names == ("wave",) and room.session.bundle.gesture_names == ["wave"]


async def test_speech_ends_one_and_none_begins_while_somebody_speaks(room: Room) -> None:
    """The first spoken picture is on the loop, and so are all others."""
    await room.until(lambda: bool(room.transport.frames) and room.transport.frames[-1].loop_index >= LOOP)
    turn = room.session.say("one two three four five six seven eight nine ten", mode="echo")
    await room.until(done(room, turn))
    spoken = [frame for frame in room.transport.frames if frame.speaking and frame.turn == turn]
    assert len(spoken) == 50 and all(frame.loop_index < LOOP for frame in spoken)


async def test_a_gesture_that_is_asked_for_goes_before_it(room: Room) -> None:
    """It is shown at once, and told."""
    await room.until(lambda: bool(room.transport.frames) and room.transport.frames[-1].loop_index >= LOOP)
    room.session.begin_gesture("wave")
    await room.pass_time(0.04 * (PICTURES + 1))
    assert room.all(GestureEvent) == [GestureEvent("wave", begins=True), GestureEvent("wave", begins=False)]
