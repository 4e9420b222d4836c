"""The workers that share one Postgres: which are alive, and whether they have the portal's data folder and code.

There are two tables beside those of DBOS. `vivavoce.portal` has one row: the data folder whose jobs the database keeps,
and the code of the portal. `vivavoce.workers` has a row for each worker, with the time of its last sign of life. All
times are by the database's clock, so the clocks of the machines do not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from portal.errors import DatabaseTaken, OtherCode, WorkerLeftOut
from portal.jobs.dbos_database import PostgresDatabase
from portal.jobs.postgres_tables import Ask, PostgresTables
from portal.jobs.records import JobFolders

__all__ = ["SILENT_S", "Fleet", "PortalDatabase", "code_of_this_copy"]

SILENT_S = 30
"A worker without a sign of life for this long counts as dead, and others take over its jobs."

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("avatars", "models", "pipeline", "portal")

_TABLES = (
    "CREATE SCHEMA IF NOT EXISTS vivavoce",
    """CREATE TABLE IF NOT EXISTS vivavoce.portal (
        is_there boolean PRIMARY KEY DEFAULT true CHECK (is_there), folder text NOT NULL, code text NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS vivavoce.workers (
        id text PRIMARY KEY, code text NOT NULL, joined_at timestamptz NOT NULL DEFAULT now(),
        seen_at timestamptz NOT NULL DEFAULT now())""",
)


class Fleet:
    """The workers of one database, as one process sees them. Thread-safe; calls block for milliseconds.

    folders: the files of this process's jobs. All methods but close() raise DatabaseUnreachable.
    """

    def __init__(self, database: PostgresDatabase, folders: JobFolders) -> None:
        self._tables = PostgresTables(database, _TABLES)
        self._folders = folders

    def lead(self) -> None:
        """Register the portal: from now on, all workers must have its data folder and its code.

        Raises DatabaseTaken: the database keeps the jobs of another data folder.
        """
        folder = self._folders.make_mark()
        with self._tables.transaction(alone=True) as ask:
            ask(
                "INSERT INTO vivavoce.portal (folder, code) VALUES (:folder, :code) ON CONFLICT DO NOTHING",
                folder=folder,
                code=code_of_this_copy(),
            )
            update = "UPDATE vivavoce.portal SET code = :code WHERE folder = :folder"
            if not ask(update, folder=folder, code=code_of_this_copy()).rowcount:
                raise DatabaseTaken(
                    "The database keeps the jobs of another data folder or store.",
                    "The operator has to set the one before (data_dir, store_url), or another database (database_url).",
                )

    def join(self, worker: str) -> None:
        """Register a worker, before its first job. Raises WorkerLeftOut: it must not take any."""
        with self._tables.transaction(alone=True) as ask:
            self._check(ask)
            ask(
                "INSERT INTO vivavoce.workers (id, code) VALUES (:id, :code) "
                "ON CONFLICT (id) DO UPDATE SET code = :code, joined_at = now(), seen_at = now()",
                id=worker,
                code=code_of_this_copy(),
            )

    def beat(self, worker: str) -> None:
        """Give a sign of life. Raises WorkerLeftOut: others have taken its jobs, or the portal has other code now."""
        with self._tables.transaction() as ask:
            self._check(ask)
            if not ask("UPDATE vivavoce.workers SET seen_at = now() WHERE id = :id", id=worker).rowcount:
                raise WorkerLeftOut(
                    f"This worker was not heard of for {SILENT_S} s, and others have its jobs.", "Start it again."
                )

    def leave(self, worker: str) -> None:
        """Remove a worker that ends, so that others take over its jobs at once."""
        with self._tables.transaction() as ask:
            ask("DELETE FROM vivavoce.workers WHERE id = :id", id=worker)

    @contextmanager
    def without_the_dead(self) -> Iterator[set[str]]:
        """Remove the silent workers and give the names of the living ones.

        During the block, no worker can join, and no other process can be in such a block.
        """
        with self._tables.transaction() as ask:
            # Committed before their jobs are given away: a worker that was only slow finds out at its next beat.
            ask("DELETE FROM vivavoce.workers WHERE seen_at < now() - make_interval(secs => :s)", s=SILENT_S)
        with self._tables.transaction(alone=True) as ask:
            yield {row.id for row in ask("SELECT id FROM vivavoce.workers")}

    def close(self) -> None:
        """Close the connections to the database. Idempotent."""
        self._tables.close()

    def _check(self, ask: Ask) -> None:
        """Raise WorkerLeftOut if this process has another data folder, or other code, than the portal."""
        portal = ask("SELECT folder, code FROM vivavoce.portal").one_or_none()
        if portal is None:
            raise WorkerLeftOut(
                "No portal has used this database yet.", "Start the portal first, with its database_url."
            )
        if portal.folder != self._folders.mark:
            raise WorkerLeftOut(
                f"{self._folders.data_dir} is not the data folder of the portal.",
                "Let this machine see the portal's data folder, and name it with --data-dir, or set its --store-url.",
            )
        if portal.code != code_of_this_copy():
            raise OtherCode(
                f"This copy of Vivavoce (code {code_of_this_copy()}) is another one than the portal's ({portal.code}).",
                "Install the same version here and there, and start both again.",
            )


class PortalDatabase(PostgresDatabase):
    """The Postgres as the portal opens it: open() also registers the portal, and so also raises DatabaseTaken."""

    def __init__(self, url: str, folders: JobFolders) -> None:
        super().__init__(url)
        self._fleet = Fleet(self, folders)

    def open(self) -> str:
        url = super().open()
        self._fleet.lead()
        return url

    def close(self) -> None:
        self._fleet.close()


@cache
def code_of_this_copy() -> str:
    """Return eight digits that change with any of our Python files. With the same code, jobs have the same results."""
    digest = hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:8]
