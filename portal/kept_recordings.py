"""The files of recordings: where they lie, whose they are, and how they go; in the data folder, or in a store."""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avatars.disk import disk_full_explained
from avatars.errors import StoreUnreachable
from avatars.library import Ownership
from avatars.shelf import INDEX, Shelf
from avatars.store import Store
from portal.errors import RecordingNotFound

__all__ = ["FILES", "UNWRITTEN", "KeptRecording", "KeptRecordings", "SharedRecordings", "no_such_recording"]

logger = logging.getLogger(__name__)

FILES = ("mp4", "vtt", "json")
OWNER = "owner.txt"
"Beside them: the name of the person whose recording it is. There is none where nobody had logged in."
VALID_ID = re.compile(r"[A-Za-z0-9_-]{10,40}")
STANDS_STILL_S = 300.0
"""After so long without a further picture an unfinished recording is what a crash has left."""
UNWRITTEN = "the recording ends here"


@dataclass(frozen=True, slots=True)
class KeptRecording:
    """A recording that has ended, or what a crash has left of one."""

    ended_at: float
    "seconds since the epoch"
    size_bytes: int
    owner: str
    remove: Callable[[], object]


class KeptRecordings:
    """Each in a folder of its own below `root`, found by an id that only those know who were told it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def note_owner(self, recording_id: str, owner: str) -> None:
        """Before there is anything to be seen. Raises DiskFull."""
        folder = self.root / recording_id
        with disk_full_explained(UNWRITTEN):
            folder.mkdir(parents=True)
            (folder / OWNER).write_text(owner, encoding="utf-8")

    def keep(self, recording_id: str) -> None:
        """Its files are complete."""

    def path(self, recording_id: str, kind: str) -> Path:
        """A file of a recording: mp4, vtt or json. Raises RecordingNotFound."""
        path = self.root / recording_id / f"recording.{kind}"
        if kind not in FILES or not VALID_ID.fullmatch(recording_id) or not path.is_file():
            raise no_such_recording(recording_id)
        return path

    def ownership(self, recording_id: str) -> Ownership | None:
        """Whose recording that is; None where there is none of that id. Raises OSError."""
        folder = self.root / recording_id
        if not VALID_ID.fullmatch(recording_id) or not folder.is_dir():
            return None
        return Ownership(_owner_in(folder))

    def erase_all_of(self, avatar_id: str) -> int:
        """Remove those of sessions that have shown an avatar. Returns how many."""
        erased = 0
        for told in self.root.glob("*/recording.json"):
            # The sweep removed it, or a crash left half of it, which the sweep removes.
            with suppress(OSError, ValueError):
                if avatar_id in _avatars_in(told.parent):
                    shutil.rmtree(told.parent)
                    erased += 1
        return erased

    def ended(self, running: Collection[str]) -> Iterator[KeptRecording]:
        """All but those of these ids, which are being made."""
        for folder in self.root.glob("*"):
            if folder.name not in running and not _grows(folder):
                with suppress(FileNotFoundError):  # erased meanwhile
                    size_bytes = sum(file.stat().st_size for file in folder.glob("*"))
                    owner = (self.ownership(folder.name) or Ownership()).owner
                    yield KeptRecording(folder.stat().st_mtime, size_bytes, owner, _remover(folder))


class SharedRecordings(KeptRecordings):
    """In a store, once they are complete. One that could not be put there stays here, and is put there later.

    What needs the store raises StoreUnreachable while that is away.
    """

    def __init__(self, root: Path, store: Store, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__(root)
        self.shelf = Shelf(store, "recordings", root, no_such_recording, _about, now_s)

    def keep(self, recording_id: str) -> None:
        try:
            self.shelf.adopt(recording_id)
        except StoreUnreachable as error:
            logger.warning("a recording is put into the store later: %s", error)

    def path(self, recording_id: str, kind: str) -> Path:
        if kind in FILES and VALID_ID.fullmatch(recording_id) and not self._is_here_alone(recording_id):
            self.shelf.brought(recording_id)
        return super().path(recording_id, kind)

    def ownership(self, recording_id: str) -> Ownership | None:
        if not VALID_ID.fullmatch(recording_id) or self._is_here_alone(recording_id):
            return super().ownership(recording_id)
        index = self.shelf.index(recording_id)
        return None if index is None else Ownership(index.about["owner"])

    def erase_all_of(self, avatar_id: str) -> int:
        there = [name for name, index in self.shelf.listed().items() if avatar_id in index.about["avatars"]]
        erased = sum(self.shelf.remove(name) for name in there)
        return erased + super().erase_all_of(avatar_id)

    def ended(self, running: Collection[str]) -> Iterator[KeptRecording]:
        with suppress(StoreUnreachable):  # the next look may do it
            for name, index in self.shelf.listed().items():
                remove = _Removing(self.shelf, name)
                yield KeptRecording(index.about["ended_at"], index.size_bytes, index.about["owner"], remove)
        for folder in self.root.glob("*"):
            if folder.name not in running and self._is_here_alone(folder.name) and not _grows(folder):
                if (folder / "recording.json").is_file():
                    self.keep(folder.name)
                else:
                    yield from _left_by_a_crash(folder)

    def _is_here_alone(self, recording_id: str) -> bool:
        folder = self.root / recording_id
        return folder.is_dir() and not (folder / INDEX).is_file()


def no_such_recording(_recording_id: str) -> RecordingNotFound:
    return RecordingNotFound(
        "There is no such recording.", "It may still be running, or its time is over. Record again."
    )


@dataclass(frozen=True, slots=True)
class _Removing:
    shelf: Shelf
    name: str

    def __call__(self) -> None:
        try:
            self.shelf.remove(self.name)
        except StoreUnreachable as error:
            logger.warning("an old recording is removed later: %s", error)


def _remover(folder: Path) -> Callable[[], None]:
    return lambda: shutil.rmtree(folder, ignore_errors=True)


def _left_by_a_crash(folder: Path) -> Iterator[KeptRecording]:
    with suppress(FileNotFoundError):
        size_bytes = sum(file.stat().st_size for file in folder.glob("*"))
        yield KeptRecording(folder.stat().st_mtime, size_bytes, _owner_in(folder), _remover(folder))


def _about(folder: Path) -> Mapping[str, Any]:
    try:
        avatars = _avatars_in(folder)
    except (OSError, ValueError):  # its transcript could not be written
        avatars = []
    return {"owner": _owner_in(folder), "avatars": avatars, "ended_at": time.time()}


def _avatars_in(folder: Path) -> list[str]:
    """That were shown. Raises OSError, ValueError."""
    return list(json.loads((folder / "recording.json").read_text(encoding="utf-8")).get("avatars", ()))


def _owner_in(folder: Path) -> str:
    try:
        return (folder / OWNER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _grows(folder: Path) -> bool:
    """Whether another portal with this data folder is just making it: its unfinished file, which is hidden, grows."""
    with suppress(FileNotFoundError):  # finished just now
        return any(time.time() - file.stat().st_mtime < STANDS_STILL_S for file in folder.glob(".*"))
    return True
