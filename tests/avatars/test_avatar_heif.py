"""A phone's HEIC becomes the photo that the phone shows, and a hostile one a refusal."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatars.colour import matrix_profile
from avatars.confined import QUICK_LOOK, run_confined
from avatars.errors import BadMedia
from avatars.media import probe, read_photo
from avatars.source import DECODING, Upload, check_source, decode_source
from pipeline.types import ImageArray
from tests.heif_files import MATRIX_601_FULL, box, irot, write_heic

pytestmark = pytest.mark.thorough

CORNERS = np.array([[(200, 30, 30), (40, 150, 60)], [(40, 60, 170), (224, 172, 150)]], np.uint8)
"one colour a corner"
P3 = matrix_profile((0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060), 2.2)


def picture(tall: int = 128, wide: int = 192) -> ImageArray:
    return np.ascontiguousarray(CORNERS.repeat(tall // 2, 0).repeat(wide // 2, 1))


def assert_same(got: ImageArray, wanted: ImageArray, levels: int = 3) -> None:
    assert got.shape == wanted.shape
    assert np.abs(got.astype(int) - wanted).max() <= levels


@pytest.mark.parametrize("tile_px", [None, 64])
def test_a_heic_in_one_piece_or_in_tiles_is_one_picture(tmp_path: Path, tile_px: int | None) -> None:
    """A phone codes its photo as a grid of tiles, others in one piece: the same picture comes out."""
    path = write_heic(tmp_path / "photo.jpg", picture(), tile_px)
    info = probe(path)
    assert (info.kind, info.format, info.width, info.height) == ("photo", "HEIC", 192, 128)
    assert_same(read_photo(path), picture())


def test_a_grid_may_be_smaller_than_its_tiles_together(tmp_path: Path) -> None:
    """The last tiles reach beyond the edge; what is beyond is cut off."""
    path = write_heic(tmp_path / "a.heic", picture(), 64, size=(180, 100))
    assert_same(read_photo(path), picture()[:100, :180])


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ([irot(1)], lambda rgb: np.rot90(rgb, 1)),
        ([irot(3)], lambda rgb: np.rot90(rgb, 3)),
        ([box(b"imir", b"\0")], np.flipud),
        ([box(b"imir", b"\1")], np.fliplr),
        ([irot(1), box(b"imir", b"\1")], lambda rgb: np.fliplr(np.rot90(rgb, 1))),
        (
            [box(b"clap", struct.pack(">IIIIiIiI", 100, 1, 80, 1, -46, 1, 0, 1)), irot(2)],
            lambda rgb: np.rot90(rgb[24:104, :100], 2),
        ),
    ],
)
@pytest.mark.parametrize("tile_px", [None, 64])
def test_a_heic_is_turned_as_it_says(
    tmp_path: Path, changes: list[bytes], wanted: Callable[[ImageArray], ImageArray], tile_px: int | None
) -> None:
    """A phone held upright only writes that its photo is to be turned."""
    path = write_heic(tmp_path / "a.heic", picture(), tile_px, changes=changes)
    upright = wanted(picture())
    assert_same(read_photo(path), upright)
    if len(changes) == 1:
        assert (probe(path).width, probe(path).height) == (upright.shape[1], upright.shape[0])


@pytest.mark.parametrize("colours", [[b"prof" + P3], [b"prof" + P3, MATRIX_601_FULL], [MATRIX_601_FULL, b"rICC" + P3]])
def test_a_heic_is_shown_in_the_colours_of_its_profile(tmp_path: Path, colours: list[bytes]) -> None:
    """Display P3 of an iPhone is converted as it is for a JPEG with the same profile."""
    reference = tmp_path / "reference.png"
    Image.fromarray(picture()).save(reference, icc_profile=P3)
    assert np.abs(read_photo(reference).astype(int) - picture()).max() > 20
    assert_same(read_photo(write_heic(tmp_path / "a.heic", picture(), 64, colours)), read_photo(reference))


def test_a_heic_without_a_word_about_its_colours_is_taken_as_the_standard_says(tmp_path: Path) -> None:
    """BT.601 and sRGB, in the range that its tiles are coded in."""
    assert_same(read_photo(write_heic(tmp_path / "a.heic", picture(), None, ())), picture())


def test_a_heic_by_its_code_points(tmp_path: Path) -> None:
    """Wide primaries without a profile are converted by their numbers."""
    wide = b"nclx" + struct.pack(">HHHB", 12, 13, 6, 0x80)
    path = tmp_path / "reference.png"
    Image.fromarray(picture()).save(path)
    data = path.read_bytes()
    chunk = b"cICP" + bytes([12, 13, 0, 1])
    path.write_bytes(data[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:])
    assert_same(read_photo(write_heic(tmp_path / "a.heic", picture(), 64, [wide])), read_photo(path))


def test_a_heic_goes_the_confined_way_of_every_upload(tmp_path: Path) -> None:
    """It is looked at and decoded in the process for strangers' files, with that one's limits."""
    path = write_heic(tmp_path / "a.heic", picture(), 64)
    run_confined(check_source, QUICK_LOOK, lambda _item: None, path)
    output = tmp_path / "out"
    output.mkdir()
    facts = run_confined(decode_source, DECODING, lambda _item: None, Upload(path, "id", "name"), output)
    assert (facts["kind"], facts["source"]["format"]) == ("still", "HEIC")
    assert_same(np.load(output / "photo.npy"), picture())


def test_a_heic_over_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """The size that the file tells counts, and nothing is allocated for it."""
    path = write_heic(tmp_path / "a.heic", picture(), size=(20_000, 20_000))
    with pytest.raises(BadMedia, match="400 megapixels"):
        read_photo(path)


@pytest.mark.parametrize("tile_px", [None, 64])
def test_a_heic_that_is_smaller_than_it_says_is_refused(tmp_path: Path, tile_px: int | None) -> None:
    """What no tile covers is not left black."""
    with pytest.raises(BadMedia, match="damaged"):
        read_photo(write_heic(tmp_path / "a.heic", picture(), tile_px, size=(500, 400)))


def test_no_damage_ends_otherwise_than_as_a_refusal(tmp_path: Path) -> None:
    """Cut anywhere, or with any byte of its description changed, a HEIC is refused in words, or read."""
    path = write_heic(tmp_path / "a.heic", picture(128, 128), 64, [b"prof" + P3], [irot(1)])
    whole = path.read_bytes()
    meta_end = whole.index(b"mdat")
    variants = [whole[:end] for end in range(24, len(whole), len(whole) // 40)]
    flipped = (whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :] for place in range(24, meta_end, 17))
    variants.extend(flipped)
    refused = []
    for data in variants:
        path.write_bytes(data)
        try:
            assert read_photo(path).ndim == 3
        except BadMedia as error:
            refused.append(error.hint)
    assert len(refused) >= 40 and all(refused)


def test_a_heif_of_another_coding_is_named(tmp_path: Path) -> None:
    """What is no HEVC inside is refused with the way out."""
    path = write_heic(tmp_path / "a.heic", picture())
    path.write_bytes(path.read_bytes().replace(b"hvc1", b"jpeg"))
    with pytest.raises(BadMedia, match="HEIF") as refused:
        probe(path)
    assert "JPEG" in refused.value.hint


def test_an_avif_that_calls_itself_heif_is_read(tmp_path: Path) -> None:
    """Some programs put the common brand first and AVIF's own second."""
    path = tmp_path / "a.avif"
    Image.fromarray(picture()).save(path, quality=95, subsampling="4:4:4")
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"mif1" + data[12:])
    assert b"avif" in data[16:40]
    assert_same(read_photo(path), picture(), levels=8)
