"""The ring buffer that is the clock of the WebSocket transport (portal/static/pcm-ring.js), run by a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.browser.conftest import browser_fixture

pytestmark = pytest.mark.browser

SOURCE = Path(__file__).parents[2] / "portal" / "static" / "pcm-ring.js"
TOOLS = """
    globalThis.tone = (level) => new Int16Array(1920).fill(level * 32768);
    globalThis.pull = (ring, samples) => { const out = new Float32Array(samples); ring.pull(out); return out; };
    globalThis.speak = (ring, from, blocks, level = 0.5) => {
        for (let i = 0; i < blocks; i += 1) ring.push((from + i) * 40, tone(level), true);
    };
"""


@browser_fixture()
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page with PcmRing, tone(level), pull(ring, samples) and speak(ring, from, blocks)."""
    source = SOURCE.read_text(encoding="utf-8").replace("export class", "globalThis.PcmRing = class")
    opened = await browser.new_page()
    await opened.evaluate(f"() => {{ {source}; {TOOLS} }}")
    yield opened
    await opened.close()


async def run(page: Page, script: str) -> Any:
    return await page.evaluate(f"() => {{ const ring = new PcmRing(48000); {script} }}")


async def test_nothing_sounds_before_the_target_is_held(page: Page) -> None:
    """The first block alone is not played; with the second there is enough, and sound begins with the first."""
    before, after, pts = await run(
        page,
        """
        speak(ring, 5, 1);
        const before = Math.max(...pull(ring, 128));
        speak(ring, 6, 1);
        const pts = ring.ptsMs;
        return [before, Math.max(...pull(ring, 128)), pts];
        """,
    )
    assert (before, after, pts) == (0, 0.5, 200)


async def test_the_first_silence_is_kept_only_as_far_as_the_reserve_needs(page: Page) -> None:
    """A session begins in silence, so its reserve is finer than a block; the media clock knows what was left out."""
    assert await run(
        page,
        """
        ring.push(400, null, false);
        const first = [ring.ptsMs, ring.bufferedMs];
        ring.push(440, null, false); pull(ring, 128);
        return [...first, ring.playing, Math.round(ring.ptsMs + ring.bufferedMs)];
        """,
    ) == [420, 20, True, 480]


async def test_the_clock_counts_what_was_played(page: Page) -> None:
    """Media time runs with the samples pulled, whatever the size of the pulls."""
    assert await run(
        page,
        """
        speak(ring, 0, 4);
        for (const samples of [128, 1000, 77, 2000]) pull(ring, samples);
        return Math.abs(ring.ptsMs - 3205 / 48) < 1e-6;
        """,
    )


async def test_a_gap_in_media_time_is_kept(page: Page) -> None:
    """Frames that never came leave a step in the clock where they would have been, not a drift."""
    assert (
        await run(page, "speak(ring, 0, 2); speak(ring, 10, 2); pull(ring, 2 * 1920 + 480); return ring.ptsMs;") == 410
    )


async def test_running_dry_stops_the_clock_and_holds_more_next_time(page: Page) -> None:
    """An underrun is silence; time stands still, and playing goes on once a larger reserve is there."""
    outcome = await run(
        page,
        """
        speak(ring, 0, 2);
        const out = pull(ring, 5000);
        const stood = ring.ptsMs;
        pull(ring, 1000);
        speak(ring, 2, 2);
        const early = Math.max(...pull(ring, 128));
        speak(ring, 4, 1);
        const late = Math.max(...pull(ring, 128));
        return { tail: Math.max(...out.slice(3840)), stood, early, late, underruns: ring.underruns };
        """,
    )
    assert outcome == {"tail": 0, "stood": 80, "early": 0, "late": 0.5, "underruns": 1}


async def test_silence_gives_way_when_too_much_waits(page: Page) -> None:
    """Blocks without speech are left out above the slack, so that delay does not pile up; speech never is."""
    silent, speaking = await run(
        page,
        """
        speak(ring, 0, 4); pull(ring, 128);
        for (let i = 4; i < 20; i += 1) ring.push(i * 40, null, false);
        const silent = ring.bufferedMs;
        speak(ring, 20, 10);
        return [silent, ring.bufferedMs - silent];
        """,
    )
    assert silent < 200
    assert speaking == 400


async def test_silence_is_stretched_when_little_waits(page: Page) -> None:
    """A silent block that comes late is doubled, so that the next speech finds its reserve."""
    assert (
        await run(
            page,
            "speak(ring, 0, 2); pull(ring, 3840 - 240); const before = ring.bufferedMs;"
            "ring.push(80, null, false); return ring.bufferedMs - before;",
        )
        == 80
    )


async def test_hush_fades_what_waits(page: Page) -> None:
    """After hush, what was buffered is silent within 10 ms, without a click."""
    first, last = await run(
        page, "speak(ring, 0, 4); ring.hush(); const out = pull(ring, 960); return [out[0], out[500]];"
    )
    assert first == 0.5
    assert last == 0


async def test_another_output_rate_keeps_the_time(page: Page) -> None:
    """At 44.1 kHz out, a second of output is still a second of media."""
    assert await page.evaluate(
        "() => { const ring = new PcmRing(44100); speak(ring, 0, 30); pull(ring, 44100);"
        " return Math.abs(ring.ptsMs - 1000) < 0.1; }"
    )


async def test_the_onset_of_sound_is_found(page: Page) -> None:
    """The first audible sample after a silence is told by its place in the pull, and only it."""
    assert await run(
        page,
        """
        ring.push(0, null, false); speak(ring, 1, 3);
        const found = [];
        for (let i = 0; i < 4; i += 1) { pull(ring, 960); found.push(ring.onset); }
        return found;
        """,
    ) == [-1, 0, -1, -1]
