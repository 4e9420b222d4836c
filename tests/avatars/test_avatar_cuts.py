"""A clip goes on as long as it shows one scene and one person; what was put in between is never shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from clips import ScriptedAnalyzer, face_at, moving_portrait, write_clip
from portraits import portrait

from avatars.bundle import decode_jpeg
from avatars.cuts import face_changes, scene_cuts, small_picture
from avatars.detect import Face
from avatars.library import AvatarLibrary
from avatars.prepare import Upload, find_faces, make_loop, read_source, report_strip, write
from avatars.workspace import FrameFile

pytestmark = pytest.mark.thorough

SIDE = 192
Image = npt.NDArray[np.uint8]


def swaying(name: str, count: int) -> tuple[list[Image], npt.NDArray[np.float32]]:
    """A drawn person with landmarks, swaying by a few pixels."""
    picture, landmarks = portrait(name, SIDE)
    shifts = [round(4 * np.sin(index / 4)) for index in range(count)]
    pictures = [np.roll(picture, shift, axis=1) for shift in shifts]
    return pictures, np.stack([landmarks + np.array([shift, 0, 0], np.float32) for shift in shifts])


def test_movement_is_no_cut() -> None:
    """Swaying, and a pan over the whole picture, go on; nothing is foreign."""
    swayed, _ = swaying("woman", 40)
    panned = [np.roll(swayed[0], 6 * index, axis=1) for index in range(40)]
    for pictures in (swayed, panned):
        found = scene_cuts([small_picture(one) for one in pictures])
        assert not found.cuts and not found.foreign


def test_another_scene_is_a_cut() -> None:
    """The picture with which another scene begins is named."""
    one, _ = swaying("woman", 20)
    other = [255 - picture for picture in one]
    found = scene_cuts([small_picture(picture) for picture in (*one, *other)])
    assert (found.cuts, found.foreign) == (frozenset({20}), frozenset())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("level", [0, 255])
def test_what_was_put_in_between_is_foreign(count: int, level: int) -> None:
    """Black pictures, or a flash, after which everything goes on, are no cut."""
    pictures, _ = swaying("woman", 40)
    pictures[20 : 20 + count] = [np.full_like(pictures[0], level)] * count
    found = scene_cuts([small_picture(picture) for picture in pictures])
    assert (found.cuts, found.foreign) == (frozenset(), frozenset(range(20, 20 + count)))


def test_another_face_in_the_same_place_is_a_cut() -> None:
    """Two people before the same wall are told apart, a blink or a mouth that opens is none."""
    woman, of_woman = swaying("woman", 20)
    man, of_man = swaying("man", 20)
    pictures = [small_picture(picture) for picture in (*woman, *man)]
    landmarks = np.concatenate([of_woman, of_man])
    assert face_changes(pictures, landmarks, SIDE, [True] * 40) == {20}
    blinking = [picture.copy() for picture in woman]
    eyes = of_woman[10, [159, 145, 386, 374], :2].astype(int)
    for x, y in eyes:
        blinking[10][y - 3 : y + 4, x - 8 : x + 9] = (200, 160, 140)
    assert not face_changes([small_picture(one) for one in blinking], of_woman, SIDE, [True] * 20)


def prepared(tmp_path: Path, pictures: Sequence[Image], answers: Sequence[list[Face]]) -> Path:
    work = tmp_path / "work"
    clip = write_clip(tmp_path / "clip.mp4", pictures)
    read_source(Upload(clip, "clip-1", "Clip"), work, lambda _part: None)
    find_faces(work, lambda _part: None, lambda _tracking: ScriptedAnalyzer(answers))
    make_loop(work, lambda _part: None)
    return work


def test_a_black_picture_in_the_middle_is_never_shown(tmp_path: Path) -> None:
    """The avatar uses the whole clip, and where it is black, shows the picture before; the report says so."""
    pictures = moving_portrait(40)
    pictures[20] = np.zeros_like(pictures[0])
    library = AvatarLibrary(tmp_path / "avatars")
    work = prepared(tmp_path, pictures, [[face_at()]] * 20 + [[]] + [[face_at()]] * 19)
    bundle = library.open(write(work, library, lambda _part: None))
    report: Any = report_strip(work)[0]
    assert decode_jpeg(next(FrameFile(work / "read_source").read(20, 21))).mean() < 10
    assert report["used"] == [0, 40]
    assert "foreign" in report["concerns"] and any("not shown" in words for words in report["words"])
    assert min(bundle.frame(index).mean() for index in range(bundle.frame_count)) > 60


def test_a_cut_to_another_person_ends_the_stretch(tmp_path: Path) -> None:
    """Although the face is in the same place, only the longer part is used, and the report says so."""
    work = prepared(tmp_path, swaying("woman", 28)[0] + swaying("man", 35)[0], [[face_at()]])
    report: Any = report_strip(work)[0]
    assert report["used"] == [28, 63]
    assert "cuts" in report["concerns"] and any("cut" in words for words in report["words"])
