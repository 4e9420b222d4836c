"""The workers that share one Postgres: who of them is alive, and what all have to have in common with the portal.

Two tables beside those of DBOS. `vivavoce.portal` has one row: the data folder whose jobs the database keeps, and the
code of the portal. `vivavoce.workers` has a row for each worker, with the time when it last said that it lives. All
times are the database's, so the clocks of the machines do not matter.
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
"A worker that has not been heard of for so long is dead, and what it had in hand is given to others."

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

    All raise DatabaseUnreachable. folders: of the jobs that this process works on.
    """

    def __init__(self, database: PostgresDatabase, folders: JobFolders) -> None:
        self._tables = PostgresTables(database, _TABLES)
        self._folders = folders

    def lead(self) -> None:
        """For the portal: its data folder and its code are from now on what all workers have to have.

        Raises DatabaseTaken: the database keeps the jobs of another data folder.
        """
        folder = self._folders.make_mark()
        with self._tables.asked(alone=True) as ask:
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
        """For a worker, before it takes its first job. Raises WorkerLeftOut: it must not take any."""
        with self._tables.asked(alone=True) as ask:
            self._check(ask)
            ask(
                "INSERT INTO vivavoce.workers (id, code) VALUES (:id, :code) "
                "ON CONFLICT (id) DO UPDATE SET code = :code, joined_at = now(), seen_at = now()",
                id=worker,
                code=code_of_this_copy(),
            )

    def beat(self, worker: str) -> None:
        """Say that this worker lives. Raises WorkerLeftOut: others have its jobs, or the portal is a newer one."""
        with self._tables.asked() as ask:
            self._check(ask)
            if not ask("UPDATE vivavoce.workers SET seen_at = now() WHERE id = :id", id=worker).rowcount:
                raise WorkerLeftOut(
                    f"This worker was not heard of for {SILENT_S} s, and others have its jobs.", "Start it again."
                )

    def leave(self, worker: str) -> None:
        """Strike off a worker that ends: what it still has in hand is taken over at once."""
        with self._tables.asked() as ask:
            ask("DELETE FROM vivavoce.workers WHERE id = :id", id=worker)

    @contextmanager
    def without_the_dead(self) -> Iterator[set[str]]:
        """Who is alive, after the silent ones were struck off. Nobody joins, and nobody else comes here, meanwhile."""
        with self._tables.asked() as ask:
            # Written down before their jobs are given away: who was only slow finds out by its next beat.
            ask("DELETE FROM vivavoce.workers WHERE seen_at < now() - make_interval(secs => :s)", s=SILENT_S)
        with self._tables.asked(alone=True) as ask:
            yield {row.id for row in ask("SELECT id FROM vivavoce.workers")}

    def close(self) -> None:
        """Let go of the database; more than once does no harm."""
        self._tables.close()

    def _check(self, ask: Ask) -> None:
        """Raises WorkerLeftOut: this process has another folder, or other code, than the portal."""
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
    """A Postgres as the portal opens it: it leads the fleet there. Raises DatabaseTaken besides."""

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
    """Eight digits that are others after any change of our Python files. Jobs come out the same with the same code."""
    digest = hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:8]
