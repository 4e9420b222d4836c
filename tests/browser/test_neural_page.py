"""Networks chosen as lip-sync on the page, in a real Chromium: random weights and few channels, all else as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from neural_avatars import write_weights

from avatars.library import AvatarLibrary, presets
from avatars.prepare import prepare_preset
from tests.benchmarks.portal_process import PortalProcess, running_portal
from tests.browser.conftest import Visit, Visitor, held_jobs, note

pytestmark = pytest.mark.browser

WORDS = "one two three four five six seven eight nine ten"
WATCH_THE_MOUTH = """() => {
    const eye = new OffscreenCanvas(16, 16).getContext("2d", { willReadFrequently: true });
    let before = null;
    window.mouth = { resting: [], speaking: [] };
    setInterval(() => {
        const { turnState, transport } = vivavoce.stats();
        const shown = document.querySelector(transport === "webrtc" ? "#vv-video" : "#vv-canvas");
        const [width, height] = [shown.videoWidth || shown.width, shown.videoHeight || shown.height];
        eye.drawImage(shown, 0.45 * width, 0.57 * height, 0.1 * width, 0.08 * height, 0, 0, 16, 16);
        const { data } = eye.getImageData(0, 0, 16, 16);
        const looks = mouth[turnState === "speaking" ? "speaking" : "resting"];
        if (before) looks.push(data.reduce((sum, value, i) => sum + Math.abs(value - before[i]), 0) / data.length);
        before = data;
    }, 40);
}"""
"""How much Mira's mouth, which is at that place of her picture, differs from one look to the next."""
MOVED = 20
"""Of 255; a breath makes 1, networks with random weights make 100."""


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """With weights of two networks, a preset that is prepared for none of them, and a worker."""
    data_dir = tmp_path_factory.mktemp("neural")
    prepare_preset(presets()[0], AvatarLibrary(data_dir / "avatars"))
    for backend in ("wav2lip96", "musetalk15"):
        write_weights(data_dir / "weights", backend)
    with running_portal(data_dir, "--tts", "beep", "--llm", "echo") as process:
        yield process


async def choose(page: Visit, lipsync: str) -> None:
    await page.page.click(".vv-settings summary")
    await page.page.select_option(".vv-settings [name=lipsync]", lipsync)
    await page.page.keyboard.press("Escape")


@pytest.mark.parametrize(
    ("lipsync", "query", "coming"),
    [
        pytest.param("null", "?transport=websocket&debug=1", "", id="null"),
        pytest.param("wav2lip96", "", "Preparing Mira for Wav2Lip 96…", id="wav2lip"),
    ],
)
async def test_a_turn_on_a_network_chosen_on_the_page(visit: Visitor, lipsync: str, query: str, coming: str) -> None:
    """Start prepares the avatar if need be, tells so, goes on by itself; sound is heard and the mouth moves."""
    page = await visit(query)
    await choose(page, lipsync)
    await note(page.page, ".vv-coming")
    await page.page.click("#vv-start")
    await page.until("vivavoce.stats().state === 'live'", within_s=60)
    assert set(await page.run("noted['.vv-coming']")) == {"", coming}
    assert await page.page.is_hidden(".vv-coming")
    await page.run(WATCH_THE_MOUTH)
    await page.until("mouth.resting.length > 25")
    assert await page.run("Math.max(...mouth.resting)") < MOVED
    await page.say(WORDS)
    await page.until("probe.onsets.length > 5", within_s=30)
    await page.until(f"mouth.speaking.filter((change) => change > {MOVED}).length > 8", within_s=30)


async def test_a_preparation_need_not_be_waited_for(visit: Visitor) -> None:
    """It is told in the page's language; after Stop nothing starts by itself, but the job goes on to its end."""
    page = await visit("?lang=zh")
    await choose(page, "musetalk15")
    async with held_jobs(page.page, page.portal.url):
        await page.page.click("#vv-start")
        await page.page.wait_for_selector(".vv-coming progress", timeout=20_000)
        assert await page.page.inner_text(".vv-coming") == "正在为 MuseTalk 1.5 准备 Mira…"
        assert await page.page.inner_text(".vv-state") == "准备中"
        await page.page.click("#vv-stop")
        await page.page.wait_for_selector("#vv-start", timeout=5_000)
        assert await page.page.is_hidden(".vv-coming")
    await page.page.wait_for_function(
        "fetch('api/jobs?kind=parts').then((jobs) => jobs.json())"
        ".then((jobs) => jobs.some(({ name, state }) => name === 'Mira: musetalk15' && state === 'done'))",
        polling=500,
        timeout=90_000,
    )
    assert (await page.stats())["state"] == "idle"
    assert not await page.run("document.querySelectorAll('.vv-note').length")


async def test_a_network_without_weights_cannot_be_chosen(visit: Visitor) -> None:
    """It is in the menu, and below it with the command that fetches what it lacks."""
    page = await visit()
    option = ".vv-settings option[value=wav2lip256]"
    assert await page.run(f"document.querySelector('{option}').disabled")
    lacking = str(await page.run("document.querySelector('.vv-lacking').textContent"))
    assert "launch.py fetch wav2lip256" in lacking and "at the portal's next start" in lacking
