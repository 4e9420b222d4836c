"""What an avatar of a peer is once it has been read, and what all peers' readers share."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from avatars.errors import BadImport
from avatars.importers.folder import PeerFolder
from avatars.importers.safe_pickle import read_pickle
from avatars.media import MAX_CLIP_PIXELS, MIN_SIDE_PX

__all__ = [
    "COORDS",
    "FULL_IMAGES",
    "MAX_PICTURE_BYTES",
    "MIXED",
    "PeerAvatar",
    "PeerReader",
    "Pictures",
    "boxes_of",
    "check_size",
    "decoded",
    "fold",
    "info_of",
    "is_mirrored",
    "list_in",
    "match",
    "stored_pictures",
    "width_of",
]

ImageArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

COORDS: Final = "coords.pkl"
FULL_IMAGES: Final = "full_imgs"
INFO: Final = "avator_info.json"
"so it is spelt"
MAX_LIST_BYTES: Final = 8 * 2**20
"of a pickled list of boxes; ten thousand of them take one"
MAX_INFO_BYTES: Final = 2**16
MAX_PICTURE_BYTES: Final = 64 * 2**20
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
class PeerAvatar:
    """A peer's avatar as it was before its cycle was doubled: each picture once, in its order."""

    peer: str
    "who has made it, such as LiveTalking wav2lip"
    pictures: Pictures
    boxes: FloatArray
    "(n, 4) float32 x0, y0, x1, y1 of the face in pixels of the pictures; NaN where the peer has seen none"
    doubled: bool
    "whether the cycle was stored forward and back again"
    facts: Mapping[str, Any] = field(default_factory=dict)
    "what else the peer has noted, fit for JSON"
    networks: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)
    """lip-sync backend -> writes the network that was trained for this avatar to a new file, unless it is damaged or
    hostile (BadImport)"""


class PeerReader(Protocol):
    """Reads the avatars of one layout."""

    def recognises(self, folder: PeerFolder) -> bool:
        """By the names of the files; of pictures at most the size."""

    def read(self, folder: PeerFolder) -> PeerAvatar:
        """Raises BadImport."""


def stored_pictures(folder: PeerFolder, below: str = FULL_IMAGES) -> Pictures:
    """The numbered pictures of a folder. Decoding raises BadImport: damaged, too large, of another size."""
    names = folder.numbered(below)

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
        raise BadImport(f"{name} has too many pixels.", "Copy the folder again.") from error
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError) as error:
        raise BadImport(f"The picture {name} is damaged: {error}.", "Copy the folder again.") from error


def check_size(width: int, height: int, name: str) -> None:
    """Raises BadImport for a picture that no clip could have."""
    if width * height > MAX_CLIP_PIXELS or min(width, height) < MIN_SIDE_PX:
        raise BadImport(
            f"{name} has {width} x {height} pixels.",
            f"Pictures from {MIN_SIDE_PX} px on each side to {MAX_CLIP_PIXELS / 1e6:.0f} megapixels are taken.",
        )


def list_in(folder: PeerFolder, name: str, limit_bytes: int = MAX_LIST_BYTES) -> list[Any]:
    """A pickled list. Raises BadImport: missing, damaged, hostile, or no list."""
    value = read_pickle(folder.read(name, limit_bytes), name)
    if not isinstance(value, list) or not value:
        raise BadImport(f"{name} holds no list, or an empty one.", "Make the avatar again with the peer's own tool.")
    return value


def boxes_of(values: Sequence[Any], order: tuple[int, int, int, int], size: tuple[int, int]) -> FloatArray:
    """A peer's list of boxes as (n, 4) x0, y0, x1, y1; `order` says where each of them stands in the peer's box.

    NaN where the peer has seen no face: all zeros, nothing between the edges, or the whole picture (w, h).
    Raises BadImport if one is not four numbers.
    """
    boxes = np.full((len(values), 4), np.nan, np.float32)
    for index, value in enumerate(values):
        try:
            box = np.asarray(value, np.float32)
        except (ValueError, TypeError, OverflowError):
            box = np.empty(0, np.float32)
        if box.shape != (4,) or not np.isfinite(box).all():
            raise BadImport(
                f"Box {index} of {COORDS} is {str(value)[:80]}, not four numbers.",
                "Make the avatar again with the peer's own tool.",
            )
        x0, y0, x1, y1 = box[list(order)]
        whole = x1 - x0 >= WHOLE_PICTURE * size[0] and y1 - y0 >= WHOLE_PICTURE * size[1]
        if x1 > x0 and y1 > y0 and not whole:
            boxes[index] = x0, y0, x1, y1
    return boxes


def match(what: str, count: int, pictures: int) -> None:
    """Raises BadImport with both numbers unless there is one of them for each picture."""
    if count != pictures:
        raise BadImport(f"{what} has {count} entries, but there are {pictures} pictures.", MIXED)


def fold(pictures: Pictures, boxes: Sequence[Any]) -> tuple[Pictures, list[Any], bool]:
    """Each picture once, its boxes, and whether the cycle was doubled.

    MuseTalk stores its cycle forward and back again, as pictures and as boxes; a list twice as long as the pictures is
    such a cycle of single ones. Raises BadImport, with the numbers, if they do not match in either way.
    """
    if len(boxes) == 2 * pictures.count and is_mirrored(boxes):
        return pictures, list(boxes[: pictures.count]), True
    match(COORDS, len(boxes), pictures.count)
    half, odd = divmod(pictures.count, 2)
    if odd or not is_mirrored(boxes) or not _pictures_mirrored(pictures):
        return pictures, list(boxes), False
    return pictures.first(half), list(boxes[:half]), True


def is_mirrored(values: Sequence[Any]) -> bool:
    """Whether a list reads the same from its end."""
    half = len(values) // 2
    pairs = zip(values[:half], values[::-1][:half], strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


def _pictures_mirrored(pictures: Pictures) -> bool:
    """Whether picture and counterpart are the same, for some pairs from the ends to the middle."""
    chosen = {int(index) for index in np.linspace(0, pictures.count // 2 - 1, COMPARED_PAIRS)}
    return all(
        np.array_equal(pictures.decode(index), pictures.decode(pictures.count - 1 - index)) for index in sorted(chosen)
    )


def info_of(folder: PeerFolder) -> dict[str, Any]:
    """What avator_info.json says of how the avatar was made; nothing if there is none. Paths are left out.

    Raises BadImport if it is damaged.
    """
    if INFO not in folder:
        return {}
    try:
        info = json.loads(folder.read(INFO, MAX_INFO_BYTES))
    except (ValueError, RecursionError) as error:
        raise BadImport(f"{INFO} is damaged: {error}.", "Copy the folder again.") from error
    if not isinstance(info, dict):
        raise BadImport(f"{INFO} holds no object.", "Copy the folder again.")
    kept = {name: info[name] for name in ("avatar_id", "bbox_shift", "version") if name in info}
    return {name: value if isinstance(value, int | float) else str(value)[:60] for name, value in kept.items()}
