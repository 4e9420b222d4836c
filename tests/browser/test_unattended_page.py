"""A page that starts by itself, before any gesture: with the autoplay rules that its users have."""

from __future__ import annotations

import pytest

from tests.browser.conftest import STARTS_ITSELF, TOO_LATE, Visitor

pytestmark = pytest.mark.browser

WORDS = "one two three four five six seven eight nine ten"
AS_USERS_HAVE_IT = ("--autoplay-policy=document-user-activation-required",)


@pytest.mark.parametrize(
    ("query", "transport"), [("", "webrtc"), ("?transport=websocket", "websocket")], ids=["webrtc", "websocket"]
)
async def test_the_first_click_brings_sound(visit: Visitor, query: str, transport: str) -> None:
    """Chromium shows the avatar, says that it is mute, and plays sound from the first click on, wherever it is."""
    page = await visit(query, flags=AS_USERS_HAVE_IT, before=STARTS_ITSELF)
    await page.hear("firstpicture")
    await page.hear("blocked")
    await page.page.mouse.click(640, 30)
    await page.hear("unblocked")
    stats = await page.stats()
    assert stats["state"] == "live"
    assert stats["transport"] == transport or stats["reasonCode"] in TOO_LATE
    await page.say(WORDS)
    await page.until("vivavoce.stats().latencyMs > 0")
    await page.eventually("document.querySelector('#vv-video').muted", False)
