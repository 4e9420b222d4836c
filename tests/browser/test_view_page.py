"""The viewer's own settings on the Talk tab: how the avatar is seen and heard, and who it is."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visitor

pytestmark = pytest.mark.browser


async def test_volume_subtitles_and_mirror_hold_at_once_and_over_a_reload(visit: Visitor) -> None:
    """Without the notice that other settings need: they take no new session."""
    page = await visit()
    await page.page.click(".vv-settings > summary")
    await page.page.select_option("[name=subtitles]", "large")
    await page.page.check("[name=mirrored]")
    await page.page.fill("[name=volume]", "40")
    await page.until("document.querySelector('.vv-frame').dataset.subtitles === 'large'")
    await page.page.reload()
    await page.until("window.vivavoce && document.querySelector('.vv-frame.vv-mirrored')")
    await page.start("webrtc")  # which alone has a window of its own
    await page.until("Math.abs(document.querySelector('#vv-video').volume - 0.4) < 0.01")
    await expect(page.page.locator(".vv-frame")).to_have_attribute("data-subtitles", "large")
    await expect(page.page.locator(".vv-apart")).to_be_enabled()
    await page.page.click(".vv-settings > summary")
    await page.page.click(".vv-whole")
    await page.until("document.fullscreenElement?.classList.contains('vv-frame')")


async def test_a_greeting_that_is_typed_is_spoken_at_the_start_and_kept_for_the_avatar(visit: Visitor) -> None:
    """First for this viewer alone; kept, it is the avatar's own, and is seen where one could type another."""
    page = await visit()
    await page.page.click(".vv-settings > summary")
    await expect(page.page.locator(".vv-model")).to_contain_text("Answers come from")
    await page.page.click(".vv-persona > summary")
    await page.page.fill("[name=greeting]", "Good day to you.")
    await page.start()
    await page.until("document.querySelector('.vv-answer')?.textContent.includes('Good day to you.')")
    await page.until("vivavoce.stats().turnState === 'done'")
    if not await page.page.is_visible("[name=greeting]"):
        await page.page.click(".vv-settings > summary")
    await page.page.click(".vv-keep")
    await page.until("document.querySelector('[name=greeting]').placeholder === 'Good day to you.'")
    await expect(page.page.locator("[name=greeting]")).to_have_value("")
