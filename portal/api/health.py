"""Health of the portal, for load balancers, monitors and people; and the request that stops it."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

from avatars.errors import StoreUnreachable
from avatars.library import AvatarLibrary
from portal.api.schemas import HealthView, SessionCounts
from portal.errors import DatabaseUnreachable
from portal.http.error_route import ErrorRoute
from portal.http.people import person_of
from portal.http.proxies import is_local
from portal.http.rights import NotAllowed
from portal.jobs.queue import JobQueue
from portal.jobs.records import Job
from portal.sessions import SessionManager

__all__ = ["ActiveJobs", "JobsLook", "find_trouble", "health_router", "stopping_router"]

LITTLE_BYTES = 100 * 2**20
WORKER_COMES_S = 60.0
"If a job has waited for longer than this and no job runs, there is no worker."
JOBS_WITHIN_S = 2.0
"""How long health waits for the database of jobs. A load balancer takes a node out that does not answer, so a database
that does not answer must not hold up the health check."""


@dataclass(frozen=True, slots=True)
class ActiveJobs:
    """The jobs that wait or run. trouble: why they are not known, in which case `jobs` is empty."""

    jobs: Sequence[Job]
    trouble: str = ""


class JobsLook:
    """Asks the queue which jobs wait or run, within a limited time.

    A database that does not answer blocks its caller until the network gives up. So only one thread asks at a time, and
    everybody who asks meanwhile waits for the same answer.
    """

    def __init__(self, queue: JobQueue, within_s: float = JOBS_WITHIN_S) -> None:
        self._queue = queue
        self._within_s = within_s
        self._asking: asyncio.Future[ActiveJobs] | None = None

    async def take(self) -> ActiveJobs:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(asyncio.to_thread(self._active))
        # wait() does not cancel the question at the timeout, so later callers can still get its answer.
        done, _ = await asyncio.wait((self._asking,), timeout=self._within_s)
        return self._asking.result() if done else ActiveJobs((), "The database of jobs does not answer.")

    def _active(self) -> ActiveJobs:
        try:
            return ActiveJobs(self._queue.active())
        except (DatabaseUnreachable, StoreUnreachable) as error:
            return ActiveJobs((), error.message)


def health_router(
    sessions: SessionManager,
    library: AvatarLibrary,
    queue: JobQueue,
    *,
    version: str,
    node: str = "",
    trouble: Callable[[ActiveJobs], list[str]] = lambda _active: [],
    is_stopping: Callable[[], bool] = lambda: False,
) -> APIRouter:
    """Return the route /healthz.

    node: which of several portals this is. trouble: returns what is wrong although people can talk; see find_trouble().
    is_stopping: whether the portal takes no new sessions, because it ends once the current answers have been heard.
    """
    router = APIRouter(tags=["health"], route_class=ErrorRoute)
    look = JobsLook(queue)

    @router.get("/healthz")
    async def health(response: Response) -> HealthView:
        """Report the portal's health. The status is 503 if no session can begin, and otherwise 200.

        No session can begin if there is no avatar, or if the portal is about to stop.
        """
        choice, stops = sessions.choice, is_stopping()
        # A portal that is about to end does not wait for the database.
        active = ActiveJobs(()) if stops else await look.take()
        avatars, found = len(await asyncio.to_thread(library.list)), await asyncio.to_thread(trouble, active)
        if stops or not avatars:
            response.status_code = 503
        return HealthView(
            status="stopping" if stops else "down" if not avatars else "degraded" if found else "ok",
            version=version,
            node=node,
            sessions=SessionCounts(live=sessions.admission.taken, capacity=sessions.admission.capacity),
            jobs=_counts(active.jobs),
            avatars=avatars,
            backends={"llm": choice.llm, "tts": choice.tts, "lipsync": choice.lipsync},
            problems=([] if avatars else ["There is no avatar yet, so nobody can talk."]) + found,
        )

    return router


def stopping_router(stop: Callable[[], object]) -> APIRouter:
    """Return the route /api/admin/stop.

    stop: tells the portal to end once the current answers have been heard; returns at once.
    """
    router = APIRouter(prefix="/api/admin", tags=["health"], route_class=ErrorRoute)

    @router.post("/stop", status_code=202)
    async def stop_portal(request: Request) -> None:
        """Stop the portal as SIGTERM does: take no new sessions, send viewers away after their answer, then end.

        If nobody has to log in here, only a request from the portal's own machine is allowed.
        """
        if not person_of(request.scope).logged_in and not is_local(request.scope):
            raise NotAllowed("Where nobody logs in, only the portal's machine may stop it.", "Set up a login.")
        stop()

    return router


def find_trouble(
    data_dir: Path, active: ActiveJobs, worker: str = "", clock_s: Callable[[], float] = time.time
) -> list[str]:
    """Return what is wrong with the data folder and with the work on jobs, in words for a person.

    worker: why the worker process does not run; empty if it runs. clock_s: returns seconds since the epoch.
    """
    found = []
    free_bytes = shutil.disk_usage(data_dir).free
    if free_bytes < LITTLE_BYTES:
        found.append(f"The disk of the data folder is full: {free_bytes // 2**20} MB are left.")
    if not os.access(data_dir, os.W_OK):
        found.append("The data folder cannot be written to.")
    if worker:
        found.append(worker)
        return found
    if active.trouble:
        found.append(active.trouble)
    elif _nobody_works(active.jobs, clock_s()):
        found.append("Jobs wait, and no worker runs them.")
    return found


def _counts(active: Sequence[Job]) -> dict[str, int]:
    running = sum(job.state == "running" for job in active)
    return {"queued": len(active) - running, "running": running}


def _nobody_works(active: Sequence[Job], now_s: float) -> bool:
    if not active or any(job.state == "running" for job in active):
        return False
    return now_s - min(job.created_at for job in active) > WORKER_COMES_S
