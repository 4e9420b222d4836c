"""A session on a streaming server, from the settings of the Talk tab, in a real Chromium."""

from __future__ import annotations

import asyncio
from pathlib import Path

import av
import pytest

from tests.browser.conftest import LONG, Visit, Visitor
from tests.browser.test_accessibility import SMALL, faults
from tests.streaming_server import STREAM_PORT, receiver

pytestmark = pytest.mark.browser
STREAM = ".vv-stream"
TOLD = f"document.querySelector('{STREAM} .vv-told').textContent"
ADDRESS = f"rtmp://127.0.0.1:{STREAM_PORT}/live/secret"


async def with_settings(visit: Visitor, **how: object) -> Visit:
    mine = await visit("?transport=websocket", **how)
    assert await mine.run(f"document.querySelector('{STREAM}').hidden")
    await mine.start()
    await mine.page.click(".vv-settings summary")
    return mine


async def test_a_session_is_sent_to_a_streaming_server(visit: Visitor, tmp_path: Path) -> None:
    """It is live there with pictures and sound until it is ended; the key is gone from the page."""
    mine = await with_settings(visit)
    file = tmp_path / "received.flv"
    with receiver(STREAM_PORT, file) as server:
        await mine.page.fill(f"{STREAM} input", ADDRESS)
        await mine.page.click(f"{STREAM} button")
        await mine.until(f"{TOLD} === 'This session is live on 127.0.0.1.'")
        assert await mine.page.input_value(f"{STREAM} input") == ""
        assert not await mine.page.is_visible(f"{STREAM} input")
        await mine.say(LONG)
        await mine.until("vivavoce.stats().turnState === 'speaking'")
        await asyncio.sleep(2)  # of stream, by the clock of whoever receives it
        await mine.page.click(f"{STREAM} button")
        await mine.until(f"{TOLD}.startsWith('Others can follow')")
        await asyncio.to_thread(server.wait, 60)
    with av.open(str(file)) as received:
        assert {stream.type for stream in received.streams} == {"video", "audio"}
        assert sum(1 for _ in received.decode(video=0)) > 10
    assert (await mine.stats())["state"] == "live"
    assert mine.faults == []


async def test_what_goes_wrong_is_said_where_it_happens(visit: Visitor) -> None:
    """A server that is not allowed is refused, and the address stays to be mended; one that is away is waited for."""
    mine = await with_settings(visit)
    await mine.page.fill(f"{STREAM} input", "rtmp://evil.example/live/key")
    await mine.page.click(f"{STREAM} button")
    await mine.page.wait_for_selector(".vv-log >> text=does not send to that streaming server")
    assert await mine.page.input_value(f"{STREAM} input") == "rtmp://evil.example/live/key"
    await mine.page.fill(f"{STREAM} input", ADDRESS)
    await mine.page.click(f"{STREAM} button")
    await mine.until(f"{TOLD}.startsWith('127.0.0.1 does not take the stream.')")
    await mine.page.click(f"{STREAM} button")
    await mine.until(f"{TOLD}.startsWith('Others can follow')")
    assert mine.faults == []


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_it_is_there_for_fingers_and_for_who_cannot_see(visit: Visitor, language: str) -> None:
    """On a phone everything in the settings is 44 px high, and axe finds nothing."""
    mine = await visit(f"?transport=websocket&lang={language}", width=390, height=844, touch=True)
    await mine.page.emulate_media(reduced_motion="reduce")
    await mine.start()
    await mine.page.click(".vv-settings summary")
    assert await mine.page.is_visible(f"{STREAM} input")
    small = await mine.page.evaluate(SMALL)
    assert not [one for one in small if "stream" in str(one)], small
    assert await faults(mine.page) == []
