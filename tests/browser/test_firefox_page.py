"""The Talk tab in Firefox: what a viewer sees, hears and does, over WebRTC, the WebSocket, and from one to the other.

What is heard is told by the probe, as in Chromium; the speaker is one of PulseAudio's that leads nowhere.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.in_browser import DEAF
from tests.browser.conftest import VERY_LONG, WORDS, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.firefox]

SETTLED_MS = 500  # what the speaker had when it was told to be silent is heard by then
PATIENCE_S = 60  # a machine with other work may be slow; what is asserted is what comes, not when

TRANSPORTS = pytest.mark.parametrize(
    ("query", "transport"), [("", "webrtc"), ("?transport=websocket", "websocket")], ids=["webrtc", "websocket"]
)


@pytest.mark.alone
@TRANSPORTS
async def test_start_say_and_interrupt(firefox_visit: Visitor, query: str, transport: str) -> None:
    """Start brings pictures, say is heard and seen with its subtitle, and after Interrupt nothing more is heard."""
    page = await firefox_visit(query)
    await page.start(transport)
    await page.until("vivavoce.stats().frames > 20", PATIENCE_S)
    await page.say(VERY_LONG)
    await page.until("probe.onsets.length > 3 && probe.changes > 3", PATIENCE_S)
    await page.until("document.querySelector('.vv-subtitle').textContent.includes('seven')", PATIENCE_S)
    await page.page.click("#vv-interrupt")
    await page.run("(window.interruptedAt = performance.now(), 0)")
    await page.until("vivavoce.stats().turnState === 'interrupted'")
    # Between two sentences there is silence already: then no other is told of.
    await page.until(f"performance.now() - interruptedAt > {SETTLED_MS} && !probe.sounding", PATIENCE_S)
    heard = await page.run("probe.onsets.length")
    await page.until("performance.now() - interruptedAt > 4000")
    assert await page.run("probe.onsets.length") == heard
    await page.say("one two three")
    await page.until(f"probe.onsets.length > {heard}", PATIENCE_S)


@pytest.mark.parametrize(
    ("preferences", "before", "reasons"),
    [
        ({"media.peerconnection.enabled": False}, "", {"unsupported"}),
        ({}, DEAF, {"no_picture", "failed"}),
    ],
    ids=["switched off", "no check answered"],
)
async def test_without_webrtc_it_falls_back_by_itself(
    firefox_visit: Visitor, preferences: dict[str, Any], before: str, reasons: set[str]
) -> None:
    """Where the viewer has switched WebRTC off, or no connection comes about, all comes over the WebSocket."""
    page = await firefox_visit(preferences=preferences, before=before)
    stats = await page.start("websocket", too_late={"no_answer"})
    assert stats["reasonCode"] in reasons
    await page.say(WORDS)
    await page.until("probe.onsets.length > 3 && probe.changes > 3", PATIENCE_S)
