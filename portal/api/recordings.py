"""HTTP route for the files of recordings. Nothing lists them: to fetch one, its id must be known."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse

from portal.http.error_route import ErrorRoute
from portal.recordings import Recordings

__all__ = ["recordings_router"]

TYPES = {"mp4": "video/mp4", "vtt": "text/vtt", "json": "application/json"}


def recordings_router(recordings: Recordings) -> APIRouter:
    router = APIRouter(prefix="/api/recordings", tags=["recordings"], route_class=ErrorRoute)

    @router.get("/{recording_id}.{kind}")
    def fetch_recording(recording_id: str, kind: str) -> FileResponse:
        """Fetch a file of a recording. kind: mp4, vtt (WebVTT) or json (name, duration_s, entries with role, text,
        start_s, end_s).
        """
        path = recordings.path(recording_id, kind)
        return FileResponse(path, media_type=TYPES[kind], filename=recordings.file_name(recording_id, kind))

    return router
