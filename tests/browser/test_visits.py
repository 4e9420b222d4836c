"""What visits in one browser have in common, and what they do not: the tests here rely on it."""

from __future__ import annotations

import pytest
from playwright.async_api import Error

from portal.commands.portal_process import PortalProcess
from tests.browser.conftest import Chromium, Visitor
from tests.browser.patience import eventually, until

pytestmark = pytest.mark.browser

LEAVE = """() => {
    localStorage.setItem("left", "behind");
    sessionStorage.setItem("left", "behind");
    document.cookie = "left=behind";
}"""
FOUND = """async () => [
    localStorage.length, sessionStorage.length, document.cookie,
    (await navigator.permissions.query({ name: "microphone" })).state,
]"""
SCRIPTS_OVER_THE_NETWORK = """() => performance.getEntriesByType("resource")
    .filter(({ name, transferSize }) => name.endsWith(".js") && transferSize > 0).length"""


async def test_a_visit_finds_nothing_of_an_earlier_one_but_its_cache(
    one_chromium: Chromium, portal: PortalProcess
) -> None:
    """Storage, cookies and permissions end with a visit; scripts that were fetched once are not fetched again."""
    for _ in range(2):
        async with one_chromium.page() as page:
            await page.goto(f"{portal.url}/stage")
            found = await page.evaluate(FOUND)
            fetched = await page.evaluate(SCRIPTS_OVER_THE_NETWORK)
            await page.evaluate(LEAVE)
            await page.context.grant_permissions(["microphone"])
    assert found == [0, 0, "", "prompt"]
    assert fetched == 0


async def test_two_visits_at_one_time_share_nothing(visit: Visitor) -> None:
    """They are two viewers."""
    first = await visit("stage")
    await first.run(LEAVE)
    second = await visit("stage")
    assert (await second.run(FOUND))[:3] == [0, 0, ""]


async def test_what_comes_later_is_waited_for(one_chromium: Chromium) -> None:
    """An element that is not there yet is no fault; a promise, which is true at once, is one of the test."""
    text = "document.querySelector('p').textContent"
    async with one_chromium.page() as page:
        await page.evaluate("void setTimeout(() => document.body.append(document.createElement('p')), 300)")
        await page.evaluate("void setTimeout(() => (document.querySelector('p').textContent = 'here'), 600)")
        await until(page, f"{text} === 'here'")
        await page.evaluate("void Object.assign(window, { seen: 1, value: 1, error: 1 })")
        await until(page, "seen + value + error === 3")  # names of the page
        await eventually(page, f"Promise.resolve({text})", "here")
        with pytest.raises(AssertionError, match="is 'here', not 'gone'"):
            await eventually(page, text, "gone", within_s=0)
        with pytest.raises(Error, match="A promise is true at once"):
            await until(page, "Promise.resolve(false)")
