"""Checks that the folders in which the portal keeps files can be written to."""

from __future__ import annotations

import tempfile
from pathlib import Path

from avatars.disk import disk_full_explained
from models.errors import VivavoceError

__all__ = ["FolderNotWritable", "require_writable"]

DATA_FOLDER = "Give this user the right to, or choose another folder with --data-dir (or VIVAVOCE_DATA)."


class FolderNotWritable(VivavoceError, code="folder_not_writable"):
    """A folder that the portal has to write to cannot be written to."""


def require_writable(folder: Path, name: str = "data folder", remedy: str = DATA_FOLDER) -> None:
    """Make the folder if it does not exist, and check that files can be written to it.

    Raises DiskFull, FolderNotWritable.
    """
    try:
        with disk_full_explained("nothing can be kept"):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"x")
    except OSError as error:
        raise FolderNotWritable(f"The {name} {folder} cannot be written to: {error.strerror}.", remedy) from error
