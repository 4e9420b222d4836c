"""A JobStore in memory, for tests of the queue that do not depend on its database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from portal.errors import JobNotFound
from portal.jobs.records import PREPARE, Job, JobFailure, JobOrder, Joins
from portal.jobs.store import being_made, id_taken

__all__ = ["MemoryStore"]


@dataclass
class MemoryStore:
    """Fulfils the contract in tests/portal/test_jobs_store.py. The test plays the worker; see take()."""

    clock_s: Callable[[], float] = time.time
    _jobs: dict[str, Job] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, job_id: str, order: JobOrder) -> Job:
        job = Job(
            id=job_id,
            kind=order.kind,
            name=order.name,
            state="queued",
            step="",
            progress=0.0,
            avatar=order.avatar,
            backend=order.backend,
            parameters=order.parameters,
            speaker=order.speaker,
            uploaded=order.upload is not None,
            error=None,
            result=None,
            created_at=self.clock_s(),
            started_at=None,
            finished_at=None,
            rank=order.rank,
            speech_s=order.speech_s,
            is_long=order.is_long,
            owner=order.owner,
            notify=order.notify,
            format=order.format,
        )
        with self._lock:
            if job_id in self._jobs and order.upload is not None:
                raise id_taken(job_id)
            if job_id not in self._jobs and order.kind == PREPARE and order.joins is Joins.NOTHING:
                makers = (one for one in self._jobs.values() if (one.kind, one.avatar) == (PREPARE, order.avatar))
                if any(one.active for one in makers):
                    raise being_made(order.avatar)
            return self._jobs.setdefault(job_id, job)

    def get(self, job_id: str) -> Job:
        with self._lock:
            if job_id not in self._jobs:
                raise JobNotFound(f"There is no job {job_id!r}.", "See the list of jobs.")
            return self._jobs[job_id]

    def get_many(self, ids: Collection[str]) -> Sequence[Job]:
        return [job for job in self.list() if job.id in ids]

    def list(self, *, limit: int | None = None, kind: str | None = None, active: bool = False) -> list[Job]:
        with self._lock:
            found = [
                job for job in self._jobs.values() if (kind is None or job.kind == kind) and (job.active or not active)
            ]
        return sorted(found, key=lambda job: (job.created_at, job.id), reverse=True)[:limit]

    def report(self, job_id: str, step: str, progress: float) -> bool:
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None or job.state == "cancelled":
            return False
        self._change(job_id, step=step, progress=progress, reported_at=self.clock_s())
        return True

    def cancel(self, job_id: str) -> None:
        self._change(job_id, state="cancelled", finished_at=self.clock_s())

    def fail(self, job_id: str, failure: JobFailure) -> None:
        self._change(job_id, state="failed", error=failure, finished_at=self.clock_s())

    def run_again(self, job_id: str) -> None:
        self._change(job_id, state="queued", step="", progress=0.0, error=None, started_at=None, finished_at=None)

    def delete(self, job_id: str) -> None:
        with self._lock:
            self._jobs.pop(job_id, None)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def take(self, job_id: str) -> None:
        """Change the job as a worker does when it begins it."""
        self._change(job_id, state="running", started_at=self.clock_s())

    def finish(self, job_id: str, result: Mapping[str, object]) -> None:
        """Change the job as a worker does when it finishes it."""
        self._change(job_id, state="done", progress=1.0, result=result, finished_at=self.clock_s())

    def _change(self, job_id: str, **changes: Any) -> None:
        with self._lock:
            self._jobs[job_id] = replace(self._jobs[job_id], **changes)
