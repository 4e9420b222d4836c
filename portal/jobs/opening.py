"""Which store of jobs this portal uses: the one place that names an implementation."""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path

from portal.errors import WorkerLeftOut
from portal.jobs.dbos_database import JobDatabase, PostgresDatabase, SqliteDatabase
from portal.jobs.dbos_source import DbosSource
from portal.jobs.dbos_store import DbosStore
from portal.jobs.fleet import Fleet, PortalDatabase
from portal.jobs.queue import JobQueue
from portal.jobs.records import JobFolders
from portal.jobs.shared_source import SharedSource
from portal.jobs.store import JobSource

__all__ = ["open_queue", "open_source"]


def open_queue(
    data_dir: Path,
    avatars: Container[str],
    *,
    database_url: str = "",
    worker: str = "",
    max_waiting: int = 50,
    keep_free_bytes: int = 0,
) -> JobQueue:
    """The queue of a data folder, on Postgres where `database_url` says so; for the other arguments see JobQueue.

    worker: name of the worker process that works with it; empty for the portal. Cheap: it connects at its first use.
    """
    database: JobDatabase
    if not database_url:
        database = SqliteDatabase(data_dir)
    elif worker:
        database = PostgresDatabase(database_url, is_patient=True)
    else:
        database = PortalDatabase(database_url, data_dir)
    return JobQueue(
        DbosStore(database, worker),
        JobFolders(data_dir),
        avatars,
        max_waiting=max_waiting,
        keep_free_bytes=keep_free_bytes,
    )


def open_source(data_dir: Path, database_url: str, worker: str, on_end: Callable[[WorkerLeftOut], None]) -> JobSource:
    """Where the worker of that name gets its jobs from. on_end: see SharedSource; on SQLite it is never called."""
    if not database_url:
        return DbosSource(SqliteDatabase(data_dir), worker)
    database = PostgresDatabase(database_url, is_patient=True)
    return SharedSource(DbosSource(database, worker), Fleet(database, data_dir), worker, on_end)
