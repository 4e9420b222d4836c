"""The working directory of one preparation: what each stage has made, whole or not at all.

A stage writes into a hidden directory that gets its real name only when all is written and synced. So a stage that was
killed leaves nothing that counts, and a stage that is run again finds its result and does nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avatars.disk import disk_full_explained
from avatars.errors import AvatarError

__all__ = ["FrameFile", "read_json", "stage_output", "write_json"]


@contextmanager
def stage_output(work: Path, stage: str) -> Iterator[Path]:
    """A fresh directory that becomes `work/stage` when the block ends well, and is removed otherwise.

    Raises DiskFull.
    """
    staging = work / f".{stage}"
    shutil.rmtree(staging, ignore_errors=True)
    with disk_full_explained():
        staging.mkdir(parents=True)
        try:
            yield staging
            _sync_all(staging)
            staging.rename(work / stage)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise


def _sync_all(directory: Path) -> None:
    for path in (*directory.rglob("*"), directory):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise AvatarError(f"{path.name} of the preparation is damaged.", "Start the preparation again.")
    return value


class FrameFile:
    """JPEGs one after another in a file, with their offsets beside it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "frames.bin"
        self._index = directory / "frames.npy"

    def exists(self) -> bool:
        return self._index.exists()

    def write(self, jpegs: Iterable[bytes]) -> int:
        """Store all of them; returns how many."""
        offsets = [0]
        with self._path.open("wb") as file:
            for jpeg in jpegs:
                offsets.append(offsets[-1] + file.write(jpeg))
        np.save(self._index, np.asarray(offsets, np.int64))
        return len(offsets) - 1

    def read(self, first: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The JPEGs from `first` up to `stop` (exclusive; None is the end)."""
        offsets: npt.NDArray[np.int64] = np.load(self._index)[first : None if stop is None else stop + 1]
        with self._path.open("rb") as file:
            file.seek(int(offsets[0]))
            for size in np.diff(offsets):
                yield file.read(int(size))
