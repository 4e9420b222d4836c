"""A full disk, whoever meets it first (the system, SQLite below SQLAlchemy), told as DiskFull."""

from __future__ import annotations

import errno
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import VivavoceError
from portal.errors import DiskFull

__all__ = ["REMEDY", "FolderNotWritable", "disk_full_explained", "is_disk_full", "require_writable"]

DATA_FOLDER = "Give this user the right to, or choose another folder with --data-dir (or VIVAVOCE_DATA)."
REMEDY = "Free some space on the disk of the data folder, then try again."


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception, or the one it was raised from, says that no space is left."""
    for one in (error, error.__cause__):
        if isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # The module raises some of its errors itself; those have no code.
        if isinstance(one, sqlite3.Error) and getattr(one, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
    return False


@contextmanager
def disk_full_explained(consequence: str) -> Iterator[None]:
    """Raises DiskFull in place of whatever says that no space is left; `consequence` ends its message."""
    try:
        yield
    except Exception as error:  # SQLAlchemy's own errors cannot be named without importing it
        if not is_disk_full(error):
            raise
        raise DiskFull(f"The disk is full: {consequence}.", REMEDY) from error


class FolderNotWritable(VivavoceError):
    """A folder that we have to keep things in takes none."""

    code = "folder_not_writable"


def require_writable(folder: Path, name: str = "data folder", remedy: str = DATA_FOLDER) -> None:
    """Make the folder if it is not there, and see that it takes files. Raises DiskFull, FolderNotWritable."""
    try:
        with disk_full_explained("nothing can be kept"):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"x")
    except OSError as error:
        raise FolderNotWritable(f"The {name} {folder} cannot be written to: {error.strerror}.", remedy) from error
