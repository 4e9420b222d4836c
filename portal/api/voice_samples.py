"""HTTP routes for an avatar's voice sample: show it, add it, correct its transcript, delete it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from avatars.library import AvatarLibrary
from avatars.voice_sample import (
    MAX_TRANSCRIPT_CHARACTERS,
    VoiceSample,
    change_transcript,
    delete_voice_sample,
    read_voice_sample,
)
from portal.api.orders import ordered
from portal.api.schemas import MAX_FIELD_CHARACTERS, JobView, form_body, job_view
from portal.http.error_route import ErrorRoute
from portal.http.proxies import address_of
from portal.intake.submissions import submit_voice_sample
from portal.intake.uploads import Uploads
from portal.jobs.queue import JobQueue
from portal.jobs.shares import JobShares

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["VoiceSampleView", "voice_samples_router"]


class VoiceSampleForm(BaseModel):
    """The fields of a voice sample's upload, apart from its `file`."""

    consent: str = Field(
        max_length=MAX_FIELD_CHARACTERS,
        description='"true": the person who speaks agrees that the avatar speaks with this voice',
    )
    transcript: str = Field(
        "",
        description="what is said in it; left out: it is recognised, where something here can",
        max_length=MAX_TRANSCRIPT_CHARACTERS,
    )


class VoiceSampleView(BaseModel):
    """An avatar's voice sample. Its sound is not part of it: only voices get that."""

    seconds: float
    transcript: str = Field(description="what is said in it; empty: not known")


class TranscriptChange(BaseModel):
    transcript: str = Field(description="what is said in it", max_length=MAX_TRANSCRIPT_CHARACTERS)


def voice_samples_router(
    library: AvatarLibrary, queue: JobQueue, settings: Settings, uploads: Uploads, shares: JobShares
) -> APIRouter:
    """Return the routes for an avatar's voice sample. An avatar has one or none.

    The sample's sound is never sent to clients. It leaves the server only for the voice service that copies it.
    """
    router = APIRouter(prefix="/api/avatars/{avatar_id}/voice-sample", tags=["avatars"], route_class=ErrorRoute)

    @router.get("")
    def show_voice_sample(avatar_id: str) -> VoiceSampleView | None:
        """Show an avatar's voice sample; null if it has none."""
        library.summary(avatar_id)  # raises: there is no such avatar
        sample = read_voice_sample(library.folder(avatar_id))
        return None if sample is None else _view(sample)

    @router.post("", status_code=202, openapi_extra=form_body(VoiceSampleForm, file="file"))
    async def add_voice_sample(avatar_id: str, request: Request) -> JobView:
        """Queue a recording of 3 to 30 s as the voice sample: multipart fields `file`, `consent` ("true"),
        `transcript`. It replaces the avatar's earlier one. Sessions that begin afterwards speak like it, if their voice
        can copy voices.
        """
        library.path_of(avatar_id)
        handed_in = await uploads.handed_in(request, settings.max_upload_bytes, "the recording")
        submit = partial(
            submit_voice_sample, library, queue, handed_in, avatar_id, settings.tts, asker=address_of(request.scope)
        )
        return job_view(await ordered(request.scope, uploads, shares, handed_in.path, submit))

    @router.patch("")
    def say_transcript(avatar_id: str, change: TranscriptChange) -> VoiceSampleView:
        """Correct the transcript of the voice sample. Sessions use it from their next sentence on."""
        library.summary(avatar_id)  # raises: there is no such avatar
        with library.changing(avatar_id) as folder:
            return _view(change_transcript(folder, " ".join(change.transcript.split())))

    @router.delete("", status_code=204)
    def remove_voice_sample(avatar_id: str) -> Response:
        """Delete the voice sample. Sessions speak with another voice from their next sentence on."""
        library.summary(avatar_id)  # raises: there is no such avatar
        with library.changing(avatar_id) as folder:
            delete_voice_sample(folder)
        return Response(status_code=204)

    return router


def _view(sample: VoiceSample) -> VoiceSampleView:
    return VoiceSampleView(seconds=sample.seconds, transcript=sample.transcript)
