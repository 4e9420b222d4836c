"""Four tools for programs: list avatars, make one, make a clip, list jobs. Each is one call that returns its result.

They are served by Gradio's protocol (`portal/ui/gradio_api.py`). They queue the same jobs as the HTTP routes do, with
the same limits. If a caller disconnects, its job continues, and the list of jobs shows its result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, ParamSpec, TypeVar

from starlette.types import Scope

from pipeline.clock import Clock
from portal.api.avatars import avatar_views
from portal.api.jobs import job_views
from portal.api.orders import Orders
from portal.api.schemas import AvatarView, ClipRequest, JobView, UploadForm
from portal.errors import JobUnfinished
from portal.http.limits import Turns
from portal.http.people import Role, person_of
from portal.http.proxies import address_of
from portal.http.rights import require
from portal.intake.parked import ParkedUploads
from portal.jobs.face_reports import FaceReports
from portal.jobs.records import Job

__all__ = ["Report", "Tools"]

P = ParamSpec("P")
Listed = TypeVar("Listed")
LISTS_AT_A_TIME: Final = 2
"""How many lists are made at a time: as many as costly reads (portal/http/costly_reads.py). They are made in
threads, which take CPU time from the event loop."""
LOOK_S = 0.5
"Time between two looks at a job."

Report = Callable[[float, str], Awaitable[None]]
"Called with a job's progress (0..1) and the name of its step, which is empty while the job waits."


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools. In each method `scope` is that of the request; its sender's role decides what is allowed."""

    orders: Orders
    parked: ParkedUploads
    reports: FaceReports
    clock: Clock
    turns: Turns = field(default_factory=Turns)
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LISTS_AT_A_TIME))

    async def list_avatars(self, scope: Scope) -> list[AvatarView]:
        """Return the avatars that the sender may see, oldest first."""
        orders = self.orders
        return await self._make_list(scope, avatar_views, person_of(scope), orders.library, orders.queue, self.reports)

    async def prepare_avatar(self, scope: Scope, upload: str, wish: UploadForm, report: Report) -> AvatarView:
        """Make an avatar from a parked upload, and return it. report: told the progress of its job.

        Raises NotAllowed, BadRequest, JobUnfinished, and the errors of Orders.avatar().
        """
        require(person_of(scope), Role.MAKER)
        path, file_name = self.parked.take(upload)
        job = await self._ended(await self.orders.avatar(scope, path, file_name, wish), report)
        views = await self.list_avatars(scope)
        for view in views:
            if view.id == job.avatar:
                return view
        raise JobUnfinished("The avatar was made, and has been deleted since.", "Upload the picture once more.")

    async def render_clip(self, scope: Scope, wish: ClipRequest, report: Report) -> Job:
        """Make a clip, and return its finished job. report: told the progress of the job.

        Raises NotAllowed, JobUnfinished, and the errors of Orders.clip().
        """
        require(person_of(scope), Role.MAKER)
        return await self._ended(await self.orders.clip(scope, wish), report)

    async def list_jobs(self, scope: Scope, limit: int) -> list[JobView]:
        """Return the jobs that the sender may see, newest first, at most `limit`."""
        return await self._make_list(scope, job_views, person_of(scope), self.orders.library, self.orders.queue, limit)

    async def _make_list(
        self, scope: Scope, views: Callable[P, Listed], *arguments: P.args, **named: P.kwargs
    ) -> Listed:
        """Make a list in a thread, one at a time per address, so that many requests delay only their own address."""
        async with self.turns.of(address_of(scope)), self.places:
            return await asyncio.to_thread(views, *arguments, **named)

    async def _ended(self, job: Job, report: Report) -> Job:
        """Wait for a job and return it once it is done. Raises JobUnfinished, JobNotFound (removed meanwhile)."""
        while job.active:
            await report(job.progress, job.step)
            await self.clock.sleep_until(self.clock.now_s() + LOOK_S)
            job = await asyncio.to_thread(self.orders.queue.get, job.id)
        if job.error is not None:
            raise JobUnfinished(job.error.message, job.error.hint, cause=job.error.cause)
        if job.state != "done":
            raise JobUnfinished("The job was cancelled.", "Ask for it again.")
        return job
