"""A full disk is known by whoever meets it first."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy

from avatars.disk import disk_full_explained
from avatars.errors import DiskFull
from portal.disk import FolderNotWritable, require_writable


def by_the_system() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def by_quota() -> None:
    raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def by_sqlite() -> None:
    with sqlite3.connect(":memory:") as database:
        database.execute("PRAGMA max_page_count = 3")
        database.execute("CREATE TABLE t AS SELECT zeroblob(100000)")


def by_sqlalchemy() -> None:
    with sqlalchemy.create_engine("sqlite://").begin() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 3")
        connection.exec_driver_sql("CREATE TABLE t AS SELECT zeroblob(100000)")


@pytest.mark.parametrize("met", [by_the_system, by_quota, by_sqlite, by_sqlalchemy])
def test_a_full_disk_names_the_consequence_and_the_remedy(met: Callable[[], None]) -> None:
    """Cause, consequence and remedy are told, whoever says it."""
    with pytest.raises(DiskFull) as told, disk_full_explained("nothing was kept"):
        met()
    assert (told.value.code, told.value.message) == ("disk_full", "The disk is full: nothing was kept.")
    assert "Free some space" in told.value.hint


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "no"), sqlite3.OperationalError("no"), ValueError("no")]
)
def test_other_errors_pass(error: Exception) -> None:
    """What is no full disk stays what it is."""
    with pytest.raises(type(error), match="no"), disk_full_explained("nothing was kept"):
        raise error


def test_a_folder_that_takes_nothing_is_told_in_plain_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read-only, or a file in its place: which folder, and what to do. One that is not there yet is made."""
    require_writable(tmp_path / "new" / "data")
    assert list((tmp_path / "new" / "data").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(FolderNotWritable, match="file") as wrong:
        require_writable(tmp_path / "file")
    assert "--data-dir" in wrong.value.hint

    def refuse(**_options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("portal.disk.tempfile.TemporaryFile", refuse)
    with pytest.raises(FolderNotWritable, match="Read-only file system"):
        require_writable(tmp_path)
