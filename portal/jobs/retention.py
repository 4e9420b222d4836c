"""Removes clips by themselves, where the operator has set how long they may be kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from avatars.errors import DiskFull
from pipeline.clock import Clock
from portal.errors import JobNotFound
from portal.jobs.orders import id_of_test_clip
from portal.jobs.queue import JobQueue
from portal.jobs.records import CLIP

__all__ = ["ClipRetention"]

logger = logging.getLogger(__name__)

LOOK_S = 600.0


class ClipRetention:
    """Between start() and aclose(), looks every ten minutes for clips that were made longer ago than `keep_s` seconds.

    now_unix_s: the time of day, as jobs note it.
    """

    def __init__(
        self, queue: JobQueue, clock: Clock, keep_s: float, now_unix_s: Callable[[], float] = time.time
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._keep_s = keep_s
        self._now_unix_s = now_unix_s
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_for_ever(), name="clip-retention")

    async def aclose(self) -> None:
        """Idempotent."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None

    async def _look_for_ever(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.remove_old)
            except DiskFull as error:  # the next look may find room
                logger.warning("Old clips could not be removed: %s", error)
            await self._clock.sleep_until(self._clock.now_s() + LOOK_S)

    def remove_old(self) -> None:
        """An avatar's test clip is a part of the avatar, and stays. Raises DiskFull."""
        before_unix_s = self._now_unix_s() - self._keep_s
        for job in self._queue.list(limit=None, kind=CLIP):
            is_old = job.state == "done" and (job.finished_at or job.created_at) < before_unix_s
            if is_old and job.id != id_of_test_clip(job.avatar):
                with suppress(JobNotFound):  # somebody removes it just now
                    self._queue.delete(job.id)
