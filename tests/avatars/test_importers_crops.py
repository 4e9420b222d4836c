"""The boxes and masks that a foreign avatar came with stay with its pictures, or go."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import SIDE, ScriptedAnalyzer, face_at, moving_portrait
from foreign_folders import (
    Box,
    crop_boxes,
    face_boxes,
    livetalking_ultralight,
    livetalking_wav2lip,
    musetalk,
    save_pickle,
)
from safetensors.numpy import load_file, save_file

from avatars.backend_parts import prepare_parts
from avatars.bundle import AvatarBundle
from avatars.detect import Face
from avatars.errors import BundleError
from avatars.face_formats import crop_parameters
from avatars.importers.account import import_words
from avatars.importers.crops import boxes_of, given_boxes, given_masks, parameters_for
from avatars.library import AvatarLibrary
from avatars.parts_preview import draw_preview
from avatars.prepare import Upload, find_faces, make_loop, read_source, write

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("read_here")]

FRAMES = 40
SMALL = 160
BOX_GREEN = (80, 220, 120)


def ignore(_part: float) -> None:
    """Progress that nobody looks at."""


def faces(size: float = SIDE) -> list[list[Face]]:
    return [[face_at(x=round(4 * np.sin(index / 4)), size=size)] for index in range(FRAMES)]


@pytest.fixture
def imported(tmp_path: Path, library: AvatarLibrary) -> Callable[..., AvatarBundle]:
    """The avatar of a folder, with these faces found in its pictures and these boxes in place of the project's."""

    def make(
        found: list[list[Face]] | None = None, boxes: list[Box] | None = None, count: int = FRAMES
    ) -> AvatarBundle:
        path, work = livetalking_ultralight(tmp_path / "avator_1", count), tmp_path / "work"
        if boxes is not None:
            save_pickle(path / "coords.pkl", boxes)
        read_source(Upload(path, "foreign-1", "Foreign"), work, ignore)
        find_faces(work, ignore, lambda _tracking: ScriptedAnalyzer(found or faces()))
        make_loop(work, ignore)
        return library.open(write(work, library, ignore))

    return make


def account(bundle: AvatarBundle) -> tuple[bool, str]:
    """Whether the boxes are kept, and what is said."""
    told = bundle.manifest["source"]["imported"]
    return told["crops_kept"], " ".join(import_words(told))


def test_the_projects_boxes_belong_to_the_pictures_that_are_used(imported: Callable[..., AvatarBundle]) -> None:
    """Eight pictures in which nobody was found are cut away from the front, and their boxes with them."""
    bundle = imported([[] for _ in range(8)] + faces()[8:])
    assert bundle.frame_count < FRAMES
    boxes = given_boxes(bundle, "ultralight")
    assert boxes is not None and boxes.dtype == np.int32
    pictures = moving_portrait(FRAMES)
    for index, box in enumerate(boxes.tolist()):
        source = FRAMES - bundle.frame_count + index
        assert np.abs(bundle.frame(index).astype(int) - pictures[source]).mean() < 6
        assert tuple(box) == crop_boxes(FRAMES)[source]
    kept, words = account(bundle)
    assert kept and "Its own boxes were kept for ultralight" in words


def test_the_account_compares_them_with_our_crops(imported: Callable[..., AvatarBundle]) -> None:
    """With the crop that we would cut for that network, and not with the whole face, of which they are a part."""
    told = imported().manifest["source"]["imported"]
    assert (told["crops_of"], told["compared"]) == ("ultralight", FRAMES)
    assert told["median_iou"] is not None and 0.75 < told["median_iou"] < 0.99


@pytest.mark.parametrize("backend", ["ultralight", "wav2lip96"])
def test_preparing_for_the_network_takes_them(
    backend: str, imported: Callable[..., AvatarBundle], tmp_path: Path
) -> None:
    """For it, and for no other; what a person is shown beforehand is the same."""
    bundle, parameters = imported(), crop_parameters(backend)
    parts = prepare_parts(bundle, backend, tmp_path / "nothing", parameters, tmp_path / "parts", ignore)
    assert np.array_equal(parts.boxes, crop_boxes(FRAMES)) is (backend == "ultralight")
    x0, y0, x1, y1 = parts.boxes[0]
    preview = draw_preview(bundle, backend, parameters)
    assert preview[y0, x0].tolist() == preview[y1 - 1, x1 - 1].tolist() == list(BOX_GREEN)


def test_they_shrink_with_large_pictures(
    imported: Callable[..., AvatarBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To whole pixels of the avatar's own pictures."""
    monkeypatch.setattr("avatars.importers.reading.MAX_SIDE_PX", SMALL)
    boxes = given_boxes(imported(faces(SMALL)), "ultralight")
    assert boxes is not None
    assert np.abs(boxes - np.array(crop_boxes(FRAMES)) * SMALL / SIDE).max() <= 0.5


def test_they_end_where_the_picture_ends(imported: Callable[..., AvatarBundle]) -> None:
    """The project cut its crops off there, too."""
    whole = crop_boxes(FRAMES)
    boxes = [*((x0, y0, x1, SIDE + 9) for x0, y0, x1, _ in whole[:9]), *whole[9:]]
    given = given_boxes(imported(boxes=boxes), "ultralight")
    assert given is not None and given[:9, 3].tolist() == [SIDE] * 9


@pytest.mark.parametrize(
    "wrong",
    [
        lambda boxes: [*boxes[:9], (0, 0, 0, 0), *boxes[10:]],
        lambda boxes: [(0, 0, 20, 20)] * len(boxes),
        lambda boxes: [*boxes[:9], (SIDE + 5, 0, SIDE + 9, 9), *boxes[10:]],
    ],
    ids=["no face in one", "elsewhere", "outside in one"],
)
def test_boxes_that_are_not_certain_are_left(
    wrong: Callable[[list[Box]], list[Box]], imported: Callable[..., AvatarBundle]
) -> None:
    """One is missing or outside of its picture, or they are of something else: ours are used, and it is said."""
    bundle = imported(boxes=wrong(crop_boxes(FRAMES)))
    assert given_boxes(bundle, "ultralight") is None
    kept, words = account(bundle)
    assert not kept and "For ultralight our boxes are used" in words


@pytest.mark.usefixtures("short_loops")
def test_a_still_moves_away_from_them(imported: Callable[..., AvatarBundle]) -> None:
    """One picture is brought to life here, and nobody has boxed the pictures that come of it."""
    bundle = imported([[face_at()], [face_at(size=512)]], count=1)
    assert bundle.kind == "still" and given_boxes(bundle, "ultralight") is None
    overlap = bundle.manifest["source"]["imported"]["median_iou"]
    assert account(bundle)[0] is False and overlap is not None and overlap > 0.8


def brought(folder: Path, tmp_path: Path, library: AvatarLibrary, size: float = SIDE) -> AvatarBundle:
    """The avatar of a foreign folder, with the face found where it is in its pictures."""
    work = tmp_path / "work"
    read_source(Upload(folder, "foreign-1", "Foreign"), work, ignore)
    find_faces(work, ignore, lambda _tracking: ScriptedAnalyzer(faces(size)))
    make_loop(work, ignore)
    return library.open(write(work, library, ignore))


@pytest.mark.parametrize(("face_px", "backend"), [(96, "wav2lip96"), (256, "wav2lip256"), (384, None)])
def test_wav2lips_boxes_are_kept_for_the_network_of_their_size(
    face_px: int, backend: str | None, tmp_path: Path, library: AvatarLibrary
) -> None:
    """They are used as they came, until somebody chooses other pads."""
    bundle = brought(livetalking_wav2lip(tmp_path / "a", FRAMES, face_px), tmp_path, library)
    for name in ("wav2lip96", "wav2lip256"):
        parameters = crop_parameters(name)
        kept = given_boxes(bundle, name) is not None
        assert kept is (name == backend)
        assert np.array_equal(boxes_of(bundle, name, parameters), face_boxes(FRAMES)) is kept
    wider = crop_parameters("wav2lip96", {"pads": [9, 9, 9, 9]})
    assert not np.array_equal(boxes_of(bundle, "wav2lip96", wider), face_boxes(FRAMES))


def masked_musetalk(folder: Path, version: str = "v15") -> tuple[Path, list[np.ndarray]]:
    """MuseTalk's folder with masks that fit, each another one; gives them as cut to the face boxes."""
    musetalk(folder, FRAMES)
    info = json.loads((folder / "avator_info.json").read_text())
    (folder / "avator_info.json").write_text(json.dumps({**info, "version": version}))
    masks, squares = [], []
    for index, (x0, y0, x1, y1) in enumerate(face_boxes(FRAMES)):
        mask = np.zeros((y1 - y0 + 20, x1 - x0 + 14), np.uint8)
        mask[index + 20 :, 9:60] = 100 + index
        masks.append(mask)
        squares.append([x0 - 7, y0 - 10, x1 + 7, y1 + 10])
    for index, mask in enumerate([*masks, *masks[::-1]]):
        cv2.imwrite(str(folder / "mask" / f"{index:08d}.png"), mask)
    save_pickle(folder / "mask_coords.pkl", [*squares, *squares[::-1]])
    return folder, [mask[10:-10, 7:-7] for mask in masks]


@pytest.mark.parametrize(("version", "backend"), [("v15", "musetalk15"), ("v1", "musetalk10")])
def test_musetalks_boxes_masks_and_shift_are_kept(
    version: str, backend: str, tmp_path: Path, library: AvatarLibrary
) -> None:
    """Their owner tuned them: parts are made of them, and what they were made with is told."""
    folder, masks = masked_musetalk(tmp_path / "a", version)
    bundle = brought(folder, tmp_path, library)
    parameters = parameters_for(bundle, backend, {})
    assert parameters.bbox_shift == 5
    assert np.array_equal(boxes_of(bundle, backend, parameters), face_boxes(FRAMES))
    given = given_masks(bundle, backend, parameters)
    assert given is not None and all(np.array_equal(given[frame], masks[frame]) for frame in range(FRAMES))
    told = bundle.manifest["source"]["imported"]
    assert told["masks_kept"] and "Its masks were kept" in " ".join(import_words(told))


@pytest.mark.parametrize("chosen", [{"parsing_mode": "neck"}, {"bbox_shift": -7}, {"upper_boundary_ratio": 0.4}])
def test_whoever_chooses_others_gets_ours(chosen: dict[str, Any], tmp_path: Path, library: AvatarLibrary) -> None:
    """Another shift moves a box of ours, with its mask; another mask belongs to the project's box all the same."""
    bundle = brought(masked_musetalk(tmp_path / "a")[0], tmp_path, library)
    parameters = parameters_for(bundle, "musetalk15", chosen)
    assert given_masks(bundle, "musetalk15", parameters) is None
    kept = np.array_equal(boxes_of(bundle, "musetalk15", parameters), face_boxes(FRAMES))
    assert kept is ("bbox_shift" not in chosen)


@pytest.mark.parametrize("fault", ["another size", "outside of its square", "none", "a box that is none"])
def test_masks_that_do_not_fit_are_left(fault: str, tmp_path: Path, library: AvatarLibrary) -> None:
    """One is enough, and the boxes stay."""
    folder, _ = masked_musetalk(tmp_path / "a")
    x0, y0, x1, y1 = face_boxes(FRAMES)[3]
    squares = pickle.loads((folder / "mask_coords.pkl").read_bytes())
    match fault:
        case "another size":
            cv2.imwrite(str(folder / "mask" / "00000003.png"), np.full((90, 90), 255, np.uint8))
        case "outside of its square":
            squares[3] = [x0 + 3, y0 - 10, x1 + 17, y1 + 10]
        case "a box that is none":
            squares[3] = ["a", None, 3, 4]
        case "none":
            for path in folder.glob("mask/*"):
                path.unlink()
    save_pickle(folder / "mask_coords.pkl", squares)
    bundle = brought(folder, tmp_path, library)
    parameters = parameters_for(bundle, "musetalk15", {})
    assert given_masks(bundle, "musetalk15", parameters) is None and given_boxes(bundle, "musetalk15") is not None
    assert not bundle.manifest["source"]["imported"]["masks_kept"]


def test_masks_larger_than_any_square_around_a_face_are_left(
    tmp_path: Path, library: AvatarLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would take long to decode, however small the pictures are."""
    monkeypatch.setattr("avatars.importers.musetalk.MAX_MASK_PIXELS", 64 * 64)
    bundle = brought(masked_musetalk(tmp_path / "a")[0], tmp_path, library)
    assert given_boxes(bundle, "musetalk15") is not None
    assert not bundle.manifest["source"]["imported"]["masks_kept"]


def test_masks_are_not_scaled(tmp_path: Path, library: AvatarLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that are made smaller have boxes that fit, and masks of ours."""
    monkeypatch.setattr("avatars.importers.reading.MAX_SIDE_PX", SMALL)
    bundle = brought(masked_musetalk(tmp_path / "a")[0], tmp_path, library, SMALL)
    assert given_boxes(bundle, "musetalk15") is not None
    assert given_masks(bundle, "musetalk15", parameters_for(bundle, "musetalk15", {})) is None


@pytest.mark.parametrize("shift", [None, "5", 10**6, True, 2.5])
def test_a_shift_that_makes_no_sense_is_left(shift: Any, tmp_path: Path, library: AvatarLibrary) -> None:
    """It is the project's word, and may be anything."""
    folder, _ = masked_musetalk(tmp_path / "a")
    (folder / "avator_info.json").write_text(json.dumps({"version": "v15", "bbox_shift": shift}))
    assert parameters_for(brought(folder, tmp_path, library), "musetalk15", {}).bbox_shift == 0


def test_masks_that_are_damaged_on_disk_are_told(tmp_path: Path, library: AvatarLibrary) -> None:
    """They are looked at again when they are read."""
    bundle = brought(masked_musetalk(tmp_path / "a")[0], tmp_path, library)
    tensors = load_file(bundle.path / "tensors.safetensors")
    name = "musetalk15/mask_offsets"
    for offsets in (tensors[name][:-1], tensors[name] + 1, tensors[name][::-1].copy()):
        save_file({**tensors, name: offsets}, bundle.path / "tensors.safetensors")
        again = AvatarBundle.open(bundle.path)
        with pytest.raises(BundleError, match="masks of the avatar 'foreign-1' for musetalk15 are damaged"):
            given_masks(again, "musetalk15", parameters_for(again, "musetalk15", {}))
    save_file({**tensors, "musetalk15/masks": tensors["musetalk15/masks"] * 0}, bundle.path / "tensors.safetensors")
    zeros = given_masks(AvatarBundle.open(bundle.path), "musetalk15", parameters_for(bundle, "musetalk15", {}))
    assert zeros is not None
    with pytest.raises(BundleError, match="mask of frame 2 is damaged"):
        zeros[2]


@pytest.mark.parametrize(
    "boxes",
    [
        np.array(crop_boxes(FRAMES - 1), np.int32),
        np.array(crop_boxes(FRAMES), np.int64),
        np.array([(9, 9, 9, 20)] * FRAMES, np.int32),
        np.array([(9, 9, 20, SIDE + 1)] * FRAMES, np.int32),
        np.array([(-1, 9, 20, 20)] * FRAMES, np.int32),
    ],
    ids=["too few", "of another type", "empty", "beyond the picture", "before the picture"],
)
def test_boxes_that_do_not_fit_the_avatar_are_damage(boxes: np.ndarray, imported: Callable[..., AvatarBundle]) -> None:
    """They are looked at again when they are read from disk."""
    path = imported().path
    tensors = load_file(path / "tensors.safetensors")
    save_file({**tensors, "ultralight/boxes": boxes}, path / "tensors.safetensors")
    with pytest.raises(BundleError, match="boxes of the avatar 'foreign-1' for ultralight are damaged"):
        given_boxes(AvatarBundle.open(path), "ultralight")
