"""The Talk tab on a portal that has no avatar yet."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

from portal.commands.portal_process import PortalProcess, running_portal
from tests.browser.conftest import JOBS, MEASURING, plain_page, write_avatar
from tests.browser.patience import eventually

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """It has an avatar while it starts, else it would not be ready; the other preset is queued, and nobody makes it."""
    data_dir = tmp_path_factory.mktemp("first")
    write_avatar(data_dir / "avatars" / "mira", 90)
    with running_portal(data_dir, *MEASURING) as process:
        yield process


@pytest.fixture
def avatars(started: PortalProcess) -> Path:
    """The folder of avatars, empty again."""
    folder = started.log.parent / "avatars"
    for path in folder.iterdir():
        shutil.rmtree(path)
    return folder


@pytest.fixture
def portal(started: PortalProcess, avatars: Path) -> PortalProcess:
    """Without an avatar."""
    return started


SEEN_TABS = """
    window.seenTabs = new Set();
    const look = () => {
        for (const tab of document.querySelectorAll("#vv-tabs [role=tab]")) {
            if (tab.checkVisibility({ visibilityProperty: true })) seenTabs.add(tab.textContent.trim());
        }
        requestAnimationFrame(look);
    };
    look();
"""


async def test_a_page_that_is_still_loading_says_so(browser: Browser, portal: PortalProcess) -> None:
    """In Chinese from the first word on; and until the list of avatars is there, neither that it is ready nor that the
    first one is being made.
    """
    asked = asyncio.Event()
    answer = asyncio.Event()

    async def late(route: Route) -> None:
        asked.set()
        await answer.wait()
        await route.continue_()

    async with plain_page(browser, "about:blank") as page:
        await page.add_init_script(SEEN_TABS)
        await page.route("**/api/avatars", late)
        await page.goto(f"{portal.url}/?lang=zh")
        await asked.wait()
        await page.wait_for_selector(".vv-state:has-text('加载中')")
        await expect(page.locator("#vv-status")).to_have_text("正在加载数字人…")
        await expect(page.locator(".vv-preparing")).to_have_text("")
        answer.set()
        await page.wait_for_selector(".vv-state:has-text('准备中')")
        await expect(page.locator(".vv-preparing")).to_have_text("正在准备第一个数字人，只需几秒钟。")
        await eventually(page, "[...seenTabs].sort()", sorted(["对话", "数字人", "工作室", "任务"]))


async def test_without_avatars_nobody_is_told_to_wait(browser: Browser, portal: PortalProcess) -> None:
    """When no job makes one, the page says so, and where one is made; typing says it too."""
    async with plain_page(browser, portal.url) as page:
        await page.route(JOBS, lambda route: route.fulfill(json=[]))
        await page.wait_for_selector(".vv-state:has-text('No avatar')")
        for place in ("#vv-status", ".vv-preparing"):
            await expect(page.locator(place)).to_contain_text("under Avatars")
        await page.fill(".vv-composer textarea", "hello there")
        await page.press(".vv-composer textarea", "Enter")
        await page.wait_for_selector(".vv-toast.vv-on:has-text('under Avatars')")
        await page.click(".vv-language")
        await page.wait_for_selector(".vv-state:has-text('没有数字人')")


async def test_the_first_avatars_are_waited_for(browser: Browser, portal: PortalProcess, avatars: Path) -> None:
    """The page says so, keeps what is typed, and shows the first avatar and the second as they come."""
    async with plain_page(browser, portal.url) as page:
        await page.wait_for_selector(".vv-state:has-text('Preparing')")
        await expect(page.locator("#vv-status")).to_contain_text("first avatar is being prepared")
        await expect(page.locator("#vv-start")).to_be_disabled()
        text = page.locator(".vv-composer textarea")
        await text.fill("hello there")
        await text.press("Enter")
        await page.wait_for_selector(".vv-toast.vv-on:has-text('kept')")
        await expect(text).to_have_value("hello there")
        await expect(page.locator(".vv-note, .vv-asked")).to_have_count(0)
        write_avatar(avatars / "mira", 90)
        await page.wait_for_selector("#vv-start:not([disabled])")
        await expect(page.locator(".vv-state")).to_have_text("Ready")
        await expect(page.locator(".vv-toast.vv-on")).to_have_count(0)
        write_avatar(avatars / "theo", 60)
        await page.wait_for_selector("#vv-talk .vv-avatar[data-id=theo]")
        await text.press("Enter")
        await page.wait_for_selector(".vv-answer:has-text('hello there')")
