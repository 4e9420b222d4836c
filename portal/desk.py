"""The half of the portal without sessions: avatars, clips, and the jobs that make them. It also works on its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter

from avatars.library import AvatarLibrary
from pipeline.clock import Clock, SystemClock
from portal.api.avatars import avatars_router
from portal.api.clips import clips_router
from portal.api.export import export_router
from portal.api.gestures import gestures_router
from portal.api.health import ActiveJobs, find_trouble
from portal.api.jobs import jobs_router
from portal.api.orders import Orders
from portal.api.tools import Tools
from portal.api.voice_samples import voice_samples_router
from portal.intake.parked import ParkedUploads
from portal.intake.submissions import ensure_parts
from portal.intake.uploads import Uploads
from portal.jobs.opening import open_queue
from portal.jobs.queue import JobQueue
from portal.jobs.records import Job
from portal.jobs.retention import ClipRetention
from portal.jobs.shares import JobShares, viewer_key
from portal.settings import Settings
from portal.storage import Storage
from portal.worker.process import WorkerProcess

__all__ = ["Desk"]


@dataclass(frozen=True)
class Desk:
    """Everything for avatars, clips and jobs. build() starts no task; running() starts and ends it."""

    settings: Settings
    library: AvatarLibrary
    queue: JobQueue
    worker: WorkerProcess
    uploads: Uploads
    shares: JobShares
    storage: Storage

    @classmethod
    def build(cls, settings: Settings) -> Desk:
        """Open the database of jobs; start nothing. Raises what open_queue() raises."""
        storage = Storage.of(settings)
        storage.compare_users(settings.users_path)
        library = storage.library
        queue = open_queue(
            settings.data_dir,
            library,
            folders=storage.folders,
            database_url=settings.database_url.get_secret_value(),
            keep_free_bytes=settings.keep_free_bytes,
        )
        uploads, shares = (
            Uploads(settings.data_dir, settings.keep_free_bytes),
            JobShares(queue.active_askers, settings.jobs_per_address),
        )
        return cls(settings, library, queue, WorkerProcess(settings, queue), uploads, shares, storage)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything; at the end of the block, close in reverse order."""
        async with AsyncExitStack() as stack:
            stack.callback(self.queue.close)
            stack.callback(self.storage.close)
            await asyncio.to_thread(self.storage.start)
            if self.settings.clips_keep_s:
                retention = ClipRetention(self.queue, SystemClock(), self.settings.clips_keep_s)
                await retention.start()
                stack.push_async_callback(retention.aclose)
            if self.settings.worker:
                await self.worker.start()
                stack.push_async_callback(self.worker.aclose)
            yield

    def routers(self) -> list[APIRouter]:
        """Return the routers of its part of the API."""
        return [
            avatars_router(self.library, self.queue, self.settings, self.uploads, self.shares),
            export_router(self.library, self.queue),
            gestures_router(self.library, self.queue, self.settings, self.uploads, self.shares),
            voice_samples_router(self.library, self.queue, self.settings, self.uploads, self.shares),
            clips_router(self.library, self.queue, self.settings, self.uploads, self.shares),
            jobs_router(self.queue, self.shares, self.library),
        ]

    def tools(self, clock: Clock) -> Tools:
        """Return the calls that programs may make by protocols other than our API (Gradio's, and MCP)."""
        orders = Orders(self.library, self.queue, self.uploads, self.shares)
        return Tools(orders, ParkedUploads(clock), self.queue.folders.reports, clock)

    def prepare_for(self, avatar: str, backend: str, address: str = "") -> Job:
        """Queue a job that prepares an avatar for a lip-sync backend, or return the one that is under way.

        address: the viewer's whose session needs it; "" for the portal's own needs, which have no limit. Blocks for
        milliseconds. Raises what portal.intake.submissions.submit_parts raises, and QueueFull for a viewer.
        """
        ensure = partial(ensure_parts, self.library, self.queue, self.settings, avatar=avatar, backend=backend)
        if not address:
            return ensure()
        return ensure(asker=viewer_key(address), check=partial(self.shares.admit_viewer, address))

    def find_trouble(self, active: ActiveJobs) -> list[str]:
        """Return what is wrong now with the data folder and the work on jobs, in sentences for the operator."""
        return [
            *self.storage.troubles,
            *find_trouble(self.settings.data_dir, active, self.worker.trouble),
        ]
