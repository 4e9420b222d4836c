"""A shelf: folders of files in a store that several machines share, with a local copy of each that is used here.

A folder is fetched whole when it is first used, and brought up to date when its index has changed since. It is changed
in a copy beside it, which is put into the store and then takes its place. So whatever fails in between, the store, this
machine and others have what they had before.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from avatars.disk import disk_full_explained
from avatars.errors import StoreUnreachable
from avatars.store import Index, Store, StoredFile
from models.errors import VivavoceError

__all__ = ["INDEX", "Copy", "Shelf"]

logger = logging.getLogger(__name__)

INDEX: Final = ".index.json"
"In each local copy: what it is a copy of. It is written last. Its time says when the copy was last used."
FRESH_S: Final = 1.0
"So long a list of the store is good."
AWAY_S: Final = 3.0
"So long a store that did not answer is not asked again: each try may take seconds."
TRIES: Final = 5
STALE_S: Final = 86_400.0
"What killed writers left here is removed after a day: preparing an avatar for a network may take hours."


@dataclass(frozen=True, slots=True)
class Copy:
    """What lies here of a thing."""

    path: Path
    "a folder, or a single file of one"
    name: str
    size_bytes: int
    used_at: float
    "in Unix time"


class Shelf:
    """Things of one kind. Thread-safe, and beside other processes with the same local folder.

    All of it raises StoreUnreachable, but for what is here already.
    """

    def __init__(
        self,
        store: Store,
        kind: str,
        root: Path,
        missing: Callable[[str], VivavoceError],
        about: Callable[[Path], Mapping[str, Any]] = lambda _folder: {},
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """root: where the copies lie, each in a folder of its name. missing: the error for a thing that is not there.
        about: what the index of a folder says of it.
        """
        self._store = store
        self._kind = kind
        self._root = root
        self._missing = missing
        self._about = about
        self._now_s = now_s
        self._known: dict[str, tuple[str, Index]] = {}
        "name -> stamp and index, as the store was last seen"
        self._listing = threading.Lock()
        self._fresh_until_s = self._away_until_s = -1.0
        self._writing: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        "by name: who changes the local copy"
        self._stages = root.with_name(f"{root.name}.stages")
        self._singles = root.with_name(f"{root.name}.files")

    # -- looking

    def indexes(self) -> dict[str, Index]:
        """Of all things. While the store is away, those that were known before; never raises."""
        with suppress(StoreUnreachable):  # it was logged
            self._refresh()
        return {name: index for name, (_, index) in self._known.items()}

    def listed(self) -> dict[str, Index]:
        """Of all things, as the store is now."""
        self._fresh_until_s = -1.0
        self._refresh()
        return {name: index for name, (_, index) in self._known.items()}

    def index(self, name: str) -> Index | None:
        """None: there is no such thing. What was seen a second ago will do."""
        return self.indexes().get(name) or self.index_now(name)  # it may have been made since

    def index_now(self, name: str) -> Index | None:
        """The same, asked of the store."""
        self._require_near()
        try:
            index = self._store.index(self._kind, name)
        except StoreUnreachable:
            self._away_until_s = self._now_s() + AWAY_S
            raise
        if index is None:
            self._known.pop(name, None)
        elif self._known.get(name, ("", None))[1] != index:
            self._known[name] = ("", index)
        return index

    def folder(self, name: str) -> Path:
        """Where its copy is or would be."""
        return self._root / name

    # -- using

    def brought(self, name: str) -> Path:
        """Its folder here, with everything as it is in the store now. While the store is away: as it was last seen.

        Raises what is raised for a thing that is not there.
        """
        with self._writing[name], disk_full_explained("it cannot be fetched from the store"):
            for _ in range(TRIES):
                kept = self._kept(name)
                try:
                    index = self.index_now(name)
                except StoreUnreachable:
                    if kept is None:
                        raise
                    return self._used(name)
                if index is None:
                    self.forget_copy(name)
                    raise self._missing(name)
                if index == kept or self._bring(name, kept, index):
                    return self._used(name)
        raise StoreUnreachable(f"{self._kind}/{name} changes all the time.", "Try again in a minute.")

    def file(self, name: str, path: str) -> Path | None:
        """One file of it, which is fetched alone if its folder is not here. None: it has no such file."""
        kept = self._kept(name)
        try:
            index = self.index(name)
        except StoreUnreachable:
            index = kept
            if index is None:
                raise
        if index is None or path not in index.files:
            return None
        file = index.files[path]
        if kept is not None and kept.files.get(path) == file:
            return self._used(name) / path
        single = self._singles / name / file.at
        if not single.is_file():
            single.parent.mkdir(parents=True, exist_ok=True)
            staging = single.with_name(f".{secrets.token_hex(4)}")
            try:
                if not self._store.get(self._kind, name, file, staging):
                    return None
                staging.replace(single)
            finally:
                staging.unlink(missing_ok=True)
        with suppress(OSError):
            os.utime(single)
        return single

    # -- changing

    @contextmanager
    def changing(self, name: str) -> Iterator[Path]:
        """A copy of its folder, to be changed. At the end it is put into the store, and takes the folder's place.

        What others have changed meanwhile stays, but for files that were changed here as well. Raises what is raised
        for a thing that is not there, also where it was deleted meanwhile.
        """
        with self._staged(name) as stage:
            with self._writing[name]:
                folder, base = self.brought(name), self._kept(name)
                if base is None:
                    raise self._missing(name)
                for path in base.files:
                    _link(folder / path, stage / path)
            before = {path: _state(stage / path) for path in base.files}
            yield stage
            self._publish_change(name, base, before, stage)

    @contextmanager
    def making(self, name: str) -> Iterator[Path]:
        """A place where its folder is to be written. At the end it is put into the store, whatever was there before."""
        with self._staged(name) as stage:
            stage.rmdir()
            yield stage
            self.publish(name, stage)

    def publish(self, name: str, folder: Path) -> None:
        """Put a folder into the store as a new thing, in place of one of that name. It becomes the copy here."""
        before = self.index_now(name)
        put = self._put(name, folder, _files(folder))
        index = Index(secrets.token_hex(8), put, self._about(folder))
        if not self._store.write_index(self._kind, name, index, is_new=True):
            raise self._missing(name)
        self._settle(name, folder, index)
        self._drop(name, () if before is None else before.files.values())

    def adopt(self, name: str) -> None:
        """Put a folder into the store that was here before there was one."""
        with self._staged(name) as stage:
            for path in _files(self._root / name):
                _link(self._root / name / path, stage / path)
            self.publish(name, stage)

    def remove(self, name: str) -> bool:
        """Delete it for all machines. False: there was none."""
        there = self._store.remove(self._kind, name)
        self._known.pop(name, None)
        self.forget_copy(name)
        return there

    # -- copies

    def copies(self) -> Iterator[Copy]:
        """All that lies here."""
        for mark in self._root.glob(f"*/{INDEX}"):
            kept = self._kept(mark.parent.name)
            with suppress(OSError):  # it is removed just now
                if kept is not None:
                    yield Copy(mark.parent, mark.parent.name, kept.size_bytes, mark.stat().st_mtime)
        for single in self._singles.glob("*/*"):
            with suppress(OSError):
                state = single.stat()
                yield Copy(single, single.parent.name, state.st_size, state.st_mtime)

    def touch(self, name: str) -> None:
        """It is in use here."""
        if (self._root / name / INDEX).is_file():
            self._used(name)

    def forget_copy(self, name: str) -> None:
        """Remove what lies here of it. Files that are open stay readable."""
        with self._writing[name]:
            if (self._root / name / INDEX).is_file():
                retired = self._root / f".deleted.{name}.{secrets.token_hex(4)}"
                with suppress(OSError):  # another process was faster
                    (self._root / name).rename(retired)
                shutil.rmtree(retired, ignore_errors=True)
            shutil.rmtree(self._singles / name, ignore_errors=True)

    def follow(self) -> None:
        """Remove copies of what was deleted elsewhere. Raises StoreUnreachable: nobody knows, and nothing is removed.

        What a worker with the same folder makes just now is in the store before it is here.
        """
        here = {copy.name for copy in self.copies()}
        if not here:
            return
        for name in here - self.listed().keys():
            logger.info("%s/%s was deleted elsewhere", self._kind, name)
            self.forget_copy(name)

    def sweep(self) -> None:
        """Remove what killed writers left here."""
        for left in (*self._stages.glob("*"), *self._root.glob(".deleted.*")):
            with suppress(OSError):
                if left.name.startswith(".deleted.") or time.time() - left.stat().st_mtime > STALE_S:
                    shutil.rmtree(left, ignore_errors=True)

    # -- inside

    def _refresh(self) -> None:
        with self._listing:
            now_s = self._now_s()
            if now_s < self._fresh_until_s:
                return
            self._require_near()
            try:
                stamps = self._store.names(self._kind)
                known = {name: had for name, had in self._known.items() if stamps.get(name) == had[0]}
                new = self._store.indexes(self._kind, [name for name in stamps if name not in known])
            except StoreUnreachable as error:
                logger.warning("%s", error)
                self._away_until_s = self._now_s() + AWAY_S
                if not self._known:
                    here = {mark.parent.name: self._kept(mark.parent.name) for mark in self._root.glob(f"*/{INDEX}")}
                    self._known = {name: ("", kept) for name, kept in here.items() if kept is not None}
                raise
            self._known = {**known, **{name: (stamps[name], index) for name, index in new.items()}}
            self._fresh_until_s = self._now_s() + FRESH_S

    def _require_near(self) -> None:
        if self._now_s() < self._away_until_s:
            raise StoreUnreachable(
                f"The store {self._store.address} did not answer just now.", "Try again in some seconds."
            )

    def _kept(self, name: str) -> Index | None:
        """Of the copy here; None: there is none."""
        try:
            return Index.from_json((self._root / name / INDEX).read_bytes())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _used(self, name: str) -> Path:
        with suppress(OSError):  # it is removed just now; whoever opens it finds out
            os.utime(self._root / name / INDEX)
        return self._root / name

    def _bring(self, name: str, kept: Index | None, index: Index) -> bool:
        """Fetch what is not here. False: a file is gone, so the thing has changed or was deleted."""
        with self._staged(name) as stage:
            for path, file in index.files.items():
                if kept is not None and kept.files.get(path) == file and _is(self._root / name / path, file):
                    _link(self._root / name / path, stage / path)
                elif not self._fetch(name, file, stage / path):
                    return False
            self._settle(name, stage, index)
        return True

    def _fetch(self, name: str, file: StoredFile, path: Path) -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self._store.get(self._kind, name, file, path):
            return False
        os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
        return True

    def _publish_change(self, name: str, base: Index, before: Mapping[str, object], stage: Path) -> None:
        """before: the state of each file when the change began."""
        now = self.index_now(name)
        if now is None or now.born != base.born:
            raise self._missing(name)
        here = _files(stage)
        changed = [path for path in here if before.get(path) != _state(stage / path)]
        removed = base.files.keys() - set(here)
        if not changed and not removed:
            return
        for path, file in now.files.items():  # what others have changed meanwhile
            if base.files.get(path) != file and path not in changed and path not in removed:
                (stage / path).unlink(missing_ok=True)
                if not self._fetch(name, file, stage / path):
                    raise StoreUnreachable(f"{self._kind}/{name} was changed just now.", "Try again.")
        for path in base.files.keys() - now.files.keys() - set(changed):
            (stage / path).unlink(missing_ok=True)
        put = self._put(name, stage, changed)
        files = {**{path: file for path, file in now.files.items() if path not in removed}, **put}
        index = Index(now.born, files, self._about(stage))
        if not self._store.write_index(self._kind, name, index, is_new=False):
            raise self._missing(name)
        self._settle(name, stage, index)
        self._drop(name, [file for path, file in now.files.items() if files.get(path) != file])

    def _put(self, name: str, folder: Path, paths: Collection[str]) -> dict[str, StoredFile]:
        put: dict[str, StoredFile] = {}
        try:
            for path in paths:
                put[path] = self._store.put(self._kind, name, folder / path)
        except BaseException:  # whatever it was: no index will name them
            self._drop(name, put.values())
            raise
        return put

    def _drop(self, name: str, files: Collection[StoredFile]) -> None:
        with suppress(StoreUnreachable):  # a sweep removes them
            self._store.drop(self._kind, name, files)

    def _settle(self, name: str, stage: Path, index: Index) -> None:
        """Let what was staged be the copy here."""
        self._known[name] = ("", index)
        (stage / INDEX).write_bytes(index.to_json())
        with self._writing[name]:
            kept, folder = self._kept(name), self._root / name
            if kept is not None and kept.born == index.born:
                _move_files(stage, folder, kept, index)
                return
            self._root.mkdir(parents=True, exist_ok=True)
            retired = self._root / f".deleted.{name}.{secrets.token_hex(4)}"
            with suppress(FileNotFoundError):
                folder.rename(retired)
            try:
                stage.rename(folder)
            except OSError:
                if self._kept(name) != index:  # else another process has fetched it as well
                    raise
            finally:
                shutil.rmtree(retired, ignore_errors=True)

    @contextmanager
    def _staged(self, name: str) -> Iterator[Path]:
        """An empty folder of that name."""
        place = self._stages / secrets.token_hex(8)
        (place / name).mkdir(parents=True)
        try:
            yield place / name
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _files(folder: Path) -> list[str]:
    """Of a folder, by path with slashes. Hidden ones are a writer's own; manifests come last."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        (path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)), key=_manifests_last
    )


def _manifests_last(path: str) -> tuple[bool, str]:
    return path.endswith("manifest.json"), path


def _is(path: Path, file: StoredFile) -> bool:
    try:
        state = path.stat()
    except OSError:
        return False
    return (state.st_size, state.st_mtime_ns) == (file.size_bytes, file.mtime_ns)


def _state(path: Path) -> tuple[int, ...]:
    """Another one when a file was replaced, also by one of the same size and time."""
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def _link(source: Path, target: Path) -> None:
    """The same file under another name. Nobody writes into a file of a thing: they are replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # this disk has no links
        shutil.copy2(source, target)


def _move_files(stage: Path, folder: Path, kept: Index, index: Index) -> None:
    """Bring a copy up to date file by file, so that whoever uses it finds it there all the time."""
    for path in sorted(index.files, key=_manifests_last):
        if kept.files.get(path) != index.files[path]:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (stage / path).replace(folder / path)
    for path in kept.files.keys() - index.files.keys():
        (folder / path).unlink(missing_ok=True)
        for parent in (folder / path).parents:
            if parent == folder:
                break
            with suppress(OSError):  # there is something else in it
                parent.rmdir()
    (stage / INDEX).replace(folder / INDEX)
