"""The weights folder: finds the files of each network, in our layout or in another project's.

Everything known about the files (layouts, sources, licences) is in `manifest.toml`. Standard library only. Only the
manifest and very small files, which may be Git LFS pointers, are opened. A weights file is read by its network.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from models.errors import WeightsMissing
from models.outside import outside_rows

__all__ = [
    "MANIFEST",
    "MANIFEST_ERRORS",
    "Layout",
    "Licence",
    "Manifest",
    "Part",
    "WeightFile",
    "WeightsFolder",
    "known_manifest",
    "read_manifest",
]

MANIFEST = Path(__file__).with_name("manifest.toml")
INNER_FOLDER = "models"
"Folder in which LiveTalking and MuseTalk keep their weights, so that their checkout can be used, too."
HALF_PRECISION = ".fp16"
"Part that diffusers and transformers put before the extension of a half-precision file."
MANIFEST_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError)
"Exceptions from reading a manifest: it is missing, not TOML, or incomplete."
POINTER = b"version https://git-lfs.github.com/spec/"
POINTER_BYTES = 1024
"Largest size of a pointer, according to Git LFS."
SEARCHED_ENTRIES = 5000
"Most files and folders searched for a file in the wrong place."


@dataclass(frozen=True, slots=True)
class Licence:
    """The terms on which a file may be used."""

    name: str
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One published file: `repository`/`file` at `revision` on Hugging Face, or one to fetch by hand."""

    path: str
    "path in the weights folder, with /"
    repository: str = ""
    file: str = ""
    revision: str = "main"
    size_bytes: int | None = None
    "None: not published"
    sha256: str = ""
    "empty: not published"
    by_hand: Mapping[str, str] | None = None
    "language (en, zh) -> where to get it, for files that no program can fetch"


@dataclass(frozen=True, slots=True)
class Layout:
    """A file or folder that can be used; a folder only if it contains certain files."""

    path: str
    "may contain wildcards"
    holds: tuple[str, ...] = ()
    "files that a folder must contain; empty: it is a file"

    def matches(self, root: Path) -> Iterator[Path]:
        """Yield the complete files or folders below `root` with this name, exactly or nearly."""
        for path in self._named(root):
            if (is_there(path) if not self.holds else not self.lacks(path)) and not path.name.endswith(".part"):
                yield path

    def begun(self, root: Path) -> Iterator[Path]:
        """Yield the folders with this name that have some of their files, even if only a pointer."""
        for path in self._named(root) if self.holds else ():
            if path.is_dir() and any(_inside(path, name) for name in self.holds):
                yield path

    def lacks(self, folder: Path) -> tuple[str, ...]:
        """Return the files that a folder must contain and does not."""
        return tuple(name for name in self.holds if not any(map(is_there, _inside(folder, name))))

    def _named(self, root: Path) -> Iterator[Path]:
        exact = sorted(root.glob(self.path))
        yield from exact
        yield from (path for path in _loose_matches(root, self.path.split("/")) if path not in exact)


def is_there(path: Path) -> bool:
    """Whether it is a file with content, not the pointer that a checkout without Git LFS has instead."""
    return path.is_file() and not is_pointer(path)


def is_pointer(path: Path) -> bool:
    """Whether it is a Git LFS pointer."""
    try:
        if not 0 < path.stat().st_size <= POINTER_BYTES:
            return False
        with path.open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False


def _inside(folder: Path, name: str) -> list[Path]:
    """Return the files in a folder with this name, exactly or nearly."""
    exact = folder / name
    return [exact] if exact.is_file() else [path for path in _loose_matches(folder, [name]) if path.is_file()]


def _loose_matches(root: Path, pattern: list[str]) -> list[Path]:
    """Return what matches `pattern` below a folder, ignoring case, separators and the mark of half precision.

    So MuseTalkV1.5/unet.fp16.safetensors matches musetalkV15/unet.safetensors.
    """
    found = [root]
    for part in pattern:
        inside = [path for folder in found if folder.is_dir() for path in sorted(folder.iterdir())]
        found = [path for path in inside if fnmatchcase(_loosened(path.name), _loosened(part))]
    return found


def _loosened(name: str) -> str:
    plain = name.lower().replace(HALF_PRECISION, "")
    return plain.translate(str.maketrans("", "", "-_. "))


@dataclass(frozen=True, slots=True)
class Part:
    """What a backend needs for one role, and the files that provide it."""

    role: str
    licence: Licence
    layouts: tuple[Layout, ...]
    files: tuple[WeightFile, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The known weights."""

    backends: Mapping[str, tuple[Part, ...]]
    "backend -> parts it needs"
    families: Mapping[str, str] = field(default_factory=dict)
    "name of a family -> the backend it stands for, e.g. musetalk -> musetalk15"


def read_manifest(path: Path = MANIFEST) -> Manifest:
    """Read a manifest. Raises MANIFEST_ERRORS; our own is tested, so an error in it would be a bug."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    licences = {name: Licence(**words) for name, words in table["licences"].items()}
    parts = {
        name: Part(
            role=part["role"],
            licence=licences[part["licence"]],
            layouts=tuple(Layout(one["path"], tuple(one.get("holds", ()))) for one in part["layouts"]),
            files=tuple(_weight_file(one) for one in part["files"]),
        )
        for name, part in table["parts"].items()
    }
    backends = {backend: tuple(parts[name] for name in names) for backend, names in table["backends"].items()}
    return Manifest(backends, table.get("families", {}))


@cache
def known_manifest() -> Manifest:
    """Return our manifest, with additions of other packages' backends under names that are not ours.

    Manifests do not change while a program runs. Reading ours takes 5 to 10 ms, so it is read once, not per network.
    """
    manifest = read_manifest()
    ours = manifest.backends
    theirs: dict[str, tuple[Part, ...]] = {}
    for row in outside_rows():
        if row.manifest is not None and row.weights not in ours:
            with suppress(*MANIFEST_ERRORS):  # the registry refuses its row, and the doctor reports it
                theirs.setdefault(row.weights, read_manifest(row.manifest).backends[row.weights])
    return Manifest({**ours, **theirs}, manifest.families)


def _weight_file(entry: Mapping[str, Any]) -> WeightFile:
    return WeightFile(**{"size_bytes" if key == "bytes" else key: value for key, value in entry.items()})


class WeightsFolder:
    """The files that exist, by the backend that needs them. `path` itself need not exist."""

    def __init__(self, path: Path, manifest: Manifest | None = None) -> None:
        self.path = path
        self._manifest = manifest or known_manifest()

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends that have weights."""
        return tuple(self._manifest.backends)

    def parts(self, backend: str) -> tuple[Part, ...]:
        """Return the parts a backend needs. Raises KeyError for a backend without weights."""
        return self._manifest.backends[backend]

    def locate(self, part: Part) -> Path | None:
        """Return the file, or the complete folder, in the best layout that exists; None if there is none."""
        found = (match for layout in part.layouts for root in self._roots() for match in layout.matches(root))
        return next(found, None)

    def missing(self, backend: str) -> tuple[str, ...]:
        """Return the missing files, as paths in the weights folder; empty if the backend has all it needs."""
        absent = (part for part in self.parts(backend) if self.locate(part) is None)
        return tuple(path for part in absent for path in self._lacking(part))

    def to_fetch(self, part: Part) -> tuple[WeightFile, ...]:
        """Return the files to fetch to complete the part; empty if it is complete."""
        if self.locate(part) is not None:
            return ()
        lacking = set(self._lacking(part))
        if lacking <= {file.path for file in part.files}:
            return tuple(file for file in part.files if file.path in lacking)
        return tuple(file for file in part.files if not is_there(self.path / file.path))

    def hints(self, backend: str) -> tuple[str, ...]:
        """Return hints about files in the folder that look like missing ones: a sentence each, with the remedy."""
        lacking = self.missing(backend)
        return tuple(hint for path in lacking for hint in self._hints_for(path))

    def find(self, backend: str) -> dict[str, Path]:
        """Return role -> file or folder.

        musetalk15, musetalk10: `unet` and `unet_config` (files), `vae` (folder), `whisper` (tiny.pt, or a folder in
        Hugging Face's layout); wav2lip256, wav2lip96: `network` (file); ultralight: `hubert` (folder); face-parse:
        `face_parse` (file). A folder contains config.json, and its weights as .safetensors or .bin.

        Raises WeightsMissing, with the missing files and the command that fetches them.
        """
        missing = self.missing(backend)
        if missing:
            absent = (
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in the weights folder {self.path}."
            )
            raise WeightsMissing(
                " ".join((absent, *self.hints(backend))),
                f"Get what is missing with `python launch.py fetch {backend}`, or name a folder that has it "
                "at the portal's next start: `--weights DIR`.",
            )
        located = ((part.role, self.locate(part)) for part in self.parts(backend))
        return {role: path for role, path in located if path is not None}

    def _roots(self) -> Iterable[Path]:
        return (self.path, self.path / INNER_FOLDER)

    def _lacking(self, part: Part) -> tuple[str, ...]:
        """Return the paths that would complete the part: the rest of the fullest folder, or else its files."""
        begun = [
            (layout.lacks(folder), folder, root)
            for layout in part.layouts
            for root in self._roots()
            for folder in layout.begun(root)
        ]
        if begun:
            lacks, folder, root = min(begun, key=lambda one: _how_far(part, one[0], one[1]))
            return tuple((folder.relative_to(root) / name).as_posix() for name in lacks)
        absent = tuple(
            file.path for file in part.files if not any(is_there(root / file.path) for root in self._roots())
        )
        return absent or tuple(file.path for file in part.files)

    def _hints_for(self, missing: str) -> Iterator[str]:
        for root in self._roots():
            if is_pointer(root / missing):
                yield (
                    f"{root / missing} is only a Git LFS pointer: run `git lfs pull` where it was cloned, "
                    "or download the file itself."
                )
                return
        elsewhere = self._misplaced_file(missing.rpartition("/")[2])
        if elsewhere is not None:
            yield f"{elsewhere} looks like it: move it to {self.path / missing}."

    def _misplaced_file(self, name: str) -> Path | None:
        """Return a file with a distinctive name that lies in the wrong place; None if there is none."""
        if name in ("config.json", "model.safetensors", "pytorch_model.bin"):
            return None  # files of many networks have these names
        looked_at = 0
        for place, folders, names in os.walk(self.path):
            looked_at += len(folders) + len(names)
            near = [one for one in sorted(names) if _loosened(one) == _loosened(name) and is_there(Path(place, one))]
            if near:
                return Path(place, near[0])
            if looked_at > SEARCHED_ENTRIES:
                break
        return None


def _how_far(part: Part, lacks: tuple[str, ...], folder: Path) -> tuple[int, bool, bool]:
    """Return a key that sorts incomplete folders by how little they lack.

    Among two forms of the same weights, one with a pointer comes first, then one that can be fetched.
    """
    fetched = {PurePosixPath(file.path).name for file in part.files}
    pointed_at = any(is_pointer(folder / name) for name in lacks)
    return len(lacks), not pointed_at, not fetched.issuperset(lacks)
