"""Figures as a viewer has them: a headless Chromium on the page, watched and listened to from outside the player."""

from __future__ import annotations

import re
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, Route, async_playwright

from portal.commands.portal_process import PortalProcess

__all__ = [
    "DEAF",
    "FLAGS",
    "fallback_ms",
    "first_picture_ms",
    "interrupt_ms",
    "page_of",
    "skew_ms",
    "sound_ms",
    "start",
    "until",
    "watched_page",
]

PROBE = Path(__file__).parents[1] / "browser" / "probe.js"
FLAGS = (
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--mute-audio",
)
DEAF = """
    const set = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
        return set.call(this, { type, sdp: sdp.replace(/a=ice-pwd:.*/g, "a=ice-pwd:wrongwrongwrongwrongwrong") });
    };
"""
"""A network in which every connectivity check is lost: the browser never says "failed" in time."""
TAP_MS = "(probe.ears ? 1000 * (probe.ears.baseLatency + probe.ears.outputLatency) : 0)"
"""What the probe's own ears add to the sound of a video element; over the WebSocket it listens at the speaker."""
WORDS = "one two three four five six seven eight nine ten"


@asynccontextmanager
async def page_of(
    portal: PortalProcess, chromium: Path, query: str = "", before: str = "", flags: Sequence[str] = ()
) -> AsyncIterator[Page]:
    """The portal's page in a browser of its own. before: a script that runs ahead of those of the page; flags: more for
    Chromium.
    """
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, headless=True, args=[*FLAGS, *flags])
        try:
            page = await watched_page(browser, viewport={"width": 1280, "height": 800})
            if before:
                await page.add_init_script(before)
            await page.goto(f"{portal.url}/{query}")
            await page.wait_for_selector("#vv-start:not([disabled])", timeout=30_000)
            yield page
        finally:
            await browser.close()


async def watched_page(browser: Browser, **options: Any) -> Page:
    """A page with the probe in it (window.probe), ahead of the page's own scripts. options: of its context.

    The page's policy admits no scripts but its own, and the probe's ears are one. Chromium can be told to overlook the
    policy; for Firefox just the probe is let in.
    """
    is_chromium = browser.browser_type.name == "chromium"
    context = await browser.new_context(bypass_csp=is_chromium, **options)
    page = await context.new_page()
    if not is_chromium:
        await page.route(re.compile(r"^http://[^/]+/(\?.*)?$"), _admit_probe)
    await page.add_init_script(path=PROBE)
    return page


async def _admit_probe(route: Route) -> None:
    answer = await route.fetch()
    policy = answer.headers.get("content-security-policy", "")
    widened = re.sub(r"\b(script-src|worker-src) ", r"\1 blob: ", policy)
    await route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": widened})


async def start(page: Page) -> dict[str, Any]:
    await page.click("#vv-start")
    await until(page, "vivavoce.stats().state === 'live'", 20)
    return dict(await page.evaluate("vivavoce.stats()"))


async def until(page: Page, condition: str, within_s: float) -> None:
    await page.wait_for_function(condition, timeout=1000 * within_s, polling=20)


async def first_picture_ms(portal: PortalProcess, chromium: Path, rounds: int) -> list[float]:
    """From the click on Start to the first picture; the portal is warm."""
    times = []
    for _ in range(rounds):
        async with page_of(portal, chromium) as page:
            times.append(float((await start(page))["firstFrameMs"]))
    return times


async def fallback_ms(portal: PortalProcess, chromium: Path, rounds: int) -> list[float]:
    """The same where WebRTC never connects and the page has to notice."""
    times = []
    for _ in range(rounds):
        async with page_of(portal, chromium, before=DEAF) as page:
            stats = await start(page)
            if stats["transport"] != "websocket":
                raise RuntimeError(f"the deaf peer connected: {stats}")
            times.append(float(stats["firstFrameMs"]))
    return times


async def sound_ms(portal: PortalProcess, chromium: Path, query: str, rounds: int) -> list[float]:
    """From say() to the first sound that leaves the page."""
    times = []
    async with page_of(portal, chromium, query) as page:
        await start(page)
        await page.wait_for_timeout(6000)  # the jitter buffer settles
        for _ in range(rounds):
            before = await page.evaluate("probe.onsets.length")
            said = await page.evaluate("(vivavoce.say('Good morning to you.', 'echo'), performance.now())")
            await until(page, f"probe.onsets.length > {before}", 10)
            times.append(await page.evaluate(f"probe.onsets[{before}] - {said} - ({TAP_MS})"))
            await until(page, "vivavoce.stats().turnState === 'done'", 20)
            await page.wait_for_timeout(700)
    return times


async def interrupt_ms(portal: PortalProcess, chromium: Path, query: str, rounds: int) -> list[float]:
    """From the click on Interrupt to the last sound that leaves the page."""
    times = []
    async with page_of(portal, chromium, query) as page:
        await start(page)
        await page.wait_for_timeout(3000)
        for number in range(rounds):
            before = await page.evaluate("[probe.onsets.length, probe.silences.length]")
            await page.evaluate("text => vivavoce.say(text, 'echo')", " ".join([WORDS] * 4))
            await until(page, f"probe.onsets.length > {before[0]}", 10)
            await page.wait_for_timeout(1200 + 37 * number)
            quiet = await page.evaluate("probe.silences.length")
            at = await page.evaluate("(vivavoce.interrupt(), performance.now())")
            await until(page, f"probe.silences.length > {quiet}", 10)
            times.append(max(0.0, await page.evaluate(f"probe.silences.at(-1) - {at} - ({TAP_MS})")))
            await page.wait_for_timeout(500)
    return times


async def skew_ms(portal: PortalProcess, chromium: Path, query: str, seconds: float) -> tuple[float, int]:
    """Median of beep minus flash over so many seconds (positive: the sound is late), and how many pairs."""
    async with page_of(portal, chromium, query) as page:
        await start(page)
        await page.wait_for_timeout(10_000)
        await page.evaluate("(probe.flashes = [], probe.onsets = [])")
        for _ in range(8):
            await page.evaluate("text => vivavoce.say(text, 'echo')", ". ".join([WORDS] * 5))
        await page.wait_for_timeout(1000 * seconds)
        skews = await page.evaluate(f"probe.skews().map((skew) => skew - ({TAP_MS}))")
    return statistics.median(skews), len(skews)
