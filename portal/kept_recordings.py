"""The files of recordings, in the data folder or in a store: where they are, who owns them, and their removal."""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from avatars.disk import disk_full_explained
from avatars.errors import AvatarError, StoreUnreachable
from avatars.library import Ownership
from avatars.shelf import Shelf
from avatars.shelf_copies import INDEX
from avatars.store import Store
from portal.errors import RecordingNotFound

__all__ = ["FILES", "UNWRITTEN", "KeptRecording", "KeptRecordings", "SharedRecordings", "no_such_recording"]

logger = logging.getLogger(__name__)

FILES = ("mp4", "vtt", "json")
OWNER = "owner.txt"
"File beside them with the name of the recording's owner. It is missing if nobody had logged in."
BEGUN_FROM = "begun-from.txt"
"File beside them that tells apart from where recordings without an owner were begun; see note_place()."
AVATARS = "avatars.txt"
"File beside them with the id of the avatar that the recording begins with. Only a transcript names later ones."
VALID_ID = re.compile(r"[A-Za-z0-9_-]{10,40}")
"Form of a recording's id. Nothing else may become part of a path."
STANDS_STILL_S = 300.0
"""An unfinished recording that has not grown for this long is taken for the remains of a crash."""
UNWRITTEN = "the recording ends here"
"""What a full disk means for a recording, for the error's text."""


@dataclass(frozen=True, slots=True)
class KeptRecording:
    """A recording that has ended, or the remains of one after a crash."""

    id: str
    ended_at: float
    "seconds since the epoch"
    size_bytes: int
    owner: str
    begun_from: str
    "see KeptRecordings.note_place(); empty if it is not known"
    remove: Callable[[], object]


class KeptRecordings:
    """Recordings, each in a folder of its own below `root`. The folder's name is an id that serves as a secret."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def note_owner(self, recording_id: str, owner: str) -> None:
        """Note the owner of a recording, before it has any files. Raises DiskFull."""
        self._note(recording_id, OWNER, owner)

    def note_place(self, recording_id: str, begun_from: str) -> None:
        """Note from where a recording without an owner is begun, before it has any files. Raises DiskFull.

        begun_from: a fingerprint of the address, since addresses are personal data. All who share these recordings
            count by it how many an address has.
        """
        self._note(recording_id, BEGUN_FROM, begun_from)

    def note_avatar(self, recording_id: str, avatar_id: str) -> None:
        """Note which avatar a recording shows, before it has any files, in case a crash leaves it. Raises DiskFull."""
        self._note(recording_id, AVATARS, avatar_id)

    def keep(self, recording_id: str) -> None:
        """Take a recording whose files are complete into keeping."""

    def path(self, recording_id: str, kind: str) -> Path:
        """Return the path of a recording's file. kind: mp4, vtt or json. Raises RecordingNotFound."""
        path = self.root / recording_id / f"recording.{kind}"
        if kind not in FILES or not VALID_ID.fullmatch(recording_id) or not path.is_file():
            raise no_such_recording(recording_id)
        return path

    def ownership(self, recording_id: str) -> Ownership | None:
        """Return who owns a recording; None if there is none with this id. Raises OSError."""
        folder = self.root / recording_id
        if not VALID_ID.fullmatch(recording_id) or not folder.is_dir():
            return None
        return Ownership(_owner_in(folder))

    def erase_all_of(self, avatar_id: str) -> int:
        """Remove the recordings of sessions that have shown an avatar. Return how many there were.

        Those that another portal is making stay: it ends and removes them itself. What a crash has left is removed if
        it has stood still for STANDS_STILL_S; until then nobody can tell the two apart.

        Raises OSError if one cannot be read or removed, after all others.
        """
        erased, trouble = 0, None
        for folder in self.root.glob("*"):
            try:
                is_complete = (folder / "recording.json").is_file()
                if avatar_id in _avatars_in(folder) and (is_complete or not _grows(folder)):
                    shutil.rmtree(folder)
                    erased += 1
            # Not a recording, or one that the sweep has removed or will remove: a crash has left half of it.
            except (FileNotFoundError, NotADirectoryError, ValueError) as error:
                logger.debug("a recording is passed over: %s", error)
            except OSError as error:
                trouble = error
        if trouble is not None:
            raise trouble
        return erased

    def ended(self, running: Collection[str]) -> Iterator[KeptRecording]:
        """Yield all recordings that have ended. running: ids of those that this portal is making."""
        for folder in self.root.glob("*"):
            if folder.name not in running and not _grows(folder):
                with suppress(OSError):  # erased meanwhile, or it cannot be read: the next look tries again
                    yield _lying_in(folder)

    def _note(self, recording_id: str, name: str, text: str) -> None:
        folder = self.root / recording_id
        with disk_full_explained(UNWRITTEN):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")


class SharedRecordings(KeptRecordings):
    """Recordings that are moved into a store once they are complete.

    If the store is away then, a recording stays in the local folder and is moved later. Methods that need the store
    raise StoreUnreachable while it is away.
    """

    def __init__(self, root: Path, store: Store, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__(root)
        self.shelf = Shelf(store, "recordings", root, no_such_recording, _about, now_s)

    def keep(self, recording_id: str) -> None:
        try:
            self.shelf.adopt(recording_id)
        except (AvatarError, OSError) as error:
            logger.warning("a recording is put into the store later: %s", error)

    def path(self, recording_id: str, kind: str) -> Path:
        if kind in FILES and VALID_ID.fullmatch(recording_id) and not self._is_here_alone(recording_id):
            self.shelf.at_hand(recording_id)
        return super().path(recording_id, kind)

    def ownership(self, recording_id: str) -> Ownership | None:
        if not VALID_ID.fullmatch(recording_id) or self._is_here_alone(recording_id):
            return super().ownership(recording_id)
        index = self.shelf.index(recording_id)
        return None if index is None else Ownership(index.about["owner"])

    def erase_all_of(self, avatar_id: str) -> int:
        """Like that of KeptRecordings. Also raises StoreUnreachable or BundleError, after all that could be erased."""
        there = self.shelf.listed()
        retried, unread = self.shelf.with_retries()
        erased = 0
        trouble: Exception | None = unread
        removals: list[Callable[[], int]] = [
            partial(self.shelf.remove, name)
            for name, index in {**there, **retried}.items()
            if avatar_id in index.about["avatars"]
        ]
        removals.append(partial(super().erase_all_of, avatar_id))
        for remove in removals:
            try:
                erased += remove()
            except (AvatarError, OSError) as error:
                trouble = error
        if trouble is not None:
            raise trouble
        return erased

    def ended(self, running: Collection[str]) -> Iterator[KeptRecording]:
        with suppress(StoreUnreachable):  # the next look tries again
            for name, index in self.shelf.listed().items():
                remove = _Removing(self.shelf, name)
                about = index.about
                begun_from = about.get("begun_from", "")  # missing in those of earlier versions
                yield KeptRecording(name, about["ended_at"], index.size_bytes, about["owner"], begun_from, remove)
        for folder in self.root.glob("*"):
            if folder.name not in running and self._is_here_alone(folder.name) and not _grows(folder):
                if (folder / "recording.json").is_file():
                    self.keep(folder.name)
                else:  # left by a crash
                    with suppress(OSError):  # as in KeptRecordings
                        yield _lying_in(folder)

    def _is_here_alone(self, recording_id: str) -> bool:
        """Whether a recording has only local files: a copy from the store has an index beside them."""
        folder = self.root / recording_id
        return folder.is_dir() and not (folder / INDEX).is_file()


def no_such_recording(_recording_id: str) -> RecordingNotFound:
    """Return the error for an id that leads to no recording. It does not repeat the id, which serves as a secret."""
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
        except AvatarError as error:  # the store is away, or what it says of this recording is damaged
            logger.warning("an old recording is removed later: %s", error)


def _remover(folder: Path) -> Callable[[], None]:
    return lambda: shutil.rmtree(folder, ignore_errors=True)


def _lying_in(folder: Path) -> KeptRecording:
    """Raises OSError: it was erased meanwhile (FileNotFoundError), or cannot be read."""
    size_bytes = sum(file.stat().st_size for file in folder.glob("*"))
    return KeptRecording(
        folder.name,
        folder.stat().st_mtime,
        size_bytes,
        _owner_in(folder),
        _text_in(folder / BEGUN_FROM),
        _remover(folder),
    )


def _about(folder: Path) -> Mapping[str, object]:
    try:
        avatars = _avatars_in(folder)
    except (FileNotFoundError, ValueError):  # the transcript could not be written
        avatars = []
    return {
        "owner": _owner_in(folder),
        "begun_from": _text_in(folder / BEGUN_FROM),
        "avatars": avatars,
        "ended_at": time.time(),
    }


def _avatars_in(folder: Path) -> list[str]:
    """Return the ids of the avatars that the recording shows. Without a transcript only the first one is known.

    Raises OSError, ValueError.
    """
    try:
        return list(json.loads((folder / "recording.json").read_text(encoding="utf-8")).get("avatars", ()))
    except FileNotFoundError:
        return (folder / AVATARS).read_text(encoding="utf-8").split()


def _owner_in(folder: Path) -> str:
    return _text_in(folder / OWNER)


def _text_in(path: Path) -> str:
    """Empty if there is no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _grows(folder: Path) -> bool:
    """Whether another portal with this data folder is making this recording.

    The unfinished file is hidden (its name begins with a dot), and grows as long as somebody writes it.
    """
    with suppress(FileNotFoundError):  # finished just now
        return any(time.time() - file.stat().st_mtime < STANDS_STILL_S for file in folder.glob(".*"))
    return True
