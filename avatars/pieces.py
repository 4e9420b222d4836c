"""Refuses files that consist of countless tiny pieces, by counting them before a decoder reads every one.

Each family of containers has a walker, which reads the lengths of pieces and skips their contents. For each piece it
yields whether the piece holds pictures or sound: many of these are allowed, but few others. It runs in
avatars.confined.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from avatars.errors import BadMedia
from avatars.signatures import HEAD_BYTES, MP4_BOXES, first_bytes

__all__ = ["MAX_OTHER_PIECES", "MAX_PIECES", "START_OF_SCAN", "check_pieces", "family_of"]

MAX_PIECES: Final = 200_000
"""Limit for pieces with pictures or sound. A clip of five minutes with 20 ms of sound or one picture in each has
150,000."""
MAX_OTHER_PIECES: Final = 2000
"Limit for other pieces (texts, marks and so on). Ordinary files have about 20, a phone's tiled picture 100."

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
PNG_PICTURES: Final = frozenset({b"IDAT", b"fdAT", b"fcTL"})
JPEG_START: Final = b"\xff\xd8\xff"
JPEG_SCAN: Final = 0xDA
START_OF_SCAN: Final = bytes((0xFF, JPEG_SCAN))
"This marker never occurs inside the coded data of a JPEG, only before it."
GIF_EXTENSION: Final = b"!"
GIF_PICTURE: Final = b","
GIF_WHOLE_BLOCK: Final = 254
"Bytes in a full block. Encoders fill the blocks of a picture, so only a shorter one counts as a tiny piece."
BOXES_WITHIN: Final = {
    **dict.fromkeys((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta", b"mvex", b"tref"), 0),
    **dict.fromkeys((b"moof", b"traf", b"ilst", b"iprp", b"ipco", b"wave"), 0),
    **dict.fromkeys((b"meta", b"iref"), 4),
    **dict.fromkeys((b"keys", b"stsd", b"dref"), 8),
    b"iinf": 6,
}
"Boxes of MP4, MOV, HEIF and AVIF that contain boxes -> number of bytes before the first of these."
BOXES_OF_STREAMS: Final = frozenset(
    {b"mdat", b"moof", b"traf", b"tfhd", b"tfdt", b"trun", b"mfhd", b"styp", b"sidx", b"prft"}
)
RIFF_LISTS: Final = (b"LIST", b"RIFF")
RIFF_PICTURES: Final = frozenset({b"ANMF", b"data"})
RIFF_ID3: Final = b"id3 "
FLAC_COMMENTS: Final = 4
OGG_COMMENTS: Final = (b"OpusTags", b"\x03vorbis")
OGG_HEAD_BYTES: Final = 65_536
"The comments of an Ogg file begin within this many bytes."
EBML_MASTERS: Final = frozenset(
    (
        *(b"\x18\x53\x80\x67", b"\x11\x4d\x9b\x74", b"\x16\x54\xae\x6b", b"\xae"),  # Segment, SeekHead, Tracks, one
        *(b"\x12\x54\xc3\x67", b"\x73\x73", b"\x67\xc8"),  # Tags, Tag, SimpleTag, which may lie in another one
        *(b"\x10\x43\xa7\x70", b"\x45\xb9", b"\xb6", b"\x80"),  # Chapters, edition, chapter, its name
        *(b"\x19\x41\xa4\x69", b"\x61\xa7", b"\x1c\x53\xbb\x6b"),  # Attachments, one, Cues
    )
)
"Elements of Matroska and WebM that contain other elements."
EBML_OTHERS: Final = frozenset(
    (b"\x73\x73", b"\x67\xc8", b"\x45\xb9", b"\xb6", b"\x80", b"\x61\xa7", b"\xae", b"\x4d\xbb", b"\xec", b"\xbf")
)
"Elements that count as others: those that a reader stores one by one, entries of the SeekHead, and padding."
EBML_CLUSTER: Final = b"\x1f\x43\xb6\x75"
APE_TAIL: Final = b"APETAGEX"
APE_TAIL_BYTES: Final = 32
ID3V1_BYTES: Final = 128
"Length of the ID3v1 tag that may follow an APE tag."


def family_of(path: Path) -> str:
    """Return the name of the walker for a file, by its first bytes; "" if there is none."""
    return _family_of(first_bytes(path))


def _family_of(head: bytes) -> str:
    if head[4:8] in MP4_BOXES:
        return "boxes"
    return next((family for start, family in STARTS if head.startswith(start)), "")


def check_pieces(path: Path) -> None:
    """Raise BadMedia if a file has so many pieces that decoding it would take minutes."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        others = 0
        for pieces, holds_media in enumerate(_walk(file, size), 1):
            others += not holds_media
            if pieces > MAX_PIECES or others > MAX_OTHER_PIECES:
                raise BadMedia(
                    "The file consists of so many tiny pieces that it would take minutes to decode.",
                    "Save it again in an ordinary program.",
                    cause="tiny_pieces",
                )


def _walk(file: BinaryIO, size: int) -> Iterator[bool]:
    yield from _ape_tail(file, size)
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head.startswith(b"ID3"):
        yield from _id3(file)
        begin = file.tell()
        head = file.read(HEAD_BYTES)
        file.seek(begin)
    walker = WALKERS.get(_family_of(head))
    if walker is not None:
        yield from walker(file, size)


def _jpeg(file: BinaryIO, _size: int) -> Iterator[bool]:
    """Yield for segments before the first scan, and for every padding byte between them."""
    file.seek(2)
    while start := file.read(1):
        marker = file.read(1)
        while start == b"\xff" and marker == b"\xff":
            yield False
            marker = file.read(1)
        if start == b"\xff" and marker and marker[0] == JPEG_SCAN:
            return
        yield False
        if start == b"\xff" and marker != b"\0":
            file.seek(max(0, int.from_bytes(file.read(2), "big") - 2), os.SEEK_CUR)


def _png(file: BinaryIO, _size: int) -> Iterator[bool]:
    file.seek(len(PNG_SIGNATURE))
    while len(header := file.read(8)) == 8:
        yield header[4:] in PNG_PICTURES
        file.seek(int.from_bytes(header[:4], "big") + 4, os.SEEK_CUR)


def _gif(file: BinaryIO, _size: int) -> Iterator[bool]:
    """Walk up to the second picture: a reader that only asks whether the GIF moves reads no further."""
    head = file.read(13)
    if len(head) == 13 and head[10] & 0x80:
        file.seek(3 * (2 << (head[10] & 7)), os.SEEK_CUR)
    pictures = 0
    while (kind := file.read(1)) and pictures < 2:
        if kind == GIF_EXTENSION:
            file.seek(1, os.SEEK_CUR)
        elif kind == GIF_PICTURE:
            place = file.read(9)
            pictures += 1
            if len(place) == 9 and place[8] & 0x80:
                file.seek(3 * (2 << (place[8] & 7)), os.SEEK_CUR)
            file.seek(1, os.SEEK_CUR)
        else:
            yield False
            continue
        yield kind == GIF_PICTURE
        while (length := file.read(1)) and length[0]:
            if kind == GIF_EXTENSION or length[0] < GIF_WHOLE_BLOCK:
                yield kind == GIF_PICTURE
            file.seek(length[0], os.SEEK_CUR)


def _boxes(file: BinaryIO, size: int) -> Iterator[bool]:
    """Walk the boxes in file order. A box that contains boxes is entered, any other is skipped."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        header = file.read(16)
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        begin = 8
        if length == 1:
            length, begin = int.from_bytes(header[8:], "big"), 16
        yield name in BOXES_OF_STREAMS
        if name in BOXES_WITHIN:
            # QuickTime's `meta` has no version before its first box.
            skipped = 0 if name == b"meta" and header[12:16] == b"hdlr" else BOXES_WITHIN[name]
            if name == b"iinf" and header[8:9] != b"\0":  # later versions have a count of 4 bytes instead of 2
                skipped += 2
            place += begin + skipped
        elif length < begin:  # 0 means up to the end of the file; anything else is invalid
            return
        else:
            place += length


def _riff(file: BinaryIO, _size: int) -> Iterator[bool]:
    """Walk the chunks of WAV, AVI and WebP, also inside lists, but not the single frames of a clip (`movi`)."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        name, length = header[:4], int.from_bytes(header[4:], "little")
        if name in RIFF_LISTS:
            kind = file.read(4)
            yield kind == b"movi"
            if kind != b"movi":
                continue
            length -= 4
        else:
            yield name in RIFF_PICTURES
        end = file.tell() + max(0, length) + (length & 1)
        if name.lower() == RIFF_ID3:
            yield from _id3(file)
        file.seek(end)


def _flac(file: BinaryIO, _size: int) -> Iterator[bool]:
    file.seek(4, os.SEEK_CUR)
    is_last = False
    while not is_last and len(header := file.read(4)) == 4:
        is_last, kind = bool(header[0] & 0x80), header[0] & 0x7F
        end = file.tell() + int.from_bytes(header[1:], "big")
        yield False
        if kind == FLAC_COMMENTS:
            yield from _comments(file)
        file.seek(end)


def _ogg(file: BinaryIO, _size: int) -> Iterator[bool]:
    """Count the comments only: pages are cheap to read."""
    head = file.read(OGG_HEAD_BYTES)
    for name in OGG_COMMENTS:
        if (place := head.find(name)) >= 0:
            file.seek(place + len(name))
            yield from _comments(file)


def _matroska(file: BinaryIO, size: int) -> Iterator[bool]:
    """Walk the elements in file order. A cluster of known length is skipped, because its blocks are cheap to read."""
    place = 0
    while place < size:
        file.seek(place)
        header = file.read(12)
        id_bytes = _ebml_bytes(header[:1])
        name, length_bytes = header[:id_bytes], _ebml_bytes(header[id_bytes : id_bytes + 1])
        field = header[id_bytes : id_bytes + length_bytes]
        if id_bytes > 4 or not 0 < len(field) == length_bytes:  # invalid, or cut off
            return
        begin = place + id_bytes + length_bytes
        unknown = (1 << 7 * length_bytes) - 1
        length = int.from_bytes(field, "big") & unknown
        yield name not in EBML_OTHERS
        enters = name in EBML_MASTERS or (name == EBML_CLUSTER and length == unknown)
        place = begin if enters else begin + length


def _ebml_bytes(first: bytes) -> int:
    """Return the length in bytes of an id or a length field, by its first set bit; 9 if no bit is set."""
    return 9 - first[0].bit_length() if first else 9


def _no_pieces(_file: BinaryIO, _size: int) -> Iterator[bool]:
    """Yield nothing: MP3 and AAC without a container hold only sound."""
    yield from ()


def _ape_tail(file: BinaryIO, size: int) -> Iterator[bool]:
    """Yield once per field that an APE tag at the end claims; WavPack, True Audio and Monkey's Audio have such tags."""
    for behind in (0, ID3V1_BYTES):
        file.seek(max(0, size - behind - APE_TAIL_BYTES))
        tail = file.read(APE_TAIL_BYTES)
        if tail.startswith(APE_TAIL):
            for _ in range(min(int.from_bytes(tail[16:20], "little"), MAX_OTHER_PIECES + 1)):
                yield False


def _comments(file: BinaryIO) -> Iterator[bool]:
    """Yield once per comment that the file claims to have: a decoder trusts this number, too."""
    vendor_bytes = int.from_bytes(file.read(4), "little")
    file.seek(vendor_bytes, os.SEEK_CUR)
    for _ in range(min(int.from_bytes(file.read(4), "little"), MAX_OTHER_PIECES + 1)):
        yield False


def _id3(file: BinaryIO) -> Iterator[bool]:
    """Walk the ID3 tags and the frames in each. Leaves the file positioned after them."""
    while (header := file.read(10)).startswith(b"ID3") and len(header) == 10:
        yield False
        version = header[3]
        end = file.tell() + _seven_bits(header[6:])
        name_bytes, length_bytes, frame_bytes = (3, 3, 6) if version == 2 else (4, 4, 10)
        while file.tell() + frame_bytes <= end:
            frame = file.read(frame_bytes)
            if len(frame) < frame_bytes or not frame[0]:  # the rest is padding
                break
            yield False
            field = frame[name_bytes : name_bytes + length_bytes]
            file.seek(_seven_bits(field) if version == 4 else int.from_bytes(field, "big"), os.SEEK_CUR)
        file.seek(end)
    file.seek(-len(header), os.SEEK_CUR)


def _seven_bits(field: bytes) -> int:
    return sum((byte & 0x7F) << 7 * (len(field) - 1 - place) for place, byte in enumerate(field))


WALKERS: Final[dict[str, Callable[[BinaryIO, int], Iterator[bool]]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "gif": _gif,
    "riff": _riff,
    "flac": _flac,
    "ogg": _ogg,
    "boxes": _boxes,
    "matroska": _matroska,
    "frames": _no_pieces,
}
STARTS: Final = (
    (JPEG_START, "jpeg"),
    (PNG_SIGNATURE, "png"),
    (b"GIF8", "gif"),
    (b"RIFF", "riff"),
    (b"RF64", "riff"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"ID3", "id3"),
    *((bytes((0xFF, second)), "frames") for second in (0xFB, 0xFA, 0xF3, 0xF2, 0xF1, 0xF9)),
)
"First bytes of a file -> its family. After ID3 tags, the family is looked up again from what follows."
