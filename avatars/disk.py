"""Turns errors of a full disk into DiskFull, whether they come from the system, numpy, safetensors or SQLite.

Also stores small objects as JSON files, whole or not at all.
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

__all__ = ["REMEDY", "disk_full_explained", "is_disk_full", "read_object", "require_room", "sync", "write_object"]

REMEDY = "Free some space on the disk of the data folder, then try again."


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception, or its direct cause, means that no space is left."""
    return any(_says_full(one) for one in (error, error.__cause__))


def sync(path: Path) -> None:
    """Have the disk keep what a file or folder holds: after a power failure it may be empty otherwise."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_full_explained(consequence: str = "") -> Iterator[None]:
    """Raise DiskFull instead of any error that means that no space is left; `consequence` ends its message."""
    try:
        yield
    except Exception as error:  # SQLAlchemy's own errors cannot be named without importing it
        if not is_disk_full(error):
            raise
        raise DiskFull(f"The disk is full{': ' if consequence else ''}{consequence}.", REMEDY) from error


def require_room(folder: Path, free_bytes: int, consequence: str) -> None:
    """Raise DiskFull if too little of the disk is free, so that uploads never fill it for the rest of the machine.

    folder: where something is to be stored. free_bytes: what must be free there. consequence: ends the message.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if shutil.disk_usage(existing).free < free_bytes:
        raise DiskFull(f"The disk is full but for what is kept free: {consequence}.", REMEDY)


def write_object(path: Path, told: Mapping[str, object]) -> None:
    """Store an object as a JSON file atomically. Raises DiskFull, OSError; the former file then stays."""
    staging = path.with_name(f".{path.stem}.{secrets.token_hex(4)}")
    try:
        with disk_full_explained():
            staging.write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")
            staging.replace(path)
    except BaseException:  # on any failure, cancellation too: half a file is of no use
        staging.unlink(missing_ok=True)
        raise


def read_object(path: Path, max_bytes: int) -> dict[str, object]:
    """Read what write_object() stored. At most `max_bytes` are read, because a longer file is not one of ours.

    Raises FileNotFoundError, other OSError, ValueError if it is not a JSON object.
    """
    with path.open("rb") as file:
        content = file.read(max_bytes)
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
        # numpy only reports how much it could not write, and safetensors only the system's text: errno is lost.
        return "requested and" in str(error) or os.strerror(errno.ENOSPC) in str(error)
    # sqlite3 raises some of its errors itself; those have no code.
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
