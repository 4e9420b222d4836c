"""The Talk tab when its portal is killed and started again beneath it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.async_api import expect

from portal.commands.portal_process import PortalProcess, running_portal
from tests.browser.conftest import LONG, MEASURING, TOO_LATE, WORDS, Visitor, browser_fixture, write_avatar
from tests.browser.test_talk_page import free_again

pytestmark = pytest.mark.browser

Return = Callable[[], None]


class House:
    """A portal with one place, which a test kills and brings back at the same address; it is there for the next one."""

    def __init__(self, data_dir: Path, stack: ExitStack) -> None:
        write_avatar(data_dir / "avatars" / "alpha", 90)
        self._data_dir, self._stack = data_dir, stack
        self._port = 0
        self.portal = self._open()

    def _open(self) -> PortalProcess:
        options = ("--avatar", "alpha", *MEASURING, "--max-sessions", "1")
        return self._stack.enter_context(running_portal(self._data_dir, *options, port=self._port))

    def come_back(self) -> None:
        self._port = self.portal.port
        self.portal = self._open()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path_factory.mktemp("house"), stack)


@browser_fixture()
async def portal(house: House) -> PortalProcess:
    """With its place free, whatever the last test has left."""
    try:
        await free_again(house.portal, within_s=60)
    except OSError:  # a test that failed has left it dead
        await asyncio.to_thread(house.come_back)
    return house.portal


@pytest.fixture
def back_again(house: House) -> Return:
    return house.come_back


@pytest.mark.parametrize("query", ["", "?transport=websocket"], ids=["webrtc", "websocket"])
async def test_a_restart_in_mid_answer(visit: Visitor, portal: PortalProcess, back_again: Return, query: str) -> None:
    """The page goes on in a new session by itself: the answer is cut off, nobody seems to speak, and one can talk."""
    page = await visit(query)
    before = await page.start()
    await page.say(LONG, "chat")
    await page.until("probe.onsets.length > 3")
    portal.kill()
    await page.until("vivavoce.stats().state === 'mending'")
    await asyncio.to_thread(back_again)
    await page.until("vivavoce.stats().state === 'live'")
    after = await page.stats()
    assert after["session"] != before["session"]
    assert (after["turn"], after["turnState"]) == (0, "idle")
    assert after["transport"] == before["transport"] or after["reasonCode"] in TOO_LATE  # the server is cold, too
    assert after["latencyMs"] is None
    await expect(page.page.locator(".vv-state")).to_have_text("Ready for you")
    await expect(page.page.locator("#vv-status")).not_to_be_empty()
    await expect(page.page.locator("#vv-interrupt")).to_be_disabled()
    await expect(page.page.locator(".vv-answer")).to_have_class(re.compile("vv-interrupted"))
    await expect(page.page.locator(".vv-subtitle")).to_have_text("")
    await page.say(WORDS)
    await page.until("vivavoce.stats().turnState === 'done'")


@pytest.mark.parametrize("query", ["", "?transport=websocket"], ids=["webrtc", "websocket"])
async def test_an_answer_is_heard_to_its_end_before_a_restart(
    visit: Visitor, portal: PortalProcess, back_again: Return, query: str
) -> None:
    """systemctl restart: nothing is cut off. Then the page goes on by itself, with what was said."""
    page = await visit(query)
    before = await page.start()
    await page.say(f"{WORDS}. {WORDS}. {WORDS}.")
    await page.until("vivavoce.stats().turnState === 'speaking'")
    os.kill(portal.pid, signal.SIGTERM)
    await page.until("vivavoce.stats().turnState === 'done'")
    await page.until("vivavoce.stats().state === 'mending'")
    await expect(page.page.locator(".vv-interrupted")).to_have_count(0)
    await asyncio.to_thread(back_again)
    await page.until("vivavoce.stats().state === 'live'")
    assert (await page.stats())["session"] != before["session"]
    await page.say(WORDS)
    await page.until("vivavoce.stats().turnState === 'done'")


async def test_who_waits_in_line_waits_through_a_restart(
    visit: Visitor, portal: PortalProcess, back_again: Return
) -> None:
    """What was typed is seen while its writer waits, and is said once there is a place, whatever happens meanwhile."""
    first = await visit("?transport=websocket")
    await first.start()
    last = await visit("?transport=websocket")
    await last.page.fill(".vv-composer textarea", "hello there")
    await last.page.keyboard.press("Enter")
    await last.until("document.querySelector('.vv-state').textContent === 'Waiting'")
    await expect(last.page.locator(".vv-asked")).to_have_text("hello there")
    await last.page.fill(".vv-composer textarea", "and good bye")
    await last.page.keyboard.press("Enter")
    portal.kill()
    await last.until("vivavoce.stats().state === 'mending'")
    await first.page.close()
    await asyncio.to_thread(back_again)
    await last.until("vivavoce.stats().state === 'live'")
    await last.until("[...document.querySelectorAll('.vv-answer')].at(-1)?.textContent.includes('good bye')")
    await expect(last.page.locator(".vv-asked")).to_have_text(["hello there", "and good bye"])
    await expect(last.page.locator(".vv-error, .vv-pending")).to_have_count(0)


async def test_the_avatar_that_was_chosen_is_there_after_a_restart(
    visit: Visitor, portal: PortalProcess, back_again: Return
) -> None:
    """Who was swapped in is on show in the new session; so is who was chosen while there was no server."""
    for avatar_id in ("beta", "gamma"):
        write_avatar(portal.log.parent / "avatars" / avatar_id, 60)
    page = await visit("?transport=websocket")
    shown = "document.querySelector('vivavoce-talk').tab.player.welcome.avatar.id"
    checked = "document.querySelector('.vv-avatar[aria-checked=true]').dataset.id"
    await page.page.wait_for_selector(".vv-avatar[data-id=gamma]")
    await page.start()
    await page.page.click(".vv-avatar[data-id=beta]")
    await page.until(f"{shown} === 'beta'")
    session = (await page.stats())["session"]
    portal.kill()
    await page.until("vivavoce.stats().state === 'mending'")
    await asyncio.to_thread(back_again)
    await page.until(f"vivavoce.stats().state === 'live' && vivavoce.stats().session !== '{session}'")
    await page.eventually(f"[{shown}, {checked}]", ["beta", "beta"])
    await page.run("document.querySelector('vivavoce-talk').tab.player.session.mend()")
    await page.page.click(".vv-avatar[data-id=gamma]")
    await page.until(f"{shown} === 'gamma'")
    await page.eventually(checked, "gamma")


async def test_a_dead_connection_is_noticed_in_the_line(visit: Visitor, portal: PortalProcess) -> None:
    """Who waits asks for signs of life; when none comes, it is tried anew. The avatar chosen meanwhile is shown."""
    write_avatar(portal.log.parent / "avatars" / "beta", 60)
    first = await visit("?transport=websocket")
    await first.start()
    dead = """
        window.WebSocket = class extends WebSocket {
            constructor(...given) { super(...given); (window.sockets ||= []).push(this); }
        };
    """
    last = await visit("?transport=websocket", before=dead)
    await last.page.click("#vv-start")
    await last.until("document.querySelector('.vv-state').textContent === 'Waiting'")
    await last.run("(window.known = sockets.length, sockets.at(-1).send = () => {}, 0)")
    await last.until("sockets.length > known")
    await last.until("document.querySelector('.vv-state').textContent === 'Waiting'")
    await last.page.click(".vv-avatar[data-id=beta]")
    await first.page.click("#vv-stop")
    await last.until("vivavoce.stats().state === 'live'")
    await last.until("document.querySelector('vivavoce-talk').tab.player.welcome.avatar.id === 'beta'")
    await last.eventually("document.querySelector('.vv-avatar[aria-checked=true]').dataset.id", "beta")


async def test_what_was_typed_comes_back_when_waiting_is_given_up(visit: Visitor) -> None:
    """Stop leaves the line; the message is in the text box again, not in the chat."""
    await (await visit("?transport=websocket")).start()
    last = await visit("?transport=websocket")
    await last.page.fill(".vv-composer textarea", "hello there")
    await last.page.keyboard.press("Enter")
    await last.until("document.querySelector('.vv-state').textContent === 'Waiting'")
    await last.page.click("#vv-stop")
    await last.until("document.querySelector('.vv-composer textarea').value === 'hello there'")
    await expect(last.page.locator(".vv-asked")).to_have_count(0)
    await expect(last.page.locator(".vv-hello")).to_be_visible()
