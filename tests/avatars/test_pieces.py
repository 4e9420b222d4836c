"""Files of countless tiny pieces are refused before a decoder sees them; ordinary files of every kind are not."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from avatars.errors import BadMedia
from avatars.pieces import MAX_OTHER_PIECES, MAX_PIECES, check_pieces, family_of
from avatars.sound import check_sound

MANY = MAX_OTHER_PIECES + 100


def picture(folder: Path, kind: str, **options: Any) -> bytes:
    path = folder / f"plain.{kind}"
    ramp = np.linspace(0, 255, 96 * 64, dtype=np.uint8).reshape(64, 96)
    Image.fromarray(ramp).convert("RGB").save(path, **options)
    check_pieces(path)
    return path.read_bytes()


def box(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def comments(count: int) -> bytes:
    return struct.pack("<I", 1) + b"x" + struct.pack("<I", count) + count * b"\3\0\0\0A=x"


def id3(frames: bytes) -> bytes:
    return b"ID3\4\0\0" + bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0)) + frames


def element(name: bytes, content: bytes = b"") -> bytes:
    """Of Matroska, with a length of 8 bytes."""
    return name + b"\x01" + struct.pack(">Q", len(content))[1:] + content


UNKNOWN = b"\x01" + 7 * b"\xff"
"length of an element of Matroska that is written while it is recorded"
MATROSKA = element(b"\x1a\x45\xdf\xa3") + b"\x18\x53\x80\x67" + UNKNOWN


def hostile(folder: Path, kind: str) -> bytes:
    """A file of its kind with MANY pieces that hold neither pictures nor sound."""
    match kind:
        case "jpeg segments":
            return b"\xff\xd8" + MANY * b"\xff\xfe\0\2" + picture(folder, "jpg")[2:]
        case "jpeg fill":
            return b"\xff\xd8" + MANY * b"\xff" + picture(folder, "jpg")[2:]
        case "gif comments":
            gif = picture(folder, "gif")
            return gif[: 13 + 768] + MANY * b"!\xfe\1a\0" + gif[13 + 768 :]
        case "gif crumbs":
            gif = picture(folder, "gif")
            return gif[: 13 + 768] + b"!\xfe" + MANY * b"\1a" + b"\0" + gif[13 + 768 :]
        case "webp chunks":
            return picture(folder, "webp") + MANY * b"junk\0\0\0\0"
        case "avif items":
            return picture(folder, "avif") + box(b"meta", bytes(4) + box(b"iinf", bytes(6) + MANY * box(b"infe")))
        case "mp4 boxes":
            return box(b"ftyp", b"isom") + MANY * box(b"free")
        case "mp4 keys":
            keys = box(b"keys", bytes(8) + MANY * box(b"mdta"))
            return box(b"ftyp", b"isom") + box(b"moov", box(b"meta", box(b"hdlr") + keys))
        case "wav chunks":
            return b"RIFF\0\0\0\0WAVE" + MANY * b"junk\0\0\0\0"
        case "wav texts":
            texts = MANY * b"INAM\2\0\0\0xx"
            return b"RIFF\0\0\0\0WAVELIST" + struct.pack("<I", 4 + len(texts)) + b"INFO" + texts
        case "flac comments":
            block = comments(MANY)
            return b"fLaC\0\0\0\x22" + bytes(34) + b"\x84" + struct.pack(">I", len(block))[1:] + block
        case "flac blocks":
            return b"fLaC\0\0\0\x22" + bytes(34) + MANY * b"\1\0\0\0"
        case "ogg comments":
            return b"OggS" + bytes(23) + b"OpusTags" + comments(MANY)
        case "id3 frames":
            return id3(MANY * b"TXXX\0\0\0\1\0\0\3") + b"\xff\xfb"
        case "id3 tags":
            return MANY * id3(b"") + b"\xff\xfb"
        case "flac behind id3":
            return id3(b"") + b"fLaC\0\0\0\x22" + bytes(34) + MANY * b"\1\0\0\0"
        case "wav id3":
            tag = id3(MANY * b"TXXX\0\0\0\1\0\0\3")
            return b"RIFF\0\0\0\0WAVEid3 " + struct.pack("<I", len(tag)) + tag
        case "mkv tags":
            return MATROSKA + element(b"\x12\x54\xc3\x67", element(b"\x73\x73", MANY * element(b"\x67\xc8")))
        case "mkv tags in tags":
            return MATROSKA + b"\x12\x54\xc3\x67" + UNKNOWN + MANY * (b"\x67\xc8" + UNKNOWN)
        case "mkv chapters":
            return MATROSKA + element(b"\x10\x43\xa7\x70", element(b"\x45\xb9", MANY * element(b"\xb6")))
        case "mkv fillers":
            return MATROSKA + b"\x1f\x43\xb6\x75" + UNKNOWN + MANY * b"\xec\x80"
        case "mkv cues":
            return MATROSKA + element(b"\x1c\x53\xbb\x6b", (MAX_PIECES + 1) * b"\xbb\x80")
        case "ape tail":
            return b"wvpk" + bytes(100) + b"APETAGEX" + struct.pack("<III", 2000, 32, MANY) + bytes(12)
        case "ape tail before id3":
            return hostile(folder, "ape tail") + b"TAG" + bytes(125)
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "jpeg segments",
        "jpeg fill",
        "gif comments",
        "gif crumbs",
        "webp chunks",
        "avif items",
        "mp4 boxes",
        "mp4 keys",
        "wav chunks",
        "wav texts",
        "flac comments",
        "flac blocks",
        "ogg comments",
        "id3 frames",
        "id3 tags",
        "flac behind id3",
        "wav id3",
        "mkv tags",
        "mkv tags in tags",
        "mkv chapters",
        "mkv fillers",
        "mkv cues",
        "ape tail",
        "ape tail before id3",
    ],
)
def test_countless_pieces_are_refused(tmp_path: Path, kind: str) -> None:
    """Of each family of containers, with a remedy."""
    path = tmp_path / "hostile"
    path.write_bytes(hostile(tmp_path, kind))
    with pytest.raises(BadMedia, match="tiny pieces") as caught:
        check_pieces(path)
    assert caught.value.hint


def test_pieces_that_hold_pictures_may_be_many(tmp_path: Path) -> None:
    """A clip in thousands of fragments is an ordinary one; a hundred thousand pieces are not."""
    fragment = box(b"moof", box(b"mfhd")) + box(b"mdat", b"x")
    (tmp_path / "clip").write_bytes(box(b"ftyp", b"isom") + 5000 * fragment)
    check_pieces(tmp_path / "clip")
    (tmp_path / "hostile").write_bytes(box(b"ftyp", b"isom") + MAX_PIECES * box(b"mdat"))
    with pytest.raises(BadMedia):
        check_pieces(tmp_path / "hostile")


def test_a_box_of_no_length_ends_the_walk(tmp_path: Path) -> None:
    """What is nonsense, or cut off, is for the decoder to refuse."""
    for content in (bytes(4) + b"free", b"\0\0\0\1mdat" + bytes(8), b"\0\0\0\2free", box(b"moov", b"xx")):
        (tmp_path / "file").write_bytes(box(b"ftyp", b"isom") + content)
        check_pieces(tmp_path / "file")
    for content in (b"\0", b"\xec", b"\xec\0", b"\xec\x01\xff", b"\xec\xff", b"\x01\x02\x03\x04\x05\x06\x07\x81"):
        (tmp_path / "file").write_bytes(MATROSKA + content)
        check_pieces(tmp_path / "file")


def test_ordinary_recordings_pass(tmp_path: Path) -> None:
    """Of each form that a walker reads."""
    for form, codec in (
        ("wav", "pcm_s16le"),
        ("flac", "flac"),
        ("mp3", "libmp3lame"),
        ("ogg", "libopus"),
        ("mp4", "aac"),
        ("webm", "libopus"),
        ("wv", "wavpack"),
        ("adts", "aac"),
    ):
        path = tmp_path / f"speech.{form}"
        with av.open(str(path), "w", format=form) as file:
            stream = file.add_stream(codec, rate=48000, layout="mono")
            file.metadata["title"] = "A few words"
            samples = (np.sin(np.arange(48000) / 20) * 8000).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 48000
            assert isinstance(stream, av.AudioStream)
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                file.mux(packet)
        check_sound(lambda _item: None, path, 600)


@pytest.mark.parametrize(
    ("kind", "family"), [("jpg", "jpeg"), ("png", "png"), ("gif", "gif"), ("webp", "riff"), ("avif", "boxes")]
)
def test_the_family_of_a_file_is_known_by_its_first_bytes(tmp_path: Path, kind: str, family: str) -> None:
    """Also of one whose tags come first; a file whose pieces are not counted has none."""
    picture(tmp_path, kind)
    assert family_of(tmp_path / f"plain.{kind}") == family
    for start, expected in ((MATROSKA, "matroska"), (id3(b""), "id3"), (b"\xff\xfb\x90", "frames"), (b"FLV\1", "")):
        (tmp_path / "file").write_bytes(start)
        assert family_of(tmp_path / "file") == expected
