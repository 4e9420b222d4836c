"""`launch.py stream`: an avatar on a streaming server speaks lines that are handed in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from pipeline.camera import Lack
from pipeline.errors import BackendUnavailable, BadRequest
from portal.commands.portal_process import free_port
from portal.making.streaming import stream_avatar
from portal.settings import Settings
from tests.streaming_server import receiver

pytestmark = pytest.mark.thorough

WITHIN_S = 60.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, tts="beep", lipsync="flash", worker=False)


def test_lines_are_spoken_one_after_another(
    settings: Settings, make_bundle: Callable[..., AvatarBundle], tmp_path: Path
) -> None:
    """It ends when the last one has been said, and the server has it all; empty lines are skipped."""
    port, told = free_port(), list[str]()
    with receiver(port, tmp_path / "got.flv") as server:

        def lines() -> list[str]:
            return ["A first line.\n", "\n", "And a second.\n"]

        stream_avatar(settings, make_bundle("ada"), f"rtmp://127.0.0.1:{port}/live/secret", lines(), told.append)
        server.wait(WITHIN_S)
    assert "127.0.0.1: live" in told and not any("secret" in words for words in told)
    with av.open(str(tmp_path / "got.flv")) as received:
        peaks = [float(np.abs(one.to_ndarray()).max()) for one in received.decode(audio=0)]
    assert max(peaks) > 0.1


def test_a_camera_that_is_not_there_is_refused(
    settings: Settings, make_bundle: Callable[..., AvatarBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is loaded, with what the machine lacks."""
    monkeypatch.setattr("pipeline.camera.camera_lacks", lambda: Lack("no module is loaded", "load it"))
    with pytest.raises(BackendUnavailable, match="no module is loaded"):
        stream_avatar(settings, make_bundle("ada"), "camera", [], print)


def test_what_is_no_streaming_server_is_refused(settings: Settings, make_bundle: Callable[..., AvatarBundle]) -> None:
    """Before anything is loaded."""
    with pytest.raises(BadRequest):
        stream_avatar(settings, make_bundle("ada"), "/tmp/file.flv", [], print)
