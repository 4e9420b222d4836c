"""A link to watch, from the settings of a session to the page of somebody else, in a real Chromium."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import LONG, Visitor
from tests.browser.patience import WITHIN_S, eventually, passes

pytestmark = pytest.mark.browser
SHARE = ".vv-share"
HIDDEN = f"document.querySelector('{SHARE}').hidden"


async def is_in(page: Page, state: str) -> None:
    """Until the page says so. wait_for_function() would need what the page's policy forbids."""
    await page.wait_for_selector(f"main[data-state={state}]", timeout=1000 * WITHIN_S)


async def plays(page: Page) -> None:
    """Until the page shows pictures that change."""
    await is_in(page, "live")
    shown_s = await page.evaluate("document.querySelector('video').currentTime")

    async def goes_on() -> None:
        assert await page.evaluate("document.querySelector('video').currentTime") > shown_s + 0.5

    await passes(goes_on)


async def test_others_watch_a_session_by_its_link(visit: Visitor, browser: Browser) -> None:
    """They see and hear it with the link alone, and are told when it is over; the session goes on when they leave."""
    mine = await visit("?transport=websocket")
    assert await mine.run(HIDDEN)
    await mine.start()
    await mine.page.click(".vv-settings summary")
    await mine.page.click(f"{SHARE} button")
    shared = mine.page.locator(f"{SHARE} input")
    await expect(shared).to_have_value(re.compile(rf"^{mine.portal.url}/watch#[\w-]{{20,}}$"))
    link = await shared.input_value()
    await expect(mine.page.locator(".vv-toast")).to_contain_text("link")
    await mine.page.keyboard.press("Escape")  # the settings lie over the button to stop
    await mine.say(LONG)
    context = await browser.new_context(locale="zh-CN")
    try:
        other = await context.new_page()
        await other.goto(link)
        await plays(other)
        await expect(other.locator(".vv-watch-label")).to_have_text("AI 数字人")
        sound = "document.querySelector('video').srcObject.getAudioTracks().filter((track) => !track.muted).length"
        await eventually(other, sound, 1)
        await other.reload()
        await plays(other)
        await mine.page.click("#vv-stop")
        await is_in(other, "over")
        await expect(other.locator(".vv-watch-status")).to_contain_text("会话已经结束")
    finally:
        await context.close()
    await mine.eventually(HIDDEN, True)
    assert mine.faults == []
