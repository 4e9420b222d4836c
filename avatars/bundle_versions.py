"""Versions of the bundle's format: older bundles are read as if they had the present version.

Bundles are never rewritten for that. Each time one is read, its contents go through the migrations, in memory. A
migration renames a few keys, so this is cheap. To change the format, append a Migration: the version number follows by
itself. Then add a small bundle of the new version to `tests/assets/bundles/`, where one of each version is kept to
prove that it stays readable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from avatars.errors import BundleError
from avatars.records import Manifest
from models.arrays import AnyArray

__all__ = ["BUNDLE_FORMAT", "BUNDLE_VERSION", "MIGRATIONS", "Migration", "manifest_of_today", "tensors_of_today"]

Record = Mapping[str, object]
"a manifest of any version"
Tensors = Mapping[str, AnyArray]

BUNDLE_FORMAT: Final = "vivavoce-avatar"


@dataclass(frozen=True, slots=True)
class Migration:
    """Turns a bundle of one version into the next. Manifest and tensors are separate: a gallery needs no tensors."""

    manifest: Callable[[Record], Record] = lambda manifest: manifest
    tensors: Callable[[Tensors], Tensors] = lambda tensors: tensors


MIGRATIONS: Final[tuple[Migration, ...]] = ()
"The first one leads from version 1 to version 2, the next one to 3."
BUNDLE_VERSION: Final = 1 + len(MIGRATIONS)


def manifest_of_today(manifest: Record, name: str, migrations: Sequence[Migration] = MIGRATIONS) -> Manifest:
    """Return the manifest of the bundle `name` in the present version; its `version` stays as it was written.

    Raises BundleError if it is of another format or a later version.
    """
    version, newest = manifest.get("version"), 1 + len(migrations)
    if manifest.get("format") != BUNDLE_FORMAT or not isinstance(version, int) or version < 1:
        raise BundleError(
            f"The avatar '{name}' is not in Vivavoce's format.", "Delete it and make it again.", cause="format"
        )
    if version > newest:
        raise BundleError(
            f"The avatar '{name}' is of version {version}; this Vivavoce reads avatars up to version {newest}.",
            "Update Vivavoce, or make the avatar again.",
            cause="version",
        )
    for migration in migrations[version - 1 :]:
        manifest = migration.manifest(manifest)
    today: Any = {**manifest, "version": version}  # the last migration gives it the form of Manifest
    manifest_today: Manifest = today
    return manifest_today


def tensors_of_today(
    version: int, tensors: Tensors, migrations: Sequence[Migration] = MIGRATIONS
) -> dict[str, AnyArray]:
    """Return the tensors of a bundle written with `version`, in the present version."""
    for migration in migrations[version - 1 :]:
        tensors = migration.tensors(tensors)
    return dict(tensors)
