"""A portal as a user starts it, with the measuring backends (beep, flash), and browsers that look at it.

A browser takes longer to start than most tests take, so there is one Chromium for all. Loading the page with an empty
cache takes longer than many tests, too, so a visit gets a context that has been used before. It keeps the cache of its
earlier visits, and nothing else: pages, storage and permissions end with each visit. Tests of how the page loads, or of
a touch screen, have a context of their own (plain_page, touch). What belongs to the browser itself (flags, preferences
of Firefox) gets a browser of its own. There is one Firefox for all tests without such preferences.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    Page,
    Playwright,
    Route,
    ViewportSize,
    async_playwright,
    expect,
)

from avatars.bundle import encode_jpeg
from avatars.bundle_writing import BundleContents, write_bundle
from avatars.library import presets
from portal.commands.portal_process import PortalProcess, running_portal
from tests.benchmarks.in_browser import FLAGS, PROBE, watched_page
from tests.browser.patience import WITHIN_S, eventually, until
from tests.browser.websites import FRIEND_PORT
from tests.portraits import portrait_bundle
from tests.streaming_server import STREAM_PORT

SIZE = 256
SCREEN: ViewportSize = {"width": 1280, "height": 800}
CLOSED_WITHIN_S = 20.0
STARTS = 4
TOO_LATE = {"no_answer", "no_picture"}
"""Why a page gives WebRTC up though nothing is in its way."""
HEARS_UNASKED = {"media.navigator.permission.disabled": True}
"""Firefox gives a page the microphone without asking anybody."""
UNUSED_FEATURES = (
    # Two pages of the address bar, which a new window loads: as much work as loading ours.
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup"),
    # Processes for pages that might come.
    *("SpareRendererForSitePerProcess", "PreloadTopChromeWebUI"),
    # From Playwright's own list, which this one replaces.
    *("Translate", "PaintHolding", "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose"),
    *("HttpsUpgrades", "ThirdPartyStoragePartitioning", "LensOverlay", "MediaRouter", "DialMediaRouteProvider"),
    *("GlobalMediaControls", "OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled"),
    *("BlockOriginHeaderModificationOnRedirect", "AvoidCorsURLLoaderRestartOnRedirect"),
)
"""Features of Chromium that are switched off. They took half of the processor time of loading our page."""
MOUTH = "mouth"
TAB = "document.querySelector('vivavoce-talk').tab"
"""The Talk tab, for scripts of tests."""
STARTS_ITSELF = """
    const starting = setInterval(() => {
        if (!window.vivavoce) return;
        clearInterval(starting);
        for (const type of ["blocked", "unblocked", "firstpicture"]) {
            vivavoce.on(type, () => console.log(`player: ${type}`));
        }
        vivavoce.start();
    }, 20);
"""
"""A page that starts by itself: no gesture, and none is made by asking it anything."""
WORDS = "one two three four five six seven eight nine ten"
LONG = ". ".join([WORDS] * 5) + "."
VERY_LONG = ". ".join([WORDS] * 40) + "."
"""More than a minute: where a test has to be sure that it goes on, however slow the machine is."""
NO_UDP = ("--webrtc-ip-handling-policy=disable_non_proxied_udp",)
MEASURING = ("--tts", "beep", "--lipsync", "flash", "--llm", "echo", "--no-worker")

ALLOWED = (
    *("--max-sessions", "3", "--watch-links", "--push-to", f"rtmp://127.0.0.1:{STREAM_PORT}/live"),
    *("--allowed-origins", f"http://127.0.0.1:{FRIEND_PORT}"),
    *(("--c2pa",) if find_spec("c2pa") else ()),
)


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    data_dir = tmp_path_factory.mktemp("portal")
    for avatar_id, level in (("alpha", 90), ("beta", 60)):
        write_avatar(data_dir / "avatars" / avatar_id, level)
    with running_portal(data_dir, "--avatar", "alpha", *MEASURING, *ALLOWED) as process:
        yield process


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """A portal with its worker on its first start: it has made our first character when the page opens."""
    data_dir = tmp_path_factory.mktemp("workshop")
    for preset in presets()[1:]:
        portrait_bundle(data_dir / "avatars" / preset.id)
    with running_portal(data_dir, "--tts", "beep") as process:
        yield process


def write_avatar(path: Path, level: int) -> Path:
    """Grey, with a bar that moves; the mouth box is the middle of the lower half. Gives its folder."""
    frames = []
    for index in range(50):
        picture = np.full((SIZE, SIZE, 3), level, np.uint8)
        picture[:40, index * 5 : index * 5 + 10] = 220
        frames.append(encode_jpeg(picture))
    box = (SIZE // 4, SIZE // 2, 3 * SIZE // 4, 7 * SIZE // 8)
    contents = BundleContents(
        id=path.name,
        name=path.name.title(),
        kind="clip",
        frames=frames,
        width=SIZE,
        height=SIZE,
        boxes=np.tile(np.array(box, np.int32), (len(frames), 1)),
        masks=np.full((1, box[3] - box[1], box[2] - box[0]), 255, np.uint8),
        landmarks=np.zeros((len(frames), 478, 3), np.float32),
        loop=np.arange(len(frames), dtype=np.int32),
        poster=frames[0],
    )
    write_bundle(contents, path)
    return path


JOBS = re.compile(r"/api/jobs\b")


@asynccontextmanager
async def held_jobs(page: Page, url: str) -> AsyncIterator[None]:
    """Meanwhile no job comes to its end for this page, however quick the worker is: what is told of it can be seen."""
    ended = {job["id"] for job in await (await page.request.get(f"{url}/api/jobs?limit=500")).json()}

    async def tell(route: Route) -> None:
        answer = await route.fetch()
        told = await answer.json()
        for job in told if isinstance(told, list) else [told]:
            if job.get("state") == "done" and job["id"] not in ended:
                job.update(state="running", progress=0.5, result=None)
        await route.fulfill(response=answer, json=told)

    await page.route(JOBS, tell)
    try:
        yield
    finally:
        await page.unroute(JOBS, tell)


@dataclass
class Visit:
    """One open page."""

    page: Page
    portal: PortalProcess
    faults: list[str] = field(default_factory=list)
    "errors of scripts, and requests to other hosts"
    told: list[str] = field(default_factory=list)
    "events of a player that started by itself"

    async def run(self, script: str, argument: Any = None) -> Any:
        return await self.page.evaluate(script, argument)

    async def stats(self) -> dict[str, Any]:
        return dict(await self.run("vivavoce.stats()"))

    async def until(self, condition: str, within_s: float = WITHIN_S) -> None:
        """Wait until a JavaScript expression is true; an element that it reads may come later."""
        await until(self.page, condition, within_s)

    async def eventually(self, expression: str, wanted: Any, within_s: float = WITHIN_S) -> None:
        """Wait until a JavaScript expression, or what its promise comes to, is this."""
        await eventually(self.page, expression, wanted, within_s)

    async def hear(self, told: str) -> None:
        """Wait for an event of a player that started by itself. Asking the page might count as a gesture."""
        if told not in self.told:
            wanted = f"player: {told}"
            await self.page.wait_for_event("console", lambda message: message.text == wanted, timeout=1000 * WITHIN_S)

    async def start(self, transport: str = "", too_late: Collection[str] = TOO_LATE) -> dict[str, Any]:
        """Start, and wait until it is live.

        transport: by which pictures are to come, if that matters. Where the machine is busy, they may come too late
        over WebRTC. The page then falls back, as it should, for a reason in too_late, and is started again.
        """
        for _ in range(STARTS):
            await self.page.click("#vv-start")
            await self.until("vivavoce.stats().state === 'live'")
            stats = await self.stats()
            if not transport or stats["reasonCode"] not in too_late:
                break
            await self.run("vivavoce.stop()")
        assert transport in ("", stats["transport"]), stats
        return stats

    async def say(self, text: str, mode: str = "echo") -> None:
        await self.run("([text, mode]) => vivavoce.say(text, mode)", [text, mode])


Visitor = Callable[..., Coroutine[Any, Any, Visit]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here runs on one event loop: a browser that tests share belongs to the loop it began on."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def browser_fixture(scope: Literal["function", "module", "session"] = "function") -> Any:
    """For an asynchronous fixture of this folder: on the loop of its tests."""
    return pytest_asyncio.fixture(scope=scope, loop_scope="session")


@dataclass
class Chromium:
    """The one of all tests, begun when it is first asked for, and anew if it has crashed."""

    driver: Playwright
    path: Path
    shared: Browser | None = None
    rested: dict[bool, BrowserContext] = field(default_factory=dict)
    "whether the page's policy is overlooked -> a context that has a warm cache and no viewer"

    async def launch(self, *flags: str) -> Browser:
        """One of its own."""
        features = f"--disable-features={','.join(UNUSED_FEATURES)}"
        return await self.driver.chromium.launch(
            executable_path=self.path, headless=True, args=[*FLAGS, features, *flags]
        )

    async def get(self) -> Browser:
        if self.shared is None or not self.shared.is_connected():
            self.shared = await self.launch()
            self.rested.clear()
        return self.shared

    @asynccontextmanager
    async def page(self, overlooks_policy: bool = False) -> AsyncIterator[Page]:
        """A page of a new viewer, in a context that has nothing of earlier ones but their cache.

        A context has one viewer at a time: who comes while another one is there gets another context.
        """
        browser = await self.get()
        context = self.rested.pop(overlooks_policy, None) or await browser.new_context(
            bypass_csp=overlooks_policy, viewport=SCREEN, locale="en-US"
        )
        try:
            yield await context.new_page()
        finally:
            await self._take_back(context, overlooks_policy)

    @asynccontextmanager
    async def at(self, url: str) -> AsyncIterator[Page]:
        """A page of a new viewer that has this address; an error in one of its scripts fails the test."""
        async with self.page() as page, faultless(page):
            await page.goto(url)
            yield page

    async def _take_back(self, context: BrowserContext, overlooks_policy: bool) -> None:
        if overlooks_policy in self.rested:
            await context.close()
            return
        for page in context.pages:
            await page.close()
        await context.clear_permissions()
        await context.set_storage_state({"cookies": [], "origins": []})
        self.rested[overlooks_policy] = context


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """Playwright's own: 5 s, which a page may need for one request while the machine is busy."""
    expect.set_options(timeout=1000 * WITHIN_S)


@browser_fixture("session")
async def one_chromium(chromium: Path) -> AsyncIterator[Chromium]:
    async with async_playwright() as driver:
        yield Chromium(driver, chromium)  # the end of the driver ends its browsers


@browser_fixture()
async def browser(one_chromium: Chromium) -> Browser:
    """The Chromium of all tests; what a test opens in it, it closes."""
    return await one_chromium.get()


@browser_fixture()
async def visit(one_chromium: Chromium, portal: PortalProcess) -> AsyncIterator[Visitor]:
    """Open the page as a new visitor: await visit("?lang=zh", flags=[...], width=390, height=844).

    before: a script that runs ahead of those of the page.
    """
    async with AsyncExitStack() as stack:

        async def open_page(
            query: str = "",
            flags: tuple[str, ...] = (),
            width: int = SCREEN["width"],
            height: int = SCREEN["height"],
            before: str = "",
            touch: bool = False,
        ) -> Visit:
            if flags or touch:
                browser = await (one_chromium.launch(*flags) if flags else one_chromium.get())
                if flags:
                    stack.push_async_callback(browser.close)
                page = await watched_page(browser, viewport=SCREEN, locale="en-US", has_touch=touch, is_mobile=touch)
                await stack.enter_async_context(_closing(page))
            else:
                page = await stack.enter_async_context(one_chromium.page(overlooks_policy=True))
                await page.add_init_script(path=PROBE)
            await page.set_viewport_size({"width": width, "height": height})
            return await stack.enter_async_context(_visit(page, portal, query, before))

        yield open_page


@pytest.fixture(scope="session")
def speaker(firefox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A speaker that leads nowhere, as environment variables: without any, Firefox's sound never begins.

    Its microphone hears what is played to the sink MOUTH.
    """
    home = tmp_path_factory.mktemp("speaker")
    door = home / "native"
    modules = (
        "module-null-sink rate=48000 sink_name=room",
        f"module-null-sink rate=48000 sink_name={MOUTH}",
        f"module-remap-source master={MOUTH}.monitor source_name=microphone",
        f"module-native-protocol-unix socket={door} auth-anonymous=1",
    )
    command = ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--realtime=no"]
    own = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *(f"--load={module}" for module in modules)], env={**os.environ, **own}, stdout=log, stderr=log
        )
    try:
        deadline_s = time.monotonic() + WITHIN_S
        while not door.exists():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"PulseAudio did not start:\n{(home / 'log').read_text(errors='replace')}")
            time.sleep(0.05)
        yield {"PULSE_SERVER": f"unix:{door}", "PULSE_SINK": "room", "PULSE_SOURCE": "microphone"}
    finally:
        process.terminate()
        process.wait(timeout=WITHIN_S)


@asynccontextmanager
async def running_firefox(
    path: Path, speaker: Mapping[str, str], preferences: Mapping[str, Any]
) -> AsyncIterator[Browser]:
    """Debian's own, spoken to by WebDriver BiDi: Playwright's builds of Firefox come from its own servers only."""
    environment: dict[str, str | float | bool] = {**os.environ, **speaker}
    async with async_playwright() as driver:
        browser = await driver.firefox.launch(
            executable_path=path,
            channel="moz-firefox",
            headless=True,
            env=environment,
            firefox_user_prefs={**preferences},
        )
        try:
            yield browser
        finally:
            # It may leave this unanswered; the end of the driver ends it all the same.
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSED_WITHIN_S):
                    await browser.close()


@browser_fixture("session")
async def one_firefox(firefox: Path, speaker: dict[str, str]) -> AsyncIterator[Browser]:
    """The one of all tests that need no other preferences."""
    async with running_firefox(firefox, speaker, HEARS_UNASKED) as browser:
        yield browser


@browser_fixture()
async def firefox_visit(
    firefox: Path, speaker: dict[str, str], one_firefox: Browser, portal: PortalProcess
) -> AsyncIterator[Visitor]:
    """As visit(), in Firefox. With preferences in one of its own: firefox_visit(preferences={"a.preference": 5})."""
    async with AsyncExitStack() as stack:

        async def open_page(query: str = "", preferences: Mapping[str, Any] | None = None, before: str = "") -> Visit:
            browser = one_firefox
            if preferences:
                browser = await stack.enter_async_context(running_firefox(firefox, speaker, preferences))
            page = await watched_page(browser, viewport=SCREEN, locale="en-US")
            await stack.enter_async_context(_closing(page))
            return await stack.enter_async_context(_visit(page, portal, query, before))

        yield open_page


@asynccontextmanager
async def _visit(page: Page, portal: PortalProcess, query: str, before: str) -> AsyncIterator[Visit]:
    if before:
        await page.add_init_script(before)
    page.set_default_timeout(1000 * WITHIN_S)
    opened = Visit(page, portal)
    page.on("pageerror", lambda error: opened.faults.append(str(error)))
    page.on("request", lambda request: _check_host(opened, request.url))
    page.on("console", lambda message: _listen(opened, message.text))
    await page.goto(f"{portal.url}/{query}")
    if before != STARTS_ITSELF:
        await page.wait_for_selector("#vv-start:not([disabled])")
    yield opened
    assert not opened.faults


@asynccontextmanager
async def _closing(page: Page) -> AsyncIterator[None]:
    """Its context ends, with all pages in it."""
    try:
        yield
    finally:
        with suppress(TimeoutError):  # Firefox may leave this unanswered
            async with asyncio.timeout(CLOSED_WITHIN_S):
                await page.context.close()


def _listen(opened: Visit, text: str) -> None:
    if text.startswith("player: "):
        opened.told.append(text.removeprefix("player: "))


@asynccontextmanager
async def plain_page(browser: Browser, url: str) -> AsyncIterator[Page]:
    """The page as somebody has it who was never here, in English; an error in one of its scripts fails the test."""
    page = await browser.new_page(viewport=SCREEN, locale="en-US")
    async with _closing(page), faultless(page):
        await page.goto(url)
        yield page


@asynccontextmanager
async def faultless(page: Page) -> AsyncIterator[None]:
    """An error in one of its scripts fails the test. What is waited for may take as long as elsewhere."""
    page.set_default_timeout(1000 * WITHIN_S)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield
    assert not faults


def _check_host(opened: Visit, url: str) -> None:
    if url.startswith("http") and not url.startswith(opened.portal.url):
        opened.faults.append(f"a request to another host: {url}")
