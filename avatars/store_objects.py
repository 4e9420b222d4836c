"""The objects of a store: pieces of data by their keys, in a folder or in a bucket, whatever fsspec can reach.

fsspec is imported with the first request. Whatever goes wrong becomes a StoreUnreachable, with a remedy.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

from avatars.disk import REMEDY, is_disk_full
from avatars.errors import DiskFull, StoreUnreachable
from models.errors import VivavoceError

__all__ = ["Entry", "Objects"]

T = TypeVar("T")

FOLDERS: Final = ("file", "local")
CONNECT_S, READ_S = 3, 20
"Of each request to a service. Its package tries again and again, for five minutes."
ANSWERED_S, LISTED_S = 6.0, 15.0
"So long people wait for something small, and for a list, with all tries: a service may accept and say nothing."
WRITTEN_S: Final = 30.0
"So long something small may take to be written or removed: whoever gives up does not know whether it was done."
SLOWEST: Final = 100_000
"Bytes per second: so much longer a file may take."
AT_ONCE: Final = 200
"So many objects are read with one deadline, so that a long list is read in the end."


@dataclass(frozen=True, slots=True)
class Entry:
    """An object, as a list of them tells it."""

    parts: tuple[str, ...]
    "of its path; those of its key come last"
    stamp: str
    "another one when it was written anew"
    written_unix_s: float
    "in the future where the service does not say"

    @property
    def name(self) -> str:
        return self.parts[-1]


class FileSystem(Protocol):
    """What is used here of fsspec's file systems, which have no types. within: `timeout` in s, where async_impl."""

    async_impl: bool

    def ls(self, path: str, *, detail: bool, refresh: bool, **within: float) -> Sequence[Mapping[str, object]]: ...
    def find(self, path: str, *, detail: bool, **within: float) -> Mapping[str, Mapping[str, object]]: ...
    def exists(self, path: str, **within: float) -> bool: ...
    def cat_file(self, path: str, **within: float) -> bytes: ...
    def cat(self, path: list[str], *, on_error: str, **within: float) -> Mapping[str, bytes]: ...
    def pipe_file(self, path: str, value: bytes, **mode_and_within: str | float) -> object: ...
    def put_file(self, lpath: str, rpath: str, **within: float) -> object: ...
    def get_file(self, rpath: str, lpath: str, **within: float) -> object: ...
    def rm_file(self, path: str, **within: float) -> object: ...
    def rm(self, path: str, *, recursive: bool, **within: float) -> object: ...


class Objects:
    """Thread-safe. Every call may take as long as the network does, and raises StoreUnreachable."""

    def __init__(self, url: str) -> None:
        """Touches nothing yet."""
        self._url = url

    @property
    def address(self) -> str:
        """For people, without a password that may stand in it."""
        parts = urlsplit(self._url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()

    # -- looking

    def entries(self, key: str) -> list[Entry]:
        """What lies directly below a key, as it is now."""
        system, path = self._at(key)
        within = _within(system, LISTED_S)
        found: Sequence[Mapping[str, object]] = self._asked(
            lambda: system.ls(path, detail=True, refresh=True, **within), ()
        )
        return [_entry(str(told["name"]), told) for told in found]

    def below(self, key: str, within_s: float | None = None) -> list[Entry]:
        """All objects below a key. within_s: how long that may take; LISTED_S if None."""
        system, path = self._at(key)
        within = _within(system, within_s or LISTED_S)
        found: Mapping[str, Mapping[str, object]] = self._asked(lambda: system.find(path, detail=True, **within), {})
        return [_entry(name, told) for name, told in found.items()]

    def has(self, key: str) -> bool:
        """Asked by who has just written: without an answer, what is there for all would be refused."""
        system, path = self._at(key)
        return self._asked(lambda: system.exists(path, **_within(system, WRITTEN_S)), missing=False)

    # -- reading

    def read(self, key: str) -> bytes | None:
        """None: there is none."""
        system, path = self._at(key)
        return self._asked(lambda: system.cat_file(path, **_within(system, ANSWERED_S)), None)

    def read_all(self, folder: str, names: Sequence[str]) -> Iterator[dict[str, bytes]]:
        """Those of these names that are there, many at once. What came before an error is good."""
        system, path = self._at(folder)
        within = _within(system, LISTED_S)
        for first in range(0, len(names), AT_ONCE):
            paths = [f"{path}/{name}" for name in names[first : first + AT_ONCE]]
            found: Mapping[str, bytes] = self._asked(partial(system.cat, paths, on_error="omit", **within), {})
            yield {place.rpartition("/")[2]: content for place, content in found.items()}

    def fetch(self, key: str, path: Path, size_bytes: int) -> int | None:
        """Bring an object into a file here; its size. None: there is none. size_bytes: what it should be."""
        system, source = self._at(key)

        def bring() -> int:
            system.get_file(source, str(path), **_within(system, ANSWERED_S + size_bytes / SLOWEST))
            return path.stat().st_size

        return self._asked(bring, None)

    # -- writing

    def write(self, key: str, content: bytes) -> None:
        """In one step. Services do that by themselves; in a folder, the file is moved to its place."""
        system, path = self._at(key)
        if not self._is_folder:
            within = _within(system, WRITTEN_S + len(content) / SLOWEST)
            self._done(lambda: system.pipe_file(path, content, **within))
            return
        with self._staged(system, path, content) as staging:
            self._done(lambda: staging.replace(path))

    def create(self, key: str, content: bytes) -> bool:
        """Like write(), but only where there is no such object. False: there is one, and it stays as it is.

        Of several writers, one succeeds. Who is told False may be that one, if the first answer was lost. A service or
        a disk that cannot decide this is asked before whether there is one.
        """
        system, path = self._at(key)
        try:
            if self._is_folder:
                with self._staged(system, path, content) as staging:
                    os.link(staging, path)
            else:
                within = _within(system, WRITTEN_S + len(content) / SLOWEST)
                system.pipe_file(path, content, mode="create", **within)
            return True
        except FileExistsError:
            return False
        except VivavoceError:
            raise
        except Exception as error:  # services have names of their own for a refusal, too
            if not isinstance(error, TimeoutError) and self.has(key):
                return False
            if not (self._is_folder or _knows_no_condition(error)):
                raise self._explained(error) from error
        self.write(key, content)
        return True

    def send(self, path: Path, key: str) -> None:
        """Bring a file of this machine there."""
        system, target = self._at(key)

        def bring() -> None:
            within = _within(system, WRITTEN_S + path.stat().st_size / SLOWEST)
            system.put_file(str(path), target, **within)

        self._done(bring)

    def delete(self, key: str) -> None:
        """Nothing happens where there is none."""
        system, path = self._at(key)
        self._asked(lambda: system.rm_file(path, **_within(system, WRITTEN_S)), None)

    def delete_below(self, key: str) -> None:
        system, path = self._at(key)
        self._asked(lambda: system.rm(path, recursive=True, **_within(system, WRITTEN_S)), None)

    # -- errors

    def unreachable(self, reason: str) -> StoreUnreachable:
        """The error that says so of this store."""
        return StoreUnreachable(
            f"The store {self.address} cannot be used: {reason[:200]}.",
            "Try again in a minute. The operator can find out more with: python launch.py doctor",
        )

    # -- inside

    @property
    def _is_folder(self) -> bool:
        return urlsplit(self._url).scheme in FOLDERS

    @contextmanager
    def _staged(self, system: FileSystem, path: str, content: bytes) -> Iterator[Path]:
        """A file beside `path` that is written whole, and is gone at the end."""
        folder, _, name = path.rpartition("/")
        staging = Path(folder, f".{name}.{secrets.token_hex(4)}")
        try:
            self._done(lambda: system.pipe_file(str(staging), content))
            yield staging
        finally:
            staging.unlink(missing_ok=True)

    @cached_property
    def _connected(self) -> tuple[FileSystem, str]:
        """fsspec's file system, and our place in it."""
        import fsspec
        from fsspec.core import url_to_fs

        kind = urlsplit(self._url).scheme
        options: dict[str, object] = {"use_listings_cache": False}
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

    def _at(self, key: str) -> tuple[FileSystem, str]:
        system, place = self._done(lambda: self._connected)
        return system, f"{place}/{key}"

    def _asked(self, ask: Callable[[], T], missing: T) -> T:
        """What ask() gives, or `missing` where it finds nothing."""
        try:
            return ask()
        except FileNotFoundError:
            return missing
        except Exception as error:  # every service has errors of its own, which only its package could name
            raise self._explained(error) from error

    def _done(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except Exception as error:  # as above
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> VivavoceError:
        if isinstance(error, FileNotFoundError):
            return self.unreachable("nothing is where it was put")
        if isinstance(error, TimeoutError):
            return self.unreachable("it does not answer")
        if isinstance(error, ImportError):
            return StoreUnreachable(
                f"The store {self.address} needs a package that is not installed: {error}.",
                "The operator installs it. For S3: python launch.py fetch store",
                cause="package",
            )
        if is_disk_full(error):
            return DiskFull("The disk is full: nothing can be fetched from the store.", REMEDY)
        return self.unreachable(f"{type(error).__name__}: {error}")


def _knows_no_condition(error: Exception) -> bool:
    """Whether a service, or fsspec's package for it, cannot create an object only where there is none."""
    return isinstance(error, TypeError | NotImplementedError) or getattr(error, "errno", None) == errno.ENOSYS


def _within(system: FileSystem, seconds: float) -> dict[str, float]:
    return {"timeout": seconds} if system.async_impl else {}


def _entry(path: str, told: Mapping[str, object]) -> Entry:
    stamp = "|".join(str(told.get(part, "")) for part in ("size", "ETag", "mtime", "ino", "created"))
    return Entry(tuple(path.split("/")), stamp, _written_unix_s(told))


def _written_unix_s(told: Mapping[str, object]) -> float:
    for part in ("LastModified", "mtime", "created", "last_modified"):
        match told.get(part):
            case datetime() as when:
                return when.timestamp()
            case int() | float() as when_s:
                return float(when_s)
    return float("inf")
