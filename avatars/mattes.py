"""The mattes of an avatar: the person's share in each pixel of each frame, and the background; the still made of them.

The mattes are one file of the bundle, `mattes.bin`, which the page downloads as it is:

    4 bytes      length of the facts, little endian
    facts        JSON: version, `width` and `height` of the mattes in px, `places` (loop place -> matte), `frames`
                 (frame -> matte), `lengths` of the mattes in bytes, `background` in bytes
    mattes       grey JPEGs, one after another; 0 is background, 255 the person
    background   a JPEG of the avatar's size

Frames with nearly equal mattes share one. The mattes are smaller than the frames, because their edges are soft.
"""

from __future__ import annotations

import json
import struct
import tempfile
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from avatars.bundle import AvatarBundle, decode_jpeg, encode_jpeg
from avatars.disk import disk_full_explained
from avatars.errors import BundleError
from models.arrays import ImageArray, IntArray

__all__ = ["Mattes", "MattesMaker", "cut_out", "keep_cutout", "matte_size"]


_VERSION = 1
_LENGTH = struct.Struct("<I")
_SIDE_PX = 384
"Longest side of a matte: the network that makes most of them sees 320 px."
_QUALITY = 75
_ALIKE = 20
"Two mattes are shared if no pixel differs by more than this, of 255. At a sharp edge that is a third of a pixel."
_NOTHING, _ALL = 4, 250
"JPEG turns 0 and 255 into values nearby; values up to _NOTHING count as 0, those from _ALL on as 255."


@dataclass(frozen=True, eq=False)
class Mattes:
    """The contents of mattes.bin."""

    jpegs: tuple[bytes, ...]
    of_frame: tuple[int, ...]
    "frame -> index of its matte"
    background_jpeg: bytes

    @classmethod
    def open(cls, file: Path) -> Mattes | None:
        """Read the file; None if it does not exist. Raises BundleError if it is damaged."""
        try:
            data = file.read_bytes()
            (length,) = _LENGTH.unpack_from(data)
            start = _LENGTH.size + length
            facts = json.loads(data[_LENGTH.size : start])
            ends = np.cumsum([start, *facts["lengths"], facts["background"]]).tolist()
            parts = [data[first:stop] for first, stop in pairwise(ends)]
            if ends[-1] != len(data) or not 0 <= min(facts["frames"]) <= max(facts["frames"]) < len(parts) - 1:
                raise ValueError("its parts disagree")
            return cls(tuple(parts[:-1]), tuple(facts["frames"]), parts[-1])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            raise BundleError(
                f"The mattes of the avatar '{file.parent.name}' cannot be read.", "Delete it and make it again."
            ) from error

    def to_bytes(self, loop: IntArray) -> bytes:
        """Return the file's bytes, for an avatar whose frames are played in the order of `loop` (m,)."""
        height, width = _grey(self.jpegs[0]).shape
        facts = {
            "version": _VERSION,
            "width": width,
            "height": height,
            "places": [self.of_frame[frame] for frame in loop.tolist()],
            "frames": self.of_frame,
            "lengths": [len(jpeg) for jpeg in self.jpegs],
            "background": len(self.background_jpeg),
        }
        head = json.dumps(facts, separators=(",", ":")).encode()
        return b"".join((_LENGTH.pack(len(head)), head, *self.jpegs, self.background_jpeg))

    @cached_property
    def background(self) -> ImageArray:
        """The background, uint8 RGB (height, width, 3)."""
        return decode_jpeg(self.background_jpeg)

    def matte(self, frame_index: int) -> ImageArray:
        """Return the matte of a frame, uint8 (height, width), in the frame's size."""
        height, width = self.background.shape[:2]
        small = _grey(self.jpegs[self.of_frame[frame_index]]).astype(np.float32)
        # JPEG's errors must not leave a haze in the background or holes in the person.
        sure = np.clip((small - _NOTHING) * (255 / (_ALL - _NOTHING)), 0, 255)
        large = cv2.resize(sure, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.round(large), np.uint8)

    def person_throughout(self) -> ImageArray:
        """Return the smallest share of the person in each pixel over all frames, uint8 (h, w), in the mattes' size."""
        least = _grey(self.jpegs[0])
        for jpeg in self.jpegs[1:]:
            cv2.min(least, _grey(jpeg), dst=least)
        return least

    def still(self, first_frame: ImageArray) -> bytes:
        """Return the person of the first frame, uint8 RGB (height, width, 3), as a WebP with alpha."""
        rgba = cut_out(first_frame, self.matte(0), self.background)
        done, data = cv2.imencode(".webp", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_WEBP_QUALITY, 90])
        if not done:
            raise BundleError("A picture could not be encoded as WebP.", "Try again; the memory may have been full.")
        return data.tobytes()


def matte_size(width: int, height: int) -> tuple[int, int]:
    """Return width and height in px of the mattes for pictures of that size."""
    scale = min(1.0, _SIDE_PX / max(height, width))
    return round(width * scale), round(height * scale)


def keep_cutout(bundle: AvatarBundle) -> None:
    """Make cutout.webp and keep it in the bundle, if the avatar has mattes.

    Raises BundleError if the mattes are damaged, DiskFull.
    """
    mattes = Mattes.open(bundle.mattes_path)
    if mattes is None:
        return
    still = mattes.still(bundle.frame(0))
    with disk_full_explained(), tempfile.TemporaryDirectory(prefix=".cutout.", dir=bundle.path) as place:
        made = Path(place) / bundle.cutout_path.name
        made.write_bytes(still)
        made.replace(bundle.cutout_path)  # atomic: nobody sees half a file


class MattesMaker:
    """Collects the mattes of an avatar's frames, in order."""

    def __init__(self) -> None:
        self._jpegs: list[bytes] = []
        self._of_frame: list[int] = []
        self._kept: ImageArray | None = None

    def add(self, matte: ImageArray) -> None:
        """Add the matte of the next frame, uint8 (h, w)."""
        height, width = matte.shape
        small = np.asarray(cv2.resize(matte, matte_size(width, height), interpolation=cv2.INTER_AREA), np.uint8)
        if self._kept is None or cv2.absdiff(small, self._kept).max() > _ALIKE:
            self._kept = small
            done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
            if not done:
                raise BundleError("A matte could not be encoded.", "Try again; the memory may have been full.")
            self._jpegs.append(data.tobytes())
        self._of_frame.append(len(self._jpegs) - 1)

    def made(self, background: ImageArray) -> Mattes:
        """Return the mattes. background: uint8 RGB (height, width, 3) of the frames' size."""
        return Mattes(tuple(self._jpegs), tuple(self._of_frame), encode_jpeg(background))


def cut_out(picture: ImageArray, matte: ImageArray, background: ImageArray) -> ImageArray:
    """Cut the person out of a picture, uint8 RGB (h, w, 3); return uint8 RGBA (h, w, 4).

    A pixel of a soft edge gets the person's own colour: the background's part of it is subtracted.
    """
    share = matte[..., None].astype(np.float32) / 255
    person = np.clip(picture - (1 - share) * background, 0, 255 * share)
    colours = np.round(person / np.maximum(share, 1 / 255))
    return np.dstack([colours.astype(np.uint8), matte])


def _grey(jpeg: bytes) -> ImageArray:
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise BundleError("A matte of the avatar is damaged.", "Delete the avatar and make it again.")
    return np.asarray(grey, np.uint8)
