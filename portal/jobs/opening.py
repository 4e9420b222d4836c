"""Which store of jobs this portal uses: the one place that names an implementation."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from portal.jobs.dbos_store import DbosSource, DbosStore
from portal.jobs.queue import JobQueue
from portal.jobs.records import JobFolders
from portal.jobs.store import JobSource

__all__ = ["open_queue", "open_source"]


def open_queue(data_dir: Path, avatars: Container[str], *, max_waiting: int = 50, keep_free_bytes: int = 0) -> JobQueue:
    """The queue of a data folder; for the other arguments see JobQueue. Cheap: it connects at its first use."""
    return JobQueue(
        DbosStore(data_dir),
        JobFolders(data_dir),
        avatars,
        max_waiting=max_waiting,
        keep_free_bytes=keep_free_bytes,
    )


def open_source(data_dir: Path) -> JobSource:
    """Where the worker of a data folder gets its jobs from."""
    return DbosSource(data_dir)
