"""A spoken conversation of some minutes, in Chromium: `python -m tests.benchmarks.conversation --minutes 30`.

A fake microphone plays a question again and again, every 15 s or so. It is recognised, and answered by beeps with a
flash each, so that sound and pictures can be compared from outside the player. Needs the extra `ears`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from playwright.async_api import Page

from pipeline.audio import resample_file
from pipeline.types import LISTEN_RATE_HZ
from portal.commands.environment import find_chromium
from portal.commands.portal_process import PortalProcess, running_portal
from tests.benchmarks.in_browser import page_of, start, until
from tests.benchmarks.material import preset_library
from tests.microphone import spoken

__all__ = ["CONVERSING", "Conversation", "converse"]

CONVERSING = ("--tts", "beep", "--lipsync", "flash", "--llm", "echo", "--no-worker", "--ears-preload")
QUESTION = "Can you tell me how to get to the station from here, please?"
PAUSE_S = 10.0
"""After a question: the recogniser's time and that of an answer, on a slow machine."""
RATE_HZ = 48_000
SETTLING_S = 20.0
"""In which jitter buffers find their length, and memory for a first answer is taken. Nothing of it counts."""
PARTS = 5
"""The last of so many parts of the conversation is compared with the first."""
LOOK_S = 1.0
WATCH = """() => {
    window.seen = { frozen: 0, answers: 0, words: [] };
    let before = -1;
    setInterval(() => {
        const { frames } = vivavoce.stats();
        if (frames === before) seen.frozen += 1;
        before = frames;
    }, 1000);
    vivavoce.on("turn", ({ state }) => { if (state === "done") seen.answers += 1; });
    vivavoce.on("transcript", ({ final, text }) => { if (final) seen.words.push(text); });
}"""


@dataclass(frozen=True, slots=True)
class Conversation:
    minutes: float
    questions: int
    "whose words were found"
    answers: int
    "that were spoken to their end"
    first_skew_ms: float
    "sound after picture, the median of the first part"
    last_skew_ms: float
    grown_mb: float
    "memory of the portal, the mean of the last part less that of the first"
    frozen_s: int
    "seconds without a new picture at the viewer"


@dataclass(frozen=True, slots=True)
class _Part:
    skew_ms: float
    resident_mb: float


async def converse(portal: PortalProcess, chromium: Path, folder: Path, minutes: float) -> Conversation:
    """Over WebRTC. folder: for the sound of the microphone."""
    sound = await _question(folder / "question.wav")
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}",
    )
    async with page_of(portal, chromium, flags=flags) as page:
        await start(page)
        await page.evaluate("vivavoce.listen(true)")
        await until(page, "vivavoce.stats().ears.state !== 'off'", 60)
        await page.wait_for_timeout(1000 * SETTLING_S)
        await page.evaluate(WATCH)
        parts = [await _part(portal, page, 60 * minutes / PARTS) for _ in range(PARTS)]
        seen = await page.evaluate("seen")
    return Conversation(
        minutes=minutes,
        questions=sum(bool(text) for text in seen["words"]),
        answers=seen["answers"],
        first_skew_ms=parts[0].skew_ms,
        last_skew_ms=parts[-1].skew_ms,
        grown_mb=parts[-1].resident_mb - parts[0].resident_mb,
        frozen_s=seen["frozen"],
    )


async def _part(portal: PortalProcess, page: Page, seconds: float) -> _Part:
    await page.evaluate("(probe.flashes = [], probe.onsets = [])")
    resident_mb = []
    for _ in range(round(seconds / LOOK_S)):
        await page.wait_for_timeout(1000 * LOOK_S)
        resident_mb.append(portal.resident_mb())
    skews_ms = await page.evaluate("probe.skews()")
    if not skews_ms:
        raise RuntimeError("no answer was heard in a part of the conversation: give it more minutes")
    return _Part(statistics.median(skews_ms), statistics.mean(resident_mb))


async def _question(path: Path) -> Path:
    """A WAV of the question with a pause after it, as the fake device plays it for ever."""
    sound = resample_file(await spoken(QUESTION), LISTEN_RATE_HZ, RATE_HZ)
    sound = np.concatenate([sound, np.zeros(round(PAUSE_S * RATE_HZ), np.float32)])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((32_000 * sound).astype("<i2").tobytes())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    chromium = find_chromium()
    if chromium is None:
        sys.exit("There is no Chromium here.")
    with tempfile.TemporaryDirectory(prefix="vivavoce-conversation-") as name:
        folder = Path(name)
        preset_library(folder)
        with running_portal(folder, *CONVERSING) as portal:
            found = asyncio.run(converse(portal, chromium, folder, minutes))
    sys.stdout.write(f"{found}\n")


if __name__ == "__main__":
    main()
