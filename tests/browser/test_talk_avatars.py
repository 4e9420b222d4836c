"""Choosing an avatar on the Talk tab, before and during a session, in a real Chromium."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Page, Route, expect

from portal.commands.portal_process import PortalProcess
from tests.browser.conftest import LONG, Visitor, plain_page, write_avatar
from tests.browser.patience import note, passes, until_noted

pytestmark = pytest.mark.browser
CHECKED = "document.querySelector('.vv-avatar[aria-checked=true]').dataset.id"


async def test_the_avatar_is_swapped_in_mid_session(visit: Visitor) -> None:
    """Another avatar is shown from the next picture on, in the same session."""
    page = await visit("?transport=websocket")
    stats = await page.start()
    await page.page.click(".vv-avatar[data-id=beta]")
    await page.until("document.querySelector('.vv-avatar[data-id=beta]').getAttribute('aria-checked') === 'true'")
    level = "document.querySelector('#vv-canvas').getContext('2d').getImageData(20, 200, 1, 1).data[0]"
    await page.until(f"Math.abs({level} - 60) < 8")
    assert (await page.stats())["session"] == stats["session"]


async def test_an_avatar_that_cuts_off_the_answer_says_so(visit: Visitor) -> None:
    """Choosing another one in mid-answer interrupts it, and the page says why; in silence there is nothing to say."""
    page = await visit("?transport=websocket")
    await page.start()
    await note(page.page, ".vv-toast")
    await page.page.click(".vv-avatar[data-id=beta]")
    level = "document.querySelector('#vv-canvas').getContext('2d').getImageData(20, 200, 1, 1).data[0]"
    await page.until(f"Math.abs({level} - 60) < 8")
    assert not await page.run("noted['.vv-toast'].some((seen) => seen.includes('is here now'))")
    await page.say(LONG, "chat")
    await page.until("probe.onsets.length > 1")
    await page.page.click(".vv-avatar[data-id=alpha]")
    await until_noted(page.page, ".vv-toast", "Alpha is here now")
    await page.until("document.querySelector('.vv-answer').classList.contains('vv-interrupted')")


@asynccontextmanager
async def listed_as_before(page: Page) -> AsyncIterator[None]:
    """Whatever the page asks for lists inside the block is answered after it: no avatar is seen to go meanwhile."""
    over = asyncio.Event()

    async def wait(route: Route) -> None:
        await over.wait()
        await route.continue_()

    await page.route("**/api/avatars", wait)
    yield
    over.set()


async def test_an_avatar_that_is_refused_is_not_the_choice(visit: Visitor, portal: PortalProcess) -> None:
    """Whatever the reason, e.g. a damaged file: who is on show is chosen again."""
    folder = write_avatar(portal.log.parent / "avatars" / "delta", 30)
    page = await visit("?transport=websocket")
    await page.page.wait_for_selector(".vv-avatar[data-id=delta]")
    await page.start()
    async with listed_as_before(page.page):
        for file in folder.iterdir():
            if file.name != "poster.jpg":
                file.write_bytes(b"damaged")
        await page.page.click(".vv-avatar[data-id=delta]")
    await page.page.wait_for_selector(".vv-error")
    shutil.rmtree(folder)
    await page.eventually(CHECKED, "alpha")


async def test_one_can_talk_while_an_avatar_is_prepared(visit: Visitor) -> None:
    """Who is on show hears and answers meanwhile."""
    page = await visit("?transport=websocket")
    await page.page.route("**/api/jobs/slow", lambda route: route.fulfill(json={"state": "running", "progress": 0.5}))
    await page.start()
    refusal = {"avatar": "beta", "lipsync": "viseme", "job": "slow"}
    await page.run(
        "(refusal) => void document.querySelector('vivavoce-talk').tab.avatarChoice.swapWhenPrepared(refusal)", refusal
    )
    await page.page.wait_for_selector(".vv-coming progress")
    await page.page.fill(".vv-composer textarea", "hello there")
    await page.page.keyboard.press("Enter")
    await page.until("document.querySelector('.vv-answer')?.textContent.includes('hello there')")
    await expect(page.page.locator(".vv-coming progress")).to_be_visible()


async def test_what_is_typed_while_the_first_picture_needs_a_preparation_waits_for_it(visit: Visitor) -> None:
    """It is seen waiting; Stop gives all of it back, in the order in which it was typed, ahead of the draft."""
    page = await visit("?transport=websocket")
    await page.page.route("**/api/jobs/slow", lambda route: route.fulfill(json={"state": "running", "progress": 0.5}))
    refusal = {"avatar": "alpha", "lipsync": "viseme", "job": "slow"}
    await page.run("(refusal) => document.querySelector('vivavoce-talk').tab.opening.reopen(refusal)", refusal)
    await page.page.wait_for_selector(".vv-coming progress")
    for text in ("one", "two", "three"):
        await page.page.fill(".vv-composer textarea", text)
        await page.page.keyboard.press("Enter")
    await expect(page.page.locator(".vv-pending")).to_have_text(["one", "two", "three"])
    await page.page.fill(".vv-composer textarea", "draft")
    await page.page.click("#vv-stop")
    await page.until("document.querySelector('.vv-composer textarea').value === 'one\\ntwo\\nthree\\ndraft'")
    await expect(page.page.locator(".vv-asked")).to_have_count(0)


async def test_an_avatar_that_is_gone_is_named_and_leaves_the_list(visit: Visitor, portal: PortalProcess) -> None:
    """Deleted by somebody else meanwhile: the error has its name, and who is on show is chosen again."""
    folder = portal.log.parent / "avatars" / "gamma"
    write_avatar(folder, 30)
    page = await visit("?transport=websocket")
    await page.page.wait_for_selector(".vv-avatar[data-id=gamma]")
    await page.start()
    async with listed_as_before(page.page):
        shutil.rmtree(folder)
        await page.page.click(".vv-avatar[data-id=gamma]")
    await page.page.wait_for_selector(".vv-error:has-text(\"'Gamma'\")")
    await page.page.wait_for_selector(".vv-avatar[data-id=gamma]", state="detached")
    await page.eventually(CHECKED, "alpha")


async def test_what_a_script_starts_with_is_seen_as_the_choice(visit: Visitor) -> None:
    """start({avatar}) selects that avatar in the strip, also while it is being opened."""
    page = await visit("?transport=websocket")
    await page.eventually(CHECKED, "alpha")
    await page.run("void vivavoce.start({ avatar: 'beta' })")
    await page.eventually(CHECKED, "beta")
    await page.until("vivavoce.stats().state === 'live'")
    assert await page.run(CHECKED) == "beta"


async def test_the_chosen_avatar_of_many_is_seen_whole(visit: Visitor) -> None:
    """With more avatars than the strip is wide, the choice is scrolled to; each face is in the middle of its button."""
    page = await visit()
    beta = (await page.run("fetch('api/avatars').then((answer) => answer.json())"))[1]
    many = [{**beta, "id": f"number{n}", "name": f"A long name {n}", "face": [0.7, 0.1, 0.2, 0.2]} for n in range(12)]
    many = [{**one, "width": 640, "height": 360} for one in many]
    await page.page.route("**/api/avatars", lambda route: route.fulfill(json=many))
    await page.page.reload()
    await page.page.focus(".vv-avatar[data-id=number0]")
    await page.page.keyboard.press("End")
    await page.until("document.querySelector('[data-id=number11]').getAttribute('aria-checked') === 'true'")

    async def is_whole() -> None:
        strip = await page.page.locator(".vv-avatars").bounding_box()
        chosen = await page.page.locator(".vv-avatar[data-id=number11]").bounding_box()
        assert strip is not None and chosen is not None
        assert strip["x"] <= chosen["x"] and chosen["x"] + chosen["width"] <= strip["x"] + strip["width"]

    await passes(is_whole)
    # The middle of the face would be further right than the picture goes.
    await page.eventually("document.querySelector('[data-id=number11] img').style.objectPosition", "100% 50%")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (844, 390), (1080, 1920)])
async def test_nothing_moves_when_the_avatars_come(
    browser: Browser, portal: PortalProcess, width: int, height: int
) -> None:
    """However late their list is, the stage, the chat and what is typed into stay where they were."""
    late = asyncio.Event()

    async def hold(route: Route) -> None:
        await late.wait()
        await route.continue_()

    boxes = """[".vv-frame", "#vv-status", ".vv-settings > summary", ".vv-chat", ".vv-composer textarea"].map(
        (part) => Object.values(document.querySelector(part).getBoundingClientRect().toJSON()).map(Math.round))"""
    async with plain_page(browser, "about:blank") as page:
        await page.set_viewport_size({"width": width, "height": height})
        await page.route("**/api/avatars", hold)
        await page.goto(portal.url)
        await page.wait_for_selector(".vv-state:has-text('Loading')")
        before = await page.evaluate(boxes)
        late.set()
        await page.wait_for_selector("#vv-start:not([disabled])")
        assert await page.evaluate(boxes) == before
