"""The Talk tab in Firefox: what a viewer sees, hears and does, over WebRTC, the WebSocket, and from one to the other.

What is heard is told by the probe, as in Chromium; the speaker is one of PulseAudio's that leads nowhere.
"""

from __future__ import annotations

import pytest

from tests.browser.conftest import Visitor

pytestmark = pytest.mark.browser

WORDS = "one two three four five six seven eight nine ten"
LONG = ". ".join([WORDS] * 5) + "."

TRANSPORTS = pytest.mark.parametrize(
    ("query", "transport"), [("", "webrtc"), ("?transport=websocket", "websocket")], ids=["webrtc", "websocket"]
)


@TRANSPORTS
async def test_start_say_and_interrupt(firefox_visit: Visitor, query: str, transport: str) -> None:
    """Start brings pictures, say is heard and seen with its subtitle, and after Interrupt nothing more is heard."""
    page = await firefox_visit(query)
    stats = await page.start()
    assert stats["transport"] == transport
    await page.until("vivavoce.stats().fps > 10")
    await page.say(LONG)
    await page.until("probe.onsets.length > 3 && probe.changes > 3")
    await page.until("document.querySelector('.vv-subtitle').textContent.includes('seven')")
    before = await page.run("probe.silences.length")
    await page.page.click("#vv-interrupt")
    await page.run("window.interruptedAt = performance.now()")
    await page.until(f"probe.silences.length > {before}")
    await page.until("vivavoce.stats().turnState === 'interrupted'")
    heard = await page.run("probe.onsets.length")
    await page.until("performance.now() - interruptedAt > 3000")
    assert await page.run("probe.onsets.length") == heard
    await page.say("one two three")
    await page.until(f"probe.onsets.length > {heard}")
