"""The copies of a shelf's things that lie on this machine, whole folders and single files.

Whatever is written comes into its place in one step, from a folder beside it. So others who use the same folder, and
those who have a file open, never see half of it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from avatars.store import Index, StoredFile

__all__ = ["INDEX", "Copies", "Copy", "files_in", "link"]

INDEX: Final = ".index.json"
"In each local copy: what it is a copy of. It is written last. Its time says when the copy was last used."
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


class Copies:
    """Thread-safe, and beside other processes with the same folder. Iterating gives all that lies here."""

    def __init__(self, root: Path) -> None:
        """root: where they lie, each in a folder of its name."""
        self.root = root
        self.writing: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        "by name: to be held by who changes a copy"
        self._stages = root.with_name(f"{root.name}.stages")
        self._singles = root.with_name(f"{root.name}.files")

    def __iter__(self) -> Iterator[Copy]:
        for name, kept in self.indexes().items():
            with suppress(OSError):  # it is removed just now
                used_at = (self.root / name / INDEX).stat().st_mtime
                yield Copy(self.root / name, name, kept.size_bytes, used_at)
        for single in self._singles.glob("*/*"):
            with suppress(OSError):
                state = single.stat()
                yield Copy(single, single.parent.name, state.st_size, state.st_mtime)

    def names(self) -> set[str]:
        """Of all of which something lies here, also an empty folder for single files that were gone."""
        folders = {mark.parent.name for mark in self.root.glob(f"*/{INDEX}")}
        return folders | {singles.name for singles in self._singles.glob("*")}

    def indexes(self) -> dict[str, Index]:
        """Of all folders that lie here."""
        here = {mark.parent.name: self.index(mark.parent.name) for mark in self.root.glob(f"*/{INDEX}")}
        return {name: index for name, index in here.items() if index is not None}

    def index(self, name: str) -> Index | None:
        """Of the copy here; None: there is none."""
        try:
            return Index.from_json((self.root / name / INDEX).read_bytes())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def used(self, name: str) -> Path:
        """Its folder, which is used just now."""
        with suppress(OSError):  # it is removed just now; whoever opens it finds out
            os.utime(self.root / name / INDEX)
        return self.root / name

    def touch(self, name: str) -> None:
        """It is in use here."""
        if (self.root / name / INDEX).is_file():
            self.used(name)

    def single(self, name: str, file: StoredFile, fetch: Callable[[Path], bool]) -> Path | None:
        """A file that lies here alone, fetched where it does not yet. None: fetch() said that it is gone."""
        single = self._singles / name / file.at
        if not single.is_file():
            single.parent.mkdir(parents=True, exist_ok=True)
            staging = single.with_name(f".{secrets.token_hex(4)}")
            try:
                if not fetch(staging):
                    return None
                staging.replace(single)
            finally:
                staging.unlink(missing_ok=True)
        with suppress(OSError):
            os.utime(single)
        return single

    def lend(self, name: str, path: str, file: StoredFile, target: Path) -> bool:
        """Link a file of a copy to another place. False: it is not as it was when it came."""
        source = self.root / name / path
        try:
            state = source.stat()
        except OSError:
            return False
        if (state.st_size, state.st_mtime_ns) != (file.size_bytes, file.mtime_ns):
            return False
        link(source, target)
        return True

    @contextmanager
    def staged(self, name: str) -> Iterator[Path]:
        """An empty folder of that name."""
        place = self._stages / secrets.token_hex(8)
        (place / name).mkdir(parents=True)
        try:
            yield place / name
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def settle(self, name: str, stage: Path, index: Index) -> None:
        """Let what was staged be the copy here."""
        (stage / INDEX).write_bytes(index.to_json())
        with self.writing[name]:
            kept, folder = self.index(name), self.root / name
            if kept is not None and kept.born == index.born:
                _move_files(stage, folder, kept, index)
                return
            self.root.mkdir(parents=True, exist_ok=True)
            retired = self._retired(name)
            with suppress(FileNotFoundError):
                folder.rename(retired)
            try:
                stage.rename(folder)
            except OSError:
                if self.index(name) != index:  # else another process has fetched it as well
                    raise
            finally:
                shutil.rmtree(retired, ignore_errors=True)

    def forget(self, name: str) -> None:
        """Remove what lies here of it. Files that are open stay readable."""
        if not (self.root / name / INDEX).is_file() and not (self._singles / name).is_dir():
            return  # nobody needs a lock for what is not here: there is no end of such names
        with self.writing[name]:
            if (self.root / name / INDEX).is_file():
                retired = self._retired(name)
                with suppress(OSError):  # another process was faster
                    (self.root / name).rename(retired)
                shutil.rmtree(retired, ignore_errors=True)
            shutil.rmtree(self._singles / name, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed writers left here."""
        for left in (*self._stages.glob("*"), *self.root.glob(".deleted.*")):
            with suppress(OSError):
                if left.name.startswith(".deleted.") or time.time() - left.stat().st_mtime > STALE_S:
                    shutil.rmtree(left, ignore_errors=True)

    def _retired(self, name: str) -> Path:
        return self.root / f".deleted.{name}.{secrets.token_hex(4)}"


def files_in(folder: Path) -> list[str]:
    """By path with slashes. Hidden ones are a writer's own; manifests come last."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        (path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)), key=_manifests_last
    )


def link(source: Path, target: Path) -> None:
    """The same file under another name. Nobody writes into a file of a thing: they are replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # this disk has no links
        shutil.copy2(source, target)


def _manifests_last(path: str) -> tuple[bool, str]:
    return path.endswith("manifest.json"), path


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
