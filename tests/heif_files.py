"""Writes HEIC pictures as phones do: HEVC tiles, and boxes that put them together."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext

__all__ = ["MATRIX_601_FULL", "box", "irot", "write_heic"]

MATRIX_601_FULL = b"nclx" + struct.pack(">HHHB", 1, 13, 6, 0x80)
PARAMETERS = "qp=4:keyint=1:bframes=0:rc-lookahead=0:frame-threads=1:pools=none:log-level=none:range=full"
PARAMETER_SETS = (32, 33, 34)


def box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), name) + body


def irot(quarters: int) -> bytes:
    """Return a box that rotates anticlockwise by this number of right angles."""
    return box(b"irot", bytes([quarters]))


def write_heic(
    path: Path,
    rgb: npt.NDArray[np.uint8],
    tile_px: int | None = None,
    colours: Sequence[bytes] = (MATRIX_601_FULL,),
    changes: Sequence[bytes] = (),
    size: tuple[int, int] | None = None,
) -> Path:
    """Write a picture (h, w, 3), almost losslessly, in tiles of `tile_px` (a divisor of its sides) or in one piece.

    colours: contents of `colr` boxes. changes: boxes that rotate, mirror or crop it. size: width and height to claim
    instead of the real ones.
    """
    height, width = rgb.shape[:2]
    tall, wide = (tile_px, tile_px) if tile_px else (height, width)
    coded = [
        _hevc(np.ascontiguousarray(rgb[y : y + tall, x : x + wide]))
        for y in range(0, height, tall)
        for x in range(0, width, wide)
    ]
    pieces = [data for _, data in coded]
    told_width, told_height = size or (width, height)
    kinds = [b"hvc1"] * len(pieces)
    known = [box(b"hvcC", coded[0][0]), _ispe(wide, tall) if tile_px else _ispe(told_width, told_height)]
    of_items = [[1, 2] for _ in pieces]
    own = [box(b"colr", one) for one in colours] + list(changes)
    numbers = list(range(3, 3 + len(own)))
    references = b""
    if tile_px:
        rows, columns = height // tall, width // wide
        kinds.append(b"grid")
        pieces.append(struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, told_width, told_height))
        own.append(_ispe(told_width, told_height))
        of_items.append([*numbers, 2 + len(own)])
        count = len(coded)
        dimg = struct.pack(f">HH{count}H", count + 1, count, *range(1, count + 1))
        references = box(b"iref", bytes(4), box(b"dimg", dimg))
    else:
        of_items[0] += numbers
    known += own
    main = len(pieces)

    def described(start: int) -> bytes:
        places, at = struct.pack(">BBH", 0x44, 0, len(pieces)), start
        for number, piece in enumerate(pieces, 1):
            places += struct.pack(">HHHII", number, 0, 1, at, len(piece))
            at += len(piece)
        items = [box(b"infe", struct.pack(">BxxxHH4sx", 2, number, 0, kind)) for number, kind in enumerate(kinds, 1)]
        wanted = b"".join(
            struct.pack(">HB", number, len(indices)) + bytes(indices) for number, indices in enumerate(of_items, 1)
        )
        return box(
            b"meta",
            bytes(4),
            box(b"hdlr", bytes(8), b"pict", bytes(13)),
            box(b"pitm", bytes(4), struct.pack(">H", main)),
            box(b"iinf", bytes(4), struct.pack(">H", len(items)), *items),
            references,
            box(b"iprp", box(b"ipco", *known), box(b"ipma", bytes(4), struct.pack(">I", len(of_items)), wanted)),
            box(b"iloc", bytes(4), places),
        )

    head = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    start = len(head) + len(described(0)) + 8
    path.write_bytes(head + described(start) + box(b"mdat", *pieces))
    return path


def _ispe(width: int, height: int) -> bytes:
    return box(b"ispe", struct.pack(">4xII", width, height))


def _hevc(rgb: npt.NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """Encode a tile in BT.601, full range and 4:4:4; return its header and its only picture."""
    frame = av.VideoFrame.from_ndarray(_coded(rgb), format="yuv444p")
    encoder = av.CodecContext.create("libx265", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuv444p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"x265-params": PARAMETERS, "preset": "ultrafast"}
    stream = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    units = [unit.rstrip(b"\0") for unit in stream.split(b"\0\0\1") if unit.strip(b"\0")]
    kinds = [unit[0] >> 1 & 63 for unit in units]
    header = b"\1" + bytes(20) + b"\3" + bytes([len(PARAMETER_SETS)])  # the 3 means lengths of four bytes
    for one in PARAMETER_SETS:
        unit = units[kinds.index(one)]
        header += struct.pack(">BHH", one, 1, len(unit)) + unit
    picture = b"".join(
        struct.pack(">I", len(unit)) + unit for kind, unit in zip(kinds, units, strict=True) if kind < PARAMETER_SETS[0]
    )
    return header, picture


def _coded(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return Y, Cb and Cr (3, h, w) by the formulas of BT.601."""
    values = rgb.astype(float)
    luma = values @ np.array([0.299, 0.587, 0.114])
    blue, red = (values[..., 2] - luma) / 1.772 + 128, (values[..., 0] - luma) / 1.402 + 128
    return np.clip(np.round(np.stack([luma, blue, red])), 0, 255).astype(np.uint8)
