"""Reads uploads, which are untrusted: limits are checked before pixels are decoded.

The type of a file is determined by its first bytes (`signatures`), never by its name. Pillow reads `photos`; PyAV reads
`footage` and the tiles of a `heif`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from avatars.errors import BadMedia
from avatars.footage import footage_frames, probe_footage
from avatars.heif import probe_heif, read_heif
from avatars.media_limits import FPS, MAX_SIDE_PX, USED_CLIP_S, MediaInfo
from avatars.photos import animation_frames, picture_alpha, probe_picture, read_picture
from avatars.pieces import check_pieces
from avatars.signatures import READABLE, container_of, first_bytes, is_heif, refuse_by_name
from models.arrays import ImageArray

__all__ = ["clip_frames", "probe", "read_alpha", "read_photo"]


def probe(path: Path) -> MediaInfo:
    """Read the header only.

    Raises BadMedia if it is empty, not an accepted type, damaged, without a picture, or over a limit.
    """
    head = first_bytes(path)
    if not head:
        raise BadMedia("The file is empty.", "Upload it again.", cause="empty")
    check_pieces(path)
    container = container_of(head)
    if container:
        return probe_footage(path, container)
    if is_heif(head):
        return probe_heif(path)
    refuse_by_name(head)
    return probe_picture(path)


def read_photo(path: Path, max_side: int | None = MAX_SIDE_PX) -> ImageArray:
    """Decode a photo to uint8 sRGB (h, w, 3): upright, transparent parts on white, even sides, at most `max_side` px.

    Raises BadMedia as probe() does, and if the data end too early.
    """
    head = first_bytes(path)
    if is_heif(head):
        return read_heif(path, max_side)
    refuse_by_name(head)
    return read_picture(path, max_side)


def read_alpha(path: Path, max_side: int | None = MAX_SIDE_PX) -> ImageArray | None:
    """Return the opacity of each pixel of read_photo(), uint8 (h, w); None if all are opaque, and for HEIC.

    Raises BadMedia as read_photo() does.
    """
    return None if is_heif(first_bytes(path)) else picture_alpha(path, max_side)


def clip_frames(path: Path, max_side: int = MAX_SIDE_PX, limit_s: float = USED_CLIP_S) -> Iterator[ImageArray]:
    """Give the pictures of a clip or an animation (GIF, animated PNG, WebP, AVIF) at 25 a second.

    Each is uint8 sRGB (h, w, 3), upright, deinterlaced, with square pixels, all of one even size within `max_side`. For
    each 40 ms the picture with the nearest timestamp is used. So pictures are dropped or repeated if the clip has
    another or a varying rate, and a damaged one is replaced by its neighbour. Stops after `limit_s`.
    Raises BadMedia as probe() does, and midway if the clip breaks off.
    """
    limit = round(limit_s * FPS)
    info = probe(path)
    if info.kind == "photo":
        raise BadMedia("The file is not a clip.", READABLE, cause="unknown_type")
    container = container_of(first_bytes(path))
    if container:
        yield from footage_frames(path, container, max_side, limit)
    else:
        yield from islice(animation_frames(path, max_side), limit)
