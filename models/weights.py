"""The weights folder: which file of which network lies where, in our layout or in that of a peer.

What there is to know about the files (layouts, sources, licences) is in `manifest.toml`, once. Standard library only,
and nothing is opened but the manifest: a file that is there is read by the network it belongs to.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import WeightsMissing

__all__ = ["MANIFEST", "Layout", "Licence", "Manifest", "Part", "WeightFile", "WeightsFolder", "read_manifest"]

MANIFEST = Path(__file__).with_name("manifest.toml")
INNER_FOLDER = "models"
"Where LiveTalking and MuseTalk keep their weights: naming their checkout will do as well."


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

    def matches(self, folder: Path) -> Iterator[Path]:
        for path in sorted(folder.glob(self.path)):
            if all((path / name).is_file() for name in self.holds) if self.holds else path.is_file():
                yield path


@dataclass(frozen=True, slots=True)
class Part:
    """What a backend needs under one role, and the files that bring it."""

    role: str
    licence: Licence
    layouts: tuple[Layout, ...]
    files: tuple[WeightFile, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Backend -> the parts it needs."""

    backends: Mapping[str, tuple[Part, ...]]


def read_manifest(path: Path = MANIFEST) -> Manifest:
    """Raises OSError, tomllib.TOMLDecodeError, KeyError or TypeError: ours is tested, and a broken one is a bug."""
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
    return Manifest({backend: tuple(parts[name] for name in names) for backend, names in table["backends"].items()})


def _weight_file(entry: Mapping[str, Any]) -> WeightFile:
    return WeightFile(**{"size_bytes" if key == "bytes" else key: value for key, value in entry.items()})


class WeightsFolder:
    """The files that a person has, by the backend that needs them. `path` need not exist."""

    def __init__(self, path: Path, manifest: Manifest | None = None) -> None:
        self.path = path
        self._manifest = manifest or read_manifest()

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
        """Files that are not there, as `fetch` would name them; empty if the backend has all it needs."""
        absent = (part for part in self.parts(backend) if self.locate(part) is None)
        return tuple(file.path for part in absent for file in self._absent(part.files))

    def find(self, backend: str) -> dict[str, Path]:
        """Role -> file or folder.

        musetalk15, musetalk10: `unet` and `unet_config` (files), `vae` (folder), `whisper` (tiny.pt, or a folder in
        Hugging Face's form); wav2lip256, wav2lip96: `network` (file); ultralight: `hubert` (folder); face-parse:
        `face_parse` (file). A folder holds config.json and its weights as .safetensors or .bin.

        Raises WeightsMissing, naming the files and the command that brings them.
        """
        missing = self.missing(backend)
        if missing:
            raise WeightsMissing(
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in the weights folder {self.path}.",
                f"Get what is missing with `python launch.py fetch {backend}`, or name a folder that has it "
                "at the portal's next start: `--weights DIR`.",
            )
        located = ((part.role, self.locate(part)) for part in self.parts(backend))
        return {role: path for role, path in located if path is not None}

    def _roots(self) -> Iterable[Path]:
        return (self.path, self.path / INNER_FOLDER)

    def _absent(self, files: Iterable[WeightFile]) -> Iterator[WeightFile]:
        """Those that are not at their place; all of them if a part has them in pieces that do not belong together."""
        absent = [file for file in files if not any((root / file.path).is_file() for root in self._roots())]
        yield from absent or files
