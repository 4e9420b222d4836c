"""Orders of avatars and clips by a request. Their limits are applied here, whichever route they come by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from avatars.confined import QUICK_LOOK, Limits
from avatars.library import AvatarLibrary
from portal.api.schemas import ClipRequest, UploadForm
from portal.http.people import person_of
from portal.http.proxies import address_of
from portal.intake.submissions import submit_avatar, submit_clip
from portal.intake.uploads import YES, Uploads
from portal.jobs.queue import JobQueue
from portal.jobs.records import Job
from portal.jobs.shares import JobShares
from portal.owners import require_seen

__all__ = ["Orders", "ordered"]


async def ordered(scope: Scope, uploads: Uploads, shares: JobShares, path: Path, submit: Callable[..., Job]) -> Job:
    """Queue the job that submit() makes of a stored upload, counted to the address that sent the request.

    scope: of that request. submit: takes `limits` for the inspection of the upload, and removes the upload if it
    refuses it.

    Raises the errors of submit() and Uploads.submit(), and TooMany if the address has too many jobs.
    """

    def ask(limits: Limits) -> Job:
        return shares.asked_by(scope, partial(submit, limits=limits))

    return await uploads.submit(ask, path, address_of(scope))


@dataclass(frozen=True, slots=True)
class Orders:
    """Queues avatars and clips.

    In each method `scope` is that of the request. The jobs belong to its sender, and count to the sender's address.
    """

    library: AvatarLibrary
    queue: JobQueue
    uploads: Uploads
    shares: JobShares

    async def avatar(
        self,
        scope: Scope,
        path: Path,
        file_name: str,
        wish: UploadForm,
        *,
        avatar_id: str = "",
        job_id: str = "",
        notify: str = "",
    ) -> Job:
        """Queue the preparation of a stored upload. avatar_id, job_id, notify: see submit_avatar().

        Raises the errors of submit_avatar() and Uploads.submit(), and TooMany.
        """
        submit = partial(
            submit_avatar,
            self.library,
            self.queue,
            path,
            name=wish.name,
            file_name=file_name,
            consent=wish.consent.lower() in YES,
            framing=wish.framing,
            cutout=wish.cutout.lower() in YES,
            owner=person_of(scope).name,
            avatar_id=avatar_id,
            job_id=job_id,
            notify=notify,
            asker=address_of(scope),
        )

        return await ordered(scope, self.uploads, self.shares, path, submit)

    async def clip(self, scope: Scope, wish: ClipRequest, audio: Path | None = None) -> Job:
        """Queue a clip. audio: a stored recording to use instead of the text; it is removed if the clip is refused.

        Raises the errors of submit_clip(), and TooMany. For an avatar that the sender may not see, it raises the same
        error as for one that does not exist.
        """
        person = person_of(scope)
        submit = partial(
            submit_clip,
            self.library,
            self.queue,
            avatar=wish.avatar,
            text=wish.text,
            audio=audio,
            voice=wish.voice or None,
            name=wish.name,
            clip_format=wish.format,
            owner=person.name,
            asker=address_of(scope),
        )

        def ask(limits: Limits = QUICK_LOOK) -> Job:
            if wish.avatar:
                require_seen(self.library, person, wish.avatar)
            return self.shares.asked_by(scope, partial(submit, limits=limits))

        if audio is None:
            return await run_in_threadpool(ask)
        return await self.uploads.submit(ask, audio, address_of(scope))
