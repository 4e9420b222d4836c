"""HTTP routes for clips: ask for one, fetch it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile

from avatars.library import AvatarLibrary
from portal.api.orders import Orders
from portal.api.schemas import ClipRequest, JobView, checked, form_body, job_view
from portal.errors import JobNotFound
from portal.http.error_route import ErrorRoute
from portal.http.proxies import address_of
from portal.intake.uploads import Uploads
from portal.jobs.queue import JobQueue
from portal.jobs.records import CLIP_TYPES
from portal.jobs.shares import JobShares

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["clips_router"]

VALID_ID = re.compile(r"[a-z0-9-]{1,80}")


def clips_router(
    library: AvatarLibrary, queue: JobQueue, settings: Settings, uploads: Uploads, shares: JobShares
) -> APIRouter:
    """Return the routes to ask for a clip and to fetch it. Its job (`/api/jobs`) shows its progress."""
    router = APIRouter(prefix="/api/clips", tags=["clips"], route_class=ErrorRoute)
    orders = Orders(library, queue, uploads, shares)

    @router.post("", status_code=202, openapi_extra=form_body(ClipRequest, file="audio", needs_file=False))
    async def ask_for_clip(request: Request) -> JobView:
        """Queue a clip: JSON {avatar, text, voice, name, format}, or a form with these and a recording in `audio`."""
        audio: Path | None = None
        if request.headers.get("content-type", "").startswith("application/json"):
            wish = checked(ClipRequest, await request.body())
        else:
            async with uploads.form(request, settings.max_upload_bytes) as form:
                given = {key: str(value) for key in ClipRequest.model_fields if (value := form.get(key))}
                wish = checked(ClipRequest, {"avatar": "", "text": "", **given})
                file = form.get("audio")
                if isinstance(file, UploadFile):
                    audio = await uploads.store(file, address_of(request.scope))
        return job_view(await orders.clip(request.scope, wish, audio))

    @router.get("/{job_id}.{ending}")
    def fetch_clip(job_id: str, ending: str) -> FileResponse:
        """Fetch a finished clip. ending: mp4, webm or mov, as it was ordered. Its job's `result` has the address."""
        is_name = VALID_ID.fullmatch(job_id) and ending in CLIP_TYPES
        path = queue.folders.find_clip(job_id, ending) if is_name else None
        if path is None:
            raise JobNotFound("There is no such clip.", "See GET /api/jobs: it may not be finished, or deleted.")
        media_type = CLIP_TYPES[ending]
        name = called(job_id) or path.name
        return FileResponse(path, media_type=media_type, filename=name, content_disposition_type="inline")

    def called(job_id: str) -> str:
        try:
            return queue.get(job_id).file_name
        except JobNotFound:  # the clip's file outlived its record in the database
            return ""

    return router
