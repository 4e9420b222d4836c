"""A session on a WHIP server: received in step by a second aiortc, and what happens when the server goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from pipeline.clock import ManualClock, SystemClock
from pipeline.push import FIRST_PAUSE_S, LONGEST_PAUSE_S, Push
from pipeline.types import FPS, SAMPLES_PER_PICTURE, LoopPosition, MediaFrame
from tests.benchmarks.portal_process import free_port
from tests.whip_server import TOKEN, whip_process, whip_server

pytestmark = pytest.mark.thorough

WITHIN_S = 60.0
KEY = TOKEN.replace(":", "%3A")


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
            push.send(frame(bundle, number))
            number += 1
            await asyncio.sleep(1 / FPS)
    return number


def starts_s(times_s: list[float]) -> list[float]:
    """Those with nothing in the half second before."""
    return [time_s for time_s in times_s if not any(0 < time_s - other < 0.5 for other in times_s)]


async def test_what_is_played_is_received_in_step(small_bundle: AvatarBundle) -> None:
    """White pictures and tones are due at the same times; the server is told of the end. It redirects at first."""
    port = free_port()
    async with whip_server(port) as server:
        push = push_to(port, small_bundle, SystemClock(), "moved")
        await until(lambda: push.state == "live")

        def white() -> list[int]:
            return [time for time, brightness in server.pictures if brightness > 225]

        await play(push, small_bundle, lambda _number: len(white()) >= 15 and len(server.reports) == 2)
        await push.aclose()
        await push.aclose()
        assert (push.state, push.frames_dropped, push.connections) == ("closed", 0, 1)
        seen_s = starts_s(server.times_s("video", white()))
        loud = [time for time, peak in server.sound if peak > 0.2]
        heard_s = starts_s(server.times_s("audio", loud))
        assert server.asked == ["POST /live", "DELETE /streams/1"]
    pairs = [(seen, heard) for seen in seen_s for heard in heard_s if abs(seen - heard) < 0.5]
    assert len(pairs) >= 2
    # A packet of Opus is 40 ms long, its decoder gives 20 ms at a time, and its window reaches 2.5 ms back.
    assert all(abs(seen - heard) < 0.03 for seen, heard in pairs)


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
        assert push.state == "waiting" and "gone" in push.trouble
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
        await push.aclose()
