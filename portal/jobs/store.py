"""Where jobs are kept, and where a worker gets them from: what the queue asks of either, whatever database it is.

`dbos_store.py` and `dbos_source.py` are the implementations that are used (DBOS, on SQLite or Postgres). Another one
is a file beside them and a line in `opening.py`; `tests/portal/test_jobs_store.py` is the contract that it has to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import BadRequest
from portal.jobs.records import Job, JobFailure, JobInputs, JobOrder

__all__ = ["JobSource", "JobStore", "TakenJob", "being_made"]


def being_made(avatar: str) -> BadRequest:
    return BadRequest(f"An avatar {avatar!r} is being made.", "Wait for it, or choose another id.", cause="id")


class JobStore(Protocol):
    """Records of jobs and the line in which they wait. It knows nothing of their files: those are the queue's.

    Thread-safe. Calls block for milliseconds: make them from a thread, not on the event loop. The portal and the worker
    have an object each, in two processes, and see the same jobs. Writing raises DiskFull or the database's own error
    when there is no room; all of them raise DatabaseUnreachable.
    """

    def add(self, job_id: str, order: JobOrder) -> Job:
        """Let a job wait for a worker, one kind apart from another. The order survives a restart.

        Urgent jobs come before others, then those of a lower rank, then those that were born earlier.

        If that id is there already, its job is given back and nothing changes. So it is, where the order joins others,
        with a job that another process has added for the same kind, avatar and backend at the same moment.

        Raises BadRequest: it would make an avatar that another job under way makes.
        """

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""

    def those(self, ids: Collection[str]) -> Sequence[Job]:
        """The jobs of these ids that are there, in the order of list()."""

    def list(self, *, limit: int | None = None, kind: str | None = None, active: bool = False) -> list[Job]:
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
    """Where a worker process gets its jobs from. It asks for one, and has it to its end."""

    def serve(self, kinds: Mapping[str, Callable[[TakenJob], object]]) -> None:
        """From now on have waiting jobs done in threads, one at a time of each kind; returns at once.

        What the callable gives is the result of the job. Jobs that a killed worker had in hand are taken up first, each
        at the step in which it was; one that takes its worker down every time ends as failed. Raises DiskFull,
        DatabaseUnreachable, WorkerLeftOut.
        """

    def leave(self) -> None:
        """Tell other workers, where there are some, that this one ends: they take up what it has in hand at once."""
