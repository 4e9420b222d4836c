import json
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from avatars.bundle import AvatarBundle, decode_jpeg, encode_jpeg
from avatars.bundle_writing import BundleContents, write_bundle
from avatars.errors import BundleError
from models.arrays import ImageArray


def contents(**changes: object) -> BundleContents:
    frames = [encode_jpeg(np.full((48, 64, 3), 40 * index, np.uint8)) for index in range(4)]
    given: dict[str, object] = {
        "id": "one",
        "name": "Ünï 一",
        "kind": "clip",
        "frames": frames,
        "width": 64,
        "height": 48,
        "boxes": np.tile(np.array([8, 8, 40, 40], np.int32), (4, 1)),
        "masks": np.full((1, 32, 32), 200, np.uint8),
        "landmarks": np.zeros((4, 478, 3), np.float32),
        "loop": np.array([0, 1, 2, 3, 2, 1], np.int32),
        "tensors": {"viseme/teeth": np.arange(3, dtype=np.float32)},
    }
    return BundleContents(**{**given, **changes})  # type: ignore[arg-type]


def test_a_bundle_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """Frames, boxes, masks, loop, names and backend tensors survive."""
    bundle = write_bundle(contents(), tmp_path / "one")
    assert (bundle.id, bundle.name, bundle.kind, bundle.width, bundle.height) == ("one", "Ünï 一", "clip", 64, 48)
    assert bundle.frame_count == 4
    assert bundle.duration_s == pytest.approx(6 / 25)
    assert [bundle.frame_index(place) for place in range(8)] == [0, 1, 2, 3, 2, 1, 0, 1]
    assert bundle.frame(2).shape == (48, 64, 3)
    assert abs(int(bundle.frame(2).mean()) - 80) <= 1
    assert bundle.mask(3).shape == (32, 32)
    assert bundle.backend_tensors["viseme/teeth"].tolist() == [0, 1, 2]


def test_the_disk_is_to_keep_all_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones, too, which would wait in a buffer: a power failure must not leave a manifest without them."""
    kept: list[int] = []
    monkeypatch.setattr("avatars.bundle_writing.os.fsync", lambda file: kept.append(os.fstat(file).st_size))
    write_bundle(contents(), tmp_path / "one")
    assert kept == [(tmp_path / "one" / "frames.bin").stat().st_size]


def test_a_frame_belongs_to_the_caller(tmp_path: Path) -> None:
    """Drawing on a frame changes neither the bundle nor the next caller's frame."""
    bundle = write_bundle(contents(), tmp_path / "one")
    bundle.frame(1)[:] = 255
    assert abs(int(bundle.frame(1).mean()) - 40) <= 1


def test_a_bundle_replaces_an_older_one_whole(tmp_path: Path) -> None:
    """Writing again under the same path leaves the new bundle and no rubbish; the old one stays readable while held."""
    old = write_bundle(contents(), tmp_path / "one")
    write_bundle(contents(name="second"), tmp_path / "one")
    assert AvatarBundle.open(tmp_path / "one").name == "second"
    assert old.frame(0).shape == (48, 64, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A full disk in the middle of the frames: no bundle, no staging directory, and what was there is untouched."""
    write_bundle(contents(), tmp_path / "one")

    def frames() -> Iterator[bytes]:
        yield encode_jpeg(np.zeros((48, 64, 3), np.uint8))
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_bundle(contents(frames=frames()), tmp_path / "one")
    with pytest.raises(OSError, match="No space"):
        write_bundle(contents(frames=frames()), tmp_path / "two")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert AvatarBundle.open(tmp_path / "one").frame_count == 4


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": np.zeros((3, 4), np.int32)},
        {"landmarks": np.zeros((4, 68, 3), np.float32)},
        {"loop": np.array([0, 4], np.int32)},
        {"loop": np.zeros(0, np.int32)},
        {"masks": np.zeros((2, 32, 32), np.uint8)},
    ],
)
def test_parts_that_disagree_are_never_written(tmp_path: Path, change: dict[str, object]) -> None:
    """A bundle is checked before it appears."""
    with pytest.raises(BundleError, match="disagree"):
        write_bundle(contents(**change), tmp_path / "one")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["manifest.json", "frames.bin", "tensors.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut", "rubbish"])
def test_a_damaged_bundle_is_refused_with_a_remedy(tmp_path: Path, part: str, damage: str) -> None:
    """Missing, truncated and foreign files raise BundleError, nothing else."""
    path = write_bundle(contents(), tmp_path / "one").path
    file = path / part
    data = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "rubbish":
        file.write_bytes(b"\x80\x04rubbish" * 9)
    with pytest.raises(BundleError) as caught:
        AvatarBundle.open(path)
    assert caught.value.hint


def test_another_version_is_refused_by_name(tmp_path: Path) -> None:
    """A bundle of a later format says so."""
    path = write_bundle(contents(), tmp_path / "one").path
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "version": 99}))
    with pytest.raises(BundleError, match="version 99"):
        AvatarBundle.open(path)


def test_bytes_that_are_no_jpeg_are_told() -> None:
    """A damaged frame raises BundleError."""
    with pytest.raises(BundleError):
        decode_jpeg(b"not a picture")


def test_a_frame_has_the_colours_of_its_file_once_it_is_encoded_again(tmp_path: Path) -> None:
    """Pictures are sent with one colour for 2 x 2 pixels, as they are stored; nothing in between may blur it."""
    rng = np.random.default_rng(5)
    colours = np.kron(rng.integers(60, 190, (24, 32, 3)), np.ones((2, 2, 1))).astype(np.uint8)
    bundle = write_bundle(contents(frames=[encode_jpeg(colours)] * 4), tmp_path / "one")

    def wrong(frame: ImageArray) -> float:
        sent, filmed = (cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)[48:].astype(int) for rgb in (frame, colours))
        return float(np.abs(sent - filmed).mean())

    interpolated = simplejpeg.decode_jpeg(bundle.jpeg(0), "RGB", fastupsample=False)
    assert wrong(bundle.frame(0)) < 0.5 * wrong(np.asarray(interpolated, np.uint8))
