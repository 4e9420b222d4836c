"""The virtual camera: what a machine lacks for it, and the pictures that reach it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import camera as module
from pipeline.camera import Lack, camera_lacks, require_camera
from pipeline.camera_child import serve
from pipeline.errors import BackendUnavailable
from pipeline.push_child import FLAWED, HEADER, LIVE
from pipeline.types import SAMPLES_PER_PICTURE, ImageArray

SIZE = (6, 4)


class Wall:
    """A camera that keeps what it is shown."""

    def __init__(self, fails_at: int = 1000) -> None:
        self.shown: list[ImageArray] = []
        self.size = (0, 0)
        self.closed = 0
        self._fails_at = fails_at

    def open(self, width: int, height: int) -> Wall:
        self.size = (width, height)
        return self

    def send(self, frame: ImageArray) -> None:
        if len(self.shown) == self._fails_at:
            raise RuntimeError("the device\nis gone")
        self.shown.append(frame.copy())

    def close(self) -> None:
        self.closed += 1


def frames(count: int) -> bytes:
    """What a Push sends: the order, and so many frames, each of one grey."""
    width, height = SIZE
    order = {"address": "camera", "width": width, "height": height}
    sound = np.zeros(SAMPLES_PER_PICTURE, np.float32).tobytes()
    pictures = (np.full((height, width, 3), number, np.uint8).tobytes() for number in range(count))
    return json.dumps(order).encode() + b"\n" + b"".join(HEADER.pack(7) + sound + picture for picture in pictures)


def test_pictures_reach_the_camera_one_after_another() -> None:
    """In the avatar's size; what breaks off in the middle of a frame is left out, and the camera is closed."""
    wall, answers = Wall(), io.BytesIO()
    assert serve(io.BytesIO(frames(3) + b"half a frame"), answers, wall.open) == 0
    assert answers.getvalue() == LIVE
    assert (wall.size, wall.closed) == (SIZE, 1)
    assert [int(shown.mean()) for shown in wall.shown] == [0, 1, 2]
    assert {shown.shape for shown in wall.shown} == {(4, 6, 3)}


def test_a_camera_that_fails_says_why_on_one_line() -> None:
    """Before it is open, or while it is shown something."""

    def refuse(_width: int, _height: int) -> Wall:
        raise RuntimeError("no camera\nhere")

    answers = io.BytesIO()
    assert serve(io.BytesIO(frames(1)), answers, refuse) == FLAWED
    assert answers.getvalue() == b"camera no camera here\n"
    wall, answers = Wall(fails_at=1), io.BytesIO()
    assert serve(io.BytesIO(frames(3)), answers, wall.open) == FLAWED
    assert answers.getvalue() == LIVE + b"camera the device is gone\n" and wall.closed == 1


@pytest.fixture
def has_package(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Whether pyvirtualcam is installed, as far as is asked."""

    def say(has: bool) -> None:
        monkeypatch.setattr("pipeline.camera.importlib.util.find_spec", lambda _name: object() if has else None)

    return say


def test_each_thing_that_is_missing_has_its_remedy(has_package: Callable[[bool], None], tmp_path: Path) -> None:
    """In the order in which they are got: the package with its licence, the module, its device."""
    has_package(False)
    package = camera_lacks("linux", tmp_path)
    assert package is not None and "GPL" in package.hint and "fetch camera" in package.hint
    has_package(True)
    loaded = camera_lacks("linux", tmp_path)
    assert loaded is not None and "v4l2loopback-dkms" in loaded.hint
    (tmp_path / "sys" / "module" / "v4l2loopback").mkdir(parents=True)
    device = camera_lacks("linux", tmp_path)
    assert device is not None and "no device" in device.reason
    (tmp_path / "sys" / "devices" / "virtual" / "video4linux" / "video3").mkdir(parents=True)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "video3").touch()
    assert camera_lacks("linux", tmp_path) is None
    assert camera_lacks("darwin", Path("/nowhere")) is None


def test_a_device_of_others_is_told(
    has_package: Callable[[bool], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, with the group that may write it."""
    has_package(True)
    for folder in ("sys/module/v4l2loopback", "sys/devices/virtual/video4linux/video0", "dev/video0"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr("pipeline.camera.os.access", lambda _path, _mode: False)
    lack = camera_lacks("linux", tmp_path)
    assert lack is not None and "video0" in lack.reason and "-aG video" in lack.hint


def test_what_is_missing_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With cause and remedy."""
    monkeypatch.setattr(module, "camera_lacks", lambda: Lack("it is not there", "get it"))
    with pytest.raises(BackendUnavailable, match="it is not there") as refused:
        require_camera()
    assert refused.value.hint == "get it"
