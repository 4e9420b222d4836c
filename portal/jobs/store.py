"""Where jobs are kept, and where a worker gets them from: what the queue asks of either, whatever database it is.

`dbos_store.py` is the implementation that is used (DBOS on SQLite). Another one, on Postgres for instance, is a second
file beside it and a line in `opening.py`; `tests/portal/test_jobs_store.py` is the contract that it has to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from portal.jobs.records import Job, JobFailure, JobInputs, JobOrder

__all__ = ["JobSource", "JobStore", "TakenJob"]


class JobStore(Protocol):
    """Records of jobs and the line in which they wait. It knows nothing of their files: those are the queue's.

    Thread-safe. Calls block for milliseconds: make them from a thread, not on the event loop. The portal and the worker
    have an object each, in two processes, and see the same jobs. Writing raises DiskFull or the database's own error
    when there is no room.
    """

    def add(self, job_id: str, order: JobOrder) -> Job:
        """Let a job wait for a worker, one kind apart from another. The order survives a restart.

        Urgent jobs come before others, then those of a lower rank, then those that were born earlier.

        If that id is there already, its job is given back and nothing changes. So it is, where the order joins others,
        with a job that another process has added for the same kind, avatar and backend at the same moment.
        """

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""

    def list(
        self,
        *,
        limit: int | None = None,
        kind: str | None = None,
        ids: Collection[str] | None = None,
        active: bool = False,
    ) -> list[Job]:
        """The newest first, those of one moment by id; None is all of them. active: only those that wait or run."""

    def report(self, job_id: str, step: str, progress: float) -> bool:
        """Note how far a running job is; False if it was cancelled or deleted, and so is no longer wanted."""

    def cancel(self, job_id: str) -> None:
        """End a job that waits or runs as cancelled. A worker that runs it finds out by its next report()."""

    def fail(self, job_id: str, failure: JobFailure) -> None:
        """End a job that waits or runs as failed, because its worker is gone."""

    def run_again(self, job_id: str) -> None:
        """Let a job that has ended wait again, under its id, with nothing of it done."""

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended or was cancelled. Forgetting one that is not there does nothing."""

    def close(self) -> None:
        """Let go of the database; more than once does no harm."""


@dataclass(frozen=True, slots=True)
class TakenJob:
    """A job as a worker gets it."""

    id: str
    inputs: JobInputs
    once: Callable[[str, Callable[[], object]], object]
    """once(name, step): what step() gives, as JSON. If it has ended before, perhaps in a process that was killed since,
    it is not run again: what it gave is given again. An error that it raises ends the job as failed; if the error has
    `data`, it is kept (see records.JobFailure). If the job was cancelled meanwhile, once() raises, and what it raises
    has to be let through."""


class JobSource(Protocol):
    """Where a worker process gets its jobs from. One process per data folder asks for one, and has it to its end."""

    def serve(self, kinds: Mapping[str, Callable[[TakenJob], object]]) -> None:
        """From now on have waiting jobs done in threads, one at a time of each kind; returns at once.

        What the callable gives is the result of the job. Jobs that a killed worker had in hand are taken up first, each
        at the step in which it was; one that takes its worker down every time ends as failed. Raises DiskFull.
        """
