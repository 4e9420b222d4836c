"""A turn on each network through the page, in a real Chromium: random weights and few channels, all else as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from neural_avatars import add_parts, write_weights

from avatars.library import AvatarLibrary, presets
from avatars.prepare import prepare_preset
from tests.benchmarks.portal_process import PortalProcess, running_portal
from tests.browser.conftest import Visitor
from tests.browser.test_neural_page import MOVED, WATCH_THE_MOUTH, WORDS, choose

pytestmark = pytest.mark.browser

NETWORKS = ("musetalk15", "musetalk10", "wav2lip256", "wav2lip96", "ultralight")


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """With weights of all networks and a preset that is prepared for each; a busy machine's speed is no matter."""
    data_dir = tmp_path_factory.mktemp("networks")
    bundle = prepare_preset(presets()[0], AvatarLibrary(data_dir / "avatars"))
    for backend in NETWORKS:
        write_weights(data_dir / "weights", backend)
        add_parts(bundle, backend, feather_px=8)
    with running_portal(data_dir, "--tts", "beep", "--llm", "echo", "--no-worker", "--no-measure-speed") as process:
        yield process


@pytest.mark.parametrize("lipsync", NETWORKS)
async def test_a_turn_on_each_network(visit: Visitor, lipsync: str) -> None:
    """Chosen in the picker, it starts, is heard, and moves the mouth while it is."""
    page = await visit("?transport=websocket")
    await choose(page, lipsync)
    await page.page.click("#vv-start")
    await page.until("vivavoce.stats().state === 'live'", within_s=60)
    await page.run(WATCH_THE_MOUTH)
    await page.until("mouth.resting.length > 25")
    assert await page.run("Math.max(...mouth.resting)") < MOVED
    await page.say(WORDS)
    await page.until("probe.onsets.length > 5", within_s=60)
    await page.until(f"mouth.speaking.filter((change) => change > {MOVED}).length > 5", within_s=60)
