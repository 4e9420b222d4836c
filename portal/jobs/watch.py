"""Finds jobs that block their worker: cancelled ones that do not stop, and ones without progress for a long time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from portal.jobs.queue import JobQueue
from portal.jobs.records import Job, JobFailure

__all__ = ["CANCEL_GRACE_S", "JobWatch"]

CANCEL_GRACE_S = 5.0
"How long a cancelled job may stay in hand. A running step notices within a second, unless it hangs."


class JobWatch:
    """Watches the jobs of one worker process. Its methods block for milliseconds.

    silence_s: how long a job may go without progress. in_hand: returns the worker's jobs in the form of
    JobQueue.in_hand(); by default, all jobs that any worker has.
    """

    def __init__(
        self,
        queue: JobQueue,
        silence_s: float,
        in_hand: Callable[[], Iterable[tuple[str, Job | None]]] | None = None,
    ) -> None:
        self._queue = queue
        self._in_hand = in_hand or queue.in_hand
        self._silence_s = silence_s
        self._seen: dict[str, tuple[object, float]] = {}
        "job id -> (its last report, when that was first seen); the report is None if the job is no longer wanted"
        self._overdue: set[str] = set()

    def begin(self) -> None:
        """Clean up after a worker that is gone, before the next one starts."""
        self._seen.clear()
        self._overdue = {job_id for job_id, job in self._in_hand() if job is None or not job.active}
        self.end()

    def overdue(self, now_s: float) -> bool:
        """Whether the worker has to be ended because of one of its jobs. now_s: by any monotonic clock."""
        seen: dict[str, tuple[object, float]] = {}
        for job_id, job in self._in_hand():
            report = (job.reported_at, job.step) if job is not None and job.active else None
            before = self._seen.get(job_id)
            since_s = before[1] if before is not None and before[0] == report else now_s
            seen[job_id] = (report, since_s)
            if now_s - since_s >= (CANCEL_GRACE_S if report is None else self._silence_s):
                self._overdue.add(job_id)
        self._seen = seen
        return bool(self._overdue)

    def end(self) -> None:
        """End the overdue jobs, after their worker is gone: as failed, or as cancelled if they were cancelled."""
        for job_id in self._overdue:
            self._queue.give_up(
                job_id,
                JobFailure(
                    "job_stuck",
                    f"The job reported no progress for {self._silence_s / 60:.0f} minutes and was stopped.",
                    "Try again; if it stays so, use another file. The operator can raise job_silence_s.",
                ),
            )
        self._overdue.clear()
