"""Files of countless tiny pieces are refused before a decoder sees them; ordinary files of every kind are not."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from avatars.errors import BadMedia
from avatars.pieces import MOST_OTHERS, MOST_PIECES, check_pieces
from avatars.sound import check_sound

MANY = MOST_OTHERS + 100


def picture(folder: Path, kind: str, **options: object) -> bytes:
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
    (tmp_path / "hostile").write_bytes(box(b"ftyp", b"isom") + MOST_PIECES * box(b"mdat"))
    with pytest.raises(BadMedia):
        check_pieces(tmp_path / "hostile")


def test_a_box_of_no_length_ends_the_walk(tmp_path: Path) -> None:
    """What is nonsense, or cut off, is for the decoder to refuse."""
    for content in (bytes(4) + b"free", b"\0\0\0\1mdat" + bytes(8), b"\0\0\0\2free", box(b"moov", b"xx")):
        (tmp_path / "file").write_bytes(box(b"ftyp", b"isom") + content)
        check_pieces(tmp_path / "file")


def test_ordinary_recordings_pass(tmp_path: Path) -> None:
    """Of each form that a walker reads."""
    for form, codec in (
        ("wav", "pcm_s16le"),
        ("flac", "flac"),
        ("mp3", "libmp3lame"),
        ("ogg", "libopus"),
        ("mp4", "aac"),
    ):
        path = tmp_path / f"speech.{form}"
        with av.open(str(path), "w", format=form) as file:
            stream = file.add_stream(codec, rate=48000, layout="mono")
            file.metadata["title"] = "A few words"
            samples = (np.sin(np.arange(48000) / 20) * 8000).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 48000
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                file.mux(packet)
        check_sound(lambda _item: None, path, 600)
