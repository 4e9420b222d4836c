"""A shelf: folders of files in a store that several machines share, with a local copy of each that is used here.

A folder is fetched whole when it is first used, and brought up to date when its index has changed since. It is changed
in a copy beside it, which is put into the store and then takes its place. So whatever fails in between, the store, this
machine and others have what they had before.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from avatars.disk import disk_full_explained
from avatars.errors import StoreUnreachable
from avatars.shelf_catalogue import Catalogue
from avatars.shelf_copies import Copies, files_in, link
from avatars.store import Index, Store, StoredFile
from models.errors import VivavoceError

__all__ = ["Shelf"]

logger = logging.getLogger(__name__)

TRIES: Final = 5


class Shelf(Catalogue):
    """Things of one kind. Thread-safe, and beside other processes with the same local folder.

    All of it raises StoreUnreachable, but for what is here already.
    """

    def __init__(
        self,
        store: Store,
        kind: str,
        root: Path,
        missing: Callable[[str], VivavoceError],
        about: Callable[[Path], Mapping[str, object]] = lambda _folder: {},
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """root: where the copies lie, each in a folder of its name. missing: the error for a thing that is not there.
        about: what the index of a folder says of it.
        """
        self.copies = Copies(root)
        super().__init__(store, kind, self.copies.indexes, now_s)
        self._missing = missing
        self._about = about

    # -- using

    def at_hand(self, name: str) -> Path:
        """Its folder here, like brought(). What was seen a second ago will do."""
        kept = self.copies.index(name)
        if kept is not None and self.is_fresh(name, kept):
            return self.copies.used(name)
        return self.brought(name)

    def brought(self, name: str) -> Path:
        """Its folder here, with everything as it is in the store now. While the store is away: as it was last seen.

        Many may ask at once: they wait for each other only where something has to be fetched. Raises what is raised for
        a thing that is not there.
        """
        with disk_full_explained("it cannot be fetched from the store"):
            for _ in range(TRIES):
                try:
                    index = self.index_now(name)
                except StoreUnreachable:
                    if self.copies.index(name) is None:
                        raise
                    return self.copies.used(name)
                if index is None:
                    self.copies.forget(name)
                    raise self._missing(name)
                if index == self.copies.index(name):
                    return self.copies.used(name)
                with self.copies.writing[name]:
                    kept = self.copies.index(name)
                    if index == kept or (self.knows(name, index) and self._bring(name, kept, index)):
                        return self.copies.used(name)
        raise StoreUnreachable(f"{self._kind}/{name} changes all the time.", "Try again in a minute.")

    def file(self, name: str, path: str) -> Path | None:
        """One file of it, which is fetched alone if its folder is not here. None: it has no such file."""
        kept = self.copies.index(name)
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
            return self.copies.used(name) / path
        return self.copies.single(name, file, partial(self._fetch_single, name, file))

    # -- changing

    @contextmanager
    def changing(self, name: str) -> Iterator[Path]:
        """A copy of its folder, to be changed. At the end it is put into the store, and takes the folder's place.

        What others have changed meanwhile stays, but for files that were changed here as well. Raises what is raised
        for a thing that is not there, also where it was deleted meanwhile.
        """
        with self.copies.staged(name) as stage:
            base = self._linked(name, stage)
            before = {path: _state(stage / path) for path in base.files}
            yield stage
            self._publish_change(name, base, before, stage)

    @contextmanager
    def making(self, name: str, *, only_new: bool = False) -> Iterator[Path]:
        """A place where its folder is to be written. At the end it is put into the store, whatever was there before.

        only_new: see publish().
        """
        with self.copies.staged(name) as stage:
            stage.rmdir()
            yield stage
            self.publish(name, stage, only_new=only_new)

    def publish(self, name: str, folder: Path, *, only_new: bool = False) -> None:
        """Put a folder into the store as a new thing, in place of one of that name. It becomes the copy here.

        only_new: raise FileExistsError instead of replacing one, also if somebody else makes it at the same moment.
        """
        before = self.index_now(name)
        if only_new and before is not None:
            raise FileExistsError(name)
        put = self._put(name, folder, files_in(folder))
        index = Index(secrets.token_hex(8), put, self._about(folder))
        if only_new:
            if not self._store.create_index(self._kind, name, index):
                self._drop(name, put.values())
                raise FileExistsError(name)
        elif not self._store.write_index(self._kind, name, index, is_new=True):
            raise self._missing(name)
        self._settle(name, folder, index)
        self._drop(name, () if before is None else before.files.values())

    def adopt(self, name: str) -> None:
        """Put a folder into the store that was here before there was one."""
        with self.copies.staged(name) as stage:
            folder = self.copies.root / name
            for path in files_in(folder):
                link(folder / path, stage / path)
            self.publish(name, stage)

    def remove(self, name: str) -> bool:
        """Delete it for all machines. False: there was none."""
        there = self._store.remove(self._kind, name)
        self.learn(name, None)
        self.copies.forget(name)
        return there

    def follow(self) -> None:
        """Remove copies of what was deleted elsewhere. Raises StoreUnreachable: nobody knows, and nothing is removed.

        What a worker with the same folder makes just now is in the store before it is here.
        """
        here = self.copies.names()
        if not here:
            return
        for name in here - self.names_now():
            logger.info("%s/%s was deleted elsewhere", self._kind, name)
            self.copies.forget(name)

    # -- inside

    def _linked(self, name: str, stage: Path) -> Index:
        """Put its files as they are now into `stage`, and return their index."""
        for _ in range(TRIES):
            folder = self.brought(name)
            with self.copies.writing[name]:
                base = self.copies.index(name)
                if base is not None:  # else the copy was removed just now
                    for path in base.files:
                        link(folder / path, stage / path)
                    return base
        raise self._missing(name)

    def _bring(self, name: str, kept: Index | None, index: Index) -> bool:
        """Fetch what is not here. False: a file is gone, so the thing has changed; or it was deleted meanwhile."""
        with self.copies.staged(name) as stage:
            with self.asking():
                for path, file in index.files.items():
                    is_same = kept is not None and kept.files.get(path) == file
                    if is_same and self.copies.lend(name, path, file, stage / path):
                        continue
                    if not self._fetch(name, file, stage / path):
                        return False
            if not self.holds(name) and self.index_now(name) is None:  # who deleted it found nothing here to remove
                return False
            self._settle(name, stage, index)
        return True

    def _fetch_single(self, name: str, file: StoredFile, path: Path) -> bool:
        with self.asking():
            return self._store.get(self._kind, name, file, path)

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
        here = files_in(stage)
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
        self.learn(name, index)
        self.copies.settle(name, stage, index)


def _state(path: Path) -> tuple[int, ...]:
    """Another one when a file was replaced, also by one of the same size and time."""
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns
