"""The waterfall of the last answer on the Talk tab."""

from __future__ import annotations

import pytest

from tests.browser.conftest import WITHIN_S, Visitor

pytestmark = pytest.mark.browser

LABELS = {"": ("First word of the answer", "Seen here"), "zh": ("回答的第一个词", "页面显示")}


@pytest.mark.parametrize("query", ["?transport=webrtc", "?transport=websocket"])
async def test_the_waterfall_reaches_from_the_question_to_what_is_seen(visit: Visitor, query: str) -> None:
    """Opened before anything is said it explains itself; after an answer its last row is the viewer's own."""
    page = await visit(query)
    await page.page.click(".vv-timing > summary")
    assert await page.page.is_visible(".vv-no-marks")
    await page.start()
    await page.say("one two three four five six seven eight nine ten")
    await page.until("document.querySelectorAll('.vv-marks li').length > 7 && vivavoce.stats().turnState === 'done'")
    rows = await page.run("[...document.querySelectorAll('.vv-marks li')].map((row) => row.innerText.split('\\n'))")
    assert [rows[0][0], rows[-1][0]] == list(LABELS[""])
    assert 0 < int(rows[-1][-1].removesuffix(" ms")) < 1000 * WITHIN_S
    assert not await page.page.is_visible(".vv-no-marks")
    assert await page.run("document.querySelector('.vv-timing').open")
    await page.page.keyboard.press("Escape")
    assert not await page.run("document.querySelector('.vv-timing').open")


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
    named = await page.run("[...document.querySelectorAll('.vv-marks li')].map((row) => row.firstChild.textContent)")
    assert set(LABELS["zh"]) <= set(named)
