"""Where the person is in each frame of an avatar: kept small, and good enough to cut the person out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatars.errors import BundleError
from avatars.mattes import Mattes, MattesMaker, cut_out

SIDE = 128
LOOP = np.array([0, 1, 2, 3, 2, 1], np.int32)


def disc(x: float) -> np.ndarray:
    """A matte, uint8 (SIDE, SIDE): a disc with an edge that is soft over 6 px."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.round(255 * np.clip((40 - np.hypot(columns - x, rows - SIDE / 2)) / 6, 0, 1)).astype(np.uint8)


def made(*places: float) -> Mattes:
    maker = MattesMaker()
    for x in places:
        maker.add(disc(x))
    return maker.made(np.full((SIDE, SIDE, 3), 200, np.uint8))


def test_mattes_are_read_as_they_were_written(tmp_path: Path) -> None:
    """A file has a matte for every frame and every place of the loop, and they look like what was put in."""
    file = tmp_path / "mattes.bin"
    file.write_bytes(made(50, 60, 60, 70).to_bytes(LOOP))
    mattes = Mattes.open(file)
    assert mattes is not None
    for frame, x in enumerate((50, 60, 60, 70)):
        assert np.abs(mattes.matte(frame).astype(int) - disc(x)).max() < 24
        assert mattes.matte(frame)[:8].max() == 0
    length = int.from_bytes(file.read_bytes()[:4], "little")
    facts = json.loads(file.read_bytes()[4 : 4 + length])
    assert facts["places"] == [0, 1, 1, 2, 1, 1] and (facts["width"], facts["height"]) == (SIDE, SIDE)


def test_frames_that_look_alike_share_a_matte() -> None:
    """What does not move is kept once; what moves by pixels is not."""
    assert len(made(50, 50.0, 50.3, 55, 55).jpegs) == 2


def test_there_are_none_where_nothing_was_kept(tmp_path: Path) -> None:
    """An avatar without the file has no mattes."""
    assert Mattes.open(tmp_path / "mattes.bin") is None


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:3], lambda data: b"\xff" * 40])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """It is an error with a remedy, not a picture with holes."""
    file = tmp_path / "mattes.bin"
    file.write_bytes(damage(made(50, 60, 60, 70).to_bytes(LOOP)))
    with pytest.raises(BundleError, match="cannot be read"):
        Mattes.open(file)


def test_who_is_cut_out_takes_no_background_along() -> None:
    """At a soft edge the colour is the person's own, whatever the background was."""
    matte = disc(64)
    share = matte[..., None] / 255
    background = np.full((SIDE, SIDE, 3), (20, 220, 20), np.uint8)
    picture = np.round(share * (200, 40, 30) + (1 - share) * background).astype(np.uint8)
    person = cut_out(picture, matte, background)
    assert np.array_equal(person[..., 3], matte)
    assert np.abs(person[matte > 40][:, :3].astype(int) - (200, 40, 30)).max() <= 6


def test_the_still_has_alpha(tmp_path: Path) -> None:
    """A WebP whose corners are transparent and whose middle is not."""
    file = tmp_path / "still.webp"
    file.write_bytes(made(64).still(np.full((SIDE, SIDE, 3), 90, np.uint8)))
    with Image.open(file) as image:
        alpha = np.array(image.convert("RGBA"))[..., 3]
    assert alpha[0, 0] == 0 and alpha[64, 64] == 255


def test_the_matte_of_a_size_that_is_large_is_kept_smaller() -> None:
    """384 px are enough for soft edges; the frame's own size comes back."""
    maker = MattesMaker()
    maker.add(np.zeros((1024, 768), np.uint8))
    mattes = maker.made(np.zeros((1024, 768, 3), np.uint8))
    assert b'"width":288,"height":384' in mattes.to_bytes(np.zeros(1, np.int32))
    assert mattes.matte(0).shape == (1024, 768)


def test_what_is_the_person_throughout_is_so_in_every_frame() -> None:
    """Of a disc that moves, the middle that all its places share."""
    throughout = made(50, 60, 70).person_throughout()
    shared = np.minimum(disc(50), disc(70))
    assert np.abs(throughout.astype(int) - shared).max() < 24
