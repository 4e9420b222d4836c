"""A full disk, whoever meets it first (the system, numpy, safetensors, SQLite below SQLAlchemy), told as DiskFull."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from avatars.errors import DiskFull

__all__ = ["REMEDY", "disk_full_explained", "is_disk_full", "require_room"]

REMEDY = "Free some space on the disk of the data folder, then try again."


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception, or the one it was raised from, says that no space is left."""
    return any(_says_full(one) for one in (error, error.__cause__))


@contextmanager
def disk_full_explained(consequence: str = "") -> Iterator[None]:
    """Raises DiskFull in place of whatever says that no space is left; `consequence` ends its message."""
    try:
        yield
    except Exception as error:  # SQLAlchemy's own errors cannot be named without importing it
        if not is_disk_full(error):
            raise
        raise DiskFull(f"The disk is full{': ' if consequence else ''}{consequence}.", REMEDY) from error


def require_room(folder: Path, free_bytes: int, consequence: str) -> None:
    """Keep part of the disk free, so that what strangers hand in never fills it for the rest of the machine.

    folder: where something is to be kept; free_bytes: what must be free there. Raises DiskFull; `consequence` ends its
    message.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if shutil.disk_usage(existing).free < free_bytes:
        raise DiskFull(f"The disk is full but for what is kept free: {consequence}.", REMEDY)


def _says_full(error: BaseException | None) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError | SafetensorError):
        # numpy counts what it could not write, safetensors speaks for the system: neither passes on the number.
        return "requested and" in str(error) or os.strerror(errno.ENOSPC) in str(error)
    # The module raises some of its errors itself; those have no code.
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
