"""Four tools for programs: list avatars, make one, make a clip, list jobs. Each is one call that ends with its result.

They stand behind Gradio's protocol (`portal/ui/gradio_api.py`). Work is done by the same jobs as for the routes, with
the same limits. A caller that goes away leaves its job running: the list of jobs shows what became of it.
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
"As many as dear reads of the API. They are made in threads, which take from the event loop what they use."
LOOK_S = 0.5
"Between two looks at a job."

Report = Callable[[float, str], Awaitable[None]]
"Called with how far a job is (0..1) and the name of its step, which is empty while the job waits."


@dataclass(frozen=True, slots=True)
class Tools:
    """`scope` is that of the request that asks; its sender's role decides what it may do."""

    orders: Orders
    parked: ParkedUploads
    reports: FaceReports
    clock: Clock
    turns: Turns = field(default_factory=Turns)
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LISTS_AT_A_TIME))

    async def list_avatars(self, scope: Scope) -> list[AvatarView]:
        """Those that the sender may see, the oldest first."""
        orders = self.orders
        return await self._listed(scope, avatar_views, person_of(scope), orders.library, orders.queue, self.reports)

    async def prepare_avatar(self, scope: Scope, upload: str, wish: UploadForm, report: Report) -> AvatarView:
        """Make an avatar of a parked upload. Raises NotAllowed, BadRequest, JobUnfinished, and as Orders.avatar()."""
        require(person_of(scope), Role.MAKER)
        path, file_name = self.parked.take(upload)
        job = await self._ended(await self.orders.avatar(scope, path, file_name, wish), report)
        views = await self.list_avatars(scope)
        for view in views:
            if view.id == job.avatar:
                return view
        raise JobUnfinished("The avatar was made, and has been deleted since.", "Upload the picture once more.")

    async def render_clip(self, scope: Scope, wish: ClipRequest, report: Report) -> Job:
        """Make a clip; gives its job, which is done. Raises NotAllowed, JobUnfinished, and as Orders.clip()."""
        require(person_of(scope), Role.MAKER)
        return await self._ended(await self.orders.clip(scope, wish), report)

    async def list_jobs(self, scope: Scope, limit: int) -> list[JobView]:
        """Those that the sender may see, the newest first, `limit` at most."""
        return await self._listed(scope, job_views, person_of(scope), self.orders.library, self.orders.queue, limit)

    async def _listed(self, scope: Scope, views: Callable[P, Listed], *arguments: P.args, **named: P.kwargs) -> Listed:
        """One list at a time for each address: whoever asks for many waits for himself."""
        async with self.turns.of(address_of(scope)), self.places:
            return await asyncio.to_thread(views, *arguments, **named)

    async def _ended(self, job: Job, report: Report) -> Job:
        """The job once it is done. Raises JobUnfinished, JobNotFound (it was removed meanwhile)."""
        while job.active:
            await report(job.progress, job.step)
            await self.clock.sleep_until(self.clock.now_s() + LOOK_S)
            job = await asyncio.to_thread(self.orders.queue.get, job.id)
        if job.error is not None:
            raise JobUnfinished(job.error.message, job.error.hint, cause=job.error.cause)
        if job.state != "done":
            raise JobUnfinished("The job was cancelled.", "Ask for it again.")
        return job
