"""Erases an avatar with everything that was made from the person in it: one call, for who takes their consent back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from avatars.library import AvatarLibrary
from pipeline.transports.loops import LoopCache
from portal.errors import JobNotFound
from portal.jobs.face_reports import FaceReports
from portal.jobs.queue import JobQueue
from portal.recordings import Recordings
from portal.sessions import SessionManager

__all__ = ["Erased", "Erasure"]


@dataclass(frozen=True, slots=True)
class Erased:
    """How much there was beside the avatar."""

    jobs: int
    "with their clips and uploads"
    recordings: int
    sessions: int
    "that showed it, and were ended"


@dataclass(frozen=True, slots=True)
class Erasure:
    """Knows everything that keeps something of an avatar."""

    library: AvatarLibrary
    queue: JobQueue
    sessions: SessionManager
    loops: LoopCache
    recordings: Recordings

    async def erase(self, avatar_id: str) -> Erased:
        """Remove an avatar, its jobs and clips, recordings of it, and what sessions hold of it in memory.

        The avatar goes first: nothing new can be made from it then. Clips and recordings are erased whoever owns them.
        Raises AvatarNotFound, DiskFull.
        """
        await asyncio.to_thread(self.library.delete, avatar_id)
        sessions = await self.sessions.close_all_of(avatar_id)
        self.loops.forget(avatar_id)
        recordings = await self.recordings.erase_all_of(avatar_id)
        jobs = await asyncio.to_thread(self._erase_jobs, avatar_id)
        return Erased(jobs, recordings, sessions)

    def _erase_jobs(self, avatar_id: str) -> int:
        FaceReports(self.queue.folders.data_dir).delete(avatar_id)
        erased = 0
        for job in self.queue.list(limit=None):
            if job.avatar == avatar_id:
                with suppress(JobNotFound):  # somebody else removes it just now
                    self.queue.delete(job.id)
                    erased += 1
        return erased
