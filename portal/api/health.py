"""Is it well? For load balancers, monitors and people."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, Response

from avatars.library import AvatarLibrary
from portal.api.schemas import HealthView, SessionCounts
from portal.http.errors import ErrorRoute
from portal.jobs.queue import JobQueue
from portal.sessions import SessionManager

__all__ = ["find_trouble", "health_router"]

LITTLE_BYTES = 100 * 2**20
WORKER_COMES_S = 60.0
"A job that has waited for longer while none ran waits for a worker that does not come."


def health_router(
    sessions: SessionManager,
    library: AvatarLibrary,
    queue: JobQueue,
    *,
    version: str,
    trouble: Callable[[], list[str]] = list,
) -> APIRouter:
    """trouble: what is wrong now although people can talk; see find_trouble()."""
    router = APIRouter(tags=["health"], route_class=ErrorRoute)

    @router.get("/healthz")
    def health(response: Response) -> HealthView:
        """With status 503 when nobody can talk, because there is no avatar; else with 200."""
        choice, avatars, found = sessions.choice, len(library.list()), trouble()
        if not avatars:
            response.status_code = 503
        return HealthView(
            status="down" if not avatars else "degraded" if found else "ok",
            version=version,
            sessions=SessionCounts(live=sessions.admission.taken, capacity=sessions.admission.capacity),
            jobs=_counts(queue),
            avatars=avatars,
            backends={"llm": choice.llm, "tts": choice.tts, "lipsync": choice.lipsync},
            problems=([] if avatars else ["There is no avatar yet, so nobody can talk."]) + found,
        )

    return router


def find_trouble(
    data_dir: Path, queue: JobQueue, worker: str = "", clock_s: Callable[[], float] = time.time
) -> list[str]:
    """What is wrong with the data folder and with the work on jobs. worker: why its process does not run.

    clock_s: seconds since the epoch.
    """
    found = []
    free_bytes = shutil.disk_usage(data_dir).free
    if free_bytes < LITTLE_BYTES:
        found.append(f"The disk of the data folder is full: {free_bytes // 2**20} MB are left.")
    if not os.access(data_dir, os.W_OK):
        found.append("The data folder cannot be written to.")
    if worker:
        found.append(worker)
    elif _nobody_works(queue, clock_s()):
        found.append("Jobs wait, and no worker runs them.")
    return found


def _counts(queue: JobQueue) -> dict[str, int]:
    """How many jobs wait and run."""
    active = queue.active()
    running = sum(job.state == "running" for job in active)
    return {"queued": len(active) - running, "running": running}


def _nobody_works(queue: JobQueue, now_s: float) -> bool:
    active = queue.active()
    if not active or any(job.state == "running" for job in active):
        return False
    return now_s - min(job.created_at for job in active) > WORKER_COMES_S
