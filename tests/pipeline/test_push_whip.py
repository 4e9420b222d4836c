"""A session on a WHIP server: received in step by a second aiortc, and what happens when the server goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from pipeline import push as module
from pipeline.clock import ManualClock, SystemClock
from pipeline.push import FIRST_PAUSE_S, LONGEST_PAUSE_S, Push
from pipeline.types import FPS, SAMPLES_PER_PICTURE, LoopPosition, MediaFrame
from portal.commands.portal_process import free_port
from tests.whip_server import TOKEN, WhipReceiver, whip_process, whip_server

pytestmark = pytest.mark.thorough

WITHIN_S = 60.0
WHITE, LOUD = 225, 0.25
KEY = TOKEN.replace(":", "%3A")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the stream's process is quick enough is no matter of these tests."""
    for deadline in ("CONNECTED_WITHIN_S", "STALLED_S", "COMPLETED_WITHIN_S"):
        monkeypatch.setattr(module, deadline, WITHIN_S)


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not is_so():  # noqa: ASYNC110 - it depends on other processes
            await asyncio.sleep(0.02)


def push_to(port: int, bundle: AvatarBundle, clock: ManualClock | SystemClock, path: str = "live") -> Push:
    return Push(f"whip+http://{KEY}@127.0.0.1:{port}/{path}", bundle.width, bundle.height, clock)


def frame(bundle: AvatarBundle, number: int) -> MediaFrame:
    """Five of every 25 are white pictures with a tone; the others are idle pictures with silence."""
    if not 10 <= number % 25 < 15:
        position = LoopPosition(bundle, number % len(bundle.loop))
        return MediaFrame(position, np.zeros(SAMPLES_PER_PICTURE, np.float32), number)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(SAMPLES_PER_PICTURE) / 48_000)
    return MediaFrame(np.full((bundle.height, bundle.width, 3), 255, np.uint8), tone.astype(np.float32), number)


async def play(push: Push, bundle: AvatarBundle, is_enough: Callable[[int], object], first: int = 1000) -> int:
    """As a playout does, one every 40 ms, until it is enough, by the number. Returns the number after the last."""
    number = first
    async with asyncio.timeout(WITHIN_S):
        while not is_enough(number):
            if push.waiting < FPS:  # its process may get no time for a while
                push.send(frame(bundle, number))
                number += 1
            await asyncio.sleep(1 / FPS)
    return number


async def test_what_is_played_is_received_in_step(small_bundle: AvatarBundle) -> None:
    """By the sender's reports, the tone is due with the white pictures and with no others. The server is told of the
    end. It redirects at first.
    """
    port = free_port()
    async with whip_server(port) as server:
        push = push_to(port, small_bundle, SystemClock(), "moved")
        await until(lambda: push.state == "live")

        def is_enough(_number: int) -> bool:
            return sum(brightness > WHITE for _, brightness in server.pictures) >= 15 and len(server.reports) == 2

        await play(push, small_bundle, is_enough)
        await push.aclose()
        await push.aclose()
        assert (push.state, push.frames_dropped, push.connections) == ("closed", 0, 1)
        assert server.asked == ["POST /live", "DELETE /streams/1"]
    start_s, *_ = server.times_s("audio", [time for time, _ in server.sound])
    heard = {number: loudness > LOUD for number, loudness in numbered(server, "audio", server.sound, start_s)}
    seen = {number: brightness > WHITE for number, brightness in numbered(server, "video", server.pictures, start_s)}
    together = seen.keys() & heard.keys()
    assert sum(seen[number] for number in together) >= 10
    assert {number: seen[number] for number in together} == {number: heard[number] for number in together}


def numbered(
    server: WhipReceiver, kind: str, received: list[tuple[int, float]], start_s: float
) -> Iterator[tuple[int, float]]:
    """Each level, with the number of pictures between `start_s` and the time when it was due."""
    due_s = server.times_s(kind, [time for time, _ in received])
    for moment_s, (_, level) in zip(due_s, received, strict=True):
        yield round((moment_s - start_s) * FPS), level


async def test_a_server_that_is_killed_costs_nothing_and_is_tried_again(small_bundle: AvatarBundle) -> None:
    """It says no good-bye. send() goes on as before, the reason is told, and the next server gets the stream."""
    port, clock = free_port(), ManualClock()
    push = push_to(port, small_bundle, clock)
    try:
        with whip_process(port):
            await until(lambda: push.state != "connecting")
            while push.state != "live":  # the server was not there yet
                await clock.advance(LONGEST_PAUSE_S)
                await until(lambda: push.state != "connecting")
            number = await play(push, small_bundle, lambda number: number == 1025)
        number = await play(push, small_bundle, lambda _number: push.state != "live", number)
        assert push.state == "waiting" and "gone" in push.trouble and push.trouble_code == "lost"
        push.send(frame(small_bundle, number))
        assert (push.waiting, push.frames_dropped) == (0, 0)
        async with whip_server(port) as server:
            await clock.advance(FIRST_PAUSE_S)
            await until(lambda: push.state == "live")
            await play(push, small_bundle, lambda _number: server.pictures and server.sound, number)
            assert push.connections == 2
    finally:
        await push.aclose()


@pytest.mark.parametrize(("path", "words"), [("away", "without TLS"), ("nothing", "404"), ("live", "token")])
async def test_a_server_that_refuses_is_told_in_words(small_bundle: AvatarBundle, path: str, words: str) -> None:
    """And no part of the token is."""
    port = free_port()
    async with whip_server(port):
        key = "wrong" if path == "live" else KEY
        address = f"whip+http://{key}@127.0.0.1:{port}/{path}"
        push = Push(address, small_bundle.width, small_bundle.height, ManualClock())
        await until(lambda: push.state == "waiting")
        assert words in push.trouble and key not in push.trouble and push.connections == 0
        assert push.trouble_code == "refused"
        await push.aclose()
