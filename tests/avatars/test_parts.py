"""What a backend needs of an avatar, on disk: kept, read row by row, and refused when it is not whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import avatars.parts
from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotFound, AvatarNotPrepared, BundleError
from avatars.library import AvatarLibrary
from avatars.parts import (
    PARTS_VERSION,
    BackendParts,
    bundle_fingerprint,
    networks_of,
    parts_path,
    prepared_for,
    write_parts,
)
from tests.portraits import portrait_bundle

BOXES = np.array([[10, 20, 30, 50], [11, 20, 33, 48]], np.int32)


def masks() -> list[np.ndarray]:
    return [np.full((y1 - y0, x1 - x0), 100 + x0, np.uint8) for x0, y0, x1, y1 in BOXES]


def write(bundle: AvatarBundle, **changes: Any) -> BackendParts:
    contents: dict[str, Any] = {
        "boxes": BOXES,
        "masks": masks(),
        "rows": {"latents": np.arange(2 * 8 * 4, dtype=np.float16).reshape(2, 8, 2, 2)},
        "parameters": {"parsing_mode": "jaw"},
    }
    return write_parts(bundle, "musetalk15", **{**contents, **changes})


@pytest.fixture
def bundle(tmp_path: Path) -> AvatarBundle:
    return portrait_bundle(tmp_path / "ada", size=128, shifts=(0, 1))


def test_parts_come_back_as_they_were_written(bundle: AvatarBundle) -> None:
    """Boxes, masks of different sizes, rows and parameters of each frame are those that were stored."""
    write(bundle)
    parts = BackendParts.open(bundle, "musetalk15")
    assert np.array_equal(parts.boxes, BOXES)
    assert all(np.array_equal(parts.mask(i), mask) for i, mask in enumerate(masks()))
    latents = parts.row("latents", 1)
    assert latents.dtype == np.float16 and latents.shape == (8, 2, 2) and latents[0, 0, 0] == 32
    assert parts.parameters == {"parsing_mode": "jaw"}
    with pytest.raises(KeyError):
        parts.row("faces", 0)


def test_an_avatar_without_parts_says_how_to_get_them(bundle: AvatarBundle) -> None:
    """Each backend has parts of its own; the error of one that is missing names the command."""
    write(bundle)
    with pytest.raises(AvatarNotPrepared, match="prepare ada --for wav2lip256"):
        BackendParts.open(bundle, "wav2lip256")


def test_parts_go_with_their_avatar(bundle: AvatarBundle) -> None:
    """Deleting an avatar deletes its parts; whoever has them open may go on reading."""
    parts = write(bundle)
    AvatarLibrary(bundle.path.parent).delete("ada")
    assert not parts_path(bundle, "musetalk15").exists()
    assert parts.mask(1).shape == (28, 22)


def test_parts_of_an_older_avatar_of_that_id_do_not_count(bundle: AvatarBundle, tmp_path: Path) -> None:
    """An avatar that was made again needs its parts made again, even if the old ones got into its folder."""
    write(bundle)
    other = portrait_bundle(tmp_path / "other", "man", size=128, shifts=(0, 1))
    shutil.copytree(bundle.path / "parts", other.path / "parts")
    with pytest.raises(AvatarNotPrepared):
        BackendParts.open(other, "musetalk15")


def test_parts_of_another_version_do_not_count(bundle: AvatarBundle) -> None:
    """What another version of Vivavoce wrote is made again instead of being misread."""
    write(bundle)
    path = parts_path(bundle, "musetalk15")
    save_file(load_file(path), path, {"version": "0", "bundle": bundle_fingerprint(bundle), "parameters": "{}"})
    with pytest.raises(AvatarNotPrepared):
        BackendParts.open(bundle, "musetalk15")


def test_what_an_avatar_is_prepared_for_is_told_from_headers(bundle: AvatarBundle) -> None:
    """Each backend with what was used, without one that is half written and without opening the avatar."""
    assert prepared_for(bundle.path) == {}
    write(bundle)
    shutil.copyfile(parts_path(bundle, "musetalk15"), bundle.path / "parts" / ".wav2lip96.safetensors")
    (bundle.path / "frames.bin").unlink()
    assert prepared_for(bundle.path) == {"musetalk15": {"parsing_mode": "jaw"}}


@pytest.mark.parametrize(
    "metadata",
    [
        {"version": "0", "parameters": "{}"},
        {"version": PARTS_VERSION, "parameters": "[]"},
        {"version": PARTS_VERSION, "parameters": "{"},
        {"version": PARTS_VERSION},
        None,
    ],
    ids=["version", "no object", "no JSON", "no parameters", "nothing"],
)
def test_parts_that_could_not_be_used_are_not_told(bundle: AvatarBundle, metadata: dict[str, str] | None) -> None:
    """Those of another version and those that say nothing are as if they were not there."""
    write(bundle)
    path = parts_path(bundle, "musetalk15")
    save_file(load_file(path), path, metadata)
    assert prepared_for(bundle.path) == {}


def test_a_backend_with_a_network_for_each_avatar_needs_that_too(bundle: AvatarBundle) -> None:
    """Ultralight's parts count once the avatar's own network lies beside them."""
    path = parts_path(bundle, "ultralight")
    write(bundle)
    parts_path(bundle, "musetalk15").rename(path)
    assert (prepared_for(bundle.path), networks_of(bundle.path)) == ({}, [])
    path.with_suffix(".pth").write_bytes(b"weights")
    assert (list(prepared_for(bundle.path)), networks_of(bundle.path)) == (["ultralight"], ["ultralight"])


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
def test_a_truncated_file_is_refused(bundle: AvatarBundle, kept: int) -> None:
    """A file that lost its end is damaged, and the error says what to do."""
    write(bundle)
    path = parts_path(bundle, "musetalk15")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BundleError, match="Prepare the avatar for musetalk15 again"):
        BackendParts.open(bundle, "musetalk15")
    assert prepared_for(bundle.path) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"boxes": np.array([[10, 20, 30, 50], [11, 20, 2**30, 48]], np.int32)},
        {"boxes": np.array([[-5, 20, 15, 50], [11, 20, 33, 48]], np.int32)},
        {"boxes": np.array([[30, 20, 10, 50], [11, 20, 33, 48]], np.int32)},
        {"boxes": BOXES[:1]},
        {"mask_offsets": np.array([0, 10**12, 1216], np.int64)},
        {"masks": np.zeros(7, np.uint8)},
        {"latents": np.zeros((1, 8, 2, 2), np.float16)},
    ],
    ids=["beyond", "negative", "turned", "too few", "far offsets", "short masks", "short rows"],
)
def test_a_hostile_file_is_refused(bundle: AvatarBundle, changes: dict[str, np.ndarray]) -> None:
    """A well-formed file whose numbers point outside the picture or the file is refused when it is opened."""
    write(bundle)
    path = parts_path(bundle, "musetalk15")
    metadata = {"version": PARTS_VERSION, "bundle": bundle_fingerprint(bundle), "parameters": "{}"}
    save_file({**load_file(path), **changes}, path, metadata)
    with pytest.raises(BundleError, match="damaged"):
        BackendParts.open(bundle, "musetalk15")


def test_parts_that_do_not_fit_replace_nothing(bundle: AvatarBundle) -> None:
    """Masks of other sizes than their boxes are an error at once, and what was there stays."""
    write(bundle)
    with pytest.raises(BundleError):
        write(bundle, masks=[np.zeros((3, 3), np.uint8)] * 2)
    assert BackendParts.open(bundle, "musetalk15").mask(0).shape == (30, 20)
    assert [path.name for path in (bundle.path / "parts").iterdir()] == ["musetalk15.safetensors"]


def test_two_writers_do_not_disturb_each_other(bundle: AvatarBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command beside the portal's job: both end well, the last one's parts are there, and nothing else."""

    def another_comes_and_ends(*given: Any) -> None:
        save_file(*given)
        monkeypatch.setattr(avatars.parts, "save_file", save_file)
        write(bundle, parameters={"parsing_mode": "raw"})

    monkeypatch.setattr(avatars.parts, "save_file", another_comes_and_ends)
    write(bundle)
    assert BackendParts.open(bundle, "musetalk15").parameters == {"parsing_mode": "jaw"}
    assert [path.name for path in (bundle.path / "parts").iterdir()] == ["musetalk15.safetensors"]


def test_what_killed_writers_left_is_swept(bundle: AvatarBundle) -> None:
    """Old hidden files of the same parts go with the next write; a young one may be somebody's who writes now."""
    write(bundle)
    path = parts_path(bundle, "musetalk15")
    old, older, young = (path.with_name(f".{path.name}{ending}") for ending in ("", ".01234567", ".89abcdef"))
    for left in (old, older, young):
        left.write_bytes(b"half")
    for left in (old, older):
        os.utime(left, (0, 0))
    write(bundle)
    assert {left.name for left in path.parent.iterdir()} == {path.name, young.name}


def test_an_avatar_deleted_meanwhile_is_said_to_be_gone(bundle: AvatarBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before or in the middle of the write: a plain error, and no folder comes back."""

    def deleted_meanwhile(*given: Any) -> None:
        save_file(*given)
        AvatarLibrary(bundle.path.parent).delete("ada")

    monkeypatch.setattr(avatars.parts, "save_file", deleted_meanwhile)
    for _ in range(2):
        with pytest.raises(AvatarNotFound, match="deleted"):
            write(bundle)
        assert not bundle.path.exists()


@pytest.mark.parametrize("wrong", [masks()[:1], [*masks(), masks()[0]], [masks()[0], masks()[1].T]])
def test_masks_that_are_not_those_of_the_boxes_are_refused(bundle: AvatarBundle, wrong: list[np.ndarray]) -> None:
    """One for each box, of its size; a turned one has as many pixels."""
    with pytest.raises(BundleError):
        write(bundle, masks=wrong)
    assert not parts_path(bundle, "musetalk15").exists()
