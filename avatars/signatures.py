"""Recognises files by their first bytes, never by their names. Refused kinds are named, with a hint what to do."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from avatars.errors import BadMedia

__all__ = [
    "HEAD_BYTES",
    "MP4_BOXES",
    "NOT_TAKEN",
    "READABLE",
    "TEXTS",
    "container_of",
    "first_bytes",
    "is_heif",
    "is_picture",
    "is_recording",
    "refuse_by_name",
]

READABLE: Final = "Use a JPEG, PNG, WebP or HEIC picture, or an MP4, MOV or WebM clip."
HEAD_BYTES: Final = 1024
TS_PACKET, M2TS_PACKET = 188, 192
"Bytes of an MPEG-TS packet: in .ts files, and in .mts and .m2ts files of cameras, where 4 bytes precede each."

HEIC_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS: Final = (b"avif", b"avis")
MP4_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")

CONTAINERS: Final[Sequence[tuple[bytes, str]]] = (
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"\0\0\1\xba", "mpeg"),
    (b"\0\0\1\xb3", "mpegvideo"),
    (b"FLV\1", "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"OggS", "ogg"),
)
"First bytes of clips, and FFmpeg's name of the container."

AS_JPEG: Final = "Export it as JPEG."
AS_MP4: Final = "Export it as MP4 (H.264)."
AS_ZIP: Final = "Unpack it. An avatar's folder is imported as a .zip, a picture or a clip by itself."
RAW: Final = "Raw files of cameras are not taken."
TIFF: Final = "TIFF pictures and raw files of cameras are not taken."
JPEG_2000: Final = "JPEG 2000 pictures are not taken."
UNUSUAL: Final = "Pictures of this unusual kind are not taken."
UNUSUAL_CLIP: Final = "Clips of this unusual kind are not taken."
ONLY_SOUND: Final = "The file has no moving picture, only sound."
TEXTS: Final = (
    (("<svg",), "SVG drawings are not taken.", "Export it as PNG, 1024 px wide or more.", "drawing"),
    (
        ("<html", "<!doctype html", "<head", "<body"),
        "This is a web page.",
        "Save the picture or clip in it, and upload that.",
        "web_page",
    ),
    (
        ("",),
        "This is a text, not a picture or a clip.",
        "If it was downloaded, that failed: open it in a text editor to see why.",
        "text",
    ),
)
"(substrings of the text, message, hint, cause)"
PICTURE_MAGICS: Final = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8")
SOUND_MAGICS: Final = (
    *((0, magic) for magic in (b"ID3", b"fLaC", b"#!AMR", b"caff", b".snd", b"wvpk", b"TTA1", b"MAC ")),
    *((0, magic) for magic in (b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xf1", b"\xff\xf9")),
    (8, b"WAVE"),
    (8, b"AIFF"),
    (8, b"AIFC"),
)
"(offset, bytes). Those with 0xff are MP3 and AAC without a container."
NOT_TAKEN: Final[Sequence[tuple[int, bytes, str, str, str]]] = (
    (0, b"%PDF", "PDF documents are not taken.", "Save the picture in it as JPEG or PNG.", "document"),
    *(
        (0, magic, "Documents are not taken.", "Save the picture in it as JPEG or PNG.", "document")
        for magic in (b"\xd0\xcf\x11\xe0", b"{\\rtf", b"AT&TFORM")
    ),
    (0, b"8BPS", "Photoshop files are not taken.", AS_JPEG, "other_picture"),
    (0, b"gimp xcf", "GIMP files are not taken.", AS_JPEG, "other_picture"),
    (0, b"%!PS", "PostScript drawings are not taken.", "Export it as PNG, 1024 px wide or more.", "drawing"),
    (
        0,
        b"\xc5\xd0\xd3\xc6",
        "PostScript drawings are not taken.",
        "Export it as PNG, 1024 px wide or more.",
        "drawing",
    ),
    (4, b"ftypcrx ", RAW, AS_JPEG, "other_picture"),
    *(
        (0, magic, RAW, AS_JPEG, "other_picture")
        for magic in (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"II\x1a\0", b"\0MRM")
    ),
    *((0, magic, TIFF, AS_JPEG, "other_picture") for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (0, b"\xff\x0a", "JPEG XL pictures are not taken.", AS_JPEG, "other_picture"),
    (4, b"JXL ", "JPEG XL pictures are not taken.", AS_JPEG, "other_picture"),
    (4, b"jP  ", JPEG_2000, AS_JPEG, "other_picture"),
    (0, b"\xff\x4f\xff\x51", JPEG_2000, AS_JPEG, "other_picture"),
    (0, b"icns", "Icons are not taken.", "Use a JPEG or PNG picture.", "other_picture"),
    (4, b"RED1", "Raw clips of cameras are not taken.", AS_MP4, "other_clip"),
    (4, b"RED2", "Raw clips of cameras are not taken.", AS_MP4, "other_clip"),
    (0, b"\0\0\1\0", "Icons are not taken.", "Use a JPEG or PNG picture.", "other_picture"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR pictures are not taken.", AS_JPEG, "other_picture"),
    (0, b"#?RADIANCE", "Radiance pictures are not taken.", AS_JPEG, "other_picture"),
    (0, b"#?RGBE", "Radiance pictures are not taken.", AS_JPEG, "other_picture"),
    *(
        (0, magic, UNUSUAL, AS_JPEG, "other_picture")
        for magic in (
            b"\0\0\2\0",
            b"DDS ",
            b"qoif",
            b"BLP",
            b"\x01\xda",
            b"\x0a\x05\x01",
            b"SIMPLE  =",
            b"BPG\xfb",
            b"FLIF",
        )
    ),
    *((0, b"P%d" % number + end, UNUSUAL, AS_JPEG, "other_picture") for number in range(1, 8) for end in (b"\n", b" ")),
    (0, b"\xd7\xcd\xc6\x9a", "Windows metafiles are not taken.", AS_JPEG, "other_picture"),
    (40, b" EMF", "Windows metafiles are not taken.", AS_JPEG, "other_picture"),
    (128, b"DICM", "Medical pictures (DICOM) are not taken.", AS_JPEG, "other_picture"),
    *(
        (place, magic, f"Packed archives of this kind (.{name}) are not taken.", AS_ZIP, "archive")
        for place, magic, name in (
            (0, b"\x1f\x8b", "gz"),
            (0, b"\x1f\x9d", "Z"),
            (0, b"BZh", "bz2"),
            (0, b"\xfd7zXZ", "xz"),
            (0, b"\x28\xb5\x2f\xfd", "zst"),
            (0, b"\x04\x22\x4d\x18", "lz4"),
            (0, b"LZIP", "lz"),
            (0, b"7z\xbc\xaf\x27\x1c", "7z"),
            (0, b"Rar!", "rar"),
            (0, b"MSCF", "cab"),
            (2, b"-lh", "lzh"),
            (257, b"ustar", "tar"),
        )
    ),
    (0, b"PK\x03\x04", "This packed archive is no avatar.", AS_ZIP, "archive"),
    (0, b".RMF", "RealMedia clips are not taken.", AS_MP4, "other_clip"),
    (0, b"\x06\x0e\x2b\x34", "MXF clips are not taken.", AS_MP4, "other_clip"),
    *((0, magic, "Flash programs are not taken.", AS_MP4, "other_clip") for magic in (b"FWS", b"CWS", b"ZWS")),
    *(
        (0, magic, UNUSUAL_CLIP, AS_MP4, "other_clip")
        for magic in (b"DKIF", b"YUV4MPEG2", b"nut/multimedia", b"\0\0\0\1", b"\x1f\x07\0", b"BIK", b"\xb7\xd8\0\x20")
    ),
    *((place, magic, ONLY_SOUND, READABLE, "no_picture") for place, magic in SOUND_MAGICS),
    (0, b"MThd", ONLY_SOUND, READABLE, "no_picture"),
    (0, b"#EXTM3U", "This is a playlist, which only tells where a clip lies.", "Upload the clip itself.", "playlist"),
    (
        0,
        b"version https://git-lfs",
        "This is only a pointer of Git LFS.",
        "Fetch the file itself: git lfs pull",
        "pointer",
    ),
)
"(offset, bytes, message, hint, cause). The cause selects the message in other languages."


def first_bytes(path: Path, count: int = HEAD_BYTES) -> bytes:
    """Return the first bytes of a file. Raises BadMedia if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise BadMedia(f"The file cannot be read: {error.strerror}.", "Upload it again.", cause="damaged") from error


def container_of(head: bytes) -> str:
    """Return FFmpeg's name of the container, or "" if the file is not a clip.

    Naming the container keeps FFmpeg from guessing, and so from playlist formats, which open other files and addresses.
    """
    brand = head[8:12]
    if head[4:8] in MP4_BOXES and brand not in (*AVIF_BRANDS, *HEIC_BRANDS, b"crx "):
        return "mp4"
    if head[:4] == b"RIFF" and brand == b"AVI ":
        return "avi"
    for size, start in ((TS_PACKET, 0), (M2TS_PACKET, 4)):
        if len(head) > 3 * size and all(head[start + place * size] == 0x47 for place in range(3)):
            return "mpegts"
    return next((name for magic, name in CONTAINERS if head.startswith(magic)), "")


def is_heif(head: bytes) -> bool:
    """Whether it is a HEIF picture with HEVC, as far as its brands say. With AV1 it is AVIF, which Pillow reads."""
    brands = [head[place : place + 4] for place in range(8, min(len(head), int.from_bytes(head[:4], "big")), 4)]
    return head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS and not any(one in AVIF_BRANDS for one in brands)


def is_picture(head: bytes) -> bool:
    """Whether it begins like a picture that Pillow reads; the rest may be damaged."""
    return (
        head.startswith(PICTURE_MAGICS)
        or head[8:12] == b"WEBP"
        or (head[:2] == b"BM" and head[6:10] == bytes(4))
        or (head[4:8] == b"ftyp" and head[8:12] in AVIF_BRANDS)
    )


def is_recording(head: bytes) -> bool:
    """Whether it begins like a recording or a clip; the rest may be damaged."""
    return container_of(head) != "" or any(head[place:].startswith(magic) for place, magic in SOUND_MAGICS)


def refuse_by_name(head: bytes) -> None:
    """Raise BadMedia, with a hint, for a known kind that is not accepted. Return for an unknown one."""
    for place, magic, message, hint, cause in NOT_TAKEN:
        if head[place : place + len(magic)] == magic:
            raise BadMedia(message, hint, cause=cause)
    text = _as_text(head).lower()
    for words, message, hint, cause in TEXTS if text else ():
        if any(word in text for word in words):
            raise BadMedia(message, hint, cause=cause)


def _as_text(head: bytes) -> str:
    """Decode the beginning of a text; return "" for anything else."""
    coding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        # An incremental decoder, because the last character may be cut in two.
        text = codecs.getincrementaldecoder(coding)().decode(head.rstrip(b"\0")).lstrip()
    except UnicodeDecodeError:
        return ""
    return text if all(one.isprintable() or one.isspace() for one in text) else ""
