"""Erases an avatar with everything made from the person in it, in one call, when that person withdraws consent."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from avatars.disk import disk_full_explained
from avatars.errors import AvatarError, AvatarNotFound
from avatars.library import AvatarLibrary
from models.errors import VivavoceError
from portal.avatar_memory import AvatarMemory
from portal.errors import ErasureUnfinished, JobNotFound
from portal.jobs.queue import JobQueue
from portal.recordings import Recordings
from portal.session_keeper import Keeper
from portal.sessions import SessionManager

__all__ = ["LOOK_S", "Erased", "Erasure", "ErasureNotes"]

logger = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""How often a portal looks for avatars that other portals with the same data folder have erased."""
NOTED_S: Final = 3600.0
"""How long the note of an erasure stays, for the others to find."""
CLOCKS_APART_S: Final = 5.0
"""The clocks of two machines differ by less."""


@dataclass(frozen=True, slots=True)
class Erased:
    """How much was erased besides the avatar itself."""

    jobs: int
    "jobs, with their clips and uploads"
    recordings: int
    sessions: int
    "sessions of this portal that showed it, and were ended"


class ErasureNotes:
    """Notes by which portals with one data folder tell each other about erasures.

    There is an empty file for each avatar that one of them has erased, and another for each erasure that is not
    finished.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "erased"
        self._unfinished = self._folder / ".unfinished"
        self._looking = threading.Lock()
        "held while the notes are looked at, or one is written: our own is never news"
        self._known = self._known_before()

    are_jobs_apart = False
    "whether each portal has jobs of its own, and so has to erase those itself"

    def note(self, avatar_id: str) -> None:
        """Tell the others that an avatar was erased, and remove old notes. Raises OSError."""
        self._folder.mkdir(exist_ok=True)
        for name, when in self._names().items():
            if time.time() - when > NOTED_S:
                (self._folder / name).unlink(missing_ok=True)  # another portal may remove it at the same time
        name = f"{avatar_id}.{secrets.token_hex(4)}"
        with self._looking:
            (self._folder / name).touch()
            self._known.add(name)

    def begin(self, avatar_id: str) -> None:
        """Note that an erasure begins now, so that it is finished even if this portal ends before. Raises OSError."""
        self._unfinished.mkdir(parents=True, exist_ok=True)
        (self._unfinished / avatar_id).touch()

    def finish(self, avatar_id: str) -> None:
        """Note that an erasure is complete, or did not take place."""
        (self._unfinished / avatar_id).unlink(missing_ok=True)

    def unfinished(self) -> dict[str, float]:
        """Return the ids of avatars whose erasure has begun, here or elsewhere, and is not finished.

        Each has the Unix time of its beginning.
        """
        return _times_of(self._unfinished.glob("*"))

    def news(self) -> dict[str, float]:
        """Return the ids of avatars that others have erased since the last call, each with the Unix time of that."""
        with self._looking:
            names = self._names()
            new, self._known = names.keys() - self._known, set(names)
        return {name.rpartition(".")[0]: names[name] for name in sorted(new, key=names.__getitem__)}

    def ask_again(self, avatar_id: str) -> None:
        """Make news() report this avatar once more, because erasing it here has failed."""
        with self._looking:
            self._known = {name for name in self._known if name.rpartition(".")[0] != avatar_id}

    def _known_before(self) -> set[str]:
        """Return the names of the notes that are no news when this portal starts.

        With one data folder these are all of them: this portal keeps nothing that the others do not see.
        """
        return set(self._names())

    def _names(self) -> dict[str, float]:
        """Return the names of all notes, each with the Unix time at which it was written."""
        return _times_of(self._folder.glob("[!.]*"))


def _times_of(paths: Iterable[Path]) -> dict[str, float]:
    """Return the names of these files, each with the Unix time at which it was written."""
    found = {}
    for path in paths:
        with suppress(FileNotFoundError):  # another portal has just removed it
            found[path.name] = path.stat().st_mtime
    return found


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases avatars. It knows every place that keeps anything of one."""

    library: AvatarLibrary
    queue: JobQueue
    sessions: SessionManager
    memory: AvatarMemory
    recordings: Recordings
    keeper: Keeper
    notes: ErasureNotes
    _logged: set[str] = field(default_factory=set, init=False)
    "ids of avatars of which the log says already why their erasure cannot be finished"

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Inside the block, whatever other portals erase is erased here too."""
        looking = asyncio.create_task(self._follow_for_ever(), name="erasure")
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def erase(self, avatar_id: str) -> Erased:
        """Remove an avatar, its jobs and clips, recordings of it, the sessions that show it, and what memory holds.

        The avatar goes first, so that nothing new can be made from it. Clips and recordings are erased whoever owns
        them. For sessions at other nodes, what is kept in the database is erased at once, and they end within seconds.

        Raises AvatarNotFound, DiskFull (nothing was erased), ErasureUnfinished (a database or a disk failed; follow()
        erases the rest later).
        """
        self.library.path_of(avatar_id)  # raises AvatarNotFound for an invalid id, before it becomes a file name
        # An earlier erasure that is not finished stays as it is if there is no avatar to erase now.
        is_first = avatar_id not in await asyncio.to_thread(self.notes.unfinished)
        if is_first:
            with disk_full_explained("nothing was erased"):
                await asyncio.to_thread(self.notes.begin, avatar_id)
        try:
            await asyncio.to_thread(self.queue.folders.former_ids.retire, self.library, avatar_id)
        except AvatarNotFound:
            if is_first:
                await asyncio.to_thread(self.notes.finish, avatar_id)
            raise
        retired_at = time.time()
        try:
            await asyncio.to_thread(self.notes.begin, avatar_id)  # up to now jobs were ordered for this avatar
            await asyncio.to_thread(self.notes.note, avatar_id)
            erased = await self._erase_rest(avatar_id, retired_at + CLOCKS_APART_S)
            await asyncio.to_thread(self._finish, avatar_id)
            return erased
        except (VivavoceError, OSError) as error:
            logger.exception("what was made of %s is not all erased", avatar_id)
            raise ErasureUnfinished(
                "The avatar is erased, but not all that was made of it.",
                "The rest follows by itself as soon as that is possible again; the server's log says what went wrong.",
            ) from error

    async def _erase_rest(self, avatar_id: str, before: float) -> Erased:
        """Erase everything but the avatar itself. Safe to repeat.

        before: Unix time. Jobs that were ordered later, and their report, belong to a new avatar with this id.
        Whatever needs no database goes first, so that it is gone even if the database fails. A recording that cannot be
        read, or a clip that cannot be removed, keeps nothing else from being erased; its error is raised at the end.
        """
        sessions = recordings = 0
        trouble: Exception | None = None
        try:
            sessions, recordings = await self._erase_shown(avatar_id)
        except (VivavoceError, OSError) as error:
            trouble = error
        await asyncio.to_thread(self.queue.cancel_all_of, avatar_id, before)
        await self.keeper.erase_all_of(avatar_id)
        await asyncio.to_thread(self._erase_report, avatar_id, before)
        jobs = await asyncio.to_thread(self._erase_jobs, avatar_id, before)
        if trouble is not None:
            raise trouble
        return Erased(jobs, recordings, sessions)

    def _finish(self, avatar_id: str) -> None:
        """Note that the erasure is finished here. What other portals alone have they erase when they are told."""
        self.queue.folders.former_ids.forget(avatar_id)
        self.notes.finish(avatar_id)

    async def _erase_shown(self, avatar_id: str) -> tuple[int, int]:
        """End this portal's sessions that show an avatar, and erase recordings of it.

        Returns how many sessions and how many recordings there were.
        """
        sessions = await self.sessions.close_all_of(avatar_id)
        self.memory.forget(self.library.path_of(avatar_id))
        return sessions, await self.recordings.erase_all_of(avatar_id)

    async def follow(self) -> None:
        """Finish erasures that were not finished, and erase here what others have erased since the last look."""
        for avatar_id, begun_at in (await asyncio.to_thread(self.notes.unfinished)).items():
            try:
                await self._go_on_erasing(avatar_id, begun_at)
            except (VivavoceError, OSError) as error:
                if avatar_id not in self._logged:  # it would be there every few seconds
                    logger.warning(
                        "what was made of %s is not all erased, every look tries again: %s", avatar_id, error
                    )
                    self._logged.add(avatar_id)
        for avatar_id, erased_at in (await asyncio.to_thread(self.notes.news)).items():
            try:
                await self._erase_here(avatar_id, erased_at)
            except (VivavoceError, OSError) as error:
                await asyncio.to_thread(self.notes.ask_again, avatar_id)  # it waits for notes that are being written
                logger.warning("%s was erased elsewhere, and will be here at the next look: %s", avatar_id, error)

    async def _go_on_erasing(self, avatar_id: str, begun_at: float) -> None:
        """Finish an erasure that was not finished."""
        if await asyncio.to_thread(self.library.holds_now, avatar_id):
            return  # it has only just begun, and whoever began it goes on with it
        await self._erase_rest(avatar_id, begun_at + CLOCKS_APART_S)
        await asyncio.to_thread(self.notes.note, avatar_id)  # whoever began it may have ended before
        await asyncio.to_thread(self._finish, avatar_id)
        self._logged.discard(avatar_id)
        logger.info("what was made of %s is erased now", avatar_id)

    async def _erase_here(self, avatar_id: str, erased_at: float) -> None:
        """Erase what this portal has of an avatar that another portal has erased. Safe to repeat."""
        if self.notes.are_jobs_apart:
            await asyncio.to_thread(self._erase_jobs, avatar_id, erased_at + CLOCKS_APART_S)
        if await asyncio.to_thread(self.library.holds_now, avatar_id):
            return  # a new avatar has this id now
        ended = await self._erase_shown(avatar_id)
        logger.info("%s was erased elsewhere; that ended %d sessions and %d recordings here", avatar_id, *ended)

    async def _follow_for_ever(self) -> None:
        clock = self.sessions.engine.clock
        while True:
            await clock.sleep_until(clock.now_s() + LOOK_S)
            try:
                await self.follow()
            except (VivavoceError, OSError) as error:
                logger.warning("what others have erased is looked at again in %.0f s: %s", LOOK_S, error)

    def _erase_report(self, avatar_id: str, before: float) -> None:
        """Remove the face report, unless a job made it that was ordered later than that."""
        reports = self.queue.folders.reports
        with suppress(JobNotFound, OSError):  # if nobody can say whose it is, it goes
            job_id = reports.job_of(avatar_id)
            if job_id and self.queue.get(job_id).created_at >= before:
                return
        reports.delete(avatar_id)

    def _erase_jobs(self, avatar_id: str, before: float) -> int:
        """Erase the jobs of an avatar, and return how many there were. before: see _erase_rest().

        Raises AvatarError or OSError if the files of one cannot be removed, after all others.
        """
        erased, trouble = 0, None
        for job in self.queue.list(limit=None):
            if job.avatar == avatar_id and job.created_at < before:
                try:
                    with suppress(JobNotFound):  # somebody else has just removed it
                        self.queue.delete(job.id)
                        erased += 1
                except (AvatarError, OSError) as error:
                    trouble = error
        if trouble is not None:
            raise trouble
        return erased
