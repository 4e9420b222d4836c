"""Networks as lip-sync on the page, in a real Chromium: random weights and few channels, all else as it is.

Chosen for an avatar that is prepared for none, for one that is prepared for each, and for foreign avatars, each on the
network that it was made for.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from foreign_folders import livetalking_musetalk, livetalking_ultralight, livetalking_wav2lip, musetalk, openavatarchat
from foreign_folders import zipped as zip_of
from neural_avatars import add_parts, write_weights
from playwright.async_api import expect
from tiny_ultralight import write_ultralight_network

from avatars.bundle import AvatarBundle
from avatars.library import AvatarLibrary, presets
from avatars.prepare import prepare_preset
from portal.commands.portal_process import PortalProcess, running_portal
from tests.browser.conftest import LONG, Visit, Visitor, held_jobs
from tests.browser.desk_tabs import show, upload
from tests.browser.patience import note
from tests.portraits import portrait_bundle

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
NETWORKS = ("musetalk15", "musetalk10", "wav2lip256", "wav2lip96", "ultralight")
MADE_MS = 120_000


def with_its_network(folder: Path) -> Path:
    return livetalking_ultralight(folder, network=write_ultralight_network(folder.with_suffix(".pth")))


PROJECTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "LiveTalking Wav2Lip": (livetalking_wav2lip, "wav2lip96"),
    "LiveTalking Ultralight": (with_its_network, "ultralight"),
    "LiveTalking MuseTalk": (livetalking_musetalk, "musetalk15"),
    "MuseTalk": (musetalk, "musetalk15"),
    "OpenAvatarChat": (openavatarchat, "musetalk15"),
}


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """With weights of all networks, and with a worker; a busy machine's speed is no matter.

    Mira is prepared for no network, and Nora, who looks like her, for each. The worker has no other preset to make.
    """
    data_dir = tmp_path_factory.mktemp("neural")
    library = AvatarLibrary(data_dir / "avatars")
    mira, *others = presets()
    nora = twin(prepare_preset(mira, library), "nora")
    for preset in others:
        portrait_bundle(library.root / preset.id)
    for backend in NETWORKS:
        write_weights(data_dir / "weights", backend)
        add_parts(nora, backend, feather_px=8)
    with running_portal(data_dir, "--tts", "beep", "--llm", "echo", "--no-measure-speed") as process:
        yield process


def twin(bundle: AvatarBundle, avatar_id: str) -> AvatarBundle:
    """The same avatar under another id."""
    path = Path(shutil.copytree(bundle.path, bundle.path.with_name(avatar_id)))
    manifest = path / "manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**told, "id": avatar_id, "name": avatar_id.title()}))
    return AvatarBundle.open(path)


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
    await page.until("vivavoce.stats().state === 'live'")
    assert set(await page.run("noted['.vv-coming']")) == {"", coming}
    await expect(page.page.locator(".vv-coming")).to_be_hidden()
    await page.run(WATCH_THE_MOUTH)
    await page.until("mouth.resting.length > 25")
    assert await page.run("Math.max(...mouth.resting)") < MOVED
    await page.say(LONG)
    await page.until("probe.onsets.length > 5")
    await page.until(f"mouth.speaking.filter((change) => change > {MOVED}).length > 8")


async def test_a_preparation_need_not_be_waited_for(visit: Visitor) -> None:
    """It is told in the page's language; after Stop nothing starts by itself, but the job goes on to its end."""
    page = await visit("?lang=zh")
    await page.page.click(".vv-avatar[data-id=theo]")  # who has one picture, and so is soon prepared
    await choose(page, "musetalk15")
    async with held_jobs(page.page, page.portal.url):
        await page.page.click("#vv-start")
        await page.page.wait_for_selector(".vv-coming progress")
        await expect(page.page.locator(".vv-coming")).to_have_text("正在为 MuseTalk 1.5 准备 woman…")
        await expect(page.page.locator(".vv-state")).to_have_text("准备中")
        await page.page.click("#vv-stop")
        await page.page.wait_for_selector("#vv-start")
        await expect(page.page.locator(".vv-coming")).to_be_hidden()
    ended = (
        "fetch('api/jobs').then((jobs) => jobs.json())"
        ".then((jobs) => jobs.filter(({ kind }) => kind === 'parts').map(({ name, state }) => [name, state])[0])"
    )
    await page.eventually(ended, ["woman: musetalk15", "done"], within_s=90)
    assert (await page.stats())["state"] == "idle"
    await expect(page.page.locator(".vv-note")).to_have_count(0)


@pytest.mark.parametrize("lipsync", NETWORKS)
async def test_a_turn_on_each_network(visit: Visitor, lipsync: str) -> None:
    """Chosen in the picker, it starts, is heard, and moves the mouth while it is."""
    page = await visit("?transport=websocket")
    await page.page.click(".vv-avatar[data-id=nora]")
    await choose(page, lipsync)
    await page.page.click("#vv-start")
    await page.until("vivavoce.stats().state === 'live'")
    await page.run(WATCH_THE_MOUTH)
    await page.until("mouth.resting.length > 25")
    assert await page.run("Math.max(...mouth.resting)") < MOVED
    await page.say(LONG)
    await page.until("probe.onsets.length > 5")
    await page.until(f"mouth.speaking.filter((change) => change > {MOVED}).length > 5")


@pytest.mark.parametrize("project", PROJECTS)
async def test_a_foreign_avatar_is_dropped_on_the_page_and_talks(visit: Visitor, project: str, tmp_path: Path) -> None:
    """Imported by a job, prepared for its network when that is chosen, heard, and its mouth seen to move."""
    make, lipsync = PROJECTS[project]
    visited = await visit("?transport=websocket")
    page = visited.page
    await upload(page, zip_of(make(tmp_path / "avatar")), project)
    name = page.locator("strong", has_text=re.compile(f"^{project}$"))  # that of another project ends with it
    await page.locator(".vv-gallery .vv-avatar", has=name).wait_for(timeout=MADE_MS)
    await show(page, "talk")
    await page.click(f"#vv-talk .vv-avatar[title='{project}']")
    await choose(visited, lipsync)
    await page.click("#vv-start")
    await visited.until("vivavoce.stats().state === 'live'", within_s=120)
    await visited.run(WATCH_THE_MOUTH)
    await visited.say(LONG)
    await visited.until("probe.onsets.length > 5")
    await visited.until(f"mouth.speaking.filter((change) => change > {MOVED}).length > 5")
