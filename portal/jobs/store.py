"""Interfaces of the store that keeps jobs and of the source that hands them to a worker, for any database.

`dbos_store.py` and `dbos_source.py` implement them with DBOS, on SQLite or Postgres. Another implementation would be a
file beside them and a line in `opening.py`; `tests/portal/test_jobs_store.py` is the contract it has to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import BadRequest
from portal.jobs.records import Job, JobFailure, JobInputs, JobOrder

__all__ = ["JobSource", "JobStore", "TakenJob", "being_made", "id_taken"]


def being_made(avatar: str) -> BadRequest:
    """Return the error for an order to make an avatar that another job is making."""
    return BadRequest(f"An avatar {avatar!r} is being made.", "Wait for it, or choose another id.", cause="id")


def id_taken(job_id: str) -> BadRequest:
    """Return the error for an order whose job was to have the id of another one."""
    return BadRequest(f"There is a job {job_id!r} already.", "Choose another id, or leave it out.")


class JobStore(Protocol):
    """Keeps the records of jobs and the lines in which they wait. The queue manages their files.

    Thread-safe. Calls block for milliseconds: make them from a thread, not on the event loop. The portal and the worker
    each have an object in their own process, and see the same jobs. Without free space on the disk, writing raises
    DiskFull or the database's own error. All methods raise DatabaseUnreachable.
    """

    def add(self, job_id: str, order: JobOrder) -> Job:
        """Queue a job for a worker, in the line of its kind (see records.line_of). It survives a restart.

        Urgent jobs come first, then those of a lower rank, then those that were added earlier.

        If there is a job with this id already, it is returned and nothing changes. The same happens if the order may
        join others, and another process has added a job of the same kind, avatar and backend at the same moment.

        Raises BadRequest: another job under way makes the same avatar; or the order has an upload, which belongs to one
        job alone, and there is a job with this id. Of several processes that add one at the same moment, one succeeds.
        """

    def get(self, job_id: str) -> Job:
        """Return a job. Raises JobNotFound."""

    def get_many(self, ids: Collection[str]) -> Sequence[Job]:
        """Return the existing jobs among these ids, in the order of list()."""

    def list(self, *, limit: int | None = None, kind: str | None = None, active: bool = False) -> list[Job]:
        """Return jobs, the newest first, those of the same moment by id.

        limit: at most this many; None for all. active: only those that wait or run.
        """

    def report(self, job_id: str, step: str, progress: float) -> bool:
        """Note the progress of a running job. Return False if it was cancelled or deleted, and has to stop."""

    def cancel(self, job_id: str) -> None:
        """End a job that waits or runs as cancelled. A worker that runs it finds out at its next report()."""

    def fail(self, job_id: str, failure: JobFailure) -> None:
        """End a job that waits or runs as failed, because its worker is gone."""

    def run_again(self, job_id: str) -> None:
        """Queue a job that has ended again, under its id, from its first step."""

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended or was cancelled. No effect if there is no such job."""

    def close(self) -> None:
        """Close the connections to the database. Idempotent."""


@dataclass(frozen=True, slots=True)
class TakenJob:
    """A job as a worker gets it."""

    id: str
    inputs: JobInputs
    once: Callable[[str, Callable[[], object]], object]
    """once(name, step) runs step() and returns its result, as JSON. If that step has finished before, perhaps in a
    process that was killed since, it is not run again, and its earlier result is returned. An error that step() raises
    ends the job as failed; the error's `data`, if it has any, is kept (see records.JobFailure). If the job was
    cancelled meanwhile, once() raises an exception that must not be caught."""


class JobSource(Protocol):
    """Hands jobs to a worker process, which keeps each one until it ends."""

    def serve(self, kinds: Mapping[str, Callable[[TakenJob], object]]) -> None:
        """Begin to run waiting jobs in threads, one at a time in each line (see records.line_of). Returns at once.

        kinds: kind -> function that runs a job and returns its result. Jobs of a killed worker come first, each going
        on at the step it was in. A job that kills its worker every time ends as failed.

        Raises DiskFull, DatabaseUnreachable, WorkerLeftOut.
        """

    def leave(self) -> None:
        """Tell other workers, if there are any, that this one ends, so that they take over its jobs at once."""
