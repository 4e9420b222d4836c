"""Removes old clips automatically, if the operator has set how long they are kept."""

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
"How often old clips are looked for."


class ClipRetention:
    """Between start() and aclose(), removes clips that were made more than `keep_s` seconds ago, every ten minutes.

    now_unix_s: returns seconds since the epoch, in which jobs note their times.
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
        """Begin to look. Idempotent."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_for_ever(), name="clip-retention")

    async def aclose(self) -> None:
        """Stop looking. Idempotent."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None

    async def _look_for_ever(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.remove_old)
            except DiskFull as error:  # there may be space at the next look
                logger.warning("Old clips could not be removed: %s", error)
            await self._clock.sleep_until(self._clock.now_s() + LOOK_S)

    def remove_old(self) -> None:
        """Remove old clips, except test clips, which belong to their avatars. Raises DiskFull."""
        before_unix_s = self._now_unix_s() - self._keep_s
        for job in self._queue.list(limit=None, kind=CLIP):
            is_old = job.state == "done" and (job.finished_at or job.created_at) < before_unix_s
            if is_old and job.id != id_of_test_clip(job.avatar):
                with suppress(JobNotFound):  # somebody has just removed it
                    self._queue.delete(job.id)
