"""Recordings on the Talk tab, in a real Chromium: the button, the mark, and files that can be read."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.async_api import expect

from tests.browser.conftest import WORDS, Visit, Visitor
from tests.browser.test_microphone_page import FAKE_DEVICE, LACKS_EARS, RATE_HZ, write_wav

pytestmark = pytest.mark.browser
MARK = "document.querySelector('.vv-recording')"
LINK = "document.querySelector('.vv-recordings a[download$=mp4]')"


async def downloaded(visit: Visit, kind: str) -> tuple[str, bytes]:
    """What the page's link to a file of the newest recording gives: its name and contents."""
    async with visit.page.expect_download() as coming:
        await visit.page.click(f".vv-recordings li:first-child a[download$={kind}]")
    download = await coming.value
    return download.suggested_filename, await asyncio.to_thread(Path(await download.path()).read_bytes)


def look_into(mp4: bytes) -> tuple[int, float]:
    """How many pictures it has, and its loudest sample."""
    with av.open(io.BytesIO(mp4), "r") as file:
        pictures = sum(1 for _frame in file.decode(video=0))
    with av.open(io.BytesIO(mp4), "r") as file:
        return pictures, max(float(np.abs(frame.to_ndarray()).max()) for frame in file.decode(audio=0))


async def test_a_session_is_recorded_and_downloaded(visit: Visitor) -> None:
    """While it goes on the picture says so; then there are links to a clip, to subtitles and to a transcript."""
    page = await visit("?transport=websocket")
    await expect(page.page.locator("#vv-record")).to_be_hidden()
    await page.start()
    await page.page.click("#vv-record")
    await page.until(f"{MARK}.checkVisibility() && {MARK}.textContent.startsWith('Recording 0:')")
    await expect(page.page.locator("#vv-record")).to_have_attribute("aria-pressed", "true")
    await page.say(WORDS)
    await page.until("vivavoce.stats().turnState === 'done'")
    await page.page.click("#vv-record")
    await page.until(f"{LINK}?.checkVisibility() && !{MARK}.checkVisibility()")
    name, mp4 = await downloaded(page, "mp4")
    assert name.startswith("Alpha - 20") and name.endswith(".mp4")
    pictures, loudest = look_into(mp4)
    assert pictures >= 25 and loudest > 0.05
    name, vtt = await downloaded(page, "vtt")
    assert name.endswith(".vtt") and WORDS in vtt.decode()
    entries = json.loads((await downloaded(page, "json"))[1])["entries"]
    assert [(entry["role"], entry["text"]) for entry in entries] == [("assistant", WORDS)]


async def test_a_recording_that_ends_with_its_session_is_there(visit: Visitor) -> None:
    """In Chinese: whoever stops the session finds the file below the picture all the same."""
    page = await visit("?transport=websocket&lang=zh")
    await page.start()
    await page.page.click("#vv-record")
    await page.until(f"{MARK}.textContent.startsWith('正在录制 0:') && {MARK}.textContent >= '正在录制 0:02'")
    await page.page.click("#vv-stop")
    await page.until(f"{LINK}?.checkVisibility() && !{MARK}.checkVisibility()")
    await expect(page.page.locator(".vv-recordings")).to_contain_text("字幕")
    assert look_into((await downloaded(page, "mp4"))[1])[0] >= 20


@pytest.mark.skipif(LACKS_EARS, reason="needs the extra `ears`")
async def test_the_viewers_own_voice_is_on_it(visit: Visitor, tmp_path: Path) -> None:
    """The avatar says nothing, and the microphone hums."""
    hum = write_wav(tmp_path / "hum.wav", 0.4 * np.sin(2 * np.pi * 300 * np.arange(2 * RATE_HZ) / RATE_HZ))
    page = await visit("?transport=websocket", flags=(*FAKE_DEVICE, f"--use-file-for-fake-audio-capture={hum}"))
    await page.start()
    await page.page.click("#vv-mic")
    await page.until("vivavoce.stats().ears.level > -40", within_s=90)
    await page.page.click("#vv-record")
    await page.until(f"{MARK}.textContent >= 'Recording 0:02'")
    await page.page.click("#vv-record")
    await page.until(f"{LINK}?.checkVisibility()")
    assert look_into((await downloaded(page, "mp4"))[1])[1] > 0.02
