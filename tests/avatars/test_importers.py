"""Avatars of LiveTalking, MuseTalk and OpenAvatarChat become ordinary avatars; what does not fit is refused by name."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import cv2
import foreign_folders
import numpy as np
import pytest
from clips import SIDE, ScriptedAnalyzer, face_at, moving_portrait
from foreign_folders import (
    face_boxes,
    livetalking_wav2lip,
    musetalk,
    openavatarchat,
    refuse,
    save_pickle,
    save_pictures,
    zipped,
)
from PIL import Image

from avatars.errors import BadImport, FaceNotFound
from avatars.importers import folder as folders
from avatars.importers import foreign
from avatars.importers.account import import_words, overlap
from avatars.importers.reading import check_import, is_import, open_foreign
from avatars.library import AvatarLibrary
from avatars.pieces import START_OF_SCAN
from avatars.prepare import Upload, find_faces, make_loop, prepare_avatar, read_source, report_strip, write

MAKERS = {
    "LiveTalking wav2lip": foreign_folders.livetalking_wav2lip,
    "LiveTalking ultralight": foreign_folders.livetalking_ultralight,
    "LiveTalking musetalk": foreign_folders.livetalking_musetalk,
    "MuseTalk": foreign_folders.musetalk,
    "OpenAvatarChat": foreign_folders.openavatarchat,
}


class Evil:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self._mark}",)


pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("read_here")]


def ignore(_part) -> None:
    """Progress that nobody looks at."""


def faces_of_the_clip(count):
    return [[face_at(x=round(4 * np.sin(index / 4)))] for index in range(count)]


def prepared(path, work, library, answers):
    """All stages with an analyzer that gives these faces."""
    read_source(Upload(path, "foreign-1", "Foreign", source={"file": path.name, "consent": True}), work, ignore)
    find_faces(work, ignore, lambda _tracking: ScriptedAnalyzer(answers))
    make_loop(work, ignore)
    return library.open(write(work, library, ignore))


@pytest.mark.parametrize("project", MAKERS)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_an_avatar_of_each_project_becomes_an_ordinary_one(
    project, packed: bool, tmp_path: Path, library: AvatarLibrary
) -> None:
    """The layout is recognised, each picture is taken once, and the project's boxes lie where the face was found."""
    path = MAKERS[project](tmp_path / "avator_1", 30)
    path = zipped(path) if packed else path
    check_import(path)
    bundle = prepared(path, tmp_path / "work", library, faces_of_the_clip(30))
    assert (bundle.kind, bundle.fps, bundle.frame_count, bundle.width, bundle.height) == ("clip", 25, 30, SIDE, SIDE)
    assert set(np.abs(np.diff(np.append(bundle.loop, bundle.loop[0])))) == {1}
    source = bundle.manifest["source"]
    assert (source["consent"], source["format"]) == (True, "zip" if packed else "folder")
    imported = source["imported"]
    assert (imported["from"], imported["pictures"], imported["used"]) == (project, 30, 30)
    assert imported["doubled"] is (project in ("MuseTalk", "OpenAvatarChat"))
    assert (imported["faceless"], imported["compared"]) == (0, 30)
    assert imported["median_iou"] > (0.8 if imported["crops_of"] else 0.9)
    assert "private" not in json.dumps(bundle.manifest), "the project's path of the clip is nobody's business"


def test_the_real_analyzer_agrees_with_the_projects_boxes(tmp_path: Path, library: AvatarLibrary) -> None:
    """Found by our own analyzer, the face is where the project has boxed it, and the pictures are the project's own."""
    path = musetalk(tmp_path / "sun", 30)
    bundle = prepare_avatar(Upload(path, "sun-1", "Sun"), library, lambda _stage, _part: None)
    assert bundle.manifest["source"]["imported"]["median_iou"] > 0.8
    assert bundle.manifest["source"]["imported"]["noted"] == {"avatar_id": "sun", "bbox_shift": 5, "version": "v15"}
    lips = bundle.landmarks[:, [0, 17, 61, 291], :2]
    assert (lips > bundle.boxes[:, None, :2]).all() and (lips < bundle.boxes[:, None, 2:]).all()
    first = bundle.frame(0)
    assert np.abs(first.astype(int) - moving_portrait(1)[0]).mean() < 6, "colours in their places, too"


def test_pictures_of_openavatarchat_come_from_its_pickle_where_there_are_no_files(
    tmp_path: Path, library: AvatarLibrary
) -> None:
    """frames.pkl alone is enough: BGR arrays, the cycle doubled."""
    path = openavatarchat(tmp_path / "oac", 26, full_imgs=False)
    with open_foreign(path) as avatar:
        assert (avatar.project, avatar.doubled, avatar.pictures.count) == ("OpenAvatarChat", True, 26)
        for rgb, expected in zip(avatar.pictures, moving_portrait(26), strict=True):
            assert np.array_equal(rgb, expected)


@pytest.mark.parametrize(("maker", "name"), [(m, n) for n, m in MAKERS.items()], ids=list(MAKERS))
def test_boxes_come_in_one_order(maker, name, tmp_path: Path) -> None:
    """wav2lip keeps y1 y2 x1 x2 and the others corners; all come as x0 y0 x1 y1."""
    boxes = foreign_folders.crop_boxes(4) if name == "LiveTalking ultralight" else face_boxes(4)
    with open_foreign(maker(tmp_path / "a", 4)) as avatar:
        assert avatar.project == name
        assert avatar.boxes.tolist() == [list(map(float, box)) for box in boxes]


def test_an_ultralight_avatar_is_known_by_its_face_pictures_too(tmp_path: Path) -> None:
    """Left without its network, its 168 px face pictures still tell, and the order of its boxes with them."""
    with open_foreign(foreign_folders.livetalking_ultralight(tmp_path / "a", 4)) as avatar:
        assert avatar.project == "LiveTalking ultralight"


def test_pictures_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Numbers without leading zeros, other suffixes and foreign files change nothing."""
    path = livetalking_wav2lip(tmp_path / "a", 12)
    for file in sorted((path / "full_imgs").iterdir()):
        file.rename(file.with_name(f"{int(file.stem)}.PNG"))
    (path / "full_imgs" / "._0.png").write_bytes(b"what a Mac leaves")
    (path / "full_imgs" / "Thumbs.db").write_bytes(b"what Windows leaves")
    with open_foreign(path) as avatar:
        for rgb, expected in zip(avatar.pictures, moving_portrait(12), strict=True):
            assert np.array_equal(rgb, expected)


# doubled cycles


def test_boxes_doubled_over_single_pictures_are_folded(tmp_path: Path) -> None:
    """A list twice as long as the pictures, the same from its end, is a doubled cycle of single pictures."""
    path = foreign_folders.livetalking_musetalk(tmp_path / "a", 5)
    boxes = [list(box) for box in face_boxes(5)]
    save_pickle(path / "coords.pkl", boxes + boxes[::-1])
    save_pickle(path / "mask_coords.pkl", boxes + boxes[::-1])
    foreign_folders.leave_originals(path, ["0001.png", "0002.png", "0003.png", "0004.png", "0005.png"])
    with open_foreign(path) as avatar:
        assert (avatar.doubled, avatar.pictures.count, len(avatar.boxes)) == (True, 5, 5)


def test_a_single_cycle_is_not_cut_in_half(tmp_path: Path) -> None:
    """Boxes that stand still are the same from their end, but the pictures are not: the cycle is single."""
    path = foreign_folders.livetalking_musetalk(tmp_path / "a", 20)
    save_pickle(path / "coords.pkl", [list(face_boxes(1)[0])] * 20)
    with open_foreign(path) as avatar:
        assert (avatar.doubled, avatar.pictures.count) == (False, 20)


@pytest.mark.usefixtures("short_loops")
def test_a_doubled_still_becomes_a_still(tmp_path: Path, library: AvatarLibrary) -> None:
    """One picture, stored twice, comes alive as a photo would."""
    path = musetalk(tmp_path / "a", 1)
    bundle = prepared(path, tmp_path / "work", library, [[face_at()], [face_at(size=512)]])
    assert bundle.kind == "still"
    assert bundle.manifest["source"]["imported"]["median_iou"] > 0.9


ORIGINALS = {
    "short": [f"{index:04d}.png" for index in range(1, 7)],
    "eight from 1": [f"{index:08d}.png" for index in range(1, 13)],
    "eight from 1, of a clip": [f"{index:08d}.png" for index in range(1, 7)],
    "eight from 100": [f"{index:08d}.png" for index in range(100, 112)],
    "of the same number": [f"{index:08d}.jpg" for index in range(12)],
    "as many as there are boxes": [f"{index}.jpg" for index in range(12)],
}


@pytest.mark.parametrize("originals", ORIGINALS.values(), ids=ORIGINALS)
@pytest.mark.parametrize("project", ["LiveTalking musetalk", "MuseTalk", "OpenAvatarChat"])
def test_pictures_that_an_avatar_was_made_from_are_left_out(
    project: str, originals, tmp_path: Path, library: AvatarLibrary
) -> None:
    """Copied to full_imgs by the project's tool under their own names, they are told from those that it has written."""
    path = MAKERS[project](tmp_path / "a", 12 if project == "LiveTalking musetalk" else 6)
    written = {file.name for file in (path / "full_imgs").iterdir()}
    foreign_folders.leave_originals(path, originals)
    with open_foreign(path) as avatar:
        assert avatar.ignored == len(set(originals) - written)
        for rgb, expected in zip(avatar.pictures, moving_portrait(avatar.pictures.count), strict=True):
            assert np.array_equal(rgb, expected)


def test_originals_do_not_hide_that_pictures_are_missing(tmp_path: Path) -> None:
    """With a gap in what the project has written nothing can be matched."""
    path = musetalk(tmp_path / "a", 6)
    foreign_folders.leave_originals(path, ORIGINALS["short"])
    (path / "full_imgs" / "00000003.png").unlink()
    refuse(path, tmp_path / "work", r"coords\.pkl has 12 entries, but there are 17 pictures")


def test_what_was_left_out_is_said(tmp_path: Path, library: AvatarLibrary) -> None:
    """With how many there are, in the manifest and in words."""
    path = foreign_folders.livetalking_musetalk(tmp_path / "a", 30)
    foreign_folders.leave_originals(path, ORIGINALS["short"])
    imported = prepared(path, tmp_path / "work", library, faces_of_the_clip(30)).manifest["source"]["imported"]
    assert (imported["pictures"], imported["ignored"]) == (30, 6)
    assert "6 more in the same folder were left out" in " ".join(import_words(imported))


# faces


def test_pictures_in_which_the_project_saw_no_face_are_noticed(tmp_path: Path, library: AvatarLibrary) -> None:
    """Zeros of MuseTalk and the whole picture of wav2lip stand for no face: counted, and not compared."""
    path = livetalking_wav2lip(tmp_path / "a", 30)
    coords = pickle.loads((path / "coords.pkl").read_bytes())
    coords[3], coords[4] = (0, SIDE, 0, SIDE), (0.0, 0.0, 0.0, 0.0)
    save_pickle(path / "coords.pkl", coords)
    imported = prepared(path, tmp_path / "work", library, faces_of_the_clip(30)).manifest["source"]["imported"]
    assert (imported["faceless"], imported["compared"]) == (2, 28)
    assert "no face in 2 of them" in " ".join(import_words(imported))


def test_a_disagreement_is_said(tmp_path: Path, library: AvatarLibrary) -> None:
    """Boxes that lie elsewhere do not spoil the avatar, but the result says so."""
    path = livetalking_wav2lip(tmp_path / "a", 30)
    save_pickle(path / "coords.pkl", [(0, 20, 0, 20)] * 30)
    bundle = prepared(path, tmp_path / "work", library, faces_of_the_clip(30))
    assert bundle.manifest["source"]["imported"]["median_iou"] == 0.0
    assert "do NOT agree" in " ".join(import_words(bundle.manifest["source"]["imported"]))


def test_pictures_without_a_face_are_refused_with_the_report(tmp_path: Path) -> None:
    """An import goes through the same judgement as a clip."""
    work = tmp_path / "work"
    read_source(Upload(livetalking_wav2lip(tmp_path / "a", 30), "foreign-1", "Foreign"), work, ignore)
    with pytest.raises(FaceNotFound, match="No face was found in this clip"):
        find_faces(work, ignore, lambda _tracking: ScriptedAnalyzer([[]]))
    report, strip = report_strip(work)
    assert report["counts"]["missing"] == 30 and strip


def test_overlap_is_intersection_over_union() -> None:
    """The same box 1, half of it 0.5, a box elsewhere 0."""
    one = np.array([[0, 0, 10, 10]] * 3, np.float32)
    other = np.array([[0, 0, 10, 10], [0, 0, 5, 10], [20, 20, 30, 30]], np.float32)
    assert overlap(one, other).tolist() == [1.0, 0.5, 0.0]


def test_the_words_say_what_was_left_behind() -> None:
    """A person learns that latents were not taken over, and when only a part is used."""
    imported = {"from": "MuseTalk", "pictures": 900, "used": 750, "doubled": True, "faceless": 0}
    words = " ".join(import_words({**imported, "compared": 0, "median_iou": None}))
    for part in ("MuseTalk", "first 750", "forward and back", "latents", "could not be compared"):
        assert part in words


def test_large_pictures_are_scaled_with_their_boxes(
    tmp_path: Path, library: AvatarLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is larger than an avatar is scaled down, and the project's boxes are compared in the same scale."""
    monkeypatch.setattr("avatars.importers.reading.MAX_SIDE_PX", 160)
    path = livetalking_wav2lip(tmp_path / "a", 30)
    bundle = prepared(path, tmp_path / "work", library, [[face_at(size=160)]])
    assert (bundle.width, bundle.height) == (160, 160)
    assert bundle.manifest["source"]["width"] == SIDE
    assert bundle.manifest["source"]["imported"]["median_iou"] > 0.8


def test_only_the_first_half_minute_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a clip."""
    monkeypatch.setattr("avatars.importers.reading.USED_CLIP_S", 1.0)
    work = tmp_path / "work"
    read_source(Upload(livetalking_wav2lip(tmp_path / "a", 30), "foreign-1", "Foreign"), work, ignore)
    facts = json.loads((work / "read_source" / "source.json").read_text())
    assert (facts["frames"], facts["source"]["imported"]["pictures"]) == (25, 30)
    assert len(np.load(work / "read_source" / "peer_boxes.npy")) == 25


def test_of_large_pictures_fewer_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes its time, and others wait for the worker meanwhile. It is said how many are used."""
    monkeypatch.setattr("avatars.importers.reading.MAX_PIXELS", 10 * SIDE * SIDE + 1)
    work = tmp_path / "work"
    read_source(Upload(livetalking_wav2lip(tmp_path / "a", 30), "foreign-1", "Foreign"), work, ignore)
    facts = json.loads((work / "read_source" / "source.json").read_text())
    imported = facts["source"]["imported"]
    assert (facts["frames"], imported["used"], imported["pictures"]) == (10, 10, 30)
    assert len(np.load(work / "read_source" / "peer_boxes.npy")) == 10


# refusals


def test_lists_of_another_length_are_refused_with_the_numbers(tmp_path: Path) -> None:
    """coords.pkl, mask_coords.pkl, mask and face_imgs have to match the pictures."""
    work = tmp_path / "work"
    path = livetalking_wav2lip(tmp_path / "a", 10)
    save_pickle(path / "coords.pkl", [(0, 9, 0, 9)] * 7)
    refuse(path, work, r"coords\.pkl has 7 entries, but there are 10 pictures")
    (path / "face_imgs" / "00000009.png").unlink()
    refuse(path, work, r"full_imgs has 10 entries, but there are 9 pictures")
    path = musetalk(tmp_path / "b", 5)
    save_pickle(path / "mask_coords.pkl", [[0, 0, 9, 9]] * 4)
    refuse(path, work, r"mask_coords\.pkl has 4 boxes, but coords\.pkl has 10")
    path = musetalk(tmp_path / "c", 5)
    (path / "mask" / "00000003.png").unlink()
    refuse(path, work, r"mask has 9 entries, but there are 10 pictures")
    path = openavatarchat(tmp_path / "d", 5, full_imgs=False)
    save_pickle(path / "masks.pkl", [np.zeros((2, 2), np.uint8)] * 3)
    refuse(path, work, r"masks\.pkl has 3 entries, but there are 10 pictures")
    save_pickle(path / "frames.pkl", [np.zeros((SIDE, SIDE, 3), np.uint8)] * 3)
    refuse(path, work, r"coords\.pkl has 10 entries, but there are 3 pictures")


@pytest.mark.parametrize(
    ("file", "project"),
    [
        ("coords.pkl", "LiveTalking wav2lip"),
        ("coords.pkl", "MuseTalk"),
        ("mask_coords.pkl", "MuseTalk"),
        ("frames.pkl", "OpenAvatarChat"),
        ("masks.pkl", "OpenAvatarChat"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_pickle_that_wants_to_run_code_is_refused_by_name(
    file: str, project: str, packed: bool, tmp_path: Path
) -> None:
    """Nothing runs, nothing is left, and the message names the file and the function."""
    options = {"full_imgs": False} if project == "OpenAvatarChat" else {}
    path = MAKERS[project](tmp_path / "a", 4, **options)
    mark = tmp_path / "mark"
    save_pickle(path / file, [Evil(mark)])
    refuse(zipped(path) if packed else path, tmp_path / "work", rf"{file} asks for posix\.system")
    assert not mark.exists()


def test_weights_and_latents_are_never_opened(tmp_path: Path) -> None:
    """What cannot be trusted and is not needed lies there unread."""
    mark = tmp_path / "mark"
    paths = musetalk(tmp_path / "a", 3), foreign_folders.livetalking_ultralight(tmp_path / "b", 3)
    for path, file in zip(paths, ("latents.pt", "ultralight.pth"), strict=True):
        save_pickle(path / file, Evil(mark))
        (path / file).chmod(0)
        with open_foreign(path) as avatar:
            assert avatar.pictures.count == 3
    assert not mark.exists()


@pytest.mark.parametrize(
    "boxes",
    [
        *("text", {}, [], 7, np.array(3.0), np.zeros((0, 4)), np.zeros((2, 5)), np.zeros((2, 4, 1))),
        *([1, 2, 3], [[1, 2, 3, 4], "abcd"], [[[1], 2, 3, 4]] * 2, [[1, 2, 3, np.arange(4)]] * 2),
        *([[1, 2, float("nan"), 4]] * 2, [[1, 2, float("inf"), 4]] * 2, [[1, 2, 3, 10**5000]] * 2, [10**5000] * 2),
    ],
    ids=lambda boxes: type(boxes).__name__,
)
def test_boxes_that_are_no_boxes_are_refused(boxes, tmp_path: Path) -> None:
    """Four numbers of pixels each, in a list."""
    path = livetalking_wav2lip(tmp_path / "a", 2)
    save_pickle(path / "coords.pkl", boxes)
    refuse(path, tmp_path / "work", r"coords\.pkl")


@pytest.mark.parametrize("container", [tuple, np.array, lambda boxes: np.array(boxes, np.float32), lambda boxes: boxes])
@pytest.mark.parametrize("each", [tuple, list, np.array, lambda box: np.array(box, np.float32)])
def test_boxes_may_come_in_tuples_and_arrays(container, each, tmp_path: Path) -> None:
    """All together and each by itself."""
    path = foreign_folders.livetalking_musetalk(tmp_path / "a", 3)
    save_pickle(path / "coords.pkl", container([each(box) for box in face_boxes(3)]))
    save_pickle(path / "mask_coords.pkl", container([each(box) for box in face_boxes(3)]))
    with open_foreign(path) as avatar:
        assert avatar.boxes.tolist() == [list(map(float, box)) for box in face_boxes(3)]


@pytest.mark.parametrize("maker", [livetalking_wav2lip, musetalk])
def test_a_list_that_would_be_endless_is_not_written_out(maker, tmp_path: Path) -> None:
    """A pickle of a kilobyte whose lists refer to each other is refused as any box that is none."""
    path = maker(tmp_path / "a", 2)
    endless: list[object] = [0]
    for _ in range(11):
        endless = [endless] * 40
    save_pickle(path / "coords.pkl", [endless, endless])
    refuse(path, tmp_path / "work", r"Box 0 of coords\.pkl is \[\[.*, not four numbers")


def test_damaged_pictures_are_refused_by_name(tmp_path: Path) -> None:
    """A picture cut short, a text, and one of another size are told by name or number."""
    work = tmp_path / "work"
    path = livetalking_wav2lip(tmp_path / "a", 4)
    bad = path / "full_imgs" / "00000002.png"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    refuse(path, work, r"full_imgs/00000002\.png is damaged\. Copy")
    bad.write_bytes(b"no picture")
    refuse(path, work, r"full_imgs/00000002\.png is damaged\. Copy")
    cv2.imwrite(str(bad), np.zeros((SIDE, SIDE + 8, 3), np.uint8))
    refuse(path, work, f"Picture 2 has {SIDE + 8} x {SIDE} pixels, the first one {SIDE} x {SIDE}")


def test_huge_and_tiny_pictures_are_refused_by_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size in a picture's header is looked at before its pixels are decoded; a pickled one's is, too."""
    path = livetalking_wav2lip(tmp_path / "a", 2)
    save_pictures(path / "full_imgs", [np.zeros((32, 40, 3), np.uint8)])
    refuse(path, tmp_path / "work", "00000000.png has 40 x 32 pixels")
    monkeypatch.setattr(foreign, "MAX_CLIP_PIXELS", SIDE * SIDE - 1)
    refuse(livetalking_wav2lip(tmp_path / "b", 2), tmp_path / "work", f"has {SIDE} x {SIDE} pixels")
    refuse(openavatarchat(tmp_path / "c", 2, full_imgs=False), tmp_path / "work", "Entry 0 of frames.pkl has")


def test_a_picture_of_too_many_passes_is_refused_by_name(tmp_path: Path) -> None:
    """A few bytes for each of them would keep the worker from others' jobs. Ordinary progressive pictures are taken."""
    path = livetalking_wav2lip(tmp_path / "a", 2)
    picture = path / "full_imgs" / "00000000.png"
    Image.open(picture).convert("RGB").save(picture, "JPEG", progressive=True)
    jpeg = picture.read_bytes()
    read_source(Upload(path, "foreign-1", "Foreign"), tmp_path / "taken", ignore)
    scan = jpeg[jpeg.rindex(START_OF_SCAN) : -2]
    picture.write_bytes(jpeg[:-2] + 20 * scan + jpeg[-2:])
    refuse(path, tmp_path / "work", r"The picture full_imgs/00000000\.png is coded in a way that takes long")


def test_a_picture_of_too_many_passes_with_another_behind_it_is_refused(tmp_path: Path) -> None:
    """Pillow gives a JPEG with two pictures, as some phones make them, a format of its own."""
    path = livetalking_wav2lip(tmp_path / "a", 2)
    picture = path / "full_imgs" / "00000000.png"
    first = Image.open(picture).convert("RGB")
    first.save(picture, "MPO", save_all=True, append_images=[first])
    with Image.open(picture) as image:
        assert image.format == "MPO"
    read_source(Upload(path, "foreign-1", "Foreign"), tmp_path / "taken", ignore)
    jpeg = picture.read_bytes()
    start, end = jpeg.index(START_OF_SCAN), jpeg.index(b"\xff\xd9")
    picture.write_bytes(jpeg[:end] + 20 * jpeg[start:end] + jpeg[end:])
    refuse(path, tmp_path / "work", r"The picture full_imgs/00000000\.png is coded in a way that takes long")


def test_what_is_no_picture_in_a_pickle_is_refused(tmp_path: Path) -> None:
    """frames.pkl holds uint8 pictures of three channels."""
    path = openavatarchat(tmp_path / "a", 2, full_imgs=False)
    save_pickle(path / "frames.pkl", [np.zeros((SIDE, SIDE), np.uint8)] * 4)
    refuse(path, tmp_path / "work", "Entry 0 of frames.pkl is no picture")


def test_a_damaged_info_file_is_refused_by_name(tmp_path: Path) -> None:
    """avator_info.json, spelt so, has to be JSON."""
    path = musetalk(tmp_path / "a", 2)
    (path / "avator_info.json").write_text("[" * 30000)
    refuse(path, tmp_path / "work", r"avator_info\.json is damaged\. Copy")
    (path / "avator_info.json").write_text("[1]")
    refuse(path, tmp_path / "work", r"avator_info\.json holds no object")


def test_notes_come_so_that_they_can_be_sent_on(tmp_path: Path) -> None:
    """Numbers that JSON does not know and half characters would spoil the list of all avatars."""
    path = musetalk(tmp_path / "a", 2)
    (path / "avator_info.json").write_text('{"avatar_id": "\\ud800 a", "bbox_shift": NaN, "version": 1e999}')
    with open_foreign(path) as avatar:
        assert avatar.facts == {"avatar_id": "? a", "bbox_shift": "nan", "version": "inf"}


def test_large_lists_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of boxes of many megabytes is refused by its size."""
    monkeypatch.setattr(foreign, "MAX_LIST_BYTES", 10)
    path = livetalking_wav2lip(tmp_path / "a", 2)
    with pytest.raises(BadImport, match="at most"), folders.open_folder(path) as folder:
        foreign.list_in(folder, "coords.pkl", 10)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["notes.txt"], "no coords.pkl is in it"),
        (["coords.pkl"], "of no project that is known"),
        (["frames.bin", "manifest.json"], "This is a Vivavoce avatar"),
        (["net_encode.pt"], "This is a lite-avatar"),
        (["[Content_Types].xml", "word/document.xml"], "Documents are not taken"),
        (["mimetype", "content.xml"], "Documents are not taken"),
        (["holiday/me.jpg"], "only pictures or clips"),
        (["combined_data.json.gz"], "This is a DH_live avatar"),
        (["one/coords.pkl", "two/coords.pkl"], "There are 2 avatars in it: one, two"),
        ([], "no coords.pkl is in it"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_foreign_folders_are_refused_by_what_they_are(files, message: str, packed: bool, tmp_path: Path) -> None:
    """What is missing, what it is instead, or which ones to choose from."""
    path = tmp_path / "foreign"
    path.mkdir()
    for name in files:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(b"x")
    path = zipped(path, inside=False) if packed else path
    assert is_import(path)
    refuse(path, tmp_path / "work", message)
    with pytest.raises(BadImport, match=message):
        check_import(path)
