"""Clips: ask for one, fetch it."""

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
from portal.http.errors import ErrorRoute
from portal.intake.uploads import Uploads
from portal.jobs.queue import JobQueue
from portal.jobs.shares import JobShares

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["clips_router"]

VALID_ID = re.compile(r"[a-z0-9-]{1,80}")


def clips_router(
    library: AvatarLibrary, queue: JobQueue, settings: Settings, uploads: Uploads, shares: JobShares
) -> APIRouter:
    router = APIRouter(prefix="/api/clips", tags=["clips"], route_class=ErrorRoute)
    orders = Orders(library, queue, uploads, shares)

    @router.post("", status_code=202, openapi_extra=form_body(ClipRequest, file="audio", needs_file=False))
    async def ask_for_clip(request: Request) -> JobView:
        """Queue a clip: JSON {avatar, text, voice, name}, or a form with these and a recording in `audio`."""
        audio: Path | None = None
        if request.headers.get("content-type", "").startswith("application/json"):
            wish = checked(ClipRequest, await request.body())
        else:
            async with uploads.form(request, settings.max_upload_bytes) as form:
                fields = {key: str(form.get(key) or "") for key in ClipRequest.model_fields}
                wish = checked(ClipRequest, fields)
                file = form.get("audio")
                audio = await uploads.store(file) if isinstance(file, UploadFile) else None
        return job_view(await orders.clip(request.scope, wish, audio))

    @router.get("/{job_id}.mp4")
    def fetch_clip(job_id: str) -> FileResponse:
        path = queue.folders.clip(job_id)
        if not VALID_ID.fullmatch(job_id) or not path.is_file():
            raise JobNotFound("There is no such clip.", "See GET /api/jobs: it may not be finished, or deleted.")
        return FileResponse(path, media_type="video/mp4", filename=called(job_id), content_disposition_type="inline")

    def called(job_id: str) -> str:
        try:
            return queue.get(job_id).file_name
        except JobNotFound:  # its file outlived the queue's database
            return f"{job_id}.mp4"

    return router
