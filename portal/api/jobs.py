"""HTTP routes for jobs: show, cancel, retry, forget."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request

from avatars.library import AvatarLibrary
from portal.api.owners import seen_jobs
from portal.api.schemas import JobView, job_view
from portal.http.error_route import ErrorRoute
from portal.http.people import Person, Role, person_of
from portal.http.proxies import address_of
from portal.jobs.queue import JobQueue, may_do_better
from portal.jobs.records import CLIP, KINDS, Job
from portal.jobs.shares import JobShares
from portal.owners import require_seen

__all__ = ["job_views", "jobs_router", "view_of"]


def view_of(queue: JobQueue, job: Job) -> JobView:
    """Return a job as the page and the API show it, including whether it can be run again."""
    gone = queue.missing_input(job)  # called only once, because it looks for files
    return job_view(job, retryable=not gone and may_do_better(job), gone=gone)


def job_views(
    person: Person, library: AvatarLibrary, queue: JobQueue, limit: int, kind: str | None = None
) -> list[JobView]:
    """Return the jobs that the person may see, newest first, at most `limit`. kind: only jobs of this kind."""
    # The limit is applied after other people's jobs are left out. Otherwise theirs could push ours off the list.
    jobs = queue.list(limit=limit if person.role is Role.ADMIN else None, kind=kind)
    return [view_of(queue, job) for job in seen_jobs(person, library, jobs)[:limit]]


def jobs_router(queue: JobQueue, shares: JobShares, library: AvatarLibrary) -> APIRouter:
    """Return the routes for jobs of all kinds: show, run again, cancel and forget them."""
    router = APIRouter(prefix="/api/jobs", tags=["jobs"], route_class=ErrorRoute)

    view = partial(view_of, queue)

    @router.get("")
    def list_jobs(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        kind: Annotated[str | None, Query(pattern=f"^({'|'.join(KINDS)})$")] = None,
    ) -> list[JobView]:
        """List jobs, newest first. If people log in here, only those that you may see."""
        return job_views(person_of(request.scope), library, queue, limit, kind)

    @router.get("/{job_id}")
    def show_job(job_id: str) -> JobView:
        return view(queue.get(job_id))

    @router.post("/{job_id}/retry", status_code=202)
    def retry_job(job_id: str, request: Request) -> JobView:
        """Run a failed or cancelled job again from its first step. A clip's owner must still see its avatar."""
        job, person = queue.get(job_id), person_of(request.scope)
        if job.kind == CLIP:
            require_seen(library, person if job.owner == person.name else Person(job.owner, Role.MAKER), job.avatar)
        return view(shares.asked_by(request.scope, partial(queue.retry, job_id, address_of(request.scope))))

    @router.delete("/{job_id}")
    def end_job(job_id: str) -> JobView:
        """Cancel a job that waits or runs, or delete one that has ended, with its clip. Returns the job."""
        job = queue.get(job_id)
        if job.active:
            return view(queue.cancel(job_id))
        queue.delete(job_id)
        return view(job)

    return router
