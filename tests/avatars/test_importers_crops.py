"""The boxes by which LiveTalking has cut an ultralight avatar's crops stay with its pictures, or go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clips import SIDE, ScriptedAnalyzer, face_at, moving_portrait
from peer_folders import Box, crop_boxes, livetalking_ultralight, livetalking_wav2lip, save_pickle
from safetensors.numpy import load_file, save_file

from avatars import prepare
from avatars.backend_parts import prepare_parts
from avatars.bundle import AvatarBundle
from avatars.detect import Face
from avatars.errors import BundleError
from avatars.face_crops import CropParameters
from avatars.importers.account import import_words
from avatars.importers.crops import given_boxes
from avatars.library import AvatarLibrary
from avatars.parts_preview import draw_preview
from avatars.prepare import Upload, find_faces, make_loop, read_source, write

FRAMES = 40
SMALL = 160
BOX_GREEN = (80, 220, 120)


def ignore(_part: float) -> None:
    """Progress that nobody looks at."""


def faces(size: float = SIDE) -> list[list[Face]]:
    return [[face_at(x=round(4 * np.sin(index / 4)), size=size)] for index in range(FRAMES)]


@pytest.fixture
def imported(tmp_path: Path, library: AvatarLibrary) -> Callable[..., AvatarBundle]:
    """The avatar of a folder, with these faces found in its pictures and these boxes in place of the peer's."""

    def make(
        found: list[list[Face]] | None = None, boxes: list[Box] | None = None, count: int = FRAMES
    ) -> AvatarBundle:
        path, work = livetalking_ultralight(tmp_path / "avator_1", count), tmp_path / "work"
        if boxes is not None:
            save_pickle(path / "coords.pkl", boxes)
        read_source(Upload(path, "peer-1", "Peer"), work, ignore)
        find_faces(work, ignore, lambda _tracking: ScriptedAnalyzer(found or faces()))
        make_loop(work, ignore)
        return library.open(write(work, library, ignore))

    return make


def account(bundle: AvatarBundle) -> tuple[bool, str]:
    """Whether the boxes are kept, and what is said."""
    told = bundle.manifest["source"]["imported"]
    return told["crops_kept"], " ".join(import_words(told))


def test_the_peers_boxes_belong_to_the_pictures_that_are_used(imported: Callable[..., AvatarBundle]) -> None:
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
    assert kept and "Its boxes were kept for ultralight" in words


def test_the_account_compares_them_with_our_crops(imported: Callable[..., AvatarBundle]) -> None:
    """With the crop that we would cut for that network, and not with the whole face, of which they are a part."""
    told = imported().manifest["source"]["imported"]
    assert (told["crops_of"], told["compared"]) == ("ultralight", FRAMES)
    assert 0.75 < told["median_iou"] < 0.99


@pytest.mark.parametrize("backend", ["ultralight", "wav2lip96"])
def test_preparing_for_the_network_takes_them(
    backend: str, imported: Callable[..., AvatarBundle], tmp_path: Path
) -> None:
    """For it, and for no other; what a person is shown beforehand is the same."""
    bundle, parameters = imported(), CropParameters.of(backend)
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
    """The peer cut its crops off there, too."""
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


def test_a_still_moves_away_from_them(imported: Callable[..., AvatarBundle], monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture is brought to life here, and nobody has boxed the pictures that come of it."""
    monkeypatch.setattr(prepare, "enliven", lambda picture, landmarks, _closed: [(picture, landmarks)] * 3)
    bundle = imported([[face_at()], [face_at(size=512)]], count=1)
    assert bundle.kind == "still" and given_boxes(bundle, "ultralight") is None
    assert account(bundle)[0] is False and bundle.manifest["source"]["imported"]["median_iou"] > 0.8


def test_other_peers_boxes_are_not_kept(tmp_path: Path, library: AvatarLibrary) -> None:
    """Networks for every face are used to every detector; nothing is said of it."""
    work = tmp_path / "work"
    read_source(Upload(livetalking_wav2lip(tmp_path / "a", FRAMES), "peer-1", "Peer"), work, ignore)
    find_faces(work, ignore, lambda _tracking: ScriptedAnalyzer(faces()))
    make_loop(work, ignore)
    bundle = library.open(write(work, library, ignore))
    assert all(given_boxes(bundle, backend) is None for backend in ("wav2lip256", "ultralight"))
    assert account(bundle)[0] is False and "boxes are used" not in account(bundle)[1]


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
    with pytest.raises(BundleError, match="boxes of the avatar 'peer-1' for ultralight are damaged"):
        given_boxes(AvatarBundle.open(path), "ultralight")
