"""The guard of every URL that names an avatar, a job, a clip or a recording: it hides what belongs to other people.

The guard is a dependency of the whole application and goes by the names of the parameters in the URL. So a new route is
guarded without further code. What a request names in its body is checked where the body is used: in `orders.py` for
clips, in `portal/sessions.py` for sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from avatars.library import AvatarLibrary, Ownership
from models.errors import VivavoceError
from portal.errors import JobNotFound
from portal.http.origins import HARMLESS
from portal.http.people import Person, Role, person_of
from portal.http.rights import NotAllowed
from portal.jobs.orders import id_of_test_clip
from portal.jobs.queue import JobQueue
from portal.jobs.records import GESTURE, PARTS, Job
from portal.kept_recordings import no_such_recording
from portal.owners import may_change, may_erase, no_such_avatar, sees
from portal.recordings import Recordings

__all__ = ["OwnersGuard", "seen_jobs"]

LOOKS = frozenset({"/api/avatars/{avatar_id}/parts/preview"})
"Routes that only show something, although they use an HTTP method that usually changes something."
ERASES = "/api/avatars/{avatar_id}/everything"
"The route that also deletes what other people have made from the avatar."


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of thing that has owners, and is found by its id."""

    whose: Callable[[str], Ownership | None]
    "Returns whose the thing is; None if there is no such id."
    missing: Callable[[str], VivavoceError]
    "Makes the error for a thing that does not exist."


class OwnersGuard:
    """A FastAPI dependency that checks whether the sender may see or change the things named in the URL.

    For things that the sender may not see, it raises the same error as for things that do not exist. It raises
    NotAllowed for a change of something that somebody else has shared.
    """

    def __init__(self, library: AvatarLibrary, queue: JobQueue, recordings: Recordings) -> None:
        self._library = library
        self._queue = queue
        self._recordings = recordings
        self._kinds: Mapping[str, _Kind] = {
            "avatar_id": _Kind(self._of_avatar, no_such_avatar),
            "job_id": _Kind(self._of_job, _no_such_job),
            "recording_id": _Kind(recordings.ownership, no_such_recording),
        }

    async def __call__(self, connection: HTTPConnection) -> None:
        person, named = person_of(connection.scope), connection.path_params
        if person.role is Role.ADMIN:
            return
        scope = connection.scope
        route = scope["route"].path
        reads = scope["type"] == "websocket" or scope["method"] in HARMLESS or route in LOOKS
        for parameter, kind in self._kinds.items():
            if parameter in named:
                whose = await run_in_threadpool(_check, person, kind, named[parameter], reads)
                if route == ERASES and not may_erase(person, whose):
                    raise NotAllowed("This avatar is everybody's: others' clips would go, too.", "Ask an admin.")

    def _of_avatar(self, avatar_id: str) -> Ownership | None:
        whose = self._library.ownership(avatar_id)
        if whose is not None:
            return whose
        # A refused upload has no avatar, but its face report has pictures, which belong to the job's owner.
        job = self._queue.job_of_report(avatar_id)
        return None if job is None else Ownership(job.owner)

    def _of_job(self, job_id: str) -> Ownership | None:
        try:
            job = self._queue.get(job_id)
        except JobNotFound:  # a clip whose record is lost: only admins may see it
            return None
        if not _is_of_its_avatar(job):
            return Ownership(job.owner)
        avatar = self._library.ownership(job.avatar)
        return Ownership(job.owner, avatar is not None and avatar.shared)


def seen_jobs(person: Person, library: AvatarLibrary, jobs: list[Job]) -> list[Job]:
    """Return the jobs that the person may see, in the same order."""
    if person.role is Role.ADMIN:
        return jobs
    shared = {avatar.id for avatar in library.list() if avatar.ownership.shared}
    return [job for job in jobs if sees(person, Ownership(job.owner, _is_of_its_avatar(job) and job.avatar in shared))]


def _is_of_its_avatar(job: Job) -> bool:
    """Return whether a job makes a part of an avatar, and is therefore shared with it.

    Parts, gestures and the test clip are. Other clips, and the making of a new avatar, are not.
    """
    return job.kind in (PARTS, GESTURE) or job.id == id_of_test_clip(job.avatar)


def _check(person: Person, kind: _Kind, thing_id: str, reads: bool) -> Ownership:
    whose = kind.whose(thing_id)
    if whose is None or not sees(person, whose):
        raise kind.missing(thing_id)
    if not reads and not may_change(person, whose):
        raise NotAllowed("This belongs to somebody else, who has shared it.", "Ask them, or make your own.")
    return whose


def _no_such_job(job_id: str) -> JobNotFound:
    return JobNotFound(f"There is no job {job_id[:64]!r}.", "It may have been deleted; see the list of jobs.")
