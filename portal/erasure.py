"""Erases an avatar with everything that was made from the person in it: one call, for who takes their consent back."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from avatars.disk import disk_full_explained
from avatars.errors import AvatarNotFound
from avatars.library import AvatarLibrary
from models.errors import VivavoceError
from portal.avatar_memory import AvatarMemory
from portal.errors import ErasureUnfinished, JobNotFound
from portal.jobs.former_ids import FormerIds
from portal.jobs.queue import JobQueue
from portal.recordings import Recordings
from portal.session_keeper import Keeper
from portal.sessions import SessionManager

__all__ = ["LOOK_S", "Erased", "Erasure", "ErasureNotes"]

logger = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""How often a portal looks what others with the same data folder have erased."""
NOTED_S: Final = 3600.0
"""So long it can be found out."""


@dataclass(frozen=True, slots=True)
class Erased:
    """How much there was beside the avatar."""

    jobs: int
    "with their clips and uploads"
    recordings: int
    sessions: int
    "that showed it, and were ended"


class ErasureNotes:
    """What portals with one data folder tell each other: an empty file for each avatar that one of them has erased."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "erased"
        self._unfinished = self._folder / ".unfinished"
        self._known = self._names()

    are_jobs_apart = False
    "whether each of them has jobs of its own"

    def note(self, avatar_id: str) -> None:
        """Tell the others. Raises OSError."""
        self._folder.mkdir(exist_ok=True)
        for name in self._names():
            with suppress(FileNotFoundError):  # another one tidies up as well
                if time.time() - (self._folder / name).stat().st_mtime > NOTED_S:
                    (self._folder / name).unlink()
        name = f"{avatar_id}.{secrets.token_hex(4)}"
        self._known.add(name)
        (self._folder / name).touch()

    def begin(self, avatar_id: str) -> None:
        """From now on it is to be erased, also if this portal ends before that is done. Raises OSError."""
        self._unfinished.mkdir(parents=True, exist_ok=True)
        (self._unfinished / avatar_id).touch()

    def finish(self, avatar_id: str) -> None:
        (self._unfinished / avatar_id).unlink(missing_ok=True)

    def unfinished(self) -> set[str]:
        """Ids of avatars whose erasure has begun, here or elsewhere, and has not come to its end."""
        return {path.name for path in self._unfinished.glob("*")}

    def news(self) -> set[str]:
        """Ids of avatars that others have erased since this was last asked."""
        names = self._names()
        new, self._known = names - self._known, names
        return {name.rpartition(".")[0] for name in new}

    def ask_again(self, avatar_id: str) -> None:
        """It is to be news again: whoever heard it could not do what it asks for."""
        self._known = {name for name in self._known if name.rpartition(".")[0] != avatar_id}

    def _names(self) -> set[str]:
        return {path.name for path in self._folder.glob("*") if not path.name.startswith(".")}


@dataclass(frozen=True, slots=True)
class Erasure:
    """Knows everything that keeps something of an avatar."""

    library: AvatarLibrary
    queue: JobQueue
    sessions: SessionManager
    memory: AvatarMemory
    recordings: Recordings
    keeper: Keeper
    notes: ErasureNotes

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """While this is entered, what others erase goes here too, whoever opened the sessions that show it."""
        looking = asyncio.create_task(self._follow_for_ever(), name="erasure")
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def erase(self, avatar_id: str) -> Erased:
        """Remove an avatar, its jobs and clips, recordings of it, and what sessions hold of it in memory.

        The avatar goes first: nothing new can be made from it then. Clips and recordings are erased whoever owns them.
        Of sessions at other nodes what is kept goes at once, and they end within seconds.
        Raises AvatarNotFound, DiskFull, ErasureUnfinished (a database or a disk fails: the rest follows by itself).
        """
        self.library.path_of(avatar_id)  # raises: what is no id makes no note either
        with disk_full_explained("nothing was erased"):
            await asyncio.to_thread(self.notes.begin, avatar_id)
        try:
            await asyncio.to_thread(self._former.retire, self.library, avatar_id)
        except AvatarNotFound:
            self.notes.finish(avatar_id)
            raise
        try:
            await asyncio.to_thread(self.notes.note, avatar_id)
            return await self._erase_rest(avatar_id)
        except (VivavoceError, OSError) as error:
            logger.exception("what was made of %s is not all erased", avatar_id)
            raise ErasureUnfinished(
                "The avatar is erased, but not all that was made of it.",
                "The rest follows by itself as soon as that is possible again; the server's log says what went wrong.",
            ) from error

    @property
    def _former(self) -> FormerIds:
        return FormerIds(self.queue.folders.data_dir)

    async def _erase_rest(self, avatar_id: str) -> Erased:
        """Everything but the avatar itself; safe to do again. First what needs no database."""
        sessions, recordings = await self._erase_shown(avatar_id)
        await asyncio.to_thread(self.queue.cancel_all_of, avatar_id)
        await self.keeper.erase_all_of(avatar_id)
        jobs = await asyncio.to_thread(self._erase_jobs, avatar_id)
        self._former.forget(avatar_id)
        self.notes.finish(avatar_id)
        return Erased(jobs, recordings, sessions)

    async def _erase_shown(self, avatar_id: str) -> tuple[int, int]:
        """What this portal shows of an avatar, and what was recorded of it. Returns how many sessions, recordings."""
        sessions = await self.sessions.close_all_of(avatar_id)
        self.memory.forget(self.library.path_of(avatar_id))
        return sessions, await self.recordings.erase_all_of(avatar_id)

    async def follow(self) -> None:
        """Erase what is shown here, and was recorded, of avatars that others have erased since the last look. Go on
        with erasures that did not come to their end.
        """
        for avatar_id in await asyncio.to_thread(self.notes.unfinished):
            if not await asyncio.to_thread(self.library.holds_now, avatar_id):  # else it has just begun
                with suppress(VivavoceError, OSError):  # the next look may do it
                    await self._erase_rest(avatar_id)
                    logger.info("what was made of %s is erased now", avatar_id)
        for avatar_id in await asyncio.to_thread(self.notes.news):
            try:
                await self._erase_here(avatar_id)
            except (VivavoceError, OSError) as error:
                self.notes.ask_again(avatar_id)
                logger.warning("%s was erased elsewhere, and will be here at the next look: %s", avatar_id, error)

    async def _erase_here(self, avatar_id: str) -> None:
        """What this portal has of an avatar that another one has erased; safe to do again."""
        if await asyncio.to_thread(self.library.holds_now, avatar_id):
            return  # there is a new one of that id
        ended = await self._erase_shown(avatar_id)
        if self.notes.are_jobs_apart:
            await asyncio.to_thread(self.queue.cancel_all_of, avatar_id)
            await asyncio.to_thread(self._erase_jobs, avatar_id)
        logger.info("%s was erased elsewhere; that ended %d sessions and %d recordings here", avatar_id, *ended)

    async def _follow_for_ever(self) -> None:
        clock = self.sessions.engine.clock
        while True:
            await clock.sleep_until(clock.now_s() + LOOK_S)
            try:
                await self.follow()
            except (VivavoceError, OSError) as error:
                logger.warning("what others have erased is looked at again in %.0f s: %s", LOOK_S, error)

    def _erase_jobs(self, avatar_id: str) -> int:
        self.queue.folders.reports.delete(avatar_id)
        erased = 0
        for job in self.queue.list(limit=None):
            if job.avatar == avatar_id:
                with suppress(JobNotFound):  # somebody else removes it just now
                    self.queue.delete(job.id)
                    erased += 1
        return erased
