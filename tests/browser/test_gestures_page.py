"""Gestures on the Talk tab, in a real Chromium: a row of buttons, and tags in what the avatar says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from avatars.bundle import AvatarBundle
from portal.commands.portal_process import PortalProcess
from tests.browser.conftest import Visit, Visitor, write_avatar
from tests.gesture_clips import give_gesture

pytestmark = pytest.mark.browser
LEVEL = "document.querySelector('#vv-canvas').getContext('2d').getImageData(20, 200, 1, 1).data[0]"
WAVE = "document.querySelector('.vv-gestures button[value=wave]')"
BOW = "document.querySelector('.vv-gestures button[value=bow]')"


@pytest.fixture
def omega(portal: PortalProcess) -> Iterator[str]:
    """The id of a grey avatar that can wave for six seconds and bow for a minute, in white."""
    folder = write_avatar(portal.log.parent / "avatars" / "omega", 90)
    give_gesture(AvatarBundle.open(folder), "wave", 150)
    give_gesture(AvatarBundle.open(folder), "bow", 1500)
    yield folder.name
    shutil.rmtree(folder)


async def talking_with(visit: Visitor, avatar: str) -> Visit:
    page = await visit("?transport=websocket")
    await page.page.click(f".vv-avatar[data-id={avatar}]")
    await page.start()
    return page


async def test_a_gesture_is_shown_by_its_button_and_ends(visit: Visitor, omega: str) -> None:
    """The button is pressed for as long as the gesture is shown; then the loop goes on."""
    page = await talking_with(visit, omega)
    pressed = f"({WAVE}.getAttribute('aria-pressed') === 'true')"
    await page.run("vivavoce.on('gesture', ({name, begins}) => (window.told ??= []).push(`${name} ${begins}`))")
    await page.page.click(".vv-gestures button[value=wave]")
    await page.until(f"{pressed} && {LEVEL} > 245")
    await page.until(f"!{pressed} && Math.abs({LEVEL} - 90) < 8")
    await page.eventually("told", ["wave true", "wave false"])


async def test_a_gesture_is_ended_by_its_button(visit: Visitor, omega: str) -> None:
    """Pressed again it goes back to the loop, long before its end."""
    page = await talking_with(visit, omega)
    await page.run("vivavoce.on('gesture', ({begins}) => (window.times ??= []).push(performance.now()))")
    await page.page.click(".vv-gestures button[value=bow]")
    await page.until(f"{BOW}.getAttribute('aria-pressed') === 'true'")
    await page.page.click(".vv-gestures button[value=bow]")
    await page.until("window.times.length === 2")
    assert await page.run("times[1] - times[0]") < 30_000


async def test_a_tag_in_a_text_is_shown_and_not_said(visit: Visitor, omega: str) -> None:
    """The gesture begins, and the subtitle is without the tag; so is the answer in the chat."""
    page = await talking_with(visit, omega)
    await page.run("vivavoce.on('gesture', ({name, begins}) => (window.told ??= []).push(`${name} ${begins}`))")
    await page.run("vivavoce.on('subtitle', ({text}) => (window.said = text))")
    await page.say("[wave] Good morning to everybody.", "chat")
    await page.until("window.told?.[0] === 'wave true'")
    await page.eventually("window.said", "Good morning to everybody.")
    await expect(page.page.locator(".vv-answer")).to_contain_text("Good morning to everybody.")
    await expect(page.page.locator(".vv-answer")).not_to_contain_text("wave")


async def test_an_avatar_without_gestures_has_no_row(visit: Visitor) -> None:
    """Nor does a page without a session."""
    page = await visit("?transport=websocket")
    row = page.page.locator(".vv-gestures")
    await expect(row).to_be_hidden()
    await page.start()
    await expect(page.page.locator("#vv-interrupt")).to_be_visible()  # what a session brings is drawn
    await expect(row).to_be_hidden()
