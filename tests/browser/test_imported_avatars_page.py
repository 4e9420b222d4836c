"""Foreign avatars, dropped on the page as zips, talk: each on the network it was made for, with random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from foreign_folders import livetalking_musetalk, livetalking_ultralight, livetalking_wav2lip, musetalk, openavatarchat
from foreign_folders import zipped as zip_of
from neural_avatars import write_weights
from tiny_ultralight import write_ultralight_network

from tests.benchmarks.portal_process import PortalProcess, running_portal
from tests.browser.conftest import Visitor
from tests.browser.test_desk_page import show, upload
from tests.browser.test_neural_page import MOVED, WATCH_THE_MOUTH, WORDS, choose

pytestmark = pytest.mark.browser


def with_its_network(folder: Path) -> Path:
    return livetalking_ultralight(folder, network=write_ultralight_network(folder.with_suffix(".pth")))


PROJECTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "LiveTalking Wav2Lip": (livetalking_wav2lip, "wav2lip96"),
    "LiveTalking Ultralight": (with_its_network, "ultralight"),
    "LiveTalking MuseTalk": (livetalking_musetalk, "musetalk15"),
    "MuseTalk": (musetalk, "musetalk15"),
    "OpenAvatarChat": (openavatarchat, "musetalk15"),
}
MADE_MS = 120_000


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """A portal on its first start, with weights of three networks; a busy machine's speed is no matter."""
    data_dir = tmp_path_factory.mktemp("foreign")
    for backend in ("wav2lip96", "ultralight", "musetalk15"):
        write_weights(data_dir / "weights", backend)
    with running_portal(data_dir, "--tts", "beep", "--llm", "echo", "--no-measure-speed") as process:
        yield process


@pytest.mark.parametrize("project", PROJECTS)
async def test_a_foreign_avatar_is_dropped_on_the_page_and_talks(visit: Visitor, project: str, tmp_path: Path) -> None:
    """Imported by a job, prepared for its network when that is chosen, heard, and its mouth seen to move."""
    make, lipsync = PROJECTS[project]
    visited = await visit("?transport=websocket")
    page = visited.page
    await upload(page, zip_of(make(tmp_path / "avatar")), project)
    card = page.locator(".vv-gallery .vv-avatar", has_text=project)
    await card.wait_for(timeout=MADE_MS)
    await show(page, "talk")
    await page.click(f"#vv-talk .vv-avatar:has-text('{project}')")
    await choose(visited, lipsync)
    await page.click("#vv-start")
    await visited.until("vivavoce.stats().state === 'live'", within_s=120)
    await visited.run(WATCH_THE_MOUTH)
    await visited.say(WORDS)
    await visited.until("probe.onsets.length > 5", within_s=60)
    await visited.until(f"mouth.speaking.filter((change) => change > {MOVED}).length > 5", within_s=60)
