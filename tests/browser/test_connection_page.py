"""The panel "Connection" of the Talk tab: which way is used, and why another one does not work."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from aioice.ice import get_host_addresses
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from tests.browser.conftest import NO_UDP, Visit, Visitor
from tests.turn_server import TurnServer, turn_server

pytestmark = pytest.mark.browser

TURN_HOST = next(iter(get_host_addresses(use_ipv4=True, use_ipv6=False)), "127.0.0.1")


@pytest.fixture
def turn() -> Iterator[tuple[str, TurnServer]]:
    with turn_server({"viva": "pw"}.get, TURN_HOST) as found:
        yield found


def configured(*urls: str, policy: str = "all", password: str = "pw") -> str:
    """A script that gives the page's connections these servers."""
    server = json.dumps({"urls": urls, "username": "viva", "credential": password})
    return f"""
        window.RTCPeerConnection = class extends RTCPeerConnection {{
            constructor(given) {{ super({{ ...given, iceServers: [{server}], iceTransportPolicy: "{policy}" }}); }}
        }};
    """


STANDINGS = "[...document.querySelectorAll('.vv-connection li')].map((row) => row.dataset.standing)"


async def opened(page: Visit) -> None:
    await page.page.click(".vv-settings > summary")
    await page.page.click(".vv-connection > summary")


async def until_row(page: Visit, place: int, *words: str) -> None:
    row = f"document.querySelectorAll('.vv-connection li')[{place}]?.innerText"
    await page.until(f"{json.dumps(words)}.every((word) => ({row} ?? '').includes(word))")


HOST, SRFLX, RELAY_UDP, RELAY_TCP, WEBSOCKET = range(5)


async def test_the_way_that_is_used_is_named_in_both_languages(visit: Visitor) -> None:
    """Before a session it says how to see it; then who needs no other way reads so."""
    page = await visit()
    await opened(page)
    await expect(page.page.locator(".vv-no-ways")).to_be_visible()
    await page.start("webrtc")  # a press beside the settings closes them
    await page.page.click(".vv-settings > summary")
    await page.until("document.querySelector('.vv-connection li[data-standing=used]')")
    await expect(page.page.locator(".vv-no-ways")).to_be_hidden()
    await page.eventually(f"{STANDINGS}.slice({RELAY_UDP})", ["none", "none", "ready"])
    await until_row(page, RELAY_UDP, "The operator has set no TURN server for this way")
    assert (await Axe().run(page.page, context=".vv-settings")).response["violations"] == []
    await page.page.keyboard.press("Escape")
    await page.page.click(".vv-language")
    await page.page.click(".vv-settings > summary")
    await until_row(page, RELAY_UDP, "TURN", "运维人员没有设置")
    await until_row(page, WEBSOCKET, "可用")


async def test_a_relay_alone_carries_the_pictures(visit: Visitor, turn: tuple[str, TurnServer]) -> None:
    """Where nothing else is allowed, pictures come through it, and the panel names it."""
    url, server = turn
    page = await visit(before=configured(url, policy="relay"))
    await page.start("webrtc")
    await opened(page)
    await until_row(page, RELAY_UDP, "in use")
    await page.eventually(f"{STANDINGS}[{HOST}]", "none")
    assert server.relayed > 0


async def test_a_refused_password_is_named(visit: Visitor, turn: tuple[str, TurnServer]) -> None:
    """The session goes on over the WebSocket, and says why the relay does not work."""
    page = await visit(before=configured(turn[0], policy="relay", password="wrong"))
    stats = await page.start()
    assert stats["transport"] == "websocket"
    await opened(page)
    await until_row(page, RELAY_UDP, "refused the user name or the password", "doctor")
    await until_row(page, WEBSOCKET, "in use")


async def test_a_turn_server_that_says_nothing_is_named(visit: Visitor) -> None:
    """As when UDP to it is blocked; the viewer is on the WebSocket long before the browser gives it up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind((TURN_HOST, 0))
        url = f"turn:{TURN_HOST}:{mute.getsockname()[1]}?transport=udp"
        page = await visit(before=configured(url, policy="relay"))
        stats = await page.start()
        assert stats["transport"] == "websocket"
        await opened(page)
        await until_row(page, RELAY_UDP, "The TURN server")
        await page.eventually(f"{STANDINGS}[{RELAY_UDP}]", "none")


async def test_a_turn_server_that_is_not_there_is_named(visit: Visitor) -> None:
    """Over TCP the machine says so at once."""
    with socket.create_server((TURN_HOST, 0)) as server:
        port = server.getsockname()[1]
    page = await visit(before=configured(f"turn:{TURN_HOST}:{port}?transport=tcp", policy="relay"))
    await page.start()
    await opened(page)
    await until_row(page, RELAY_TCP, "TURN server")
    await page.eventually(f"{STANDINGS}[{RELAY_TCP}]", "none")


async def test_a_network_without_udp_is_named(visit: Visitor) -> None:
    """Neither a direct way nor a relay is there; the WebSocket is used."""
    page = await visit(flags=NO_UDP)
    await page.start("websocket")
    await opened(page)
    await until_row(page, HOST, "no address of its own for UDP")
    await until_row(page, WEBSOCKET, "in use")


async def test_who_asks_for_the_websocket_is_told_that_nothing_else_was_tried(visit: Visitor) -> None:
    """With the reason that the status line has, too."""
    page = await visit("?transport=websocket")
    await page.start()
    await opened(page)
    await page.eventually(STANDINGS, [*["untried"] * 4, "used"])
    await until_row(page, HOST, "as requested")
