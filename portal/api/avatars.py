"""HTTP routes for avatars: list, upload, show, prepare for backends, delete."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from avatars.bundle import AvatarBundle, encode_jpeg
from avatars.errors import AvatarNotFound
from avatars.library import AvatarLibrary, AvatarSummary
from avatars.mattes import keep_cutout
from avatars.parts_preview import draw_preview
from avatars.persona import MAX_PROMPT_CHARACTERS, read_persona, write_persona
from pipeline.errors import BadRequest
from portal.api.orders import Orders
from portal.api.schemas import (
    MAX_FIELD_CHARACTERS,
    AvatarView,
    JobView,
    UploadForm,
    avatar_view,
    checked,
    form_body,
    job_view,
)
from portal.errors import JobNotFound
from portal.http.error_route import ErrorRoute
from portal.http.limits import Turnstile
from portal.http.people import Person, Role, person_of
from portal.http.proxies import address_of
from portal.intake.submissions import chosen_parameters, submit_parts, submit_test_clip
from portal.intake.uploads import Uploads
from portal.jobs.face_reports import FaceReports
from portal.jobs.orders import id_of_test_clip
from portal.jobs.queue import JobQueue
from portal.jobs.records import CLIP
from portal.jobs.shares import JobShares
from portal.names import clean_name
from portal.owners import may_change, may_erase, owner_sees, sees

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["avatar_views", "avatars_router"]

PREVIEWS_WAITING = 20
CUTOUTS_WAITING = 200
"""Requests for a cutout that may wait at once: a class of thirty may open its pages at the same moment. The first
request makes the cutout."""


class PartsRequest(BaseModel):
    backend: str = Field(
        max_length=MAX_FIELD_CHARACTERS, description="the lip-sync backend that the avatar is prepared for"
    )
    parameters: dict[str, object] = Field({}, description="of boxes and masks, by name; see GET /api/backends")


class PersonaView(BaseModel):
    """Who an avatar is when it talks; null: the portal's own."""

    prompt: str | None = Field(None, max_length=MAX_PROMPT_CHARACTERS, description="instructions to the language model")
    greeting: str | None = Field(None, max_length=1000, description="spoken when a session begins; empty for none")
    voice: str | None = Field(None, max_length=200, description="spoken with, unless the viewer chooses another")


class AvatarChange(BaseModel):
    """Changes of an avatar. Fields that are left out stay."""

    name: str | None = Field(None, description="what it is called from now on", max_length=200)
    mouth: Literal["personal", "painted"] | None = Field(None, description="how viseme draws its mouth from now on")
    shared: bool | None = Field(None, description="whether everybody may see it, and talk with it, from now on")


def avatar_views(person: Person, library: AvatarLibrary, queue: JobQueue, reports: FaceReports) -> list[AvatarView]:
    """Return the avatars that the person may see, as the page and the API show them."""
    return [
        _view(person, avatar, library, queue, reports) for avatar in library.list() if sees(person, avatar.ownership)
    ]


def _view(
    person: Person, avatar: AvatarSummary, library: AvatarLibrary, queue: JobQueue, reports: FaceReports
) -> AvatarView:
    test_clip = id_of_test_clip(avatar.id)
    makes, whose = person.role >= Role.MAKER, avatar.ownership
    return avatar_view(
        avatar,
        library.facts(avatar.id),
        reports.pictures(avatar.id),
        test_clip if queue.folders.has_clip(test_clip) else "",
        changeable=makes and may_change(person, whose),
        erasable=makes and may_erase(person, whose),
    )


def avatars_router(
    library: AvatarLibrary, queue: JobQueue, settings: Settings, uploads: Uploads, shares: JobShares
) -> APIRouter:
    router = APIRouter(prefix="/api/avatars", tags=["avatars"], route_class=ErrorRoute)
    reports = queue.folders.reports
    _add_avatars(router, library, queue, reports)
    _add_upload(router, Orders(library, queue, uploads, shares), settings.max_upload_bytes)
    _add_persona(router, library, kiosk=settings.kiosk)
    _add_pictures(router, library, reports)
    _add_jobs(router, library, queue, settings, shares)
    return router


def _add_avatars(router: APIRouter, library: AvatarLibrary, queue: JobQueue, reports: FaceReports) -> None:
    @router.get("")
    def list_avatars(request: Request) -> list[AvatarView]:
        """List avatars, oldest first.

        If people log in here, these are your own, shared ones, and those without an owner.
        """
        return avatar_views(person_of(request.scope), library, queue, reports)

    @router.get("/{avatar_id}")
    def show_avatar(avatar_id: str, request: Request) -> AvatarView:
        return _view(person_of(request.scope), library.summary(avatar_id), library, queue, reports)

    @router.patch("/{avatar_id}")
    def change_avatar(avatar_id: str, change: AvatarChange, request: Request) -> AvatarView:
        """Rename an avatar, choose how its mouth is drawn, share it with everybody, or stop sharing it.

        Its id does not change, nor do the names of clips made with it. A changed mouth is used in sessions that begin
        afterwards.
        """
        name = clean_name(change.name or "")
        if not name and (change.name is not None or (change.mouth is None and change.shared is None)):
            raise BadRequest("The name is empty.", "Type a name for the avatar.", cause="no_name")
        if change.shared is not None:
            _share(library, queue, avatar_id, shared=change.shared)
        if change.mouth is not None:
            library.draw_mouth(avatar_id, change.mouth)
        if name:
            library.rename(avatar_id, name)
        return show_avatar(avatar_id, request)

    @router.delete("/{avatar_id}", status_code=204)
    def delete_avatar(avatar_id: str) -> Response:
        """Delete an avatar. Its waiting and running jobs are cancelled. Sessions that show it continue to their end.

        Clips made with it are kept and refer to its id. So the id stays reserved for its owner.
        """
        queue.folders.former_ids.retire(library, avatar_id)
        reports.delete(avatar_id)  # first, because its pictures show a person, and a full disk may stop the steps below
        queue.cancel_all_of(avatar_id)
        with suppress(JobNotFound):
            queue.delete(id_of_test_clip(avatar_id))
        return Response(status_code=204)


def _share(library: AvatarLibrary, queue: JobQueue, avatar_id: str, *, shared: bool) -> None:
    """Share an avatar with everybody, or stop sharing it. Stopping cancels the clips of it that others wait for.

    Raises AvatarNotFound, and BadRequest if the avatar has no owner who could share it.
    """
    if not library.summary(avatar_id).ownership.owner:
        raise BadRequest(
            "This avatar belongs to everybody.", "It was made without a login, and cannot be shared.", cause="no_owner"
        )
    library.share(avatar_id, shared=shared)
    whose = library.summary(avatar_id).ownership
    for job in queue.active(avatar_id, CLIP):
        if not owner_sees(job.owner, whose):
            with suppress(JobNotFound):
                queue.cancel(job.id)


def _add_upload(router: APIRouter, orders: Orders, max_upload_bytes: int) -> None:
    @router.post("", status_code=202, openapi_extra=form_body(UploadForm, file="file"))
    async def upload_avatar(request: Request) -> JobView:
        """Queue the preparation of a photo or clip: multipart fields `file`, `name`, `consent` ("true").

        With `framing`, "x,y,width,height" as fractions of the picture, only that part of it is used.
        `cutout` ("true") cuts the person out of a clip, too, for a transparent stage and for clips with alpha.
        The file may also be a zip of an avatar of LiveTalking, MuseTalk or OpenAvatarChat.
        """
        handed_in = await orders.uploads.handed_in(request, max_upload_bytes, "the photo or clip")
        with handed_in.or_removed():
            wish = checked(UploadForm, {key: handed_in.texts.get(key, "") for key in UploadForm.model_fields})
        return job_view(await orders.avatar(request.scope, handed_in.path, handed_in.file_name, wish))


def _add_persona(router: APIRouter, library: AvatarLibrary, *, kiosk: bool) -> None:
    @router.get("/{avatar_id}/persona")
    def persona(avatar_id: str, request: Request) -> PersonaView:
        """Show an avatar's persona. `prompt` is null for people who may not change the avatar."""
        person, whose = person_of(request.scope), library.summary(avatar_id).ownership
        view = PersonaView(**asdict(read_persona(library.folder(avatar_id))))
        is_theirs = not kiosk and person.role >= Role.MAKER and may_change(person, whose)
        return view if is_theirs else view.model_copy(update={"prompt": None})

    @router.patch("/{avatar_id}/persona")
    def change_persona(avatar_id: str, change: PersonaView, request: Request) -> PersonaView:
        """Change an avatar's persona. Fields that are left out stay. Sessions that begin afterwards use it."""
        library.summary(avatar_id)  # raises: there is no such avatar
        with library.changing(avatar_id) as folder:
            write_persona(folder, replace(read_persona(folder), **change.model_dump(exclude_unset=True)))
        return persona(avatar_id, request)


def _add_pictures(router: APIRouter, library: AvatarLibrary, reports: FaceReports) -> None:
    @router.get("/{avatar_id}/poster.jpg")
    def poster(avatar_id: str) -> FileResponse:
        return _file(library, avatar_id, "poster.jpg", "image/jpeg")

    @router.get("/{avatar_id}/preview.mp4")
    def preview(avatar_id: str) -> FileResponse:
        return _file(library, avatar_id, "preview.mp4", "video/mp4")

    @router.get("/{avatar_id}/mattes.bin")
    def mattes(avatar_id: str) -> FileResponse:
        """Fetch where the person is in each frame, and the background, if these are known. Format: docs/stage.md."""
        return _file(library, avatar_id, "mattes.bin", "application/octet-stream")

    cutouts = Turnstile(CUTOUTS_WAITING)

    @router.get("/{avatar_id}/cutout.webp")
    async def cutout(avatar_id: str) -> FileResponse:
        """Fetch a picture of the person without the background, if it is known where the person is."""
        if await run_in_threadpool(_lacks_cutout, library, avatar_id):  # an older version made the avatar
            await cutouts.run(partial(_keep_cutout, library, avatar_id))
        return await run_in_threadpool(_file, library, avatar_id, "cutout.webp", "image/webp")

    @router.get("/{avatar_id}/report/{name}")
    def report_picture(avatar_id: str, name: str) -> FileResponse:
        """Fetch a picture of a face report. Refused uploads have one, too."""
        library.path_of(avatar_id)
        return FileResponse(reports.path(avatar_id, name), media_type="image/jpeg")


def _add_jobs(
    router: APIRouter, library: AvatarLibrary, queue: JobQueue, settings: Settings, shares: JobShares
) -> None:
    previews = Turnstile(PREVIEWS_WAITING)

    @router.post("/{avatar_id}/test-clip", status_code=202)
    def speak_test(avatar_id: str, request: Request) -> JobView:
        """Queue a clip in which the avatar speaks a few words."""
        bundle, asker = library.open(avatar_id), address_of(request.scope)
        submit = partial(submit_test_clip, queue, avatar_id, bundle.name, asker, owner=bundle.owner)
        return job_view(shares.asked_by(request.scope, submit))

    @router.post("/{avatar_id}/parts", status_code=202)
    def prepare_for_backend(avatar_id: str, wanted: PartsRequest, request: Request) -> JobView:
        """Queue the preparation of an avatar for a neural lip-sync backend: its boxes, masks, faces or latents."""
        submit = partial(submit_parts, library, queue, settings, avatar=avatar_id, asker=address_of(request.scope))
        wish = partial(submit, backend=wanted.backend, parameters=wanted.parameters)
        return job_view(shares.asked_by(request.scope, wish))

    @router.post("/{avatar_id}/parts/preview", response_class=Response)
    async def preview_parts(avatar_id: str, wanted: PartsRequest) -> Response:
        """Draw the first frame as a JPEG, with the box and the mask that the parameters give. Needs no weights."""

        def draw() -> bytes:
            bundle = library.open(avatar_id)
            picture = draw_preview(bundle, wanted.backend, chosen_parameters(wanted.backend, wanted.parameters, bundle))
            return encode_jpeg(picture)

        return Response(await previews.run(draw), media_type="image/jpeg")


def _lacks_cutout(library: AvatarLibrary, avatar_id: str) -> bool:
    return library.file(avatar_id, "cutout.webp") is None and library.file(avatar_id, "mattes.bin") is not None


def _keep_cutout(library: AvatarLibrary, avatar_id: str) -> None:
    if _lacks_cutout(library, avatar_id):  # checked again: an earlier request in the line may have made it
        with library.changing(avatar_id) as folder:
            keep_cutout(AvatarBundle.open(folder))


def _file(library: AvatarLibrary, avatar_id: str, name: str, media_type: str) -> FileResponse:
    path = library.file(avatar_id, name)
    if path is None:
        raise _missing(avatar_id)
    return FileResponse(path, media_type=media_type)


def _missing(avatar_id: str) -> AvatarNotFound:
    return AvatarNotFound(f"There is no avatar {avatar_id[:80]!r}, or no such file of it.", "See GET /api/avatars.")
