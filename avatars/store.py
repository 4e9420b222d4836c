"""A store that several machines share: a folder that all of them see, or a bucket of an S3-compatible service.

What lies there are *things* of several kinds (avatars, clips, uploads, ...), each a small set of files:

    vivavoce.json              tells this store from others, and an empty one from one that cannot be seen
    <kind>/<name>.json         the index of a thing: its files, and what lists show of it
    files/<kind>/<name>/...    the files, under names that are used once
    gone/<kind>/<name>         the thing was deleted: a writer that was still at it must not bring it back
    notes/<kind>/<name>        an empty object that says something by its name

The index is written last and in one step. So nobody ever sees half of a thing, whenever a writer is killed; what an
index does not name is removed later.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Final

from avatars.errors import BundleError, StoreUnreachable
from avatars.store_mark import StoreMark
from avatars.store_objects import Objects

__all__ = ["Index", "Store", "StoredFile"]

logger = logging.getLogger(__name__)

ORPHAN_S: Final = 86_400.0
"Files that no index names are removed once they are so old: no upload takes longer."
SWEPT_S: Final = 300.0
"So long a list of all files may take: there may be very many, and nobody waits for it."
_AT: Final = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a thing, as its index names it."""

    at: str
    "its name in the store, which no other file ever has"
    size_bytes: int
    mtime_ns: int
    "as it was where it was made; copies get it, too"


@dataclass(frozen=True, slots=True)
class Index:
    """What a thing is made of."""

    born: str
    "another one when a thing of the same name is made anew"
    files: Mapping[str, StoredFile]
    "by path below the thing's folder, with slashes"
    about: Mapping[str, Any]
    "JSON: what lists show of it, so that they need no file"

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Index:
        """Raises ValueError, KeyError, TypeError, AttributeError: it is no index."""
        told = json.loads(text)
        files = {path: StoredFile(**file) for path, file in told["files"].items()}
        for path, file in files.items():
            if not _AT.fullmatch(file.at) or PurePosixPath(path).is_absolute() or {"..", ""} & set(path.split("/")):
                raise ValueError(f"{path[:80]!r} is no file of a thing")  # no name leads out of its folder
        return cls(str(told["born"]), files, dict(told["about"]))


class Store:
    """Thread-safe. Every call may take as long as the network does, and raises StoreUnreachable."""

    def __init__(self, url: str, known_as: Path) -> None:
        """Touches nothing yet. known_as: file of this machine in which it is noted which store it is."""
        self._objects = Objects(url)
        self._mark = StoreMark(self._objects, known_as)

    @property
    def address(self) -> str:
        """For people, without a password that may stand in it."""
        return self._objects.address

    # -- things

    def names(self, kind: str) -> dict[str, str]:
        """Of all things of a kind, each with a stamp that is another one when its index has changed."""
        entries = self._objects.entries(kind)
        if not entries or not self._mark.is_known:
            self._mark.require()
        return {
            entry.name.removesuffix(".json"): entry.stamp
            for entry in entries
            if entry.name.endswith(".json") and not entry.name.startswith(".")
        }

    def index(self, kind: str, name: str) -> Index | None:
        """None: there is no such thing. Raises BundleError: it is damaged."""
        text = self._objects.read(f"{kind}/{name}.json")
        if text is None or not self._mark.is_known:
            self._mark.require()
        if text is None:
            return None
        try:
            return Index.from_json(text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(
                f"What the store says of {kind}/{name} cannot be read.", "Delete it there, and make it again."
            ) from error

    def indexes(self, kind: str, names: Sequence[str]) -> Iterator[dict[str, Index]]:
        """Of these things, many at once; what came before an error is good. Left out are those that are gone, and
        damaged ones, which are logged.
        """
        for texts in self._objects.read_all(kind, [f"{name}.json" for name in names]):
            found = {}
            for file, text in texts.items():
                name = file.removesuffix(".json")
                try:
                    found[name] = Index.from_json(text)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    logger.warning(
                        "%s/%s is left out: what the store says of it cannot be read (%s)", kind, name, error
                    )
            yield found

    def write_index(self, kind: str, name: str, index: Index, *, is_new: bool) -> bool:
        """In one step: from now on it is there for all. False: somebody deletes it just now, and it is not there.

        is_new: the thing is made, whatever was deleted under its name before.
        """
        self._mark.made()
        if is_new:
            self._objects.delete(f"gone/{kind}/{name}")
        self._objects.write(f"{kind}/{name}.json", index.to_json())
        return self._is_kept(kind, name)

    def create_index(self, kind: str, name: str, index: Index) -> bool:
        """The same for a new thing, but only where there is none of that name: of several who make one at the same
        moment, one succeeds. False also if there is one, which stays as it is.
        """
        self._mark.made()
        self._objects.delete(f"gone/{kind}/{name}")
        if not self._objects.create(f"{kind}/{name}.json", index.to_json()):
            there = self.index(kind, name)
            if there is None or there.born != index.born:  # else it is ours, and only the answer was lost
                return False
        return self._is_kept(kind, name)

    def _is_kept(self, kind: str, name: str) -> bool:
        # Whoever deletes writes `gone` first. So either they find our index, or we find their note.
        deleted = self._objects.has(f"gone/{kind}/{name}")
        if deleted:
            self._remove(kind, name)
        return not deleted

    def remove(self, kind: str, name: str) -> bool:
        """Delete a thing for all machines, its index first. False: there was none."""
        there = self.index(kind, name) is not None
        if there:
            self._objects.write(f"gone/{kind}/{name}", b"")
        self._remove(kind, name)  # also what a killed one has left
        return there

    def _remove(self, kind: str, name: str) -> None:
        self._objects.delete(f"{kind}/{name}.json")
        self._objects.delete_below(f"files/{kind}/{name}")

    # -- files of things

    def put(self, kind: str, name: str, path: Path) -> StoredFile:
        """Bring a file there. An index has to name it, or it is removed after a day."""
        self._mark.made()
        state, at = path.stat(), secrets.token_hex(16)
        self._objects.send(path, _file(kind, name, at))
        return StoredFile(at, state.st_size, state.st_mtime_ns)

    def get(self, kind: str, name: str, file: StoredFile, path: Path) -> bool:
        """Bring a file from there. False: it is gone, because the thing has changed or was deleted."""
        return self._objects.fetch(_file(kind, name, file.at), path, file.size_bytes) == file.size_bytes

    def drop(self, kind: str, name: str, files: Collection[StoredFile]) -> None:
        """Remove files that no index names any more."""
        for file in files:
            self._objects.delete(_file(kind, name, file.at))

    def sweep(self, now_unix_s: float | None = None) -> None:
        """Remove what killed writers left: files that no index names, and notes of deletions, after a day."""
        before = (time.time() if now_unix_s is None else now_unix_s) - ORPHAN_S
        old: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for entry in self._objects.below("files", SWEPT_S):
            if entry.written_unix_s < before:
                kind, name, at = entry.parts[-3:]
                old[kind][name].append(at)
        for kind, things in old.items():
            there = self.names(kind)
            wanted = [name for name in things if name in there]
            indexes = dict(chain.from_iterable(found.items() for found in self.indexes(kind, wanted)))
            for name, files in things.items():
                if name in there and name not in indexes:  # nobody knows what is in use
                    continue
                used = {file.at for file in indexes[name].files.values()} if name in indexes else set()
                for at in files:
                    if at not in used:
                        self._objects.delete(_file(kind, name, at))
        for entry in self._objects.below("gone", SWEPT_S):
            if entry.written_unix_s < before:
                kind, name = entry.parts[-2:]
                self._objects.delete(f"gone/{kind}/{name}")

    # -- notes

    def notes(self, kind: str) -> dict[str, float]:
        """Name -> when it was written, in Unix time."""
        return {entry.name: entry.written_unix_s for entry in self._objects.below(f"notes/{kind}")}

    def note(self, kind: str, name: str) -> None:
        self._mark.made()
        self._objects.write(f"notes/{kind}/{name}", b"")

    def forget(self, kind: str, name: str) -> None:
        self._objects.delete(f"notes/{kind}/{name}")

    # -- the store itself

    def mark(self) -> str:
        """What tells it from other stores; it is made where nothing has been kept yet."""
        return self._mark.made()

    def check(self) -> None:
        """See that it can be read and written."""
        self._mark.made()
        probe = f"notes/probe-{secrets.token_hex(8)}"
        self._objects.write(probe, b"x")
        try:
            if self._objects.read(probe) != b"x":
                raise self._objects.unreachable("what is written there is not read again")
        finally:
            with suppress(StoreUnreachable):  # what is told is what went wrong before
                self._objects.delete(probe)


def _file(kind: str, name: str, at: str) -> str:
    return f"files/{kind}/{name}/{at}"
