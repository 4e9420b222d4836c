"""Which jobs hold their worker up: cancelled but still in hand after a while, or without any progress for long."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from portal.jobs.queue import JobQueue
from portal.jobs.records import Job, JobFailure

__all__ = ["CANCEL_GRACE_S", "JobWatch"]

CANCEL_GRACE_S = 5.0
"A running step notices that it is cancelled within a second, unless it hangs."


class JobWatch:
    """Looks at the jobs of one worker process. Its methods block for milliseconds.

    in_hand: the jobs that this worker has, as JobQueue.in_hand() gives them; without it, all that anybody has.
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
        "the last report of each job in hand, and when it was first seen; None for a job that nobody wants any more"
        self._overdue: set[str] = set()

    def begin(self) -> None:
        """Tidy up after a worker that is gone, before there is another one."""
        self._seen.clear()
        self._overdue = {job_id for job_id, job in self._in_hand() if job is None or not job.active}
        self.end()

    def overdue(self, now_s: float) -> bool:
        """Whether the worker has to be ended for one of its jobs."""
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
        """Now that their worker is gone, end the jobs that were overdue: as failed, or as cancelled if they were."""
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
