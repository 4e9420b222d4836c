"""Sound that a program sends to be spoken: `speak`, and the binary messages behind it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from pipeline.types import AudioChunk, TurnEvent, TurnState
from portal.api.sound_messages import SOUND_HEADER, SPEECH_ENDS, SPEECH_KIND
from portal.api.spoken_sounds import GATHERED_S, SESSION_WAITING_S, WAITING_S
from tests.portal.session_house import House
from tests.portal.socket_viewer import Viewer

RATE_HZ = 24_000


def speech(turn: int, samples: Any, flags: int = 0) -> bytes:
    return SOUND_HEADER.pack(SPEECH_KIND, flags, 0, turn) + np.asarray(samples).astype("<i2").tobytes()


async def speaking(house: House) -> tuple[Viewer, int]:
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("speak", rate=RATE_HZ)
    return viewer, (await viewer.hear("turn"))["turn"]


async def heard_by(house: House, number: int = 0) -> list[AudioChunk]:
    """All of what the session got to speak; the turn must have been told that there is no more."""
    async with asyncio.timeout(30):
        return [chunk async for chunk in house.session.speeches[number]]


async def test_sound_reaches_its_turn_in_order(house: House) -> None:
    """16-bit samples arrive as float32 at the rate that was named, and the last message ends the speech."""
    viewer, turn = await speaking(house)
    viewer.tell_bytes(speech(turn, [16384] * 240))
    viewer.tell_bytes(speech(turn, [-32768] * 240))
    viewer.tell_bytes(speech(turn, [], SPEECH_ENDS))
    chunks = await heard_by(house)
    assert {chunk.sample_rate for chunk in chunks} == {RATE_HZ}
    assert np.array_equal(np.concatenate([chunk.samples for chunk in chunks]), [0.5] * 240 + [-1.0] * 240)
    assert chunks[0].samples.dtype == np.float32


async def test_crumbs_of_sound_are_spoken_in_pieces_of_a_fair_length(house: House) -> None:
    """Each piece costs the turn the same work, so crumbs are gathered; none is lost, and no sound waits at the end."""
    viewer, turn = await speaking(house)
    for _ in range(100):
        viewer.tell_bytes(speech(turn, [1] * 80))
    viewer.tell_bytes(speech(turn, [2], SPEECH_ENDS))
    chunks = await heard_by(house)
    assert sum(len(chunk.samples) for chunk in chunks) == 8001
    assert all(chunk.duration_s >= GATHERED_S for chunk in chunks[:-1])
    assert all(chunk.duration_s < 2 * GATHERED_S for chunk in chunks)


async def test_two_speeches_are_kept_apart(house: House) -> None:
    """The second waits behind the first, and has its own sound already."""
    viewer, first = await speaking(house)
    viewer.tell("speak", rate=8000)
    second = (await viewer.hear("turn"))["turn"]
    viewer.tell_bytes(speech(second, [1] * 80, SPEECH_ENDS))
    viewer.tell_bytes(speech(first, [2] * 160, SPEECH_ENDS))
    assert [len(chunk.samples) for chunk in await heard_by(house, 0)] == [160]
    assert [(len(one.samples), one.sample_rate) for one in await heard_by(house, 1)] == [(80, 8000)]


async def test_what_comes_too_early_is_refused_and_the_rest_is_spoken(house: House) -> None:
    """No session holds more than half a minute of a turn's sound."""
    viewer, turn = await speaking(house)
    for _ in range(int(WAITING_S)):
        viewer.tell_bytes(speech(turn, [1] * RATE_HZ))
    viewer.tell_bytes(speech(turn, [1] * RATE_HZ))
    error = await viewer.hear("error")
    assert (error["code"], error["cause"]) == ("bad_request", "too_much_sound")
    viewer.tell_bytes(speech(turn, [], SPEECH_ENDS))
    assert sum(chunk.duration_s for chunk in await heard_by(house)) == WAITING_S


async def test_a_session_holds_no_more_for_many_turns(house: House) -> None:
    """Each may have half a minute waiting, but not all of them at once; who has sent little can still send."""
    viewer = await house.viewer()
    await viewer.hello()
    turns = []
    for _ in range(4):
        viewer.tell("speak", rate=8000)
        turns.append((await viewer.hear("turn"))["turn"])
    for turn in turns[:3]:
        for _ in range(int(WAITING_S)):
            viewer.tell_bytes(speech(turn, [1] * 8000))
    viewer.tell_bytes(speech(turns[3], [1] * 8000, SPEECH_ENDS))
    assert (await viewer.hear("error"))["cause"] == "too_much_sound"
    assert not await heard_by(house, 3)
    for turn in turns[:3]:
        viewer.tell_bytes(speech(turn, [], SPEECH_ENDS))
    held_s = [sum(chunk.duration_s for chunk in await heard_by(house, number)) for number in range(3)]
    assert held_s == [WAITING_S] * 3 and sum(held_s) == SESSION_WAITING_S


async def test_sound_that_comes_much_faster_than_it_is_spoken_costs_as_other_messages_do(house: House) -> None:
    """Interrupting gives nothing back: whoever fills turn after turn is put off, and then sent away."""
    viewer = await house.viewer()
    await viewer.hello()
    turns = 0
    while not viewer.over and turns < 100:
        viewer.tell("speak", rate=8000)
        turns += 1
        for _ in range(250):  # 20 s of sound in 2.5 s
            viewer.tell_bytes(speech(turns, [1] * 640))
            await house.clock.advance(0.01)
        house.session.events.offer(TurnEvent(turns, TurnState.INTERRUPTED))
    assert viewer.over and house.session.closed


async def test_many_tiny_pieces_count_for_more_than_their_sound(house: House) -> None:
    """What a piece takes of the memory is not that of its samples only."""
    viewer, turn = await speaking(house)
    for _ in range(int(WAITING_S / 0.01) + 1):
        viewer.tell_bytes(speech(turn, [1] * 80))
    assert (await viewer.hear("error"))["cause"] == "too_much_sound"


async def test_sound_for_a_turn_that_has_ended_is_lost(house: House) -> None:
    """As it is on its way when somebody interrupts; the session goes on."""
    viewer, turn = await speaking(house)
    viewer.tell_bytes(speech(turn, [1] * 240))
    await viewer.ask("interrupt")
    house.session.events.offer(TurnEvent(turn, TurnState.INTERRUPTED))
    while (await viewer.hear("turn"))["state"] != "interrupted":
        pass
    viewer.tell_bytes(speech(turn, [1] * 240))
    await viewer.ask("gesture", name="wave")
    assert house.session.gestures == ["wave"]
    assert [len(chunk.samples) for chunk in await heard_by(house)] == [240]


async def test_an_interrupt_covers_speech_that_waits_behind_a_slow_command(house: House) -> None:
    """It is reported as queued, and the session is interrupted after it."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("avatar", id="slow")
    viewer.tell("speak", rate=RATE_HZ)
    viewer.tell("interrupt")
    assert (await viewer.hear("turn"))["state"] == "queued"
    assert house.session.interrupts == 1 and len(house.session.speeches) == 1


async def test_what_came_along_comes_back(house: House) -> None:
    """`event` of speak, as of say."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("speak", rate=RATE_HZ, event={"id": 7})
    turn = (await viewer.hear("turn"))["turn"]
    house.session.events.offer(TurnEvent(turn, TurnState.SPEAKING))
    assert (await viewer.hear("turn"))["state"] == "speaking"
    told = await viewer.hear("speech")
    assert told["event"] == {"id": 7} and told["begins"]


@pytest.mark.parametrize(
    "data",
    [speech(1, [1] * 79), speech(1, [1] * 48_001), speech(1, [1] * 100) + b"x", speech(1, [], 0)],
    ids=["too short", "too long", "half a sample", "nothing"],
)
async def test_bad_speech_gets_an_error(house: House, data: bytes) -> None:
    viewer, _ = await speaking(house)
    viewer.tell_bytes(data)
    assert (await viewer.hear("error"))["code"] == "bad_request"


@pytest.mark.parametrize("rate", [7999, 48_001, "fast", None])
async def test_a_rate_that_is_none_is_refused(house: House, rate: object) -> None:
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("speak", rate=rate)
    assert (await viewer.hear("error"))["code"] == "bad_request"
    assert not house.session.speeches
