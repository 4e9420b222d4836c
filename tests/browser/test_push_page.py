"""A session on a streaming server, from the settings of the Talk tab, in a real Chromium."""

from __future__ import annotations

import asyncio
from pathlib import Path

import av
import pytest
from playwright.async_api import expect

from tests.browser.conftest import LONG, Visit, Visitor
from tests.browser.patience import passes
from tests.browser.test_accessibility import SMALL, faults
from tests.streaming_server import STREAM_PORT, receiver

pytestmark = pytest.mark.browser
STREAM = ".vv-stream"
TOLD = f"document.querySelector('{STREAM} .vv-told').textContent"
ADDRESS = f"rtmp://127.0.0.1:{STREAM_PORT}/live/secret"


async def with_settings(visit: Visitor, **how: object) -> Visit:
    mine = await visit("?transport=websocket", **how)
    await expect(mine.page.locator(STREAM)).to_have_js_property("hidden", True)
    await mine.start()
    await mine.page.click(".vv-settings summary")
    return mine


def pictures_in(stream: Path) -> int:
    """How many have been received until now."""
    try:
        with av.open(str(stream)) as received:
            return sum(1 for _ in received.decode(video=0))
    except (av.FFmpegError, IndexError):  # there is no picture in it yet
        return 0


async def test_a_session_is_sent_to_a_streaming_server(visit: Visitor, tmp_path: Path) -> None:
    """It is live there with pictures and sound until it is ended; the key is gone from the page."""
    mine = await with_settings(visit)
    file = tmp_path / "received.flv"
    with receiver(STREAM_PORT, file) as server:
        await mine.page.fill(f"{STREAM} input", ADDRESS)
        await mine.page.click(f"{STREAM} button")
        await mine.until(f"{TOLD} === 'This session is live on 127.0.0.1.'")
        address = mine.page.locator(f"{STREAM} input")
        await expect(address).to_have_value("")
        await expect(address).to_be_hidden()
        await mine.say(LONG)
        await mine.until("vivavoce.stats().turnState === 'speaking'")

        async def is_received() -> None:
            assert await asyncio.to_thread(pictures_in, file) > 25

        await passes(is_received)
        await mine.page.click(f"{STREAM} button")
        await mine.until(f"{TOLD}.startsWith('Others can follow')")
        await asyncio.to_thread(server.wait, 60)
    with av.open(str(file)) as received:
        assert {stream.type for stream in received.streams} == {"video", "audio"}
    assert (await mine.stats())["state"] == "live"
    assert mine.faults == []


async def test_what_goes_wrong_is_said_where_it_happens(visit: Visitor) -> None:
    """A server that is not allowed is refused, and the address stays to be mended; one that is away is waited for."""
    mine = await with_settings(visit)
    await mine.page.fill(f"{STREAM} input", "rtmp://evil.example/live/key")
    await mine.page.click(f"{STREAM} button")
    await mine.page.wait_for_selector(".vv-log >> text=does not send to that streaming server")
    await expect(mine.page.locator(f"{STREAM} input")).to_have_value("rtmp://evil.example/live/key")
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
    await expect(mine.page.locator(f"{STREAM} input")).to_be_visible()

    async def fingers_fit() -> None:
        small = await mine.page.evaluate(SMALL)
        assert not [one for one in small if "stream" in str(one)], small

    await passes(fingers_fit)
    assert await faults(mine.page) == []
