"""The avatars of several machines: they lie on a shelf of a store, and this machine has copies of those it uses."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from avatars.bundle import AvatarBundle
from avatars.bundle_versions import manifest_of_today
from avatars.errors import AvatarError, AvatarNotFound, BundleError
from avatars.facts import AvatarFacts, facts_of
from avatars.library import (
    VALID_ID,
    AvatarLibrary,
    AvatarSummary,
    Ownership,
    face_in,
    not_found,
    ownership_in,
    summary_of,
)
from avatars.shelf import Shelf
from avatars.shelf_copies import INDEX
from avatars.store import Index, Store

__all__ = ["SharedLibrary"]

logger = logging.getLogger(__name__)


class SharedLibrary(AvatarLibrary):
    """Like any library; the folder has copies. What needs the store raises StoreUnreachable while that is away."""

    def __init__(self, root: Path, store: Store, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__(root)
        self.shelf = Shelf(store, "avatars", root, not_found, _about, now_s)

    def list(self) -> list[AvatarSummary]:
        found = ((_summary(self.root / name, index)) for name, index in self.shelf.indexes().items())
        return sorted(
            (summary for summary in found if summary is not None), key=lambda summary: (summary.modified_s, summary.id)
        )

    def summary(self, avatar_id: str) -> AvatarSummary:
        summary = _summary(self.path_of(avatar_id), self._index(avatar_id))
        if summary is None:
            raise not_found(avatar_id)
        return summary

    def ownership(self, avatar_id: str) -> Ownership | None:
        return self._ownership(avatar_id, self.shelf.index)

    def ownership_now(self, avatar_id: str) -> Ownership | None:
        return self._ownership(avatar_id, self.shelf.index_now)

    def __contains__(self, avatar_id: object) -> bool:
        return (
            isinstance(avatar_id, str)
            and VALID_ID.fullmatch(avatar_id) is not None
            and (avatar_id in self.shelf.names() or self.shelf.index_now(avatar_id) is not None)
        )

    def holds_now(self, avatar_id: str) -> bool:
        return VALID_ID.fullmatch(avatar_id) is not None and self.shelf.index_now(avatar_id) is not None

    def folder(self, avatar_id: str) -> Path:
        self.path_of(avatar_id)  # raises: that is no id
        return self.shelf.at_hand(avatar_id)

    def file(self, avatar_id: str, path: str) -> Path | None:
        self.path_of(avatar_id)
        return self.shelf.file(avatar_id, path)

    def facts(self, avatar_id: str) -> AvatarFacts:
        self.path_of(avatar_id)
        return AvatarFacts(**self._index(avatar_id).about["facts"])

    @contextmanager
    def changing(self, avatar_id: str) -> Iterator[Path]:
        self.path_of(avatar_id)
        with self.shelf.changing(avatar_id) as folder:
            yield folder

    @contextmanager
    def making(self, avatar_id: str) -> Iterator[Path]:
        self.path_of(avatar_id)
        with self.shelf.making(avatar_id) as folder:
            yield folder

    def open(self, avatar_id: str) -> AvatarBundle:
        self.path_of(avatar_id)
        self.shelf.brought(avatar_id)
        return super().open(avatar_id)

    def delete(self, avatar_id: str) -> None:
        self.path_of(avatar_id)
        if not self.shelf.remove(avatar_id):
            raise not_found(avatar_id)

    def sweep(self) -> None:
        """Also put into the store what was in the folder before there was one: nothing of it is lost."""
        super().sweep()
        self.shelf.copies.sweep()
        for path in self.root.glob("*"):
            if VALID_ID.fullmatch(path.name) and path.is_dir() and not (path / INDEX).is_file():
                try:
                    if self.shelf.index(path.name) is None:
                        self.shelf.adopt(path.name)
                except AvatarError as error:
                    logger.warning("The avatar in %s is not in the store yet: %s", path, error)

    def _ownership(self, avatar_id: str, find: Callable[[str], Index | None]) -> Ownership | None:
        with suppress(AvatarNotFound, BundleError, ValueError, KeyError, TypeError, AttributeError):
            self.path_of(avatar_id)
            index = find(avatar_id)
            if index is not None:
                return ownership_in(manifest_of_today(index.about["manifest"], avatar_id))
        return None

    def _index(self, avatar_id: str) -> Index:
        self.path_of(avatar_id)
        index = self.shelf.index(avatar_id)
        if index is None:
            raise not_found(avatar_id)
        return index


def _about(folder: Path) -> Mapping[str, object]:
    """What lists show of the avatar in this folder. Raises BundleError: it is none."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        face = face_in(folder, int(manifest["width"]), int(manifest["height"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"The files of the avatar '{folder.name}' cannot be read.", "Delete it and make it again."
        ) from error
    return {"manifest": manifest, "face": face, "facts": asdict(facts_of(folder))}


def _summary(path: Path, index: Index) -> AvatarSummary | None:
    """Of an avatar whose copy is or would be at `path`. None: its manifest cannot be used."""
    try:
        manifest = manifest_of_today(index.about["manifest"], path.name)
        face = index.about["face"]
        modified_s = index.files["manifest.json"].mtime_ns / 1e9
        return summary_of(path, manifest, index.files, modified_s, None if face is None else tuple(face))
    except (BundleError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("The avatar %s is left out: its manifest cannot be used (%s)", path.name, error)
        return None
