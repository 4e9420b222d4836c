"""What a file is by its first bytes, never by its name; what is not taken is named, with the way out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from avatars.errors import BadMedia

__all__ = ["NOT_TAKEN", "READABLE", "container_of", "first_bytes", "is_heif", "refuse_by_name"]

READABLE: Final = "Use a JPEG, PNG, WebP or HEIC picture, or an MP4, MOV or WebM clip."
HEAD_BYTES: Final = 1024
TS_PACKET, M2TS_PACKET = 188, 192
"bytes of a packet of MPEG-TS, in .ts files, and in .mts and .m2ts of cameras with 4 bytes before each"

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
"first bytes of clips, and FFmpeg's name of the container"

AS_JPEG: Final = "Export it as JPEG."
AS_MP4: Final = "Export it as MP4 (H.264)."
AS_ZIP: Final = "Unpack it. An avatar's folder is imported as a .zip, a picture or a clip by itself."
NOT_TAKEN: Final[Sequence[tuple[int, bytes, str, str, str]]] = (
    (0, b"%PDF", "PDF documents are not taken.", "Save the picture in it as JPEG or PNG.", "document"),
    (0, b"8BPS", "Photoshop files are not taken.", AS_JPEG, "other_picture"),
    (0, b"gimp xcf", "GIMP files are not taken.", AS_JPEG, "other_picture"),
    (0, b"<svg", "SVG drawings are not taken.", "Export it as PNG, 1024 px wide or more.", "drawing"),
    (4, b"ftypcrx ", "Raw files of cameras are not taken.", AS_JPEG, "other_picture"),
    (0, b"FUJIFILMCCD-RAW", "Raw files of cameras are not taken.", AS_JPEG, "other_picture"),
    (0, b"IIRO", "Raw files of cameras are not taken.", AS_JPEG, "other_picture"),
    (0, b"IIU\0", "Raw files of cameras are not taken.", AS_JPEG, "other_picture"),
    (0, b"FOVb", "Raw files of cameras are not taken.", AS_JPEG, "other_picture"),
    (0, b"II*\0", "TIFF pictures and raw files of cameras are not taken.", AS_JPEG, "other_picture"),
    (0, b"MM\0*", "TIFF pictures and raw files of cameras are not taken.", AS_JPEG, "other_picture"),
    (0, b"\xff\x0a", "JPEG XL pictures are not taken.", AS_JPEG, "other_picture"),
    (4, b"JXL ", "JPEG XL pictures are not taken.", AS_JPEG, "other_picture"),
    (4, b"jP  ", "JPEG 2000 pictures are not taken.", AS_JPEG, "other_picture"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000 pictures are not taken.", AS_JPEG, "other_picture"),
    (0, b"\0\0\1\0", "Icons are not taken.", "Use a JPEG or PNG picture.", "other_picture"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR pictures are not taken.", AS_JPEG, "other_picture"),
    (0, b"#?RADIANCE", "Radiance pictures are not taken.", AS_JPEG, "other_picture"),
    (0, b"\x1f\x8b", "Packed archives of this kind (.gz) are not taken.", AS_ZIP, "archive"),
    (0, b"BZh", "Packed archives of this kind (.bz2) are not taken.", AS_ZIP, "archive"),
    (0, b"\xfd7zXZ", "Packed archives of this kind (.xz) are not taken.", AS_ZIP, "archive"),
    (0, b"\x28\xb5\x2f\xfd", "Packed archives of this kind (.zst) are not taken.", AS_ZIP, "archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "Packed archives of this kind (.7z) are not taken.", AS_ZIP, "archive"),
    (0, b"Rar!", "Packed archives of this kind (.rar) are not taken.", AS_ZIP, "archive"),
    (257, b"ustar", "Packed archives of this kind (.tar) are not taken.", AS_ZIP, "archive"),
    (0, b"PK\x03\x04", "This packed archive is no avatar.", AS_ZIP, "archive"),
    (0, b".RMF", "RealMedia clips are not taken.", AS_MP4, "other_clip"),
    (0, b"\x06\x0e\x2b\x34", "MXF clips are not taken.", AS_MP4, "other_clip"),
    (0, b"FWS", "Flash programs are not taken.", AS_MP4, "other_clip"),
    (0, b"CWS", "Flash programs are not taken.", AS_MP4, "other_clip"),
    (0, b"ID3", "The file has no moving picture, only sound.", READABLE, "no_picture"),
    (0, b"fLaC", "The file has no moving picture, only sound.", READABLE, "no_picture"),
    (8, b"WAVE", "The file has no moving picture, only sound.", READABLE, "no_picture"),
    (0, b"#EXTM3U", "This is a playlist, which only tells where a clip lies.", "Upload the clip itself.", "playlist"),
    (
        0,
        b"version https://git-lfs",
        "This is only a pointer of Git LFS.",
        "Fetch the file itself: git lfs pull",
        "pointer",
    ),
    (0, b"<!doctype html", "This is a web page.", "Save the picture or clip in it, and upload that.", "web_page"),
    (0, b"<html", "This is a web page.", "Save the picture or clip in it, and upload that.", "web_page"),
)
"place, bytes, what is said, the way out, and the cause for other languages"


def first_bytes(path: Path, count: int = HEAD_BYTES) -> bytes:
    """Raises BadMedia: the file cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise BadMedia(f"The file cannot be read: {error.strerror}.", "Upload it again.", cause="damaged") from error


def container_of(head: bytes) -> str:
    """FFmpeg's name of the container, or "" for anything that is no clip.

    Naming it keeps FFmpeg from guessing, and so from playlist formats that would open other files and addresses.
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
    """Whether it is a HEIF picture, of HEVC as far as its brands tell. Those of AV1 are AVIF, which Pillow reads."""
    brands = [head[place : place + 4] for place in range(8, min(len(head), int.from_bytes(head[:4], "big")), 4)]
    return head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS and not any(one in AVIF_BRANDS for one in brands)


def refuse_by_name(head: bytes) -> None:
    """Raises BadMedia for what people have and this does not take, with the way out; passes over the unknown."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<?xml") and b"<svg" in text:
        text = b"<svg"
    for place, magic, message, hint, cause in NOT_TAKEN:
        if head[place : place + len(magic)] == magic or (magic[:1] == b"<" and text.startswith(magic)):
            raise BadMedia(message, hint, cause=cause)
