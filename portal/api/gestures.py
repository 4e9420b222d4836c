"""HTTP routes for an avatar's gestures: list them, add one, show it, delete it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from avatars.errors import GestureNotFound
from avatars.gestures import delete_gesture, gesture_path, gesture_summaries
from avatars.library import AvatarLibrary
from portal.api.orders import ordered
from portal.api.schemas import MAX_FIELD_CHARACTERS, GestureView, JobView, form_body, gesture_view, job_view
from portal.http.error_route import ErrorRoute
from portal.http.proxies import address_of
from portal.intake.submissions import submit_gesture
from portal.intake.uploads import Uploads
from portal.jobs.queue import JobQueue
from portal.jobs.shares import JobShares

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["gestures_router"]


class GestureForm(BaseModel):
    """The fields of a gesture's upload, apart from its `file`."""

    name: str = Field(max_length=MAX_FIELD_CHARACTERS, description="letters and digits of any script, at most 24")
    consent: str = Field(max_length=MAX_FIELD_CHARACTERS, description='"true": the person shown agrees')
    sound: str = Field(
        "", max_length=MAX_FIELD_CHARACTERS, description='"true": its own sound is heard while the avatar says nothing'
    )
    idle: str = Field(
        "",
        max_length=MAX_FIELD_CHARACTERS,
        description='"true": the avatar shows it by itself, without sound, while nobody speaks',
    )


def gestures_router(
    library: AvatarLibrary, queue: JobQueue, settings: Settings, uploads: Uploads, shares: JobShares
) -> APIRouter:
    """Return the routes for an avatar's gestures, and for its idle clips, which it shows by itself."""
    router = APIRouter(prefix="/api/avatars/{avatar_id}/gestures", tags=["gestures"], route_class=ErrorRoute)

    @router.get("")
    def list_gestures(avatar_id: str) -> list[GestureView]:
        """List an avatar's gestures by name."""
        library.summary(avatar_id)  # raises: there is no such avatar
        folder = library.folder(avatar_id)
        return [gesture_view(gesture, avatar_id, folder) for gesture in gesture_summaries(folder)]

    @router.post("", status_code=202, openapi_extra=form_body(GestureForm, file="file"))
    async def add_gesture(avatar_id: str, request: Request) -> JobView:
        """Queue the preparation of a clip of 1 to 10 s as a gesture: multipart fields `file`, `name`, `consent`
        ("true"), `sound`, `idle`. It replaces a gesture of the same name. Sessions that begin afterwards have it.
        """
        library.path_of(avatar_id)
        handed_in = await uploads.handed_in(request, settings.max_upload_bytes, "the clip")
        submit = partial(submit_gesture, library, queue, handed_in, avatar_id, asker=address_of(request.scope))
        return job_view(await ordered(request.scope, uploads, shares, handed_in.path, submit))

    @router.get("/{name}/poster.jpg")
    def poster(avatar_id: str, name: str) -> FileResponse:
        """Fetch a picture from the middle of a gesture."""
        return shown(avatar_id, name, "poster.jpg", "image/jpeg")

    @router.get("/{name}/preview.mp4")
    def preview(avatar_id: str, name: str) -> FileResponse:
        """Fetch a small clip of the whole gesture, with its own sound if that is played."""
        return shown(avatar_id, name, "preview.mp4", "video/mp4")

    def shown(avatar_id: str, name: str, file: Literal["poster.jpg", "preview.mp4"], media_type: str) -> FileResponse:
        there = gesture_path(name, file)
        path = None if there is None else library.file(avatar_id, there)
        if path is None:
            raise GestureNotFound(
                f"The avatar has no gesture {name[:80]!r} with a {file}.", f"See GET /api/avatars/{avatar_id}/gestures."
            )
        return FileResponse(path, media_type=media_type)

    @router.delete("/{name}", status_code=204)
    def remove_gesture(avatar_id: str, name: str) -> Response:
        """Delete a gesture. Sessions that have already loaded it continue to show it."""
        with library.changing(avatar_id) as folder:
            delete_gesture(folder, name)
        return Response(status_code=204)

    return router
