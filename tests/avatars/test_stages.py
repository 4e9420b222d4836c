"""What a stage hands on is the same after it was kept and loaded, also where an older version has kept it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avatars.errors import AvatarError
from avatars.stages import FIND_FACES, MAKE_LOOP, READ_SOURCE, ClipFace, Found, Loop, Source, StillFace
from avatars.workspace import ForeignFiles, FrameFile, PhotoFile

REPORT: Any = {"frames": 1, "strip": [{"file": "strip-00.jpg", "frame": 0}]}
PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
POINTS = np.arange(5 * 478 * 3, dtype=np.float32).reshape(5, 478, 3)


def made(work: Path, stage: str) -> Path:
    (work / stage).mkdir(parents=True, exist_ok=True)
    return work / stage


def clip_source(work: Path, facts: Any = None) -> Source:
    """A clip of five frames, kept in `work`."""
    directory = made(work, READ_SOURCE)
    frames = FrameFile(directory)
    count = frames.write(f"jpeg {index}".encode() for index in range(5))
    told: Any = facts or {}
    source = Source("ada-1", "Ada", "clip", 1280, told, count, frames, ForeignFiles(directory))
    source.save(directory)
    return source


def clip_face(shown: list[int]) -> ClipFace:
    return ClipFace(POINTS, 1, 5, np.array(shown))


def loop_of(source: Source, face: ClipFace) -> Loop:
    """Of the frames 2 to 4 of the clip, as make_loop would make it."""
    assert isinstance(source.pictures, FrameFile)
    boxes, order = np.zeros((3, 4), np.int32), np.array([0, 1, 2, 1], np.int32)
    return Loop(POINTS[2:], boxes, order, 2, 96, 64, source.pictures, face.shown[2:])


def test_a_still_keeps_its_photo_and_its_twin_with_closed_eyes(tmp_path: Path) -> None:
    """Pixels, facts and what is known of the avatar."""
    directory = made(tmp_path, READ_SOURCE)
    file = PhotoFile(directory)
    file.write(PICTURE, PICTURE[::-1])
    Source("ada-1", "艾达", "still", 512, {"consent": True}, 1, file, ForeignFiles(directory)).save(directory)
    source = Source.load(tmp_path)
    assert isinstance(source.pictures, PhotoFile)
    assert np.array_equal(source.pictures.read(), PICTURE)
    closed = source.pictures.read_closed()
    assert closed is not None and np.array_equal(closed, PICTURE[::-1])
    assert (source.avatar_id, source.name, source.kind, source.side_px) == ("ada-1", "艾达", "still", 512)
    assert source.facts == {"consent": True} and source.frame_count == 1 and source.crops_of is None
    assert source.foreign.boxes() is None and source.foreign.masks(0, 1) is None and source.foreign.networks() == {}


def test_a_foreign_avatar_keeps_what_it_came_with(tmp_path: Path) -> None:
    """Boxes, masks and networks, and for which backend its boxes are."""
    source = clip_source(tmp_path, {"imported": {"crops_of": "ultralight"}})
    boxes = np.arange(20, dtype=np.float32).reshape(5, 4)
    source.foreign.write_boxes(boxes)
    source.foreign.write_masks(np.full(index + 1, index, np.uint8) for index in range(5))
    source.foreign.new_network("ultralight").write_bytes(b"weights")
    loaded = Source.load(tmp_path)
    kept, masks = loaded.foreign.boxes(), loaded.foreign.masks(1, 3)
    assert loaded.crops_of == "ultralight" and kept is not None and np.array_equal(kept, boxes)
    assert masks is not None and [mask.tolist() for mask in masks] == [[1, 1], [2, 2, 2]]
    assert [path.read_bytes() for path in loaded.foreign.networks().values()] == [b"weights"]


@pytest.mark.parametrize("closed", [None, PICTURE[::-1]], ids=["eyes open", "with its twin"])
def test_the_face_of_a_still_is_kept(tmp_path: Path, closed: np.ndarray | None) -> None:
    """With the report and its strip; of a photo that is no import there is no agreement."""
    Found(REPORT, (b"jpeg",), StillFace(PICTURE, POINTS[0], closed), None).save(made(tmp_path, FIND_FACES))
    found = Found.load(tmp_path)
    assert (found.report, found.strip, found.agreement) == (REPORT, (b"jpeg",), None)
    assert isinstance(found.face, StillFace)
    assert np.array_equal(found.face.picture, PICTURE) and np.array_equal(found.face.landmarks, POINTS[0])
    assert (found.face.closed is None) == (closed is None)


def test_what_was_seen_is_kept_where_no_face_can_be_used(tmp_path: Path) -> None:
    """Of a photo without a face there is a report and nothing to go on with."""
    Found(REPORT, (b"jpeg",), None, {"compared": 0, "median_iou": None}).save(made(tmp_path, FIND_FACES))
    found = Found.load(tmp_path)
    assert found.face is None and found.agreement == {"compared": 0, "median_iou": None}


def test_a_loop_shows_other_frames_where_a_clip_has_foreign_ones(tmp_path: Path) -> None:
    """Frame 3 of the clip is none of its own: the one before it is shown in its place, also after loading."""
    source, face = clip_source(tmp_path), clip_face([0, 1, 2, 2, 4])
    Found(REPORT, (b"jpeg",), face, None).save(made(tmp_path, FIND_FACES))
    made_loop = loop_of(source, face)
    made_loop.save(made(tmp_path, MAKE_LOOP))
    loop = Loop.load(tmp_path, Source.load(tmp_path), Found.load(tmp_path))
    for one in (made_loop, loop):
        assert list(one.jpegs()) == [b"jpeg 2", b"jpeg 2", b"jpeg 4"] and list(one.jpegs(2, 3)) == [b"jpeg 4"]
    assert (loop.first, loop.width, loop.height) == (2, 96, 64)
    assert loop.order.tolist() == [0, 1, 2, 1] and np.array_equal(loop.landmarks, POINTS[2:])


def test_a_preparation_that_an_older_version_has_begun_goes_on(tmp_path: Path) -> None:
    """It noted no number of frames for a still, and of a clip not which frames are passed over."""
    source = clip_source(tmp_path)
    np.savez(made(tmp_path, FIND_FACES) / "track.npz", landmarks=POINTS, stretch=np.array([1, 5]))
    (tmp_path / FIND_FACES / "report.json").write_text(json.dumps({"strip": []}))
    found = Found.load(tmp_path)
    assert isinstance(found.face, ClipFace)
    assert (found.face.first, found.face.stop, found.face.shown.tolist()) == (1, 5, [0, 1, 2, 3, 4])
    assert list(loop_of(source, found.face).jpegs()) == [b"jpeg 2", b"jpeg 3", b"jpeg 4"]
    known = json.loads((tmp_path / READ_SOURCE / "source.json").read_text())
    del known["frames"], known["cutout"]
    (tmp_path / READ_SOURCE / "source.json").write_text(json.dumps(known | {"kind": "still"}))
    old = Source.load(tmp_path)
    assert (old.frame_count, old.cutout) == (1, False)


@pytest.mark.parametrize("notes", ["[]", '{"id": "ad'], ids=["no object", "cut off"])
def test_damaged_notes_are_told_with_a_remedy(tmp_path: Path, notes: str) -> None:
    """What is no JSON object is no preparation that could go on."""
    clip_source(tmp_path)
    (tmp_path / READ_SOURCE / "source.json").write_text(notes)
    with pytest.raises(AvatarError, match="damaged") as refused:
        Source.load(tmp_path)
    assert refused.value.hint
