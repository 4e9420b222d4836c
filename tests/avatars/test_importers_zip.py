"""Zips of foreign avatars: hostile, damaged and oddly written ones. No file of a zip is ever unpacked."""

from __future__ import annotations

import os
import pickle
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clips import moving_portrait
from foreign_folders import (
    livetalking_wav2lip,
    refuse,
    zipped,
)

from avatars.errors import BadImport
from avatars.importers import folder as folders
from avatars.importers.reading import check_import, is_import, open_foreign

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("read_here")]


def zip_with(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    """A zip of an avatar's coords.pkl and these."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/coords.pkl", pickle.dumps([(0, 1, 0, 1)]))
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png", "\\evil.png"]
)
def test_paths_that_lead_out_of_a_zip_are_refused(name: str, tmp_path: Path) -> None:
    """Absolute paths, parents and drives are named; and nothing of a zip is unpacked in any case."""
    path = zip_with(tmp_path / "a.zip", (zipfile.ZipInfo(name), b"x"))
    refuse(path, tmp_path / "work", "whose path leads out of it")
    assert [one.name for one in tmp_path.rglob("*.png")] == []


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    """A symbolic link is no file of an avatar."""
    link = zipfile.ZipInfo("a/full_imgs")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refuse(zip_with(tmp_path / "a.zip", (link, b"/etc")), tmp_path / "work", "has a link 'a/full_imgs'")


def test_a_bomb_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    """Zeros that shrink a thousand times: refused by what the zip claims to hold."""
    path = zip_with(tmp_path / "a.zip", ("a/full_imgs/00000000.png", bytes(40 * 2**20)))
    assert path.stat().st_size < 2**17
    refuse(path, tmp_path / "work", "claims to hold 40 MB, more than 100 times its own size")


def test_too_many_and_too_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both limits, of zips and of folders."""
    path = livetalking_wav2lip(tmp_path / "a", 6)
    monkeypatch.setattr(folders, "MAX_UNPACKED_BYTES", 1000)
    refuse(zipped(path), tmp_path / "work", "The zip holds 0.0 GB")
    monkeypatch.setattr(folders, "MAX_FILES", 5)
    refuse(zipped(path), tmp_path / "work", "The zip has 15 files and folders; at most 5")
    refuse(path, tmp_path / "work", "more than 5 files and folders")


def zip_of_entries(path: Path, entries: int, told: int, wide: bool) -> Path:
    """A zip of so many empty folders that tells of `told`; `wide`: told by a zip64 record."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/", b"")
    small = path.read_bytes()
    start, stop = small.index(b"PK\x01\x02"), small.index(b"PK\x05\x06")
    listed = small[start:stop] * entries
    end = start + len(listed)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, told, told, len(listed), start)
    record += struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    short = (0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1) if wide else (told, told, len(listed), start)
    last = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *short, 0)
    path.write_bytes(small[:start] + listed + (record if wide else b"") + last)
    return path


@pytest.mark.parametrize("wide", [False, True], ids=["zip", "zip64"])
@pytest.mark.parametrize("told", [1, 20_001])
def test_a_list_of_too_many_files_is_refused_before_it_is_parsed(
    told: int, wide: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders count, the number that a zip tells does not; and the list may not be long in bytes, either."""
    few = zip_of_entries(tmp_path / "few.zip", 3, 3, wide)
    refuse(few, tmp_path / "work", "no coords.pkl is in it")
    many = zip_of_entries(tmp_path / "many.zip", 20_001, told, wide)
    monkeypatch.setattr(zipfile, "ZipInfo", None)
    refuse(many, tmp_path / "work", "The zip has 20001 files and folders; at most 20000")
    monkeypatch.setattr(folders, "MAX_DIRECTORY_BYTES", 2**19)
    refuse(many, tmp_path / "work", "list of files has 1 MB")


def test_no_more_is_inflated_than_a_file_claims(tmp_path: Path) -> None:
    """A picture that claims a hundred bytes and holds 64 MB costs a piece of memory, not all of it."""
    path = zip_with(tmp_path / "a.zip", ("a/face_imgs/0.png", bytes(2**26)))
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 2**26), struct.pack("<L", 100)))
    tracemalloc.start()
    try:
        with pytest.raises(BadImport, match=r"face_imgs/0\.png cannot be read"):
            check_import(path)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_the_check_of_an_upload_reads_no_large_picture(tmp_path: Path) -> None:
    """Nobody needs megabytes for a face of 168 px."""
    path = zip_with(tmp_path / "a.zip", ("a/face_imgs/0.png", os.urandom(5 * 2**20)))
    with pytest.raises(BadImport, match=r"face_imgs/0\.png has 5 MB; at most 4"):
        check_import(path)


def renamed(path: Path, rename: Callable[[str], str]) -> Path:
    """The same zip with other names, as other programs write them."""
    other = path.with_name(f"{path.stem}-renamed.zip")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as written:
        for one in archive.infolist():
            written.writestr(rename(one.filename), archive.read(one))
    return other


@pytest.mark.parametrize("inside", [True, False], ids=["folder", "files"])
@pytest.mark.parametrize(
    "rename", [lambda name: name.replace("/", "\\"), lambda name: f"./{name}", lambda name: name.replace("/", "//")]
)
def test_names_of_other_zip_programs_are_understood(rename: Callable[[str], str], inside: bool, tmp_path: Path) -> None:
    """Backslashes, names that begin with ./, and doubled slashes are the same paths."""
    path = renamed(zipped(livetalking_wav2lip(tmp_path / "Emma", 3), inside=inside), rename)
    check_import(path)
    with open_foreign(path) as avatar:
        assert np.array_equal(avatar.pictures.decode(2), moving_portrait(3)[2])


def test_names_that_cannot_be_decoded_are_refused(tmp_path: Path) -> None:
    """A name that is said to be UTF-8 and is not, in the list of files or where the file begins."""
    path = renamed(zipped(livetalking_wav2lip(tmp_path / "a", 2)), lambda name: name.replace("a/", "é/", 1))
    whole, name, wrong = path.read_bytes(), "é/".encode(), b"\xff\xff/"
    start = whole.index(b"PK\x01\x02")
    path.write_bytes(whole[:start] + whole[start:].replace(name, wrong))
    refuse(path, tmp_path / "work", "The zip cannot be read")
    path.write_bytes(whole[:start].replace(name, wrong) + whole[start:])
    refuse(path, tmp_path / "work", r"face_imgs/00000000\.png cannot be read")


def test_names_with_endless_numbers_are_no_pictures(tmp_path: Path) -> None:
    """A number of thousands of digits is more than Python reads; nobody numbers pictures so."""
    path = zip_with(tmp_path / "a.zip", (f"a/face_imgs/{'1' * 5000}.png", b"x"))
    refuse(path, tmp_path / "work", "of no project that is known")


def test_encrypted_and_oddly_packed_zips_are_refused(tmp_path: Path) -> None:
    """What would fail in the middle is told at the start."""
    odd = zipfile.ZipInfo("a/x.png")
    odd.compress_type = zipfile.ZIP_LZMA
    refuse(zip_with(tmp_path / "a.zip", (odd, b"x" * 99)), tmp_path / "work", "packed in an unusual way")
    path = zip_with(tmp_path / "b.zip")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refuse(path, tmp_path / "work", "is encrypted")


def test_damaged_zips_are_refused(tmp_path: Path) -> None:
    """Cut off, or with other bytes than its sums say."""
    whole = zipped(livetalking_wav2lip(tmp_path / "a", 2)).read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole[: len(whole) // 2])
    refuse(cut, tmp_path / "work", "The zip cannot be read")
    changed = bytearray(whole)
    place = whole.index(b"a/full_imgs/00000000.png") + 200
    changed[place : place + 8] = bytes(8)
    cut.write_bytes(changed)
    refuse(cut, tmp_path / "work", r"full_imgs/00000000\.png cannot be read")


def test_photos_and_clips_are_no_imports(tmp_path: Path) -> None:
    """A zip is told by its first bytes, whatever its name."""
    photo = tmp_path / "photo.zip"
    photo.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert not is_import(photo) and not is_import(tmp_path / "absent")
    path = zipped(livetalking_wav2lip(tmp_path / "a", 2))
    assert is_import(path.rename(tmp_path / "upload.mp4"))
