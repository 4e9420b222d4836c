"""A full disk is known by whoever meets it first."""

from __future__ import annotations

import errno
import os
import sqlite3

import pytest
import sqlalchemy

from portal.disk import disk_full_explained
from portal.errors import DiskFull


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
def test_a_full_disk_names_the_consequence_and_the_remedy(met) -> None:
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
