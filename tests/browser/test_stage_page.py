"""The stage view: the avatar alone, at an address or in a page of another origin."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from playwright.async_api import Browser, Frame, Page, expect

from portal.commands.portal_process import PortalProcess, running_portal
from tests.browser.conftest import MEASURING, TAB, VERY_LONG, Chromium, Visitor, plain_page, write_avatar
from tests.browser.patience import eventually, passes, until
from tests.browser.websites import FRIEND_PORT, website

pytestmark = pytest.mark.browser

WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
EMBEDDING = """<!doctype html><title>Elsewhere</title><script src="{portal}/embed.js"></script>
<vivavoce-avatar avatar="beta" lang="zh" style="width: 300px; height: 400px"></vivavoce-avatar>
<script>
  const told = [], avatar = document.querySelector("vivavoce-avatar");
  for (const type of ["ready", "state", "firstpicture", "turn", "subtitle", "error", "ended"]) {{
    avatar.addEventListener(`vivavoce:${{type}}`, ({{ detail }}) => told.push([type, detail]));
  }}
  const saw = (type, test) => told.some(([name, detail]) => name === type && test(detail));
</script>"""


FRAMING = """<!doctype html><title>Elsewhere</title>
<script>
  const told = [];
  addEventListener("message", ({{ data }}) => told.push([data.vivavoce, data.detail]));
  const saw = (type, test) => told.some(([name, detail]) => name === type && test(detail));
  const tell = (message) => frames[0].postMessage(message, "*");
</script>
<iframe src="{portal}/stage?avatar=beta" allow="autoplay; microphone" style="width: 300px; height: 400px"></iframe>"""

SECRET = "a secret of the product, and a long one"
PRODUCT = """<!doctype html><title>Product</title><script src="{portal}/embed.js"></script>
<vivavoce-avatar avatar="alpha" lang="en" style="width: 300px; height: 400px"></vivavoce-avatar>
<script>
  const told = [], avatar = document.querySelector("vivavoce-avatar");
  let another = "";
  for (const type of ["ready", "state", "welcome", "ended", "tokenneeded"]) {{
    avatar.addEventListener(`vivavoce:${{type}}`, ({{ detail }}) => told.push([type, detail]));
  }}
  avatar.addEventListener("vivavoce:tokenneeded", () => avatar.setAttribute("token", another));
  const saw = (type, test) => told.some(([name, detail]) => name === type && test(detail));
</script>"""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """Its pages may show those of the portal."""
    with website(Elsewhere, FRIEND_PORT) as url:
        yield url


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    """The portal does not know it."""
    with website(Elsewhere) as url:
        yield url


class Elsewhere(BaseHTTPRequestHandler):
    """Its page embeds the avatar of the portal that its query names."""

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        markup = FRAMING if "frame" in asked else PRODUCT if "product" in asked else EMBEDDING
        body = markup.format(portal=asked.get("portal", [""])[0]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


async def test_the_avatar_fills_the_window_and_nothing_else_is_there(visit: Visitor) -> None:
    """No tabs, no header, no chat; the button starts the avatar of the address, whatever was chosen before."""
    page = await visit("stage?avatar=beta", width=540, height=960)
    frame = "document.querySelector('.vv-frame').getBoundingClientRect()"
    await page.eventually(f"(({{ x, y, width, height }}) => [x, y, width, height])({frame})", [0, 0, 540, 960])
    for hidden in (".vv-chat", ".vv-choices", "#vv-status"):
        await expect(page.page.locator(hidden)).to_be_hidden()
    poster = page.page.locator(".vv-poster").first
    await expect(poster).to_have_attribute("alt", "Beta")
    await page.start()
    await expect(poster).to_have_attribute("alt", "Beta")
    await page.say(WORDS)
    await page.until("document.querySelector('.vv-subtitle').textContent !== ''")


async def test_it_can_have_the_chat_beside_it(one_chromium: Chromium, portal: PortalProcess) -> None:
    """view=both on a wide screen: the conversation is beside the picture, and works as on the Talk tab."""
    async with plain_page(await one_chromium.get(), f"{portal.url}/stage?view=both&autostart=1") as page:
        await until(page, "vivavoce.stats().state === 'live'")

        async def is_beside() -> None:
            frame, chat = [await page.locator(one).bounding_box() for one in (".vv-frame", ".vv-chat")]
            assert frame is not None and chat is not None and chat["x"] >= frame["x"] + frame["width"] - 1

        await passes(is_beside)
        await page.fill(".vv-composer textarea", "Hello there")
        await page.keyboard.press("Enter")
        await until(page, "['speaking', 'done'].includes(vivavoce.stats().turnState)")


async def test_controls_can_be_left_out_and_the_background_be_seen_through(
    one_chromium: Chromium, portal: PortalProcess
) -> None:
    """For OBS and other compositors. The disclosure that this is an AI stays."""
    async with plain_page(await one_chromium.get(), f"{portal.url}/stage?controls=0&bg=transparent") as page:
        await page.wait_for_selector(".vv-disclosure")
        await expect(page.locator(".vv-controls")).to_be_hidden()
        await expect(page.locator("body")).to_have_css("background-color", "rgba(0, 0, 0, 0)")


async def talk_to_element(page: Page) -> None:
    """Start, say and interrupt by <vivavoce-avatar>; what happens is told as events."""
    await page.evaluate("(avatar.start(), 0)")
    await until(page, "saw('state', (state) => state === 'live')")
    await page.evaluate("(words) => (avatar.say(words, 'echo'), 0)", VERY_LONG)
    await until(page, "saw('turn', ({ state }) => state === 'speaking')")
    await page.evaluate("(avatar.interrupt(), 0)")
    await until(page, "saw('turn', ({ state }) => state === 'interrupted')")
    frame = page.frames[1]
    await until(frame, "document.querySelector('.vv-poster').alt === 'Beta'")
    await eventually(frame, "document.documentElement.lang", "zh-CN")
    await page.evaluate("(avatar.stop(), 0)")
    await until(page, "saw('state', (state) => state === 'idle')")


async def test_a_page_of_another_origin_talks_to_it(
    one_chromium: Chromium, portal: PortalProcess, elsewhere: str
) -> None:
    """<vivavoce-avatar> in somebody else's page."""
    async with plain_page(await one_chromium.get(), f"{elsewhere}/?portal={portal.url}") as page:
        await talk_to_element(page)


@pytest.mark.firefox
async def test_a_page_of_another_origin_talks_to_it_in_firefox(
    one_firefox: Browser, portal: PortalProcess, elsewhere: str
) -> None:
    """<vivavoce-avatar> in somebody else's page."""
    async with plain_page(one_firefox, f"{elsewhere}/?portal={portal.url}") as page:
        await talk_to_element(page)


async def talk_to_frame(page: Page) -> None:
    """Start, say and interrupt by messages to the frame; what happens is told in the same way."""
    await until(page, "saw('ready', () => true)")
    await page.evaluate("(tell({ vivavoce: 'start' }), 0)")
    await until(page, "saw('state', (state) => state === 'live')")
    await page.evaluate("(text) => tell({ vivavoce: 'say', text, mode: 'echo' })", VERY_LONG)
    await until(page, "saw('turn', ({ state }) => state === 'speaking')")
    await page.evaluate("(tell({ vivavoce: 'interrupt' }), 0)")
    await until(page, "saw('turn', ({ state }) => state === 'interrupted')")


async def test_a_frame_in_a_page_of_another_origin_takes_messages(
    one_chromium: Chromium, portal: PortalProcess, elsewhere: str
) -> None:
    """Without the element."""
    async with plain_page(await one_chromium.get(), f"{elsewhere}/?frame&portal={portal.url}") as page:
        await talk_to_frame(page)


@pytest.mark.firefox
async def test_a_frame_in_a_page_of_another_origin_takes_messages_in_firefox(
    one_firefox: Browser, portal: PortalProcess, elsewhere: str
) -> None:
    """Without the element."""
    async with plain_page(one_firefox, f"{elsewhere}/?frame&portal={portal.url}") as page:
        await talk_to_frame(page)


async def test_a_page_that_the_portal_does_not_know_gets_no_frame(
    one_chromium: Chromium, portal: PortalProcess, stranger: str
) -> None:
    """Where `allowed_origins` lacks a site, its frame is refused, so nobody takes commands or words from it."""
    async with plain_page(await one_chromium.get(), f"{stranger}/?portal={portal.url}") as page:
        await page.wait_for_load_state("networkidle")
        assert not await page.frames[1].evaluate("'vivavoce' in window")
        assert await page.evaluate("told.length") == 0


def token(name: str, *, ends_in_s: float = 3600) -> str:
    return jwt.encode({"sub": name, "exp": int(time.time() + ends_in_s)}, SECRET, "HS256")


@pytest.fixture(scope="module")
def of_tokens(tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[PortalProcess]:
    """A portal that lets in whoever has a token of the product."""
    data_dir = tmp_path_factory.mktemp("of-tokens")
    write_avatar(data_dir / "avatars" / "alpha", 90)
    options = ("--avatar", "alpha", *MEASURING, "--allowed-origins", elsewhere)
    with running_portal(data_dir, *options, surroundings={"VIVAVOCE_TOKEN_SECRET": SECRET}) as process:
        yield process


async def talking(page: Page) -> Frame:
    """The avatar's frame, with a session that is live. It was let in by the element's token."""
    await page.evaluate("(token) => avatar.setAttribute('token', token)", token("vera"))
    await until(page, "saw('ready', () => true)")
    await page.evaluate("(avatar.start(), 0)")
    await until(page, "saw('state', (state) => state === 'live')")
    return page.frames[1]


async def lose_login_and_socket(page: Page, frame: Frame) -> str:
    """As when a token has run out, and then the network changes. Gives the session that was lost sight of."""
    session = await frame.evaluate("vivavoce.stats().session")
    await page.context.clear_cookies()
    await page.evaluate("(told.length = 0)")
    await frame.evaluate(f"{TAB}.player.session.socket.close()")
    return str(session)


async def test_a_viewer_whose_token_ran_out_goes_on_with_another(
    one_chromium: Chromium, of_tokens: PortalProcess, elsewhere: str
) -> None:
    """The page around is asked for one, and the same session goes on."""
    async with plain_page(await one_chromium.get(), f"{elsewhere}/?product&portal={of_tokens.url}") as page:
        frame = await talking(page)
        await page.evaluate(f"(another = {json.dumps(token('vera', ends_in_s=7200))}, 0)")
        session = await lose_login_and_socket(page, frame)
        await until(page, "saw('tokenneeded', () => true)")
        await until(page, "saw('state', (state) => state === 'live')")
        await eventually(frame, "vivavoce.stats().session", session)


async def test_a_token_that_is_not_valid_ends_it(
    one_chromium: Chromium, of_tokens: PortalProcess, elsewhere: str
) -> None:
    """With the portal's own reason; the page around was asked once."""
    async with plain_page(await one_chromium.get(), f"{elsewhere}/?product&portal={of_tokens.url}") as page:
        frame = await talking(page)
        await page.evaluate(f"(another = {json.dumps(token('vera', ends_in_s=-60))}, 0)")
        await lose_login_and_socket(page, frame)
        await until(page, "saw('ended', ({ code }) => code === 'login_needed')")
        assert await page.evaluate("told.filter(([type]) => type === 'tokenneeded').length") == 1
