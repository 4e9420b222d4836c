"""A full disk, whoever meets it first (the system, numpy, safetensors, SQLite below SQLAlchemy), told as DiskFull.

Also small objects as files of JSON, whole or not at all.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from avatars.errors import DiskFull

__all__ = ["REMEDY", "disk_full_explained", "is_disk_full", "read_object", "require_room", "write_object"]

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


def write_object(path: Path, told: Mapping[str, object]) -> None:
    """Keep an object as a file of JSON, whole or not at all. Raises DiskFull, OSError: what was there before stays."""
    staging = path.with_name(f".{path.stem}.{secrets.token_hex(4)}")
    try:
        with disk_full_explained():
            staging.write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")
            staging.replace(path)
    except BaseException:  # whatever it was: half a file is of no use
        staging.unlink(missing_ok=True)
        raise


def read_object(path: Path, most_bytes: int) -> dict[str, object]:
    """What write_object() kept; of a longer file than that, which is none of ours, not all is read.

    Raises FileNotFoundError, other OSError, ValueError (it is no object in JSON).
    """
    with path.open("rb") as file:
        content = file.read(most_bytes)
    try:
        told = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(told, dict):
        raise ValueError("it is no object")
    return told


def _says_full(error: BaseException | None) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError | SafetensorError):
        # numpy counts what it could not write, safetensors speaks for the system: neither passes on the number.
        return "requested and" in str(error) or os.strerror(errno.ENOSPC) in str(error)
    # The module raises some of its errors itself; those have no code.
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
