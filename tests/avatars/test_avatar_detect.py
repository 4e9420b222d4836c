"""MediaPipe behind the FaceAnalyzer interface: faces large, small, many and none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import face_at
from portraits import portrait

from avatars import detect, network_files
from avatars.detect import MediaPipeFaceAnalyzer
from avatars.errors import AvatarError, FaceFinderMissing
from pipeline.types import ImageArray

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def stills() -> Iterator[MediaPipeFaceAnalyzer]:
    with MediaPipeFaceAnalyzer(tracking=False) as analyzer:
        yield analyzer


def pasted(height: int, width: int, pictures: Iterable[tuple[ImageArray, int, int]]) -> ImageArray:
    """Pictures (rgb, x, y) on grey."""
    canvas = np.full((height, width, 3), 120, np.uint8)
    for rgb, x, y in pictures:
        canvas[y : y + rgb.shape[0], x : x + rgb.shape[1]] = rgb
    return canvas


@pytest.mark.parametrize("name", ["woman", "man", "astronaut"])
def test_a_face_is_found_where_it_is(stills: MediaPipeFaceAnalyzer, name: str) -> None:
    """Drawn or photographed, the landmarks lie where they were stored."""
    picture, landmarks = portrait(name)
    (face,) = stills.analyse(picture)
    assert face.landmarks.shape == (478, 3)
    assert np.abs(face.landmarks[:, :2] - landmarks[:, :2]).max() < 0.03 * face.size_px
    assert abs(face.yaw_deg) < 8
    assert abs(face.pitch_deg) < 8
    assert abs(face.roll_deg) < 8


def test_a_system_without_its_libraries_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """MediaPipe's shared library needs EGL and GLES, which a fresh server lacks."""
    from mediapipe.tasks.python import vision

    def lacking(_options: object) -> None:
        raise OSError("libGLESv2.so.2: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(vision.FaceLandmarker, "create_from_options", lacking)
    with pytest.raises(FaceFinderMissing) as told:
        MediaPipeFaceAnalyzer(tracking=False)
    assert "libGLESv2.so.2" in told.value.message
    assert "apt install libegl1 libgles2" in told.value.hint


def test_roll_is_measured(stills: MediaPipeFaceAnalyzer) -> None:
    """A picture turned clockwise has a face of positive roll."""
    picture, _ = portrait("woman")
    turn = cv2.getRotationMatrix2D((192, 180), -20, 1)
    turned = cv2.warpAffine(picture, turn, (384, 384), borderMode=cv2.BORDER_REPLICATE)
    (face,) = stills.analyse(np.asarray(turned, np.uint8))
    assert face.roll_deg == pytest.approx(20, abs=3)


@pytest.mark.parametrize("yaw_deg", [-30, 30])
def test_yaw_is_measured(yaw_deg: int) -> None:
    """Turning the points in depth is seen as yaw of that sign and size."""
    assert face_at(yaw_deg=yaw_deg).yaw_deg == pytest.approx(yaw_deg, abs=3)


@pytest.mark.parametrize("face_px", [45, 90])
def test_small_faces_are_found(stills: MediaPipeFaceAnalyzer, face_px: int) -> None:
    """A face that MediaPipe's own detector misses is found, at its true size."""
    side = round(512 * face_px / 107)
    picture, _ = portrait("astronaut", side)
    (face,) = stills.analyse(pasted(720, 1280, [(picture, 800, 200)]))
    assert face.size_px == pytest.approx(face_px, rel=0.1)
    assert 800 < face.centre[0] < 800 + side


def test_all_faces_are_found_the_largest_first(stills: MediaPipeFaceAnalyzer) -> None:
    """Two faces of different size come in order of size."""
    large, small = portrait("woman", 420)[0], portrait("man", 200)[0]
    faces = stills.analyse(pasted(480, 720, [(small, 10, 100), (large, 260, 30)]))
    assert len(faces) == 2
    assert faces[0].size_px > 1.5 * faces[1].size_px
    assert faces[0].centre[0] > 260 > faces[1].centre[0]


def test_no_face_is_an_empty_list(stills: MediaPipeFaceAnalyzer) -> None:
    """A picture without a face has none."""
    assert stills.analyse(pasted(300, 400, [])) == []


def test_tracking_follows_a_moving_face() -> None:
    """With tracking the landmarks move with the picture, and a face that leaves is gone."""
    picture, _ = portrait("woman", 320)
    with MediaPipeFaceAnalyzer(tracking=True) as analyzer:
        centres = [analyzer.analyse(np.roll(picture, shift, axis=1))[0].centre[0] for shift in (0, 4, 8, 12)]
        gone = [analyzer.analyse(np.full_like(picture, 120)) for _ in range(2)]
    assert np.diff(centres) == pytest.approx([4, 4, 4], abs=1.5)
    assert gone[-1] == []


def test_tracking_follows_a_small_face() -> None:
    """A face that MediaPipe's own detector misses is followed from picture to picture, and another one is found."""
    small, _ = portrait("astronaut", 430)
    with MediaPipeFaceAnalyzer(tracking=True) as analyzer:
        seen = [analyzer.analyse(pasted(720, 1280, [(small, x, 200)])) for x in (700, 706, 712)]
        elsewhere = analyzer.analyse(pasted(720, 1280, [(small, 20, 100)]))
        gone = analyzer.analyse(pasted(720, 1280, []))
    assert np.diff([faces[0].centre[0] for faces in seen]) == pytest.approx([6, 6], abs=1.5)
    assert elsewhere[0].centre[0] < 450
    assert gone == []


def test_nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    """MediaPipe's own log does not reach the console."""
    picture, _ = portrait("woman", 256)
    with MediaPipeFaceAnalyzer(tracking=False) as analyzer:
        assert analyzer.analyse(picture)
    assert capfd.readouterr().err == ""


def test_it_closes_twice_and_then_refuses() -> None:
    """Closing is idempotent, and using it afterwards is an error."""
    analyzer = MediaPipeFaceAnalyzer(tracking=False)
    analyzer.close()
    analyzer.close()
    with pytest.raises(RuntimeError, match="closed"):
        analyzer.analyse(np.zeros((64, 64, 3), np.uint8))


def test_a_damaged_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not the one we know is not run; the remedy is named."""
    whole = network_files.FOLDER / detect.NETWORK
    (tmp_path / detect.NETWORK).write_bytes(whole.read_bytes()[:-1])
    monkeypatch.setattr(network_files, "FOLDER", tmp_path)
    with pytest.raises(AvatarError, match="git checkout"):
        MediaPipeFaceAnalyzer(tracking=False)


def test_the_face_finder_reports_to_nobody() -> None:
    """The library of the pinned mediapipe does not hold the address to which later ones report each use."""
    libraries = files("mediapipe").joinpath("tasks", "c").iterdir()
    contents = [Path(str(path)).read_bytes() for path in libraries if path.name.startswith("libmediapipe")]
    assert contents
    assert not [content for content in contents if b"play.googleapis.com" in content]


def test_two_threads_that_silence_the_process_leave_it_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    """Whichever of them ends first. A worker whose log stays silent says nothing of its failed jobs."""
    first, second = detect._SILENCE, detect._SILENCE
    first.__enter__()
    second.__enter__()
    os.write(2, b"one")
    first.__exit__()
    os.write(2, b"two")
    second.__exit__()
    os.write(2, b"three")
    assert capfd.readouterr().err == "three"
