"""A store that several machines share: a folder that all of them see, or a bucket of an S3-compatible service.

What lies there are *things* of several kinds (avatars, clips, uploads, ...), each a small set of files:

    vivavoce.json              tells this store from others, and an empty one from one that cannot be seen
    <kind>/<name>.json         the index of a thing: its files, and what lists show of it
    files/<kind>/<name>/...    the files, under names that are used once
    gone/<kind>/<name>         the thing was deleted: a writer that was still at it must not bring it back
    notes/<kind>/<name>        an empty object that says something by its name

The index is written last and in one step. So nobody ever sees half of a thing, whenever a writer is killed; what an
index does not name is removed later. fsspec is imported with the first request.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from avatars.disk import REMEDY, is_disk_full
from avatars.errors import BundleError, DiskFull, StoreUnreachable

__all__ = ["Index", "Store", "StoredFile"]

logger = logging.getLogger(__name__)

MARK: Final = "vivavoce.json"
ORPHAN_S: Final = 86_400.0
"Files that no index names are removed once they are so old: no upload takes longer."
FOLDERS: Final = ("file", "local")
CONNECT_S, READ_S = 3, 20
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
        self._url = url
        self._known_as = known_as
        self._known = ""
        "its mark, once it was seen"

    @property
    def address(self) -> str:
        """For people, without a password that may stand in it."""
        parts = urlsplit(self._url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()

    # -- things

    def names(self, kind: str) -> dict[str, str]:
        """Of all things of a kind, each with a stamp that is another one when its index has changed."""
        path = self._path(kind)
        entries = self._asked(lambda: self._system.ls(path, detail=True, refresh=True), missing=[])
        if not entries or not self._known:
            self._require_mark()
        found = {}
        for entry in entries:
            file = str(entry["name"]).rpartition("/")[2]
            if file.endswith(".json") and not file.startswith("."):
                stamp = "|".join(str(entry.get(part, "")) for part in ("size", "ETag", "mtime", "ino", "created"))
                found[file.removesuffix(".json")] = stamp
        return found

    def index(self, kind: str, name: str) -> Index | None:
        """None: there is no such thing. Raises BundleError: it is damaged."""
        path = self._path(kind, f"{name}.json")
        text: bytes | None = self._asked(lambda: self._system.cat_file(path), missing=None)
        if text is None or not self._known:
            self._require_mark()
        if text is None:
            return None
        try:
            return Index.from_json(text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(
                f"What the store says of {kind}/{name} cannot be read.", "Delete it there, and make it again."
            ) from error

    def indexes(self, kind: str, names: Collection[str]) -> dict[str, Index]:
        """Of these things, fetched at once. Left out are those that are gone, and damaged ones, which are logged."""
        paths = {self._path(kind, f"{name}.json"): name for name in names}
        texts: Mapping[str, bytes] = {}
        if paths:
            texts = self._asked(lambda: self._system.cat([*paths], on_error="omit"), missing={})
        found = {}
        for path, text in texts.items():
            name = path.rpartition("/")[2].removesuffix(".json")
            try:
                found[name] = Index.from_json(text)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                logger.warning("%s/%s is left out: what the store says of it cannot be read (%s)", kind, name, error)
        return found

    def write_index(self, kind: str, name: str, index: Index, *, is_new: bool) -> bool:
        """In one step: from now on it is there for all. False: somebody deletes it just now, and it is not there.

        is_new: the thing is made, whatever was deleted under its name before.
        """
        self._found()
        gone = self._path("gone", kind, name)
        if is_new:
            self._delete(gone)
        self._put_bytes(self._path(kind, f"{name}.json"), index.to_json())
        # Whoever deletes writes `gone` first. So either they find our index, or we find their note.
        deleted: bool = self._asked(lambda: self._system.exists(gone), missing=False)
        if deleted:
            self._remove(kind, name)
        return not deleted

    def remove(self, kind: str, name: str) -> bool:
        """Delete a thing for all machines, its index first. False: there was none."""
        there = self.index(kind, name) is not None
        if there:
            self._put_bytes(self._path("gone", kind, name), b"")
        self._remove(kind, name)  # also what a killed one has left
        return there

    def _remove(self, kind: str, name: str) -> None:
        index, files = self._path(kind, f"{name}.json"), self._path("files", kind, name)
        self._delete(index)
        self._asked(lambda: self._system.rm(files, recursive=True), missing=None)

    # -- files of things

    def put(self, kind: str, name: str, path: Path) -> StoredFile:
        """Bring a file there. An index has to name it, or it is removed after a day."""
        self._found()
        state, at = path.stat(), secrets.token_hex(16)
        target = self._path("files", kind, name, at)
        self._asked(lambda: self._system.put_file(str(path), target))
        return StoredFile(at, state.st_size, state.st_mtime_ns)

    def get(self, kind: str, name: str, file: StoredFile, path: Path) -> bool:
        """Bring a file from there. False: it is gone, because the thing has changed or was deleted."""
        source = self._path("files", kind, name, file.at)

        def fetch() -> bool:
            self._system.get_file(source, str(path))
            return path.stat().st_size == file.size_bytes

        fetched: bool = self._asked(fetch, missing=False)
        return fetched

    def drop(self, kind: str, name: str, files: Collection[StoredFile]) -> None:
        """Remove files that no index names any more."""
        for file in files:
            self._delete(self._path("files", kind, name, file.at))

    def sweep(self, now_unix_s: float | None = None) -> None:
        """Remove what killed writers left: files that no index names, and notes of deletions, after a day."""
        before = (time.time() if now_unix_s is None else now_unix_s) - ORPHAN_S
        old: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for path, entry in self._all_below("files"):
            if _unix_s(entry) < before:
                kind, name, _ = path.split("/")[-3:]
                old[kind][name].append(path)
        for kind, things in old.items():
            there = self.names(kind)
            indexes = self.indexes(kind, things.keys() & there.keys())
            for name, paths in things.items():
                if name in there and name not in indexes:  # nobody knows what is in use
                    continue
                used = {file.at for file in indexes[name].files.values()} if name in indexes else set()
                for path in paths:
                    if path.rpartition("/")[2] not in used:
                        self._delete(path)
        for path, entry in self._all_below("gone"):
            if _unix_s(entry) < before:
                self._delete(path)

    # -- notes

    def notes(self, kind: str) -> dict[str, float]:
        """Name -> when it was written, in Unix time."""
        return {path.rpartition("/")[2]: _unix_s(entry) for path, entry in self._all_below("notes", kind)}

    def note(self, kind: str, name: str) -> None:
        self._found()
        self._put_bytes(self._path("notes", kind, name), b"")

    def forget(self, kind: str, name: str) -> None:
        self._delete(self._path("notes", kind, name))

    # -- the store itself

    def mark(self) -> str:
        """What tells it from other stores; it is made where nothing has been kept yet."""
        self._found()
        return self._known

    def check(self) -> None:
        """See that it can be read and written."""
        self._found()
        probe = self._path("notes", f"probe-{secrets.token_hex(8)}")
        self._put_bytes(probe, b"x")
        try:
            if self._asked(lambda: self._system.cat_file(probe)) != b"x":
                raise self._unreachable("what is written there is not read again")
        finally:
            with suppress(StoreUnreachable):  # what is told is what went wrong before
                self._delete(probe)

    @cached_property
    def _connected(self) -> tuple[Any, str]:
        """fsspec's file system, and our place in it."""
        import fsspec
        from fsspec.core import url_to_fs

        kind = urlsplit(self._url).scheme
        options: dict[str, Any] = {"use_listings_cache": False}
        if kind in ("s3", "s3a"):
            limits = {"connect_timeout": CONNECT_S, "read_timeout": READ_S, "retries": {"max_attempts": 2}}
            options["config_kwargs"] = limits
        elif kind in FOLDERS:
            options = {"auto_mkdir": True}
        elif kind == "memory":
            options = {}
        fsspec.get_filesystem_class(kind)  # raises ImportError where its package is missing
        system, place = url_to_fs(self._url, **options)
        return system, place.rstrip("/")

    @property
    def _system(self) -> Any:
        return self._connected[0]

    def _path(self, *parts: str) -> str:
        place: str = self._asked(lambda: self._connected[1])
        return "/".join((place, *parts))

    def _found(self) -> None:
        """Before a thing is kept: see that it is the store of before, or begin a new one."""
        if self._known:
            return
        mark = self._mark()
        if mark is None:
            self._require_new()
            self._put_bytes(self._path(MARK), json.dumps({"store": secrets.token_hex(16)}).encode())
            mark = self._mark()  # of two who begin at once, the last one's counts
        self._know(mark or "")

    def _require_mark(self) -> None:
        """Where nothing was found: see that it is the store, and not the place where it should be mounted. Also with
        the first request, so that the store is known again by those who only read.
        """
        mark = self._mark()
        if mark is None:
            self._require_new()
        else:
            self._know(mark)

    def _require_new(self) -> None:
        if self._noted():
            raise self._unreachable("what was kept there is not there")

    def _know(self, mark: str) -> None:
        if self._noted() != mark:
            with suppress(OSError):  # a data folder that cannot be written has other troubles
                self._known_as.parent.mkdir(parents=True, exist_ok=True)
                self._known_as.write_text(json.dumps({"url": self.address, "store": mark}), encoding="utf-8")
        self._known = mark

    def _noted(self) -> str:
        """The mark of this store as it was seen before; empty if it was not."""
        try:
            noted = json.loads(self._known_as.read_text(encoding="utf-8"))
            return str(noted["store"]) if noted["url"] == self.address else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _mark(self) -> str | None:
        text = self._asked(lambda: self._system.cat_file(self._path(MARK)), missing=None)
        try:
            return None if text is None else str(json.loads(text)["store"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreachable(f"its {MARK} cannot be read") from error

    def _put_bytes(self, path: str, content: bytes) -> None:
        """In one step. Services do that by themselves; in a folder, the file is moved to its place."""
        if urlsplit(self._url).scheme not in FOLDERS:
            self._asked(lambda: self._system.pipe_file(path, content))
            return
        folder, _, name = path.rpartition("/")
        staging = Path(folder, f".{name}.{secrets.token_hex(4)}")
        try:
            self._asked(lambda: self._system.pipe_file(str(staging), content))
            self._asked(lambda: staging.replace(path))
        finally:
            staging.unlink(missing_ok=True)

    def _delete(self, path: str) -> None:
        self._asked(lambda: self._system.rm_file(path), missing=None)

    def _all_below(self, *parts: str) -> list[tuple[str, Mapping[str, Any]]]:
        path = self._path(*parts)
        found = self._asked(lambda: self._system.find(path, detail=True), missing={})
        return list(found.items())

    def _asked(self, ask: Callable[[], Any], missing: Any = StoreUnreachable) -> Any:
        """What ask() gives, or `missing` where it finds nothing. Raises StoreUnreachable for whatever goes wrong."""
        try:
            return ask()
        except FileNotFoundError as error:
            if missing is StoreUnreachable:
                raise self._unreachable("nothing is where it was put") from error
            return missing
        except ImportError as error:
            raise StoreUnreachable(
                f"The store {self.address} needs a package that is not installed: {error}.",
                "The operator installs it. For S3: python launch.py fetch store",
                cause="package",
            ) from error
        except Exception as error:  # every service has errors of its own, which only its package could name
            if is_disk_full(error):
                raise DiskFull("The disk is full: nothing can be fetched from the store.", REMEDY) from error
            raise self._unreachable(f"{type(error).__name__}: {error}") from error

    def _unreachable(self, reason: str) -> StoreUnreachable:
        return StoreUnreachable(
            f"The store {self.address} cannot be used: {reason[:200]}.",
            "Try again in a minute. The operator can find out more with: python launch.py doctor",
        )


def _unix_s(entry: Mapping[str, Any]) -> float:
    """When an object was written; the future where the service does not say."""
    for part in ("LastModified", "mtime", "created", "last_modified"):
        when = entry.get(part)
        if when is not None:
            return float(when.timestamp() if hasattr(when, "timestamp") else when)
    return float("inf")
