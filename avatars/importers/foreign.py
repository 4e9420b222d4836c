"""What a foreign avatar is once it has been read, and what all readers share."""

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
"so it is spelt"
MAX_LIST_BYTES: Final = 8 * 2**20
"of a pickled list of boxes; ten thousand of them take one"
MAX_INFO_BYTES: Final = 2**16
MAX_PICTURE_BYTES: Final = 64 * 2**20
MAX_PX: Final = 10**6
"where a box may end"
WHOLE_PICTURE: Final = 0.99
"a box that covers this part of the picture on both sides is what wav2lip notes where it saw no face"
MIXED: Final = "Files of several avatars may be mixed, or the making broke off: make the avatar again."
COMPARED_PAIRS: Final = 8
"pairs of pictures that are compared before a cycle is called doubled"


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Pictures that are decoded when they are asked for: uint8 RGB (h, w, 3), all of one size."""

    count: int
    decode: Callable[[int], ImageArray]

    def __iter__(self) -> Iterator[ImageArray]:
        return map(self.decode, range(self.count))

    def first(self, count: int) -> Pictures:
        return Pictures(min(count, self.count), self.decode)


@dataclass(frozen=True, slots=True, eq=False)
class ForeignAvatar:
    """A foreign avatar as it was before its cycle was doubled: each picture once, in its order."""

    project: str
    "who has made it, such as LiveTalking wav2lip"
    pictures: Pictures
    boxes: FloatArray
    "(n, 4) float32 x0, y0, x1, y1 of the face in pixels of the pictures; NaN where the project has seen none"
    doubled: bool
    "whether the cycle was stored forward and back again"
    crops_of: str | None = None
    "lip-sync backend whose crops these boxes are: it gets them as they are"
    mask_of: Callable[[int, Box], Mask] | None = None
    """picture, its box -> uint8 (h, w) weight of the generated face in that box, as the project has it for `crops_of`;
    raises BadImport where there is none that fits"""
    ignored: int = 0
    "further pictures that lie beside them and are none of the avatar's"
    facts: Mapping[str, object] = field(default_factory=dict)
    "what else the project has noted, fit for JSON"
    networks: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)
    """lip-sync backend -> writes the network that was trained for this avatar to a new file, unless it is damaged or
    hostile (BadImport)"""


class ForeignReader(Protocol):
    """Reads the avatars of one layout."""

    def recognises(self, folder: ForeignFolder) -> bool:
        """By the names of the files; of pictures at most the size."""

    def read(self, folder: ForeignFolder) -> ForeignAvatar:
        """Raises BadImport."""


def stored_pictures(folder: ForeignFolder) -> Pictures:
    """The numbered pictures of full_imgs. Decoding raises BadImport: damaged, too large, of another size."""
    return _pictures(folder, folder.numbered(FULL_IMAGES))


def written_pictures(folder: ForeignFolder, boxes: int) -> tuple[Pictures, int]:
    """The pictures of full_imgs for that many boxes, and how many numbered ones are there besides.

    Given a folder of pictures, MuseTalk's scripts copy them to full_imgs before they write their own, 00000000.png and
    so on, so some of the originals are left among or behind these.
    """
    names = folder.numbered(FULL_IMAGES)
    written = list(takewhile(folder.__contains__, (f"{FULL_IMAGES}/{index:08d}.png" for index in count())))
    fit = len(written) >= boxes or 2 * len(written) == boxes
    chosen = written[:boxes] if fit else names
    return _pictures(folder, chosen), len(names) - len(chosen)


def _pictures(folder: ForeignFolder, names: Sequence[str]) -> Pictures:
    def decode(index: int) -> ImageArray:
        return decoded(folder.read(names[index], MAX_PICTURE_BYTES), names[index])

    return Pictures(len(names), decode)


def decoded(data: bytes, name: str) -> ImageArray:
    """PNG or JPEG -> uint8 RGB (h, w, 3). Its size is looked at before its pixels are decoded.

    Raises BadImport.
    """
    with _opened(data, name) as image:
        check_size(image.width, image.height, name)
        return np.array(image.convert("RGB"), np.uint8)


def width_of(data: bytes, name: str) -> int:
    """Width of a PNG or JPEG in pixels, from its header. Raises BadImport."""
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


def check_size(width: int, height: int, name: str) -> None:
    """Raises BadImport for a picture that no clip could have."""
    if width * height > MAX_CLIP_PIXELS or min(width, height) < MIN_SIDE_PX:
        raise BadImport(
            f"{name} has {width} x {height} pixels.",
            f"Pictures from {MIN_SIDE_PX} px on each side to {MAX_CLIP_PIXELS / 1e6:.0f} megapixels are taken.",
            cause="picture_size",
        )


def list_in(folder: ForeignFolder, name: str, limit_bytes: int = MAX_LIST_BYTES) -> Sequence[object] | AnyArray:
    """A pickled list, tuple or array of rows. Raises BadImport: missing, damaged, hostile, or no list."""
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
    """The boxes in coords.pkl, (n, 4), each in the order of its project.

    Raises BadImport: as list_in(), or one is not four numbers.
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

    Asked before numpy sees the value: a few bytes of a pickle may stand for lists without end.
    """
    if isinstance(value, np.ndarray):
        return value.shape == (4,) and is_box(value.tolist())
    return (
        isinstance(value, list | tuple)
        and len(value) == 4
        and all(isinstance(edge, int | float) and abs(edge) <= MAX_PX for edge in value)
    )


def boxes_of(coords: FloatArray, order: tuple[int, int, int, int], size: tuple[int, int]) -> FloatArray:
    """Another project's boxes as (n, 4) x0, y0, x1, y1; `order` says where each of them stands in the project's box.

    NaN where the project has seen no face: all zeros, nothing between the edges, or the whole picture (w, h).
    """
    boxes = coords[:, list(order)]
    sides = boxes[:, 2:] - boxes[:, :2]
    whole = (sides >= WHOLE_PICTURE * np.array(size)).all(axis=1)
    boxes[whole | (sides <= 0).any(axis=1)] = np.nan
    return boxes


def match(what: str, count: int, pictures: int) -> None:
    """Raises BadImport with both numbers unless there is one of them for each picture."""
    if count != pictures:
        raise BadImport(f"{what} has {count} entries, but there are {pictures} pictures.", MIXED, cause="mixed")


def fold(pictures: Pictures, coords: FloatArray) -> tuple[Pictures, FloatArray, bool]:
    """Each picture once, its box, and whether the cycle was doubled.

    MuseTalk stores its cycle forward and back again, as pictures and as boxes; a list twice as long as the pictures is
    such a cycle of single ones. Raises BadImport, with the numbers, if they do not match in either way.
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
    """Whether picture and counterpart are the same, for some pairs from the ends to the middle."""
    chosen = {int(index) for index in np.linspace(0, pictures.count // 2 - 1, COMPARED_PAIRS)}
    return all(
        np.array_equal(pictures.decode(index), pictures.decode(pictures.count - 1 - index)) for index in sorted(chosen)
    )


def info_of(folder: ForeignFolder) -> dict[str, object]:
    """What avator_info.json says of how the avatar was made; nothing if there is none. Paths are left out.

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
    """As it can be written and sent as JSON: NaN, infinite numbers and halves of characters cannot."""
    if isinstance(value, int | float) and abs(value) <= MAX_PX:
        return value
    return str(value)[:60].encode("utf-8", "replace").decode("utf-8")
