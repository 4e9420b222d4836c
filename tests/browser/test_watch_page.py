"""A link to watch, from the settings of a session to the page of somebody else, in a real Chromium."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Browser, Page

from tests.browser.conftest import LONG, Visitor

pytestmark = pytest.mark.browser
SHARE = ".vv-share"
HIDDEN = f"document.querySelector('{SHARE}').hidden"


async def is_in(page: Page, state: str) -> None:
    """Until the page says so. wait_for_function() would need what the page's policy forbids."""
    await page.wait_for_selector(f"main[data-state={state}]", timeout=60_000)


async def plays(page: Page) -> None:
    """Until the page shows pictures that change."""
    await is_in(page, "live")
    shown_s = await page.evaluate("document.querySelector('video').currentTime")
    async with asyncio.timeout(60):
        while await page.evaluate("document.querySelector('video').currentTime") < shown_s + 0.5:  # noqa: ASYNC110 - another process plays
            await asyncio.sleep(0.1)


async def test_others_watch_a_session_by_its_link(visit: Visitor, browser: Browser) -> None:
    """They see and hear it with the link alone, and are told when it is over; the session goes on when they leave."""
    mine = await visit("?transport=websocket")
    assert await mine.run(HIDDEN)
    await mine.start()
    await mine.page.click(".vv-settings summary")
    await mine.page.click(f"{SHARE} button")
    link = await mine.page.input_value(f"{SHARE} input")
    assert re.fullmatch(rf"{mine.portal.url}/watch#[\w-]{{20,}}", link)
    toast = await mine.page.text_content(".vv-toast")
    assert toast and "link" in toast
    await mine.page.keyboard.press("Escape")  # the settings lie over the button to stop
    await mine.say(LONG)
    context = await browser.new_context(locale="zh-CN")
    try:
        other = await context.new_page()
        await other.goto(link)
        await plays(other)
        assert await other.text_content(".vv-watch-label") == "AI 数字人"
        sound = "document.querySelector('video').srcObject.getAudioTracks().filter((track) => !track.muted).length"
        assert await other.evaluate(sound) == 1
        await other.reload()
        await plays(other)
        await mine.page.click("#vv-stop")
        await is_in(other, "over")
        assert "会话已经结束" in (await other.text_content(".vv-watch-status") or "")
    finally:
        await context.close()
    assert await mine.run(HIDDEN)
    assert mine.faults == []
