"""The form of a foreign avatar once it has been read, and functions that all readers share."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from typing import Final, Protocol, TypeGuard

import numpy as np
from PIL import Image

from avatars.errors import BadImport
from avatars.importers.folder import ForeignFolder
from avatars.importers.safe_pickle import read_pickle, shown
from avatars.media_limits import MAX_CLIP_PIXELS, MIN_SIDE_PX
from avatars.pieces import START_OF_SCAN
from models.arrays import AnyArray, FloatArray, ImageArray, Mask

__all__ = [
    "COORDS",
    "FULL_IMAGES",
    "MAX_PICTURE_BYTES",
    "MIXED",
    "Box",
    "ForeignAvatar",
    "ForeignReader",
    "Pictures",
    "boxes_of",
    "check_size",
    "coords_in",
    "decoded",
    "fold",
    "info_of",
    "is_box",
    "list_in",
    "match",
    "stored_pictures",
    "width_of",
    "written_pictures",
]

Box = tuple[int, int, int, int]

COORDS: Final = "coords.pkl"
FULL_IMAGES: Final = "full_imgs"
INFO: Final = "avator_info.json"
"This is the project's spelling."
MAX_LIST_BYTES: Final = 8 * 2**20
"Limit for a pickled list of boxes; ten thousand of them take 1 MB."
MAX_INFO_BYTES: Final = 2**16
MAX_PICTURE_BYTES: Final = 64 * 2**20
MAX_SCANS: Final = 20
"Most passes of a JPEG, each of which costs as much as a whole ordinary picture; progressive ones have about ten."
MAX_PX: Final = 10**6
"Highest coordinate that a box may have."
WHOLE_PICTURE: Final = 0.99
"A box that covers this fraction of the picture in both directions is what wav2lip stores where it saw no face."
MIXED: Final = "Files of several avatars may be mixed, or the making broke off: make the avatar again."
COMPARED_PAIRS: Final = 8
"Pairs of pictures that are compared before a cycle counts as doubled."


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Pictures that are decoded on demand: uint8 RGB (h, w, 3), all of one size."""

    count: int
    decode: Callable[[int], ImageArray]

    def __iter__(self) -> Iterator[ImageArray]:
        return map(self.decode, range(self.count))

    def first(self, count: int) -> Pictures:
        """Return the first pictures, `count` at most."""
        return Pictures(min(count, self.count), self.decode)


@dataclass(frozen=True, slots=True, eq=False)
class ForeignAvatar:
    """A foreign avatar before its cycle was doubled: each picture once, in order."""

    project: str
    "the project that made it, such as LiveTalking wav2lip"
    pictures: Pictures
    boxes: FloatArray
    "(n, 4) float32 x0, y0, x1, y1 of the face in pixels of the pictures; NaN where the project saw none"
    doubled: bool
    "whether the cycle was stored forwards and then backwards"
    crops_of: str | None = None
    "lip-sync backend for which these boxes are the crops: it gets them unchanged"
    mask_of: Callable[[int, Box], Mask] | None = None
    """index of a picture, its box -> uint8 (h, w) weight of the generated face in that box, the project's mask for
    `crops_of`; raises BadImport if no mask fits"""
    ignored: int = 0
    "number of further pictures in the same folder that do not belong to the avatar"
    facts: Mapping[str, object] = field(default_factory=dict)
    "other facts that the project stored, as JSON"
    networks: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)
    """lip-sync backend -> function that writes the avatar's own network to a new file; it raises BadImport if the
    network is damaged or hostile"""


class ForeignReader(Protocol):
    """Reads the avatars of one layout."""

    def recognises(self, folder: ForeignFolder) -> bool:
        """Whether the folder has this layout, by its file names, and at most the size of one picture."""

    def read(self, folder: ForeignFolder) -> ForeignAvatar:
        """Read the avatar. Raises BadImport."""


def stored_pictures(folder: ForeignFolder) -> Pictures:
    """Return the numbered pictures of full_imgs. Decoding one raises BadImport if it is damaged or too large."""
    return _pictures(folder, folder.numbered(FULL_IMAGES))


def written_pictures(folder: ForeignFolder, boxes: int) -> tuple[Pictures, int]:
    """Return the pictures of full_imgs that belong to this many boxes, and the number of other numbered pictures.

    When MuseTalk's scripts are given a folder of pictures, they copy it to full_imgs before they write their own
    pictures, 00000000.png and so on. So some of the originals may remain among or behind these.
    """
    names = folder.numbered(FULL_IMAGES)
    written = list(takewhile(folder.__contains__, (f"{FULL_IMAGES}/{index:08d}.png" for index in count())))
    # There may be as many boxes as pictures, or twice as many for a cycle whose pictures are stored once (see fold).
    fit = len(written) >= boxes or 2 * len(written) == boxes
    chosen = written[:boxes] if fit else names
    return _pictures(folder, chosen), len(names) - len(chosen)


def _pictures(folder: ForeignFolder, names: Sequence[str]) -> Pictures:
    def decode(index: int) -> ImageArray:
        return decoded(folder.read(names[index], MAX_PICTURE_BYTES), names[index])

    return Pictures(len(names), decode)


def decoded(data: bytes, name: str, max_pixels: int | None = None) -> ImageArray:
    """Decode a PNG or JPEG to uint8 RGB (h, w, 3). The size is checked before the pixels are decoded.

    max_pixels: MAX_CLIP_PIXELS if None. Raises BadImport.
    """
    with _opened(data, name) as image:
        check_size(image.width, image.height, name, max_pixels)
        if image.format != "PNG" and data.count(START_OF_SCAN) > MAX_SCANS:
            raise BadImport(
                f"The picture {name} is coded in a way that takes long to decode.",
                "Save the pictures again in any program.",
                cause="slow_to_decode",
            )
        return np.array(image.convert("RGB"), np.uint8)


def width_of(data: bytes, name: str) -> int:
    """Return the width of a PNG or JPEG in pixels, from its header. Raises BadImport."""
    with _opened(data, name) as image:
        return image.width


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is below Pillow's
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                yield image
    except Image.DecompressionBombError as error:
        raise BadImport(f"{name} has too many pixels.", "Copy the folder again.", cause="too_large") from error
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError) as error:
        raise BadImport(f"The picture {name} is damaged.", "Copy the folder again.", cause="damaged") from error


def check_size(width: int, height: int, name: str, max_pixels: int | None = None) -> None:
    """Raise BadImport for a picture that is too large or too small. max_pixels: see decoded()."""
    most = max_pixels or MAX_CLIP_PIXELS
    if width * height > most or min(width, height) < MIN_SIDE_PX:
        raise BadImport(
            f"{name} has {width} x {height} pixels.",
            f"Pictures from {MIN_SIDE_PX} px on each side to {most / 1e6:.0f} megapixels are taken.",
            cause="picture_size",
        )


def list_in(folder: ForeignFolder, name: str, limit_bytes: int = MAX_LIST_BYTES) -> Sequence[object] | AnyArray:
    """Read a pickled list, tuple or array of rows. Raises BadImport if it is missing, damaged, hostile or no list."""
    value = read_pickle(folder.read(name, limit_bytes), name)
    rows = () if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not isinstance(rows, list | tuple | np.ndarray) or not len(rows):
        raise BadImport(
            f"{name} holds no list, or an empty one.",
            "Make the avatar again with the tool that made it.",
            cause="damaged",
        )
    return rows


def coords_in(folder: ForeignFolder) -> FloatArray:
    """Read the boxes in coords.pkl, (n, 4), with their numbers in the project's own order.

    Raises BadImport as list_in() does, or if a box is not four numbers.
    """
    values = list_in(folder, COORDS)
    coords = np.empty((len(values), 4), np.float32)
    for index, value in enumerate(values):
        if not is_box(value):
            raise BadImport(
                f"Box {index} of {COORDS} is {shown(value)}, not four numbers.",
                "Make the avatar again with the tool that made it.",
                cause="damaged",
            )
        coords[index] = value
    return coords


def is_box(value: object) -> TypeGuard[Sequence[float] | AnyArray]:
    """Whether it is four numbers.

    This is checked before numpy sees the value, because a few bytes of a pickle may stand for endless lists.
    """
    if isinstance(value, np.ndarray):
        return value.shape == (4,) and is_box(value.tolist())
    return (
        isinstance(value, list | tuple)
        and len(value) == 4
        and all(isinstance(edge, int | float) and abs(edge) <= MAX_PX for edge in value)
    )


def boxes_of(coords: FloatArray, order: tuple[int, int, int, int], size: tuple[int, int]) -> FloatArray:
    """Reorder another project's boxes to (n, 4) x0, y0, x1, y1; order: the index of each of these in its boxes.

    A box is NaN where the project saw no face: all zeros, empty, or the whole picture of `size` (w, h).
    """
    boxes = coords[:, list(order)]
    sides = boxes[:, 2:] - boxes[:, :2]
    whole = (sides >= WHOLE_PICTURE * np.array(size)).all(axis=1)
    boxes[whole | (sides <= 0).any(axis=1)] = np.nan
    return boxes


def match(what: str, count: int, pictures: int) -> None:
    """Raise BadImport with both numbers unless there is one entry for each picture."""
    if count != pictures:
        raise BadImport(f"{what} has {count} entries, but there are {pictures} pictures.", MIXED, cause="mixed")


def fold(pictures: Pictures, coords: FloatArray) -> tuple[Pictures, FloatArray, bool]:
    """Undo a doubled cycle: return each picture once, its box, and whether the cycle was doubled.

    MuseTalk stores its cycle forwards and then backwards, both pictures and boxes. If only the list of boxes is twice
    as long, the pictures are stored once. Raises BadImport, with the numbers, if they match in neither way.
    """
    mirrored = np.array_equal(coords, coords[::-1])
    if len(coords) == 2 * pictures.count and mirrored:
        return pictures, coords[: pictures.count], True
    match(COORDS, len(coords), pictures.count)
    half, odd = divmod(pictures.count, 2)
    if odd or not mirrored or not _pictures_mirrored(pictures):
        return pictures, coords, False
    return pictures.first(half), coords[:half], True


def _pictures_mirrored(pictures: Pictures) -> bool:
    """Whether pictures equal their counterparts, for some pairs between the ends and the middle."""
    chosen = {int(index) for index in np.linspace(0, pictures.count // 2 - 1, COMPARED_PAIRS)}
    return all(
        np.array_equal(pictures.decode(index), pictures.decode(pictures.count - 1 - index)) for index in sorted(chosen)
    )


def info_of(folder: ForeignFolder) -> dict[str, object]:
    """Return what avator_info.json says about how the avatar was made, without paths; empty if there is no such file.

    Raises BadImport if it is damaged.
    """
    if INFO not in folder:
        return {}
    try:
        info = json.loads(folder.read(INFO, MAX_INFO_BYTES))
    except (ValueError, RecursionError) as error:
        raise BadImport(f"{INFO} is damaged.", "Copy the folder again.", cause="damaged") from error
    if not isinstance(info, dict):
        raise BadImport(f"{INFO} holds no object.", "Copy the folder again.", cause="damaged")
    kept = {name: info[name] for name in ("avatar_id", "bbox_shift", "version") if name in info}
    return {name: _noted(value) for name, value in kept.items()}


def _noted(value: object) -> int | float | str:
    """Make a value safe for JSON, which cannot hold NaN, infinite numbers or lone surrogates."""
    if isinstance(value, int | float) and abs(value) <= MAX_PX:
        return value
    return str(value)[:60].encode("utf-8", "replace").decode("utf-8")
