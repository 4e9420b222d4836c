"""A portal on which people log in: the page of the login, the session after it, and what a viewer is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, Page, expect

from portal.commands.portal_process import PortalProcess, running_portal
from portal.http.people import Role, UsersFile
from tests.browser.conftest import MEASURING, write_avatar
from tests.browser.patience import WITHIN_S, eventually, until

READY_MS = 1000 * WITHIN_S


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """A viewer and two makers may log in. One of the avatars is Max's."""
    data_dir = tmp_path_factory.mktemp("locked")
    write_avatar(data_dir / "avatars" / "alpha", 90)
    write_avatar(data_dir / "avatars" / "beta", 90)
    manifest = data_dir / "avatars" / "beta" / "manifest.json"
    kept = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**kept, "source": {**kept["source"], "owner": "max"}}))
    users = UsersFile(data_dir / "users.json")
    users.set("vera", "secret of vera", Role.VIEWER)
    users.set("max", "secret of max", Role.MAKER)
    users.set("mia", "secret of mia", Role.MAKER)
    with running_portal(data_dir, "--avatar", "alpha", *MEASURING) as process:
        yield process


async def log_in(page: Page, name: str, password: str) -> None:
    await page.fill("[name=name]", name)
    await page.fill("[name=password]", password)
    await page.click("button")


async def test_a_viewer_logs_in_talks_and_logs_out(browser: Browser, locked: PortalProcess) -> None:
    """In Chinese: the login, a wrong password, the session; no tabs of makers, and nothing is left behind."""
    page = await browser.new_page(locale="zh-CN")
    await page.goto(f"{locked.url}/")
    await expect(page.locator("h1")).to_have_text("登录 Vivavoce")
    await log_in(page, "vera", "wrong")
    await expect(page.locator("[role=alert]")).to_have_text("用户名或密码不正确。")
    await log_in(page, "vera", "secret of vera")
    await page.wait_for_selector("#vv-start:not([disabled])", timeout=READY_MS)
    await expect(page.locator("[data-tab-id=talk]").first).to_be_visible()
    for tab in ("avatars", "studio", "jobs"):
        await expect(page.locator(f"[data-tab-id={tab}]:visible")).to_have_count(0)
    await page.click("#vv-start")
    await until(page, "vivavoce.stats().state === 'live'")
    await page.evaluate("vivavoce.say('one two three')")
    await until(page, "sessionStorage.length > 0")
    await page.get_by_text("退出登录").click()
    await expect(page.locator("h1")).to_have_text("登录 Vivavoce")
    await eventually(page, "Object.keys(sessionStorage)", [])
    await page.context.close()


async def test_whoever_is_no_longer_logged_in_is_told_so(browser: Browser, locked: PortalProcess) -> None:
    """When the login has ended, Start does not say that the server is away: it says what to do."""
    page = await browser.new_page(locale="en-US")
    await page.goto(f"{locked.url}/")
    await log_in(page, "vera", "secret of vera")
    await page.wait_for_selector("#vv-start:not([disabled])", timeout=READY_MS)
    await page.context.clear_cookies()
    await page.click("#vv-start")
    await expect(page.locator(".vv-error[data-code=login_needed]")).to_contain_text("log in", timeout=READY_MS)
    await page.context.close()


async def test_a_maker_has_all_tabs(browser: Browser, locked: PortalProcess) -> None:
    """And is told by which name they are logged in."""
    page = await browser.new_page(locale="en-US")
    await page.goto(f"{locked.url}/")
    await log_in(page, "max", "secret of max")
    await page.wait_for_selector("#vv-start:not([disabled])", timeout=READY_MS)
    await expect(page.get_by_text("Log out")).to_have_attribute("title", "Logged in as max")
    await expect(page.locator("[data-tab-id=studio]").first).to_be_visible()
    await page.context.close()


async def test_two_people_see_what_is_theirs_or_shared(browser: Browser, locked: PortalProcess) -> None:
    """Max shares his avatar on the page; Mia sees it then, and can talk with it, and cannot change it."""
    max_, mia = [await browser.new_page(locale=locale) for locale in ("en-US", "zh-CN")]
    for page, name in ((max_, "max"), (mia, "mia")):
        await page.goto(f"{locked.url}/")
        await log_in(page, name, f"secret of {name}")
        await page.wait_for_selector("#vv-start:not([disabled])", timeout=READY_MS)
        await page.locator("[data-tab-id=avatars]:visible").first.click()
    his = ".vv-avatar[data-avatar=beta]"
    await expect(max_.locator(his)).to_be_visible()
    await expect(mia.locator(".vv-avatar[data-avatar=alpha]")).to_be_visible()
    await expect(mia.locator(his)).to_have_count(0)
    await max_.locator(his).click()
    sharing = max_.locator(".vv-detail .vv-sharing")
    await expect(sharing).to_contain_text("Nobody else sees it")
    await sharing.locator("input").click()
    await expect(sharing).to_contain_text("shared with everybody")
    await mia.reload()
    await mia.locator(his).click(timeout=READY_MS)
    detail = mia.locator(".vv-detail")
    await expect(detail.locator(".vv-sharing")).to_have_text("由 max 制作，已与这里的所有人共享。")
    for hidden in (".vv-title button", ":scope > footer", ".vv-gesture-list", ".vv-networks"):
        await expect(detail.locator(hidden)).to_be_hidden()
    await detail.get_by_text("和它对话").click()
    await mia.click("#vv-start")
    await until(mia, "vivavoce.stats().state === 'live'")
    for page in (max_, mia):
        await page.context.close()
