"""Orders of avatars and clips by a request: one place for their limits, whichever way they come."""

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
    """Queue what submit() makes of a stored upload, as a job of the sender of a request, within an address's share.

    submit: takes `limits` of the look at the upload, and removes it if it refuses.

    Raises as submit() and Uploads.submit(), and TooMany.
    """

    def ask(limits: Limits) -> Job:
        return shares.asked_by(scope, partial(submit, limits=limits))

    return await uploads.submit(ask, path, address_of(scope))


@dataclass(frozen=True, slots=True)
class Orders:
    """`scope` is that of the request that asks. Its sender has the jobs, within the share of an address."""

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
        """Queue the preparation of a stored upload. Ids, notify: see submit_avatar().

        Raises as submit_avatar() and Uploads.submit(), and TooMany.
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
        """Queue a clip, of the stored recording `audio` if it is given. Raises as submit_clip(), and TooMany.

        An avatar that the sender may not see is not found. A recording that came for it is removed.
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
