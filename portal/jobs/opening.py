"""Opens the queue and the source of jobs. This is the only place that names their implementations."""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path

from portal.errors import WorkerLeftOut
from portal.jobs.askers import Askers, FileAskers
from portal.jobs.dbos_database import JobDatabase, PostgresDatabase, SqliteDatabase
from portal.jobs.dbos_source import DbosSource
from portal.jobs.dbos_store import DbosStore
from portal.jobs.fleet import Fleet, PortalDatabase
from portal.jobs.queue import JobQueue
from portal.jobs.records import JobFolders
from portal.jobs.shared_askers import SharedAskers
from portal.jobs.shared_source import SharedSource
from portal.jobs.store import JobSource

__all__ = ["open_queue", "open_source"]


def open_queue(
    data_dir: Path,
    avatars: Container[str],
    *,
    folders: JobFolders | None = None,
    database_url: str = "",
    worker: str = "",
    max_waiting: int = 50,
    keep_free_bytes: int = 0,
) -> JobQueue:
    """Return the queue of a data folder. This is cheap: it connects to the database at its first use.

    folders: the jobs' files; by default in the data folder alone.
    database_url: a Postgres; empty for SQLite in the data folder.
    worker: name of the worker process that uses the queue; empty for the portal.

    For the other arguments see JobQueue.
    """
    folders = folders or JobFolders(data_dir)
    database: JobDatabase
    askers: Askers = FileAskers(data_dir)
    if not database_url:
        database = SqliteDatabase(data_dir)
    else:
        askers = SharedAskers(PostgresDatabase(database_url), FileAskers(data_dir))
        database = PostgresDatabase(database_url, is_patient=True) if worker else PortalDatabase(database_url, folders)
    return JobQueue(
        DbosStore(database, worker),
        folders,
        avatars,
        askers=askers,
        max_waiting=max_waiting,
        keep_free_bytes=keep_free_bytes,
    )


def open_source(
    folders: JobFolders, database_url: str, worker: str, on_end: Callable[[WorkerLeftOut], None]
) -> JobSource:
    """Return the source of jobs for a worker. on_end: see SharedSource; on SQLite it is never called."""
    if not database_url:
        return DbosSource(SqliteDatabase(folders.data_dir), worker)
    database = PostgresDatabase(database_url, is_patient=True)
    return SharedSource(DbosSource(database, worker), Fleet(database, folders), worker, on_end)
