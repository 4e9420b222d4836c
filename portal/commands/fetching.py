"""`python launch.py fetch NAME...`: downloads the weights of neural backends, and checks extras after their install.

Extras are packages that launch.py has installed by then: voices, ears, c2pa, camera, store, ray.
"""

from __future__ import annotations

import importlib.util
import locale
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from models.download import Fetcher, Unreachable, download_of, hub_endpoint, open_client, sha256_of
from models.errors import DownloadFailed, WeightsDamaged, WeightsError, WeightsMissing
from models.weights import Part, WeightFile, WeightsFolder, known_manifest
from pipeline import registry
from pipeline.camera import CAMERA, camera_lacks
from pipeline.ears.hearing import KINDS
from pipeline.errors import BackendUnavailable, UnknownBackend
from portal.disk import require_writable

__all__ = ["Fetching", "ProgressLine", "fetch", "names_to_fetch"]

EVERYTHING = "all"
EXTRAS = frozenset(row.name for row in registry.rows("tts") if row.packages)
"Voices whose packages launch.py installs after it has shown their terms."
EARS = "ears"
"Name of the packages that listen to viewers. launch.py installs these, too."
C2PA, RAY, STORE = "c2pa", "ray", "store"
"Names of the packages that sign clips, run Ray, and reach an S3-compatible store. launch.py installs these, too."
LOCK_FILE = ".fetch.lock"
SECONDS_BETWEEN = 0.2
"Least time between two updates of the progress line on a terminal."
CHECKED = {
    "checksum": "its checksum agrees",
    "size": "no checksum is published, its size agrees",
    "nothing": "nothing is published to compare it with",
}
PUT_IT = {"en": "Put it at", "zh": "并保存为"}


def fetch(names: Sequence[str], folder: Path, environ: Mapping[str, str]) -> int:
    """Run the command. Reports on standard output and returns the exit status.

    Raises UnknownBackend, DownloadFailed, FolderNotWritable, DiskFull.
    """

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    extras = [name for name in names if name in EXTRAS or name in (EARS, C2PA, CAMERA, STORE, RAY)]
    networks = [name for name in names if name not in extras]
    status = max((_look_at(name, lambda text: write(text + "\n")) for name in extras), default=0)
    if not networks:
        return status
    with open_client() as client:
        found = Fetching(
            WeightsFolder(folder),
            Fetcher(client),
            say=lambda text: write(text + "\n"),
            show=ProgressLine(write, sys.stdout.isatty(), time.monotonic),
            environ=environ,
            language=_language(environ),
        ).run(networks)
    return max(status, found)


def _look_at(name: str, say: Callable[[str], None]) -> int:
    """Check whether an extra can be used, now that launch.py has installed its packages. Return the exit status."""
    if name == C2PA:
        is_there = importlib.util.find_spec("c2pa") is not None
        say("Clips and recordings can be signed: --c2pa" if is_there else "The package c2pa-python is missing.")
        return 0 if is_there else 1
    if name == STORE:
        is_there = importlib.util.find_spec("s3fs") is not None
        say("An S3-compatible store can be used: --store-url" if is_there else "The package s3fs is missing.")
        return 0 if is_there else 1
    if name == RAY:
        is_there = importlib.util.find_spec("ray") is not None
        say("Ray is installed: docs/scaling.md says how it is started." if is_there else "The package ray is missing.")
        return 0 if is_there else 1
    if name == CAMERA:
        lack = camera_lacks()
        ready = "The camera is ready: python launch.py stream --to camera"
        say(ready if lack is None else f"Not ready yet: {lack.reason}.\n  -> {lack.hint}")
        return 0 if lack is None else 1
    needed = [(kind, registry.names(kind)[0]) for kind in KINDS] if name == EARS else [("tts", name)]
    try:
        for kind, backend in needed:
            registry.create(kind, backend).load()
    except BackendUnavailable as error:
        say(f"{error.message}\n  -> {error.hint}")
        return 1
    if name == EARS:
        say("The ears are ready: viewers can speak to the avatar from the next start on.")
    else:
        say(f"The voice {name} is ready. `auto` uses it from now on; --tts {name} chooses it.")
    return 0


def _language(environ: Mapping[str, str]) -> str:
    named = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or locale.getlocale()[0] or ""
    return "zh" if named.lower().startswith(("zh", "chinese")) else "en"


def names_to_fetch(names: Sequence[str], backends: Sequence[str]) -> list[str]:
    """Return the backends that the names stand for, each once. A name may be a family of backends, or "all".

    Raises UnknownBackend.
    """
    wanted: list[str] = []
    families = known_manifest().families
    for name in names:
        meant = backends if name == EVERYTHING else (families.get(name, name),)
        for backend in meant:
            if backend not in backends:
                known = ", ".join((*backends, *families, EVERYTHING))
                raise UnknownBackend(f"No backend '{name}' has weights to be fetched.", f"Choose from: {known}.")
            if backend not in wanted:
                wanted.append(backend)
    return wanted


@dataclass(frozen=True, slots=True)
class Fetching:
    """Fetches the weights of backends and compares existing files with the published ones."""

    weights: WeightsFolder
    fetcher: Fetcher
    say: Callable[[str], None]
    show: ProgressLine
    environ: Mapping[str, str]
    language: str = "en"
    "Language of licences and of instructions for files that a person must get: en or zh."

    def run(self, names: Sequence[str]) -> int:
        """Fetch missing files and check existing ones. Return the exit status.

        The status is 1 if a file could not be fetched or differs from the published one. One file that cannot be
        fetched does not stop the others, but an unreachable network does.

        Raises UnknownBackend, DownloadFailed, FolderNotWritable, DiskFull.
        """
        folder = self.weights.path
        backends = names_to_fetch(names, self.weights.backends)
        parts = list({id(part): part for backend in backends for part in self.weights.parts(backend)}.values())
        self.say(f"Weights for {', '.join(backends)} in {folder}, from {hub_endpoint(self.environ)}")
        for words in dict.fromkeys(getattr(part.licence, self.language) for part in parts):
            self.say(f"  Licence: {words}")
        absent = [file for part in parts for file in self.weights.to_fetch(part)]
        if absent:  # checked first, because comparing the existing files takes minutes
            _check_room(absent, folder)
            require_writable(folder, "weights folder", "Give this user the right to, or name another: --weights DIR.")
        with _only_one(folder) if absent else nullcontext():
            problems: list[WeightsError] = [*self._differences(parts), *self._fetch_all(absent)]
        for problem in problems:
            self.say(f"{problem.message}\n  -> {problem.hint}")
        for backend in backends:
            if not self.weights.missing(backend):
                self.say(f"{backend} has all its weights.")
        return 1 if problems else 0

    def _differences(self, parts: Sequence[Part]) -> Iterator[WeightsDamaged]:
        """Yield an error for each existing file that differs from the published one. No file is changed.

        Files are compared by size and checksum, as far as these are known.
        """
        for part in parts:
            located = self.weights.locate(part)
            if located is None:
                continue
            self.say(f"  {located}: is there")
            for file in part.files:
                path = self.weights.path / file.path
                if path.is_file() and (difference := _difference(path, file)):
                    yield WeightsDamaged(
                        f"{path} is not the published file: {difference}.",
                        "Delete it and run the same command again; keep it if it is a network of your own.",
                    )

    def _fetch_all(self, files: Sequence[WeightFile]) -> Iterator[WeightsError]:
        """Fetch the files, and yield an error for each one that failed. Stop if the network is unreachable.

        Files that only a person can get come first, so that they are reported even then.
        """
        for file in sorted(files, key=lambda file: not file.by_hand):
            try:
                self._fetch_one(file)
            except WeightsError as error:
                yield error
                if isinstance(error, Unreachable):
                    return

    def _fetch_one(self, file: WeightFile) -> None:
        """Fetch one file. Raises WeightsMissing if only a person can get it, and DownloadFailed."""
        download = download_of(file, self.weights.path, self.environ)
        if file.by_hand:
            raise WeightsMissing(
                f"{file.path} cannot be fetched by a program.",
                f"{file.by_hand[self.language]} {PUT_IT[self.language]} {download.target}",
            )
        self.show.begin(file.path)
        try:
            checked = self.fetcher.fetch(download, self.show.progress)
        finally:
            self.show.end()
        self.say(f"  {file.path}: {_size_text(download.target.stat().st_size)}, {CHECKED[checked]}")


def _difference(path: Path, file: WeightFile) -> str:
    found_bytes = path.stat().st_size
    if file.size_bytes is not None and found_bytes != file.size_bytes:
        return f"it has {found_bytes} bytes instead of {file.size_bytes}"
    return "its checksum differs" if file.sha256 and sha256_of(path) != file.sha256 else ""


def _check_room(absent: Sequence[WeightFile], folder: Path) -> None:
    """Raise DownloadFailed if the missing files, as far as their sizes are known, do not fit on the disk."""
    parts = [folder / f"{file.path}.part" for file in absent if file.size_bytes]
    needed = sum(file.size_bytes or 0 for file in absent) - sum(part.stat().st_size for part in parts if part.exists())
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise DownloadFailed(
            f"{_size_text(needed)} are to be fetched, and only {_size_text(free)} are free where {folder} lies.",
            "Make room, or name a folder on another disk: --weights DIR.",
        )


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Lock the folder, because two fetches would write into the same partial files. Raises DownloadFailed."""
    lock = FileLock(folder / LOCK_FILE, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise DownloadFailed(
            f"Another `fetch` is at work in {folder}.", "Wait for it, or end it; then run this again."
        ) from error
    except OSError as error:
        raise DownloadFailed(
            f"The weights folder {folder} cannot be written: {error.strerror}.", "Name another: --weights DIR."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _size_text(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


class ProgressLine:
    """Shows the progress of a download: one changing line on a terminal, or else a line for every 10 %."""

    def __init__(self, write: Callable[[str], object], terminal: bool, clock: Callable[[], float]) -> None:
        self._write = write
        self._terminal = terminal
        self._clock = clock
        self.begin("")

    def begin(self, name: str) -> None:
        self._name = name
        self._started: tuple[float, int] | None = None
        "When the first bytes of this run came, and how many there were by then. None: nothing has come yet."
        self._shown_tenths = 0
        self._shown_s = 0.0

    def progress(self, done: int, total: int | None) -> None:
        now = self._clock()
        tenths = done * 10 // total if total else 0
        if self._started is None:
            self._started = (now, done)
            self._shown_tenths = tenths
        if self._terminal:
            if now - self._shown_s >= SECONDS_BETWEEN or done == total:
                self._shown_s = now
                self._write(f"\r\033[K{self._text(now, done, total)}")
        elif tenths > self._shown_tenths:
            self._shown_tenths = tenths
            self._write(self._text(now, done, total) + "\n")

    def end(self) -> None:
        if self._terminal:
            self._write("\r\033[K")

    def _text(self, now: float, done: int, total: int | None) -> str:
        text = f"  {self._name}: {_size_text(done)}"
        if total:
            text += f" of {_size_text(total)}, {done / total:.0%}"
        began, before = self._started or (now, done)
        if now > began and done > before:
            bytes_per_s = (done - before) / (now - began)
            text += f", {bytes_per_s / 1e6:.1f} MB/s"
            if total:
                left_s = round((total - done) / bytes_per_s)
                text += f", {left_s // 60}:{left_s % 60:02} left"
        return text
