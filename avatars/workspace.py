"""The working directory of a preparation: its stages' directories, and the kinds of files in them.

A stage writes into a hidden directory, which gets its real name only when everything is written and synced. So a killed
stage leaves nothing that counts, and a stage that is run again finds its result and does nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avatars.disk import disk_full_explained, sync
from avatars.errors import AvatarError
from models.arrays import FloatArray, ImageArray

__all__ = ["ForeignFiles", "FrameFile", "PhotoFile", "read_json", "stage_output", "write_json"]

ByteArray = npt.NDArray[np.uint8]


@contextmanager
def stage_output(work: Path, stage: str) -> Iterator[Path]:
    """Give a new directory that becomes `work/stage` if the block succeeds, and is removed otherwise.

    Raises DiskFull.
    """
    staging = work / f".{stage}"
    shutil.rmtree(staging, ignore_errors=True)
    with disk_full_explained():
        staging.mkdir(parents=True)
        try:
            yield staging
            for path in (*staging.rglob("*"), staging):
                sync(path)
            staging.rename(work / stage)
        except BaseException:  # on any failure, cancellation too: half a stage must not become a checkpoint
            shutil.rmtree(staging, ignore_errors=True)
            raise


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write a JSON object, readable by people."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON object that we wrote ourselves, so its fields are not checked. Raises AvatarError if damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise AvatarError(f"{path.name} of the preparation is damaged.", "Start the preparation again.")
    return value


class PhotoFile:
    """A photo as pixels in a directory; if given, also its version with closed eyes, and its alpha."""

    def __init__(self, directory: Path) -> None:
        self._photo = directory / "photo.npy"
        self._closed = directory / "closed.npy"
        self._alpha = directory / "alpha.npy"

    def write(self, photo: ImageArray, closed: ImageArray | None = None, alpha: ImageArray | None = None) -> None:
        """Write uint8 RGB (h, w, 3) and alpha uint8 (h, w), all of one size."""
        np.save(self._photo, photo)
        if closed is not None:
            np.save(self._closed, closed)
        if alpha is not None:
            np.save(self._alpha, alpha)

    def read(self) -> ImageArray:
        """Return the photo, uint8 RGB (h, w, 3)."""
        return np.asarray(np.load(self._photo), np.uint8)

    def read_alpha(self) -> ImageArray | None:
        """Return its alpha; None if it has no transparent parts."""
        return np.asarray(np.load(self._alpha), np.uint8) if self._alpha.exists() else None

    def read_closed(self) -> ImageArray | None:
        """Return the photo with closed eyes, uint8 RGB (h, w, 3); None if there is none."""
        return np.asarray(np.load(self._closed), np.uint8) if self._closed.exists() else None


class FrameFile:
    """JPEGs one after another in one file, with their offsets in a second file."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "frames.bin"
        self._index = directory / "frames.npy"

    def write(self, jpegs: Iterable[bytes]) -> int:
        """Store all of them; return how many."""
        offsets = [0]
        with self._path.open("wb") as file:
            for jpeg in jpegs:
                offsets.append(offsets[-1] + file.write(jpeg))
        np.save(self._index, np.asarray(offsets, np.int64))
        return len(offsets) - 1

    def read(self, first: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the JPEGs from `first` up to `stop` (exclusive; None means the end)."""
        count = len(np.load(self._index, mmap_mode="r")) - 1
        return self.at(range(count)[first:stop])

    def at(self, indices: Iterable[int]) -> Iterator[bytes]:
        """Give the JPEGs at these indices, in this order."""
        offsets: npt.NDArray[np.int64] = np.load(self._index)
        with self._path.open("rb") as file:
            for index in indices:
                file.seek(int(offsets[index]))
                yield file.read(int(offsets[index + 1] - offsets[index]))


class ForeignFiles:
    """The extra files of a foreign avatar, in a directory: face boxes, masks for them, its own networks.

    Other uploads have none of them.
    """

    def __init__(self, directory: Path) -> None:
        self._boxes = directory / "peer_boxes.npy"
        self._masks = directory / "peer_masks.npz"
        self._networks = directory / "networks"

    def write_boxes(self, boxes: FloatArray) -> None:
        """Write (n, 4) float32 x0, y0, x1, y1 in pixels of the n pictures; NaN where no face was seen."""
        np.save(self._boxes, boxes)

    def boxes(self) -> FloatArray | None:
        """Return the boxes of write_boxes(); None if there are none."""
        return np.asarray(np.load(self._boxes), np.float32) if self._boxes.exists() else None

    def write_masks(self, masks: Iterable[ByteArray]) -> None:
        """Write one mask per box, as the bytes of a PNG. Call this only if all masks fit their boxes."""
        np.savez(self._masks, *masks)

    def masks(self, first: int, stop: int) -> list[ByteArray] | None:
        """Return the masks of the pictures [first, stop); None if no masks are kept."""
        if not self._masks.exists():
            return None
        with np.load(self._masks) as masks:
            return [masks[name] for name in masks.files[first:stop]]

    def new_network(self, backend: str) -> Path:
        """Return the path to write the network for a lip-sync backend to."""
        self._networks.mkdir(exist_ok=True)
        return self._networks / f"{backend}.pth"

    def networks(self) -> dict[str, Path]:
        """Return the avatar's own networks: lip-sync backend -> file."""
        return {path.stem: path for path in self._networks.glob("*.pth")}
