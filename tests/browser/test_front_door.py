"""The page under its own policy, at the root of a host and below a path: every tab works, and nothing is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from playwright.async_api import Browser, Page

from portal.commands.portal_process import PortalProcess
from tests.browser.conftest import plain_page
from tests.browser.patience import note, until, until_noted

PREFIX = "/some/where"

# What a violated policy tells the page; it would be lost if nobody listened from the beginning.
LISTEN = """
window.refusals = [];
document.addEventListener('securitypolicyviolation',
  ({ violatedDirective, blockedURI, sample }) => refusals.push(`${violatedDirective} ${blockedURI} ${sample}`));
"""


@asynccontextmanager
async def reverse_proxy(port: int) -> AsyncIterator[int]:
    """Shows what is at `port` below PREFIX, as a proxy does that cuts the path off and says so. Gives its own port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request, _, headers = head.partition("\r\n")
            method, path, version = request.split(" ")
            if not path.startswith(f"{PREFIX}/"):
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                writer.close()
                return
            upgrade = "upgrade: websocket" in headers.lower()
            lines = [line for line in headers.split("\r\n") if upgrade or not line.lower().startswith("connection:")]
            told = f"X-Forwarded-Prefix: {PREFIX}\r\n" + ("" if upgrade else "Connection: close\r\n")
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            rewritten = f"{method} {path.removeprefix(PREFIX)} {version}\r\n{told}" + "\r\n".join(lines)
            inner_writer.write(rewritten.encode("latin-1"))
            await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
            target.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def use_every_tab(page: Page) -> None:
    """Talk: a session starts and says something. The others show what they have."""
    await page.wait_for_selector("#vv-start:not([disabled])")
    await page.click("#vv-start")
    await until(page, "vivavoce.stats().state === 'live'")
    await note(page, ".vv-subtitle")
    await page.evaluate("vivavoce.say('hello there. '.repeat(20), 'echo')")
    await until_noted(page, ".vv-subtitle", "hello")
    await page.get_by_role("tab", name="Avatars").click()
    await page.wait_for_selector(".vv-gallery img")
    await until(page, "[...document.querySelectorAll('.vv-gallery img')].every((img) => img.naturalWidth)")
    await page.get_by_role("tab", name="Studio").click()
    await page.wait_for_selector(".vv-speakers img")
    await page.get_by_role("tab", name="Jobs").click()
    await page.wait_for_selector("vivavoce-jobs tbody tr")  # our own characters, which nobody makes here


@pytest.mark.browser
@pytest.mark.parametrize("query", ["/?transport=websocket", "/"])
async def test_no_tab_does_what_the_policy_forbids(browser: Browser, portal: PortalProcess, query: str) -> None:
    """Scripts, worklets, media, styles and the socket: all within the policy, over either transport."""
    async with plain_page(browser, f"{portal.url}/static/logo.svg") as page:
        await page.add_init_script(LISTEN)
        await page.goto(portal.url + query)
        await use_every_tab(page)
        assert await page.evaluate("refusals") == []


@pytest.mark.browser
async def test_every_tab_works_below_a_path(browser: Browser, portal: PortalProcess) -> None:
    """A proxy shows the portal below a path: nothing is asked for beside it, and nothing is missing."""
    asked: list[str] = []
    missing: list[str] = []
    async with reverse_proxy(portal.port) as port, plain_page(browser, "about:blank") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("response", lambda response: missing.append(response.url) if response.status >= 400 else None)
        await page.add_init_script(LISTEN)
        await page.goto(f"http://127.0.0.1:{port}{PREFIX}/?transport=websocket")
        await use_every_tab(page)
        assert await page.evaluate("refusals") == []
    assert missing == []
    below = f"http://127.0.0.1:{port}{PREFIX}/"
    assert [url for url in asked if url.startswith("http") and not url.startswith(below)] == []


@pytest.mark.browser
async def test_the_description_of_the_api_is_drawn(browser: Browser, portal: PortalProcess) -> None:
    """With nothing from another host, and nothing that its policy forbids."""
    asked: list[str] = []
    async with plain_page(browser, "about:blank") as page:
        page.on("request", lambda request: asked.append(request.url))
        await page.add_init_script(LISTEN)
        await page.goto(f"{portal.url}/docs")
        await page.wait_for_selector(".opblock-summary-path")
        assert await page.evaluate("refusals") == []
    assert all(url.startswith((portal.url, "data:", "about:")) for url in asked)
