"""A live production in a real Chromium: a gesture by a tag, lips on it, everything swapped, and a recording of it all
whose marks are read back by ffprobe and by C2PA's own reader.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import av
import pytest

from avatars.bundle import AvatarBundle
from pipeline.clip_marks import SOURCE_TYPE
from portal.commands.portal_process import PortalProcess
from tests.benchmarks.production import skews_of
from tests.browser.conftest import TAB, WORDS, Visitor, write_avatar
from tests.browser.test_recording_page import LINK, MARK, downloaded, look_into
from tests.certificates import verdict_of
from tests.gesture_clips import give_gesture

pytest.importorskip("c2pa")
pytestmark = pytest.mark.browser

SEEN = """(() => {
    const pixels = document.querySelector("#vv-canvas").getContext("2d");
    return { corner: pixels.getImageData(20, 200, 1, 1).data[0], mouth: pixels.getImageData(128, 170, 1, 1).data[0] };
})()"""
WATCH = f"""
    window.seen = [];
    window.watching = setInterval(() => seen.push({SEEN}), 20);
    vivavoce.on("gesture", ({{ name, begins }}) => seen.push({{ name, begins }}));
    vivavoce.on("subtitle", ({{ text }}) => (window.said = text));
"""


@pytest.fixture
def actor(portal: PortalProcess) -> Iterator[str]:
    """The id of a grey avatar that can wave, in white. The portal signs with a certificate of its own."""
    folder = write_avatar(portal.log.parent / "avatars" / "actor", 90)
    give_gesture(AvatarBundle.open(folder), "wave", 75)
    yield folder.name
    shutil.rmtree(folder)


@pytest.mark.alone
async def test_a_production_from_a_gesture_to_its_signed_recording(visit: Visitor, actor: str, tmp_path: Path) -> None:
    """One session: a tag in the model's answer, lips on the gesture, back to the loop, another avatar, another voice,
    other lips, another persona. The recording has it all in step, and says where it comes from.
    """
    page = await visit("?transport=websocket")
    await page.page.click(f".vv-avatar[data-id={actor}]")
    session = (await page.start())["session"]
    await page.page.click("#vv-record")
    await page.until(f"{MARK}.checkVisibility()")

    await page.run(WATCH)
    await page.say(f"[wave] {WORDS}.", "chat")
    await page.until("seen.some(({ begins }) => begins === false)")
    await page.until("vivavoce.stats().turnState === 'done'")
    seen = await page.run("seen")
    begins, ends = (next(i for i, one in enumerate(seen) if one.get("begins") is told) for told in (True, False))
    mouths = [one["mouth"] for one in seen[begins:ends] if one.get("corner", 0) > 245]
    assert min(mouths) < 40 and max(mouths) > 215, "the mouth opens and shuts on the gesture"
    await page.eventually("said", f"{WORDS}.")
    await page.until(f"Math.abs({SEEN}.corner - 90) < 8")

    await page.page.click(".vv-avatar[data-id=beta]")
    await page.until(f"Math.abs({SEEN}.corner - 60) < 8")
    await page.run("window.choices = []; vivavoce.on('choice', (told) => choices.push(told))")
    wishes = ("tts: 'hibari', voice: null", "lipsync: 'null'", "prompt: 'You are a cat.'")
    for count, wish in enumerate(wishes, 1):
        await page.run(f"{TAB}.player.changes.change({{ ...{TAB}.player.changes.chosen, {wish} }})")
        await page.eventually("choices.map(({ changed }) => changed)", [True] * count)
    in_force = await page.run("choices[2].choice")
    assert (in_force["tts"], in_force["lipsync"], in_force["persona"]) == ("hibari", "null", "session")
    turn = (await page.stats())["turn"]
    await page.say("It goes on.")
    await page.until(f"vivavoce.stats().turn > {turn} && vivavoce.stats().turnState === 'done'")
    assert (await page.stats())["session"] == session

    await page.page.click("#vv-record")
    await page.until(f"{LINK}?.checkVisibility()")
    _, mp4 = await downloaded(page, "mp4")
    pictures, _ = look_into(mp4)
    assert pictures > 100
    skews_ms = skews_of(mp4)[:10]  # later there is another voice
    assert len(skews_ms) == 10 and abs(statistics.median(skews_ms)) <= 20
    await asyncio.to_thread(_check_marks, mp4, tmp_path)


def _check_marks(mp4: bytes, folder: Path) -> None:
    clip = folder / "clip.mp4"
    clip.write_bytes(mp4)
    tags = _tags(clip)
    assert json.loads(tags["AIGC"])["Label"] == "1" and tags["DigitalSourceType"] == SOURCE_TYPE
    assert verdict_of(mp4).state == "Valid"
    broken = bytearray(mp4)
    broken[len(broken) * 3 // 4] ^= 1
    verdict = verdict_of(bytes(broken))
    assert verdict.state == "Invalid" and "assertion.bmffHash.mismatch" in verdict.faults


def _tags(clip: Path) -> Mapping[str, str]:
    """As ffprobe tells them; where it is not installed, as its libraries do."""
    ffprobe = shutil.which("ffprobe")
    if ffprobe is None:
        with av.open(str(clip)) as file:
            return dict(file.metadata)
    asked = [ffprobe, "-v", "error", "-show_format", "-of", "json", str(clip)]
    return dict(json.loads(subprocess.run(asked, check=True, capture_output=True).stdout)["format"]["tags"])
