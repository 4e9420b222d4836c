"""Versions of the bundle's format: a bundle of an older version is read as one of the present version.

Bundles are never rewritten for that. What is read of them goes through the migrations, in memory, each time; they are a
few renamed keys. To change the format, append a Migration: the version number follows by itself. Then keep a small
bundle of the new version in `tests/assets/bundles/`, where one of each version stays readable for ever.
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
    """What makes a bundle of one version one of the next. Each part is read alone: a gallery needs no tensors."""

    manifest: Callable[[Record], Record] = lambda manifest: manifest
    tensors: Callable[[Tensors], Tensors] = lambda tensors: tensors


MIGRATIONS: Final[tuple[Migration, ...]] = ()
"the first leads from version 1 to version 2, the next one from there to 3"
BUNDLE_VERSION: Final = 1 + len(MIGRATIONS)


def manifest_of_today(manifest: Record, name: str, migrations: Sequence[Migration] = MIGRATIONS) -> Manifest:
    """The manifest of a bundle called `name`, as the present version has it; `version` stays what it was written with.

    Raises BundleError: another format, or a later version.
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
    today: Any = {**manifest, "version": version}  # its form is what the last migration says
    manifest_today: Manifest = today
    return manifest_today


def tensors_of_today(
    version: int, tensors: Tensors, migrations: Sequence[Migration] = MIGRATIONS
) -> dict[str, AnyArray]:
    """The tensors of a bundle that was written with `version`, as the present version has them."""
    for migration in migrations[version - 1 :]:
        tensors = migration.tensors(tensors)
    return dict(tensors)
