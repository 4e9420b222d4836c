"""Gestures of an avatar: named clips beside its loop, made of uploads, kept in its folder, opened with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from clips import SIDE, ScriptedAnalyzer, face_at, moving_portrait, write_clip
from gesture_clips import give_gesture
from portraits import portrait, portrait_bundle

from avatars import bundle_writing
from avatars.bundle import AvatarBundle
from avatars.detect import Face
from avatars.errors import AvatarNotFound, BadMedia, GestureNotFound
from avatars.gesture_making import read_gesture, write_gesture
from avatars.gestures import (
    delete_gesture,
    gesture_file,
    gesture_name,
    gesture_names,
    gestures_stamp,
    open_with_gestures,
)
from avatars.library import AvatarLibrary
from avatars.prepare import Upload, find_faces


def ignore(_part: float) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def ada(library: AvatarLibrary) -> AvatarBundle:
    """The drawn woman, three pictures in which she sways by two pixels."""
    return portrait_bundle(library.root / "ada", size=SIDE, shifts=(0, 1, 2))


def made(
    ada: AvatarBundle, clip: Path, work: Path, faces: Sequence[list[Face]] = (), sound: bool = False
) -> AvatarBundle:
    """The avatar with a gesture of that clip, in which faces are found as told."""
    read_gesture(Upload(clip, ada.id, "wave"), work, ignore)
    find_faces(work, ignore, lambda _tracking: ScriptedAnalyzer(faces or [[face_at()]]))
    write_gesture(work, ada, "wave", clip if sound else None, ignore)
    return open_with_gestures(ada)


def test_an_avatar_opens_with_its_gestures_and_without_them(ada: AvatarBundle, library: AvatarLibrary) -> None:
    """Frames, boxes and landmarks of gestures come after the loop's; opened as before it is as it was."""
    give_gesture(ada, "wave", 4)
    give_gesture(ada, "挥手", 2, hums=True)
    whole = open_with_gestures(library.open("ada"))
    assert [(one.name, one.first_frame, one.frame_count, one.track is not None) for one in whole.gestures] == [
        ("wave", 3, 4, False),
        ("挥手", 7, 2, True),
    ]
    assert len(whole.boxes) == len(whole.landmarks) == 9
    assert [whole.frame_index(place) for place in (0, 2, 3, 8)] == [0, 2, 3, 8]
    assert whole.frame(6).min() == 255 and whole.frame(2).min() < 200
    assert np.array_equal(whole.frame(1), ada.frame(1))
    assert library.open("ada").gestures == () and library.open("ada").frame_index(3) == 0


def test_an_avatar_without_gestures_is_the_bundle_itself(ada: AvatarBundle) -> None:
    """So nothing is copied, and what is kept by the bundle is found again."""
    assert open_with_gestures(ada) is ada


def test_a_gesture_is_made_of_a_clip(ada: AvatarBundle, tmp_path: Path) -> None:
    """Its pictures are those of the clip, its boxes are as large as the avatar's, and it has a poster."""
    clip = write_clip(tmp_path / "wave.mp4", moving_portrait(30))
    whole = made(ada, clip, tmp_path / "work")
    (wave,) = whole.gestures
    assert (wave.name, wave.frame_count, wave.track) == ("wave", 30, None)
    sides = np.unique(whole.boxes[:, 2:] - whole.boxes[:, :2], axis=0)
    assert len(sides) == 1
    assert np.abs(whole.frame(wave.first_frame).astype(int) - moving_portrait(1)[0]).mean() < 4
    assert gesture_file(ada.path, "wave", "poster.jpg") is not None


def test_the_face_of_a_gesture_comes_where_the_avatars_is(ada: AvatarBundle, tmp_path: Path) -> None:
    """A clip that shows the face smaller, with more around it, is cut and enlarged."""
    picture, _ = portrait("woman", SIDE)
    wide = np.full((2 * SIDE, 2 * SIDE, 3), 90, np.uint8)
    wide[50 : 50 + SIDE, 100 : 100 + SIDE] = picture
    clip = write_clip(tmp_path / "wide.mp4", [wide] * 30)
    whole = made(ada, clip, tmp_path / "work", faces=[[face_at(100, 50)]])
    first = whole.gestures[0].first_frame
    assert (whole.width, whole.height) == (SIDE, SIDE)
    assert np.abs(whole.landmarks[first] - whole.landmarks[0])[:, :2].max() < 2
    assert np.abs(whole.frame(first).astype(int) - whole.frame(1)).mean() < 6


def test_a_clip_that_shows_too_little_is_refused(ada: AvatarBundle, tmp_path: Path) -> None:
    """Its face would come out with the edge of the clip beside it."""
    clip = write_clip(tmp_path / "tall.mp4", [np.full((3 * SIDE // 2, SIDE, 3), 90, np.uint8)] * 30)
    with pytest.raises(BadMedia) as caught:
        made(ada, clip, tmp_path / "work", faces=[[face_at(60, 0)]])
    assert caught.value.cause == "gesture_framing"
    assert gesture_names(ada.path) == []


def test_a_clip_that_is_too_long_is_refused_before_faces_are_looked_for(ada: AvatarBundle, tmp_path: Path) -> None:
    """A gesture takes ten seconds."""
    clip = write_clip(tmp_path / "long.mp4", moving_portrait(255, side=64))
    with pytest.raises(BadMedia) as caught:
        read_gesture(Upload(clip, ada.id, "wave"), tmp_path / "work", ignore)
    assert caught.value.cause == "gesture_too_long"


def test_a_photo_is_no_gesture(ada: AvatarBundle, tmp_path: Path) -> None:
    """It is refused with what helps."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(ada.jpeg(0))
    with pytest.raises(BadMedia) as caught:
        read_gesture(Upload(photo, ada.id, "wave"), tmp_path / "work", ignore)
    assert caught.value.cause == "not_a_clip"


def test_a_gesture_of_the_same_name_is_replaced(ada: AvatarBundle) -> None:
    """Whoever opens the avatar then sees that it is another one."""
    give_gesture(ada, "wave", 4)
    before = gestures_stamp(ada.path)
    give_gesture(ada, "wave", 2)
    assert [gesture.frame_count for gesture in open_with_gestures(ada).gestures] == [2]
    assert gestures_stamp(ada.path) != before


def test_a_deleted_gesture_stays_usable_where_it_is_open(ada: AvatarBundle) -> None:
    """Its pictures are read as before; opened anew the avatar is without it."""
    give_gesture(ada, "wave")
    whole = open_with_gestures(ada)
    delete_gesture(ada.path, "wave")
    assert whole.frame(5).min() == 255
    assert open_with_gestures(ada) is ada
    assert not list((ada.path / "gestures").iterdir())


@pytest.mark.parametrize("name", ["wave", "..", ".", "", "../ada", "%2e%2e", "a/b"])
def test_only_gestures_can_be_deleted(ada: AvatarBundle, name: str) -> None:
    """No name leads to another folder."""
    with pytest.raises(GestureNotFound):
        delete_gesture(ada.path, name)
    assert (ada.path / "manifest.json").is_file()


def test_a_damaged_gesture_is_left_out(ada: AvatarBundle, caplog: pytest.LogCaptureFixture) -> None:
    """The avatar opens with the others, and the log says what is wrong."""
    give_gesture(ada, "nod")
    give_gesture(ada, "wave")
    manifest = ada.path / "gestures" / "wave" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "width": 7}))
    assert [gesture.name for gesture in open_with_gestures(ada).gestures] == ["nod"]
    assert "wave" in caplog.text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Wave", "wave"),
        ("  thumbs   Up ", "thumbs up"),
        ("挥手", "挥手"),
        ("nod_2", "nod_2"),
        ("", None),
        ("wave]", None),
        ("../x", None),
        ("-", None),
        ("a" * 25, None),
    ],
)
def test_names_of_gestures(text: str, name: str | None) -> None:
    """Letters and digits of any script; nothing that would end a tag or lead to another folder."""
    assert gesture_name(text) == name


def test_a_gesture_of_an_avatar_that_was_deleted_meanwhile_leaves_nothing(
    ada: AvatarBundle, library: AvatarLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its files are written, and when they are about to be put in their place."""
    library.delete("ada")
    with pytest.raises(AvatarNotFound):
        give_gesture(ada, "wave", 4)
    assert not list(library.root.iterdir())
    again = portrait_bundle(library.root / "ada", size=SIDE, shifts=(0, 1, 2))
    put_in_place = bundle_writing._put_in_place

    def deleted_meanwhile(staging: Path, path: Path) -> None:
        library.delete("ada")
        put_in_place(staging, path)

    monkeypatch.setattr(bundle_writing, "_put_in_place", deleted_meanwhile)
    with pytest.raises(AvatarNotFound):
        give_gesture(again, "wave", 4)
    assert not list(library.root.iterdir())
