"""The weights folder: which file of which network lies where, in our layout or in that of a peer.

What there is to know about the files (layouts, sources, licences) is in `manifest.toml`, once. Standard library only.
Nothing is opened but the manifest and very small files, which may be Git LFS pointers: a weights file that is there is
read by the network it belongs to.
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
"Where LiveTalking and MuseTalk keep their weights: naming their checkout will do as well."
HALF_PRECISION = ".fp16"
"What diffusers and transformers put before the ending of a file in half precision."
MANIFEST_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError)
"What reading a manifest may raise: it is not there, no TOML, or lacks something."
POINTER = b"version https://git-lfs.github.com/spec/"
POINTER_BYTES = 1024
"At most; Git LFS says so."
SEARCHED_ENTRIES = 5000
"Files and folders that are looked at for one that lies at the wrong place."


@dataclass(frozen=True, slots=True)
class Licence:
    """What a person may do with a file."""

    name: str
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One published file: `repository`/`file` at `revision` of Hugging Face, or to be got by hand."""

    path: str
    "in the weights folder, with /"
    repository: str = ""
    file: str = ""
    revision: str = "main"
    size_bytes: int | None = None
    "None: not published"
    sha256: str = ""
    "empty: not published"
    by_hand: Mapping[str, str] | None = None
    "language (en, zh) -> where a person gets it, for files that no program can fetch"


@dataclass(frozen=True, slots=True)
class Layout:
    """A file or folder that will do; a folder only if it holds these files."""

    path: str
    "may have wildcards"
    holds: tuple[str, ...] = ()

    def matches(self, root: Path) -> Iterator[Path]:
        """The files or folders below `root` that have this name, exactly or nearly, and lack nothing."""
        for path in self._named(root):
            if (is_there(path) if not self.holds else not self.lacks(path)) and not path.name.endswith(".part"):
                yield path

    def begun(self, root: Path) -> Iterator[Path]:
        """The folders of this name that have a part of what they must hold, at least a pointer."""
        for path in self._named(root) if self.holds else ():
            if path.is_dir() and any(_inside(path, name) for name in self.holds):
                yield path

    def lacks(self, folder: Path) -> tuple[str, ...]:
        """What a folder would have to hold and does not."""
        return tuple(name for name in self.holds if not any(map(is_there, _inside(folder, name))))

    def _named(self, root: Path) -> Iterator[Path]:
        exact = sorted(root.glob(self.path))
        yield from exact
        yield from (path for path in _nearly(root, self.path.split("/")) if path not in exact)


def is_there(path: Path) -> bool:
    """Whether it is a file with content, not the pointer that a checkout without Git LFS has in its place."""
    return path.is_file() and not is_pointer(path)


def is_pointer(path: Path) -> bool:
    try:
        if not 0 < path.stat().st_size <= POINTER_BYTES:
            return False
        with path.open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False


def _inside(folder: Path, name: str) -> list[Path]:
    """The files of a folder that have this name, or nearly."""
    exact = folder / name
    return [exact] if exact.is_file() else [path for path in _nearly(folder, [name]) if path.is_file()]


def _nearly(root: Path, pattern: list[str]) -> list[Path]:
    """What lies at `pattern` below a folder if one does not look too closely: MuseTalkV1.5/unet.fp16.safetensors is
    musetalkV15/unet.safetensors.
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
    """What a backend needs under one role, and the files that bring it."""

    role: str
    licence: Licence
    layouts: tuple[Layout, ...]
    files: tuple[WeightFile, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Which weights there are."""

    backends: Mapping[str, tuple[Part, ...]]
    "backend -> the parts it needs"
    families: Mapping[str, str] = field(default_factory=dict)
    "name of a family -> the backend of it that is meant, e.g. musetalk -> musetalk15"


def read_manifest(path: Path = MANIFEST) -> Manifest:
    """Raises MANIFEST_ERRORS. Ours is tested, and a broken one is a bug."""
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
    """Ours, and what backends from outside add to it under names that are not ours.

    Manifests come with programs and do not change. Reading ours takes 5 to 10 ms, and each network would do it anew.
    """
    manifest = read_manifest()
    ours = manifest.backends
    theirs: dict[str, tuple[Part, ...]] = {}
    for row in outside_rows():
        if row.manifest is not None and row.weights not in ours:
            with suppress(*MANIFEST_ERRORS):  # the registry refuses its row, and the doctor says so
                theirs.setdefault(row.weights, read_manifest(row.manifest).backends[row.weights])
    return Manifest({**ours, **theirs}, manifest.families)


def _weight_file(entry: Mapping[str, Any]) -> WeightFile:
    return WeightFile(**{"size_bytes" if key == "bytes" else key: value for key, value in entry.items()})


class WeightsFolder:
    """The files that a person has, by the backend that needs them. `path` need not exist."""

    def __init__(self, path: Path, manifest: Manifest | None = None) -> None:
        self.path = path
        self._manifest = manifest or known_manifest()

    @property
    def backends(self) -> tuple[str, ...]:
        return tuple(self._manifest.backends)

    def parts(self, backend: str) -> tuple[Part, ...]:
        """Raises KeyError for a backend without weights."""
        return self._manifest.backends[backend]

    def locate(self, part: Part) -> Path | None:
        """The file, or the folder with all it must hold, in the best layout that is there."""
        found = (match for layout in part.layouts for root in self._roots() for match in layout.matches(root))
        return next(found, None)

    def missing(self, backend: str) -> tuple[str, ...]:
        """Files that are not there, by their paths in the weights folder; empty if the backend has all it needs."""
        absent = (part for part in self.parts(backend) if self.locate(part) is None)
        return tuple(path for part in absent for path in self._lacking(part))

    def to_fetch(self, part: Part) -> tuple[WeightFile, ...]:
        """Which of its files are to be fetched so that the part is whole; none if it is."""
        if self.locate(part) is not None:
            return ()
        lacking = set(self._lacking(part))
        if lacking <= {file.path for file in part.files}:
            return tuple(file for file in part.files if file.path in lacking)
        return tuple(file for file in part.files if not is_there(self.path / file.path))

    def hints(self, backend: str) -> tuple[str, ...]:
        """What lies in the folder and looks like something that is missing: a sentence each, with the remedy."""
        lacking = self.missing(backend)
        return tuple(hint for path in lacking for hint in self._hints_for(path))

    def find(self, backend: str) -> dict[str, Path]:
        """Role -> file or folder.

        musetalk15, musetalk10: `unet` and `unet_config` (files), `vae` (folder), `whisper` (tiny.pt, or a folder in
        Hugging Face's form); wav2lip256, wav2lip96: `network` (file); ultralight: `hubert` (folder); face-parse:
        `face_parse` (file). A folder holds config.json and its weights as .safetensors or .bin.

        Raises WeightsMissing, naming the files and the command that brings them.
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
        """Paths that would make the part whole: the rest of the fullest folder that has been begun, else its files."""
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
        elsewhere = self._elsewhere(missing.rpartition("/")[2])
        if elsewhere is not None:
            yield f"{elsewhere} looks like it: move it to {self.path / missing}."

    def _elsewhere(self, name: str) -> Path | None:
        """A file of a telling name at a place where nobody looks for it."""
        if name in ("config.json", "model.safetensors", "pytorch_model.bin"):
            return None  # so many networks' files are called
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
    """Orders folders that have been begun. Of two forms of the same weights the one comes first of which there is a
    pointer already, then the one that can be fetched.
    """
    fetched = {PurePosixPath(file.path).name for file in part.files}
    pointed_at = any(is_pointer(folder / name) for name in lacks)
    return len(lacks), not pointed_at, not fetched.issuperset(lacks)
