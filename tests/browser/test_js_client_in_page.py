"""clients/js on a page of another website, in a real Chromium."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from playwright.async_api import Browser

from portal.commands.portal_process import PortalProcess
from tests.browser.websites import FRIEND_PORT, website

pytestmark = pytest.mark.browser

CLIENT = Path(__file__).parents[2] / "clients" / "js"
TALK = """async (portal) => {
    const { Session } = await import("./vivavoce-client.js");
    try {
        const session = await Session.open(portal, { avatar: "alpha" });
        const turn = await session.say("Hello there.");
        for await (const frame of session.frames()) {
            if (!frame.speaking) continue;
            const picture = await createImageBitmap(new Blob([frame.jpeg], { type: "image/jpeg" }));
            await session.finished(turn);
            await session.close();
            return [turn.state, picture.width === session.welcome.width, frame.sound.some((sample) => sample)];
        }
    } catch (error) {
        return error.code;
    }
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


async def test_a_page_of_another_website_talks_where_it_is_allowed(browser: Browser, portal: PortalProcess) -> None:
    """It gets pictures and sound. The same page at an origin that is not allowed gets no session."""
    serves_client = partial(Quiet, directory=CLIENT)
    with website(serves_client, FRIEND_PORT) as allowed, website(serves_client) as other:
        page = await browser.new_page()
        try:
            await page.goto(f"{allowed}/package.json")
            assert await page.evaluate(TALK, portal.url) == ["done", True, True]
            await page.goto(f"{other}/package.json")
            assert await page.evaluate(TALK, portal.url) == "connection_lost"
        finally:
            await page.close()
