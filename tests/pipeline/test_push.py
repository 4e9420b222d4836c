"""A session on a streaming server: received in step, and what happens when the server goes, stalls or never was."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from pipeline import push as module
from pipeline.child_process import end_child, start_child
from pipeline.clock import ManualClock, SystemClock
from pipeline.push import FIRST_PAUSE_S, FRAMES_BOUND, NICENESS, RTMP_CHILD, Push
from pipeline.types import SAMPLES_PER_PICTURE, LoopPosition, MediaFrame
from portal.commands.portal_process import free_port
from tests.streaming_server import receiver

pytestmark = pytest.mark.thorough

WITHIN_S = 60.0


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a stream's process is quick enough is no matter of these tests."""
    for deadline in ("CONNECTED_WITHIN_S", "STALLED_S", "COMPLETED_WITHIN_S"):
        monkeypatch.setattr(module, deadline, WITHIN_S)


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not is_so():  # noqa: ASYNC110 - it depends on other processes
            await asyncio.sleep(0.02)


def frame(bundle: AvatarBundle, number: int) -> MediaFrame:
    """Every 25th is a white picture with a tone; the others are idle pictures with silence."""
    if number % 25 != 10:
        position = LoopPosition(bundle, number % len(bundle.loop))
        return MediaFrame(position, np.zeros(SAMPLES_PER_PICTURE, np.float32), number)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(SAMPLES_PER_PICTURE) / 48_000)
    return MediaFrame(np.full((bundle.height, bundle.width, 3), 255, np.uint8), tone.astype(np.float32), number)


async def send(push: Push, bundle: AvatarBundle, numbers: range) -> None:
    """As fast as they are taken."""
    for number in numbers:
        await until(lambda: push.waiting < FRAMES_BOUND // 2)
        push.send(frame(bundle, number))


async def test_what_is_played_is_received_in_step(small_bundle: AvatarBundle, tmp_path: Path) -> None:
    """White pictures and tones arrive together, whole, although it began in the middle of a session."""
    port, file = free_port(), tmp_path / "got.flv"
    with receiver(port, file) as server:
        push = Push(f"rtmp://127.0.0.1:{port}/live/secret", small_bundle.width, small_bundle.height, SystemClock())
        await until(lambda: push.state == "live")
        await send(push, small_bundle, range(1000, 1100))
        await push.aclose()
        await push.aclose()
        # It may have been tried before the receiver was there; once it was live, nothing ended that.
        assert (push.state, push.frames_dropped, push.connections) == ("closed", 0, 1)
        await asyncio.to_thread(server.wait, WITHIN_S)
    with av.open(str(file)) as received:
        pictures = [(float(one.time or 0), one.to_ndarray(format="gray").mean()) for one in received.decode(video=0)]
    with av.open(str(file)) as received:
        sound = [(float(one.time or 0), np.abs(one.to_ndarray()).max()) for one in received.decode(audio=0)]
    white_s = [time_s for time_s, brightness in pictures if brightness > 240]
    loud_s = [time_s for time_s, peak in sound if peak > 0.2]
    assert len(pictures) == 100 and len(white_s) == 4
    starts_s = [time_s for time_s in loud_s if not any(0 < time_s - other < 0.5 for other in loud_s)]
    assert np.allclose(white_s, starts_s, atol=0.03)  # a block of AAC is 21 ms long


async def test_a_server_that_dies_costs_nothing_and_is_tried_again(small_bundle: AvatarBundle, tmp_path: Path) -> None:
    """send() goes on as before, the reason is told, and the next server at the address gets the stream."""
    port, clock = free_port(), ManualClock()
    push = Push(f"rtmp://127.0.0.1:{port}/live/secret", small_bundle.width, small_bundle.height, clock)
    try:
        with receiver(port, tmp_path / "first.flv"):
            await until(lambda: push.state != "connecting")
            while push.state != "live":  # the receiver was not there yet
                await clock.advance(2 * FIRST_PAUSE_S)
                await until(lambda: push.state != "connecting")
            await send(push, small_bundle, range(50))
        number = 50
        async with asyncio.timeout(WITHIN_S):
            while push.state == "live":
                push.send(frame(small_bundle, number))
                number += 1
                await asyncio.sleep(0.02)
        assert push.state == "waiting" and push.trouble_code == "lost" and "secret" not in push.trouble
        push.send(frame(small_bundle, number))
        assert push.waiting == 0
        with receiver(port, tmp_path / "second.flv"):
            while push.connections < 2:
                await clock.advance(module.LONGEST_PAUSE_S)
                await until(lambda: push.state != "connecting")
            assert push.state == "live"
            await send(push, small_bundle, range(200, 225))
    finally:
        await push.aclose()


async def test_where_nobody_listens_it_waits_longer_and_longer(small_bundle: AvatarBundle) -> None:
    """And closing does not wait for a server."""
    clock = ManualClock()
    push = Push(f"rtmp://127.0.0.1:{free_port()}/live/secret", small_bundle.width, small_bundle.height, clock)
    await until(lambda: push.state == "waiting")
    assert push.trouble and push.trouble_code == "unreachable" and push.connections == 0
    await clock.advance(FIRST_PAUSE_S)
    assert push.state == "waiting"
    await clock.advance(FIRST_PAUSE_S)
    assert push.state == "connecting"
    async with asyncio.timeout(WITHIN_S):
        await push.aclose()
    assert push.state == "closed"


async def test_one_that_takes_nothing_is_given_up(small_bundle: AvatarBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has taken the connection and says no word: the process is ended."""
    monkeypatch.setattr(module, "CONNECTED_WITHIN_S", 1.0)
    server = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(WITHIN_S), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    push = Push(f"rtmp://127.0.0.1:{port}/live/secret", small_bundle.width, small_bundle.height, ManualClock())
    await until(lambda: push.state == "waiting")
    assert (push.trouble_code, push.trouble) == ("silent", "the server takes nothing")
    await push.aclose()
    server.close()


def test_its_process_stands_behind_the_portal() -> None:
    """Where both want the processor: a streaming server costs nobody pictures who talks with the avatar."""
    process = start_child(RTMP_CHILD, niceness=NICENESS)
    try:
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, ours + NICENESS)
    finally:
        end_child(process)
