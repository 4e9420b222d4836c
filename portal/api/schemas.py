"""Models of the HTTP API's requests and answers. `/docs` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError

from avatars.face_formats import face_format, parameters_of
from avatars.facts import AvatarFacts
from avatars.gestures import GestureSummary, gesture_file
from avatars.library import AvatarSummary
from avatars.media_limits import FPS
from pipeline import registry
from pipeline.errors import BadRequest
from portal.backends import BackendChoice
from portal.http.faults import first_fault
from portal.jobs.orders import MAX_TEXT_CHARACTERS
from portal.jobs.records import MP4, Job, JobFailure

__all__ = [
    "AvatarView",
    "BackendView",
    "ClipRequest",
    "ErrorView",
    "GestureView",
    "HealthView",
    "JobView",
    "SessionCounts",
    "UploadForm",
    "avatar_view",
    "backend_view",
    "checked",
    "form_body",
    "gesture_view",
    "job_view",
]


M = TypeVar("M", bound=BaseModel)
MAX_FIELD_CHARACTERS = 1000
"Most characters of a name, an id or another short text in a request. No honest request is longer, and none is stored."
MAX_SPOKEN_CHARACTERS = 100_000
"""Most characters of a text to be spoken, as the schema checks it. The real limit, MAX_TEXT_CHARACTERS, is lower, and
its error says what to do."""


class ErrorView(BaseModel):
    code: str = Field(description="stable, for programs")
    message: str = Field(description="the cause")
    hint: str = Field(description="the remedy")
    cause: str = Field("", description="which of several things the code stands for; stable, may be empty")
    report: dict[str, object] | None = Field(None, description="the face report, when it was the face")


class JobView(BaseModel):
    id: str
    kind: str = Field(description="prepare, clip, parts, gesture or voice")
    name: str
    state: str = Field(description="queued, running, done, failed or cancelled")
    stage: str = Field(description="name of the step that it is in; empty before the first")
    progress: float = Field(description="0..1 over all steps")
    avatar: str = Field(description="id of the avatar being made or speaking")
    backend: str = Field(description="lip-sync backend that the avatar is prepared for; empty for other kinds")
    error: ErrorView | None
    result: dict[str, object] | None
    retryable: bool = Field(description="whether POST /api/jobs/{id}/retry can bring it back and may turn out better")
    gone: str = Field(description="what keeps an ended job from being retried: avatar, upload, or empty")
    speaker: str = Field(description="of a clip: name of the avatar that speaks; empty for other kinds")
    owner: str = Field(description="name of the person whose it is; empty: everybody's")
    file_name: str = Field(description="of a clip: what it is called when it is downloaded; empty for other kinds")
    created_at: float = Field(description="seconds since the epoch")
    started_at: float | None
    finished_at: float | None


class AvatarView(BaseModel):
    id: str
    name: str
    kind: str = Field(description="still or clip")
    width: int = Field(description="px")
    height: int = Field(description="px")
    frames: int
    poster: str | None = Field(description="URL of a still")
    preview: str | None = Field(description="URL of a short moving preview")
    cutout: str | None = Field(description="URL of the person without the background, as a WebP with alpha")
    mattes: str | None = Field(description="URL of where the person is in each frame; see docs/stage.md")
    test_clip: str | None = Field(description="URL of a few spoken words")
    report: dict[str, object] = Field(description="what was seen in each picture of the upload")
    mouth: str = Field(description="how viseme draws its mouth: personal (real mouths of the person) or painted")
    mouth_reason: str = Field(
        description="why it is painted: still, small, few_open, few_closed, not_looked_at, chosen; else empty"
    )
    imported: dict[str, object] | None = Field(description="of a peer's avatar: from whom, and how its boxes agree")
    face: tuple[float, float, float, float] | None = Field(
        description="x, y, width, height of the face in parts of the picture, to centre a small one on it"
    )
    report_pictures: list[str] = Field(description="URLs of the report's strip of pictures")
    prepared: dict[str, dict[str, object]] = Field(description="lip-sync backend -> what it was prepared with for it")
    networks: list[str] = Field(description="lip-sync backends for which it has a network of its own")
    gestures: list[str] = Field(description="names of its gestures, also of those that it shows by itself")
    voice_sample: float | None = Field(description="seconds of its voice sample; none: it has none")
    owner: str = Field(description="name of the person whose it is; empty: everybody's")
    shared: bool = Field(description="whether its owner lets everybody see it, and talk with it")
    changeable: bool = Field(description="whether you may change and delete it")
    erasable: bool = Field(description="whether you may erase it with everything made from it, also by others")


class GestureView(BaseModel):
    name: str
    seconds: float
    sound: bool = Field(description="whether its own sound is heard while the avatar says nothing")
    idle: bool = Field(description="whether the avatar shows it by itself while nobody speaks; nobody can ask for it")
    poster: str | None = Field(description="URL of a still")
    preview: str | None = Field(description="URL of a small clip of it; none for gestures of earlier versions")


class BackendView(BaseModel):
    name: str
    ready: bool = Field(description="whether it can run here")
    reason: str = Field(description="what is missing, and how to get it")
    remedy: str = Field(description="of that, how to get it")
    voices: list[str] = Field(description="of a speech synthesizer")
    online_voices: list[str] = Field(description="those of them whose text is sent to a service on the network")
    speeds: tuple[float, float] = Field(
        description="how slow and how fast its voices speak, in times as fast as by themselves; [1, 1]: at one speed"
    )
    parameters: dict[str, object] | None = Field(
        description="of a lip-sync backend for which avatars are prepared: those that make a difference, with defaults"
    )
    own_network: bool = Field(description="whether it needs a network that was trained for the avatar")


class ClipRequest(BaseModel):
    avatar: str = Field(max_length=MAX_FIELD_CHARACTERS)
    text: str = Field(max_length=MAX_SPOKEN_CHARACTERS, description=f"at most {MAX_TEXT_CHARACTERS:,} characters")
    voice: str | None = Field(None, max_length=MAX_FIELD_CHARACTERS)
    name: str = Field("", max_length=MAX_FIELD_CHARACTERS, description="default: its text")
    format: Literal["mp4", "webm", "mov"] = Field(
        "mp4",
        description="webm (VP9) and mov (ProRes 4444) show the person alone, with alpha, where it is known which part "
        "of the avatar's picture that is: where `mattes` is not null. mp4 shows the whole picture",
    )


class UploadForm(BaseModel):
    """The fields of an upload, apart from its `file`."""

    name: str = Field("", max_length=MAX_FIELD_CHARACTERS, description="default: the file's name")
    consent: str = Field(max_length=MAX_FIELD_CHARACTERS, description='"true": the person shown agrees')
    framing: str = Field(
        "",
        max_length=MAX_FIELD_CHARACTERS,
        description='"x,y,width,height" in parts of the picture; default: all of it',
    )
    cutout: str = Field(
        default="",
        max_length=MAX_FIELD_CHARACTERS,
        description='"true": the person is cut out of a clip, too; default: of photos only',
    )


class SessionCounts(BaseModel):
    live: int
    capacity: int


class HealthView(BaseModel):
    status: str = Field(
        description="ok; degraded: people can talk, but see problems; down: nobody can; stopping: it takes no new "
        "sessions, and ends when answers have been heard"
    )
    version: str
    node: str = Field(description="which of several portals this is; empty where there is only one")
    sessions: SessionCounts
    jobs: dict[str, int]
    avatars: int
    backends: dict[str, str] = Field(description="what is in use: llm, tts, lipsync")
    problems: list[str] = Field(description="what is wrong, in words for a person; empty when all is well")


def checked(model: type[M], given: bytes | Mapping[str, object], hint: str = "See /docs.") -> M:
    """Parse a request, given as JSON or as form fields, into `model`. Raises BadRequest with the given hint."""
    try:
        return model.model_validate_json(given) if isinstance(given, bytes) else model.model_validate(given)
    except ValidationError as error:
        raise BadRequest(f"The request is malformed: {first_fault(error)[1]}.", hint) from error


def job_view(job: Job, *, retryable: bool = False, gone: str = "") -> JobView:
    """Return a job as the API shows it.

    retryable, gone: see JobView. view_of() in `portal/api/jobs.py` finds them out.
    """
    return JobView(
        id=job.id,
        kind=job.kind,
        name=job.name,
        state=job.state,
        stage=job.step,
        progress=job.progress,
        avatar=job.avatar,
        backend=job.backend,
        error=None if job.error is None else _error_view(job.error),
        result=None if job.result is None else dict(job.result),
        retryable=retryable,
        gone=gone,
        speaker=job.speaker,
        owner=job.owner,
        file_name=job.file_name,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def _error_view(failure: JobFailure) -> ErrorView:
    report = None if failure.report is None else dict(failure.report)
    return ErrorView(code=failure.code, message=failure.message, hint=failure.hint, cause=failure.cause, report=report)


def backend_view(choice: BackendChoice) -> BackendView:
    face = face_format(choice.name) if choice.name in registry.prepared_names() else None
    return BackendView(
        name=choice.name,
        ready=choice.ready,
        reason="" if choice.lacking is None else str(choice.lacking),
        remedy="" if choice.lacking is None else choice.lacking.hint or choice.lacking.message,
        voices=list(choice.voices),
        online_voices=[voice for voice in choice.voices if voice in choice.online_voices],
        speeds=choice.speeds,
        parameters=None if face is None else parameters_of(face.name),
        own_network=face is not None and face.own_network,
    )


def avatar_view(
    avatar: AvatarSummary, facts: AvatarFacts, pictures: list[str], test_clip: str, *, changeable: bool, erasable: bool
) -> AvatarView:
    """Return an avatar as the API shows it.

    pictures: file names of the pictures in its face report. test_clip: id of the job that made its test clip; empty if
    there is none. changeable, erasable: whether the person who asks may change or erase it.
    """
    base = f"/api/avatars/{avatar.id}"
    # The pictures of an id may change, for example when a preset is made anew. The time in the URL keeps a browser from
    # showing an old one from its cache.
    stamp, imported = f"?t={avatar.modified_s:.0f}", avatar.source.get("imported")
    return AvatarView(
        id=avatar.id,
        name=avatar.name,
        kind=avatar.kind,
        width=avatar.width,
        height=avatar.height,
        frames=avatar.frames,
        poster=None if avatar.poster is None else f"{base}/poster.jpg{stamp}",
        preview=None if avatar.preview is None else f"{base}/preview.mp4{stamp}",
        cutout=None if avatar.mattes is None else f"{base}/cutout.webp{stamp}",
        mattes=None if avatar.mattes is None else f"{base}/mattes.bin{stamp}",
        test_clip=f"/api/clips/{test_clip}.{MP4}" if test_clip else None,
        report=dict(avatar.report),
        mouth=avatar.mouth[0],
        mouth_reason=avatar.mouth[1],
        imported=imported if isinstance(imported, dict) else None,
        face=avatar.face,
        report_pictures=[f"{base}/report/{name}" for name in pictures],
        prepared=dict(facts.prepared),
        networks=list(facts.networks),
        gestures=list(facts.gestures),
        voice_sample=facts.voice_sample_s,
        owner=avatar.ownership.owner,
        shared=avatar.ownership.shared,
        changeable=changeable,
        erasable=erasable,
    )


def gesture_view(gesture: GestureSummary, avatar_id: str, folder: Path) -> GestureView:
    """Return a gesture as the API shows it. folder: the avatar's folder."""
    base = f"/api/avatars/{avatar_id}/gestures/{quote(gesture.name, safe='')}"
    stamp = f"?t={gesture.modified_s:.3f}"  # a new gesture of the same name has other pictures; see avatar_view()
    return GestureView(
        name=gesture.name,
        seconds=gesture.pictures / FPS,
        sound=gesture.has_sound,
        idle=gesture.is_idle,
        poster=f"{base}/poster.jpg{stamp}" if gesture_file(folder, gesture.name, "poster.jpg") else None,
        preview=f"{base}/preview.mp4{stamp}" if gesture_file(folder, gesture.name, "preview.mp4") else None,
    )


def form_body(fields: type[BaseModel], *, file: str, needs_file: bool = True) -> dict[str, object]:
    """Return the OpenAPI description of a request whose body the route reads itself: a form with `fields` and one file.

    needs_file: False if the fields may also be sent as JSON, without a file.
    """
    schema = fields.model_json_schema()
    content: dict[str, object] = {} if needs_file else {"application/json": {"schema": schema}}
    upload = {"type": "string", "format": "binary"}
    form = {**schema, "properties": {**schema["properties"], file: upload}}
    form["required"] = [*schema.get("required", ()), file] if needs_file else ["avatar"]
    content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}
