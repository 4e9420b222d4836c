"""The waterfall of the last answer on the Talk tab."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visitor
from tests.browser.patience import WITHIN_S

pytestmark = pytest.mark.browser

LABELS = {"": ("First word of the answer", "Seen here"), "zh": ("回答的第一个词", "页面显示")}


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_the_waterfall_reaches_from_the_question_to_what_is_seen(visit: Visitor, transport: str) -> None:
    """Opened before anything is said it explains itself; after an answer its last row is the viewer's own."""
    page = await visit("?transport=websocket" if transport == "websocket" else "")
    await page.page.click(".vv-timing > summary")
    await expect(page.page.locator(".vv-no-marks")).to_be_visible()
    await page.start(transport)
    await page.say("one two three four five six seven eight nine ten")
    await page.until("document.querySelectorAll('.vv-marks li').length > 7 && vivavoce.stats().turnState === 'done'")
    ends = "[0, -1].map((place) => [...document.querySelectorAll('.vv-marks li')].at(place).innerText.split('\\n'))"
    await page.eventually(f"{ends}.map(([label]) => label)", list(LABELS[""]))
    _, last = await page.run(ends)
    assert 0 < int(last[-1].removesuffix(" ms")) < 1000 * WITHIN_S
    await expect(page.page.locator(".vv-no-marks")).to_be_hidden()
    assert await page.run("document.querySelector('.vv-timing').open")
    await page.page.keyboard.press("Escape")
    await page.eventually("document.querySelector('.vv-timing').open", False)


async def test_the_waterfall_speaks_the_language_of_the_page(visit: Visitor) -> None:
    """A click on the language renames the rows that are there."""
    page = await visit()
    await page.page.click(".vv-timing > summary")
    await page.start()
    await page.say("one two three")
    await page.until(
        "[...document.querySelectorAll('.vv-marks li')].some((row) => row.innerText.includes('Seen here'))"
    )
    await page.page.click(".vv-language")
    for label in LABELS["zh"]:
        await expect(page.page.locator(".vv-marks li > :first-child").get_by_text(label, exact=True)).to_have_count(1)
