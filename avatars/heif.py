"""HEIF pictures coded with HEVC (HEIC), as phones save photos.

Such a picture consists of HEVC pieces, which FFmpeg decodes for clips anyway. This module reads the file around them:
which item is the main picture, which tiles it is made of, how it is turned, and which colours it has. Names of boxes
are those of ISO/IEC 14496-12 and 23008-12. Thumbnails, depth maps and other items are ignored.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import av
import numpy as np
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from PIL import Image

from avatars.colour import FULL_RANGE, LIMITED_RANGE, UNSPECIFIED, FramePainter, PhotoColours, to_srgb
from avatars.errors import BadMedia
from avatars.media_limits import MAX_PHOTO_PIXELS, MediaInfo, check_size, fit_within
from models.arrays import ImageArray

__all__ = ["probe_heif", "read_heif"]


MAX_META_BYTES: Final = 8 * 2**20
"Limit for the box that describes the pictures; it may hold a colour profile."
MAX_ITEMS: Final = 4096
MAX_TILES: Final = 1024
"Enough for 64 megapixels in tiles of 256 px; phones use 512 px."
DEFAULT_MATRIX: Final = 6
"BT.601: the default of ISO/IEC 23000-22 (MIAF) for a picture that names no matrix."
REMEDY: Final = "Save the photo as JPEG (on an iPhone: Settings, Camera, Formats, Most Compatible)."


@dataclass(slots=True)
class _Item:
    """One item of a file: a picture or a tile."""

    kind: bytes = b""
    extents: list[tuple[bool, int, int]] = field(default_factory=list)
    "(is it in `idat` instead of the file, offset, number of bytes; 0 means up to the end) of each extent"
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    "(name, content); those that transform the picture are applied in this order"
    made_of: list[int] = field(default_factory=list)
    "ids of its tiles, row by row"

    def property(self, name: bytes, start: bytes = b"") -> bytes | None:
        """Return the content of the first property of that name that begins with `start`; None if there is none."""
        return next((body for one, body in self.properties if one == name and body.startswith(start)), None)


@dataclass(frozen=True, slots=True)
class _Picture:
    """The main picture of a file."""

    width: int
    "px, before rotation"
    height: int
    columns: int
    tiles: list[_Item]
    item: _Item

    def property(self, name: bytes, start: bytes = b"") -> bytes | None:
        """Return a property of the picture or, if it has none, of its first tile."""
        return self.item.property(name, start) or self.tiles[0].property(name, start)


def probe_heif(path: Path) -> MediaInfo:
    """Read the description only. Raises BadMedia."""
    with path.open("rb") as file:
        picture = _Contents(file).picture()
    width, height = picture.width, picture.height
    for name, body in picture.item.properties:
        if name == b"irot" and body[:1] and body[0] & 1:
            width, height = height, width
    check_size(width, height, MAX_PHOTO_PIXELS)
    return MediaInfo("photo", "HEIC", width, height)


def read_heif(path: Path, max_side: int | None) -> ImageArray:
    """Decode the main picture; see avatars.media.read_photo. Raises BadMedia."""
    probe_heif(path)
    with path.open("rb") as file:
        contents = _Contents(file)
        picture = contents.picture()
        try:
            rgb = _changed(_decoded(contents, picture), picture.item.properties)
        except (av.FFmpegError, ValueError) as error:
            raise BadMedia(
                "The HEIC picture is damaged.", "Save it again, or upload another one.", cause="damaged"
            ) from error
    rgb = fit_within(rgb, max_side or max(rgb.shape[:2]))
    profile = _profile(picture)
    return np.array(to_srgb(Image.fromarray(rgb), PhotoColours(profile=profile)), np.uint8) if profile else rgb


class _Contents:
    """The items of a file, read from its boxes. Raises BadMedia."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._items: dict[int, _Item] = {}
        self._main = 0
        self._inner = b""
        "content of the box `idat`, which holds the data of small items"
        meta = self._description()
        with _readable():
            self._read(meta)

    def picture(self) -> _Picture:
        """Return the main picture. Raises BadMedia if it is not HEVC, or is composed in an unknown way."""
        item = self._items.get(self._main, _Item())
        with _readable():
            if item.kind == b"hvc1":
                width, height = struct.unpack(">4xII", item.property(b"ispe") or b"")
                return _Picture(width, height, 1, [item], item)
            if item.kind == b"grid":
                return self._grid(item)
        raise BadMedia("This HEIF picture is coded in a way that is not known here.", REMEDY, cause="unknown_heif")

    def data(self, item: _Item) -> bytes:
        """Return the stored bytes of an item. Raises BadMedia if they are missing."""
        pieces = []
        for within, offset, length in item.extents:
            if within:
                piece = self._inner[offset : offset + length] if length else self._inner[offset:]
            else:
                self._file.seek(offset)
                piece = self._file.read(length or -1)
            if not piece or (length and len(piece) != length):
                raise _damaged()
            pieces.append(piece)
        return b"".join(pieces)

    def _grid(self, item: _Item) -> _Picture:
        described = self.data(item)
        flags, rows, columns = described[1], described[2] + 1, described[3] + 1
        width, height = struct.unpack_from(">II" if flags & 1 else ">HH", described, 4)
        tiles = [self._items.get(one, _Item()) for one in item.made_of]
        if len(tiles) != rows * columns or len(tiles) > MAX_TILES or any(one.kind != b"hvc1" for one in tiles):
            raise BadMedia(
                "This HEIF picture is put together in a way that is not known here.", REMEDY, cause="unknown_heif"
            )
        return _Picture(width, height, columns, tiles, item)

    def _description(self) -> bytes:
        """Return the content of the top-level box `meta`."""
        end = self._file.seek(0, 2)
        at = 0
        while at + 8 <= end:
            self._file.seek(at)
            head = self._file.read(16)
            size, name = struct.unpack_from(">I4s", head)
            start = 8
            if size == 1 and len(head) == 16:
                (size,) = struct.unpack_from(">Q", head, 8)
                start = 16
            size = size or end - at
            if name == b"meta" and start + 4 <= size <= MAX_META_BYTES:
                self._file.seek(at + start + 4)
                return self._file.read(size - start - 4)
            if size < start:
                break
            at += size
        raise _damaged()

    def _read(self, meta: bytes) -> None:
        boxes = dict(_boxes(meta))
        self._main = _numbers(boxes[b"pitm"], 4, 2 if boxes[b"pitm"][0] == 0 else 4)[0] if b"pitm" in boxes else 0
        self._inner = boxes.get(b"idat", b"")
        self._read_kinds(boxes.get(b"iinf", b""))
        self._read_places(boxes.get(b"iloc", b""))
        self._read_properties(boxes.get(b"iprp", b""))
        self._read_references(boxes.get(b"iref", b""))

    def _read_kinds(self, box: bytes) -> None:
        for name, body in _boxes(box[6 if box[:1] == b"\0" else 8 :]):
            if name == b"infe" and body[0] >= 2:
                wide = 2 if body[0] == 2 else 4
                kind = body[4 + wide + 2 : 4 + wide + 6]
                self._items[_number(body, 4, wide)] = _Item(kind)
            if len(self._items) > MAX_ITEMS:
                raise _damaged()

    def _read_places(self, box: bytes) -> None:
        version, offset_size, length_size = box[0], box[4] >> 4, box[4] & 15
        base_size, index_size = box[5] >> 4, (box[5] & 15 if version else 0)
        wide = 2 if version < 2 else 4
        count, at = _number(box, 6, wide), 6 + wide
        for _ in range(count):
            number, at = _number(box, at, wide), at + wide
            method = 0
            if version:
                method, at = _number(box, at, 2) & 15, at + 2
            base, at = _number(box, at + 2, base_size), at + 2 + base_size
            pieces, at = _number(box, at, 2), at + 2
            for _piece in range(pieces):
                at += index_size
                offset = _number(box, at, offset_size)
                length = _number(box, at + offset_size, length_size)
                at += offset_size + length_size
                if number in self._items and method in (0, 1):  # method 2 (in another item) is not used in practice
                    self._items[number].extents.append((method == 1, base + offset, length))

    def _read_properties(self, box: bytes) -> None:
        inner = list(_boxes(box))
        known = list(_boxes(dict(inner).get(b"ipco", b"")))
        for body in (body for name, body in inner if name == b"ipma"):
            number_size, index_size = 2 if body[0] == 0 else 4, 2 if body[3] & 1 else 1
            at = 8
            for _ in range(_number(body, 4, 4)):
                item = self._items.get(_number(body, at, number_size), _Item())
                count = body[at + number_size]
                at += number_size + 1
                number_bits = 0x7FFF if index_size == 2 else 0x7F  # the highest bit marks the property as essential
                for marked in _numbers(body, at, index_size, count):
                    index = marked & number_bits
                    if 0 < index <= len(known):
                        item.properties.append(known[index - 1])
                at += index_size * count

    def _read_references(self, box: bytes) -> None:
        wide = 2 if box[:1] == b"\0" else 4
        for name, body in _boxes(box[4:]):
            if name == b"dimg":
                count = _number(body, wide, 2)
                self._items.get(_number(body, 0, wide), _Item()).made_of[:] = _numbers(body, wide + 2, wide, count)


@contextmanager
def _readable() -> Iterator[None]:
    """Raise BadMedia if the block reads past the end of the data."""
    try:
        yield
    except (struct.error, IndexError) as error:
        raise _damaged() from error


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give name and content of consecutive boxes; stop at the first that does not fit."""
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1 and start + 8 <= len(data):
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = at + size if size else len(data)
        if not start <= end <= len(data):
            return
        yield name, data[start:end]
        at = end


def _number(data: bytes, at: int, size: int) -> int:
    """Read a big-endian number. Raises IndexError if the data end before it."""
    if at + size > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + size], "big")


def _numbers(data: bytes, at: int, size: int, count: int = 1) -> list[int]:
    return [_number(data, at + size * place, size) for place in range(count)]


def _decoded(contents: _Contents, picture: _Picture) -> ImageArray:
    """Decode all tiles into one uint8 RGB (h, w, 3), not rotated yet.

    If there is a profile, its colours still apply.
    """
    canvas = np.zeros((picture.height, picture.width, 3), np.uint8)
    painter = FramePainter()
    decoder: VideoCodecContext | None = None
    for number, tile in enumerate(picture.tiles):
        header = tile.property(b"hvcC")
        if header is None:
            raise _damaged()
        if decoder is None or decoder.extradata != header:
            decoder = _decoder(header)
        frame = _only_frame(decoder, contents.data(tile))
        _tag(frame, picture)
        row, column = divmod(number, picture.columns)
        y, x = row * frame.height, column * frame.width
        part = canvas[y : y + frame.height, x : x + frame.width]
        last_row, last_column = row == len(picture.tiles) // picture.columns - 1, column == picture.columns - 1
        if (part.shape[0] < frame.height and not last_row) or (part.shape[1] < frame.width and not last_column):
            raise _damaged()
        if (last_row and y + frame.height < picture.height) or (last_column and x + frame.width < picture.width):
            raise _damaged()
        part[:] = painter.paint(frame, frame.width, frame.height)[: part.shape[0], : part.shape[1]]
    return canvas


def _decoder(header: bytes) -> VideoCodecContext:
    decoder = CodecContext.create("hevc", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata = header
    decoder.options = {"max_pixels": str(MAX_PHOTO_PIXELS)}
    return decoder


def _only_frame(decoder: VideoCodecContext, data: bytes) -> VideoFrame:
    """Decode exactly one picture. Raises BadMedia, av.FFmpegError."""
    frames = [*decoder.decode(Packet(data)), *decoder.decode(None)]
    decoder.flush_buffers()
    if len(frames) != 1 or frames[0].is_corrupt:
        raise _damaged()
    return frames[0]


def _tag(frame: VideoFrame, picture: _Picture) -> None:
    """Give a tile the colour tags of the picture's description, which take precedence over those inside the tile."""
    described = picture.property(b"colr", b"nclx")
    if described is not None and len(described) >= 11:
        primaries, transfer, matrix = struct.unpack_from(">HHH", described, 4)
        full = bool(described[10] & 0x80)
    else:
        primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
        matrix, full = UNSPECIFIED, int(frame.color_range) != LIMITED_RANGE
    if matrix == UNSPECIFIED:
        matrix = int(frame.colorspace) if int(frame.colorspace) != UNSPECIFIED else DEFAULT_MATRIX
    if _profile(picture) is not None:  # a profile defines the RGB values, so these two tags must not change them
        primaries = transfer = UNSPECIFIED
    frame.color_primaries, frame.color_trc, frame.colorspace = primaries, transfer, matrix
    frame.color_range = FULL_RANGE if full else LIMITED_RANGE


def _profile(picture: _Picture) -> bytes | None:
    for kind in (b"prof", b"rICC"):
        described = picture.property(b"colr", kind)
        if described is not None:
            return described[4:]
    return None


def _changed(rgb: ImageArray, properties: list[tuple[bytes, bytes]]) -> ImageArray:
    """Crop, rotate and mirror the picture as its properties say. EXIF orientation is ignored: they replace it."""
    for name, body in properties:
        if name == b"clap":
            rgb = _cut(rgb, body)
        elif name == b"irot" and body:
            rgb = np.rot90(rgb, body[0] & 3)  # both count anticlockwise
        elif name == b"imir" and body:
            rgb = rgb[:, ::-1] if body[0] & 1 else rgb[::-1]
    return np.ascontiguousarray(rgb)


def _cut(rgb: ImageArray, body: bytes) -> ImageArray:
    """Return the part of a picture that `clap` (clean aperture) gives; all of it if the box makes no sense."""
    if len(body) < 32:
        return rgb
    across, by_across, down, by_down, right, by_right, lower, by_lower = struct.unpack_from(">IIIIiIiI", body)
    if 0 in (by_across, by_down, by_right, by_lower):
        return rgb
    height, width = rgb.shape[:2]
    part_width, part_height = across // by_across, down // by_down
    left = round((width - part_width) / 2 + right / by_right)
    top = round((height - part_height) / 2 + lower / by_lower)
    inside = 0 <= left < left + part_width <= width and 0 <= top < top + part_height <= height
    return rgb[top : top + part_height, left : left + part_width] if inside else rgb


def _damaged() -> BadMedia:
    return BadMedia("The HEIC picture is damaged or cut off.", "Upload it again, or save it as JPEG.", cause="damaged")
