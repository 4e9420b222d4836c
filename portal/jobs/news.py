"""Reports changes in the state of jobs. Another process runs them, so the database is polled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pipeline.clock import Clock
from portal.errors import JobNotFound
from portal.jobs.queue import JobQueue
from portal.jobs.records import Job

__all__ = ["JobNews"]

logger = logging.getLogger(__name__)

LOOK_S: Final = 2.0
"""How often the jobs are looked at."""
LOOKED_AT: Final = 50
"""How many of the newest jobs are looked at, in addition to all that wait or run now or did at the last look."""

State = tuple[str, float | None]
"""State of a job, and when it finished. The time shows that a job was retried and ended again between two looks."""


class JobNews:
    """Calls `told`, on the event loop, with each job whose state has changed since the last look.

    Changes from before the start are not reported.
    """

    def __init__(self, queue: JobQueue, clock: Clock, told: Callable[[Job], None]) -> None:
        self._queue = queue
        self._clock = clock
        self._told = told
        self._states: dict[str, State] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look. Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._look_for_ever(), name="job-news")

    async def aclose(self) -> None:
        """Look one last time and stop. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._look()

    async def _look_for_ever(self) -> None:
        while True:
            await self._look()
            await self._clock.sleep_until(self._clock.now_s() + LOOK_S)

    async def _look(self) -> None:
        try:
            jobs = await asyncio.to_thread(self._jobs)
        except Exception as error:  # noqa: BLE001 - a locked database passes; the next look will work
            logger.debug("The jobs cannot be looked at: %s", error)
            return
        before, self._states = self._states, {job.id: (job.state, job.finished_at) for job in jobs}
        if before is None:
            return
        for job in reversed(jobs):
            if before.get(job.id) != self._states[job.id]:
                self._told(job)

    def _jobs(self) -> list[Job]:
        """Return the jobs to look at, the newest first."""
        found = {job.id: job for job in (*self._queue.list(limit=LOOKED_AT), *self._queue.active())}
        for job_id, (state, _finished_at) in (self._states or {}).items():
            if job_id not in found and state in ("queued", "running"):
                with suppress(JobNotFound):
                    found[job_id] = self._queue.get(job_id)
        return [*found.values()]
