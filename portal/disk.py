"""Folders that the portal keeps things in: whether they take any."""

from __future__ import annotations

import tempfile
from pathlib import Path

from avatars.disk import disk_full_explained
from models.errors import VivavoceError

__all__ = ["FolderNotWritable", "require_writable"]

DATA_FOLDER = "Give this user the right to, or choose another folder with --data-dir (or VIVAVOCE_DATA)."


class FolderNotWritable(VivavoceError, code="folder_not_writable"):
    """A folder that we have to keep things in takes none."""


def require_writable(folder: Path, name: str = "data folder", remedy: str = DATA_FOLDER) -> None:
    """Make the folder if it is not there, and see that it takes files. Raises DiskFull, FolderNotWritable."""
    try:
        with disk_full_explained("nothing can be kept"):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"x")
    except OSError as error:
        raise FolderNotWritable(f"The {name} {folder} cannot be written to: {error.strerror}.", remedy) from error
