"""What the HTTP API answers with, and takes. `/docs` shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from avatars.library import AvatarSummary
from portal.job_records import Job, JobFailure

__all__ = [
    "AvatarView",
    "ClipRequest",
    "ErrorView",
    "HealthView",
    "JobView",
    "SessionCounts",
    "avatar_view",
    "job_view",
]


class ErrorView(BaseModel):
    code: str = Field(description="stable, for programs")
    message: str = Field(description="the cause")
    hint: str = Field(description="the remedy")
    report: dict[str, Any] | None = Field(None, description="the face report, when it was the face")


class JobView(BaseModel):
    id: str
    kind: str = Field(description="prepare, clip or parts")
    name: str
    state: str = Field(description="queued, running, done, failed or cancelled")
    stage: str
    progress: float = Field(description="0..1 over all stages")
    avatar: str = Field(description="id of the avatar being made or speaking")
    error: ErrorView | None
    result: dict[str, Any] | None
    retryable: bool = Field(description="whether POST /api/jobs/{id}/retry can bring it back")
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
    test_clip: str | None = Field(description="URL of a few spoken words")
    report: dict[str, Any] = Field(description="what was seen in each picture of the upload")
    imported: dict[str, Any] | None = Field(description="of a peer's avatar: from whom, and how its boxes agree")
    report_pictures: list[str] = Field(description="URLs of the report's strip of pictures")


class ClipRequest(BaseModel):
    avatar: str
    text: str
    voice: str | None = None
    name: str = ""


class SessionCounts(BaseModel):
    live: int
    capacity: int


class HealthView(BaseModel):
    status: str = Field(description="ok")
    version: str
    sessions: SessionCounts
    jobs: dict[str, int]
    avatars: int
    backends: dict[str, str] = Field(description="what is in use: llm, tts, lipsync")


def job_view(job: Job, *, retryable: bool = False) -> JobView:
    return JobView(
        id=job.id,
        kind=job.kind,
        name=job.name,
        state=job.state,
        stage=job.stage,
        progress=job.progress,
        avatar=job.avatar,
        error=None if job.error is None else _error_view(job.error),
        result=None if job.result is None else dict(job.result),
        retryable=retryable,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def _error_view(failure: JobFailure) -> ErrorView:
    report = None if failure.report is None else dict(failure.report)
    return ErrorView(code=failure.code, message=failure.message, hint=failure.hint, report=report)


def avatar_view(avatar: AvatarSummary, pictures: list[str], test_clip: Path) -> AvatarView:
    base = f"/api/avatars/{avatar.id}"
    # Pictures of an id may change (a preset made anew): the time keeps a browser from showing the old one.
    stamp = f"?t={avatar.modified_s:.0f}"
    return AvatarView(
        id=avatar.id,
        name=avatar.name,
        kind=avatar.kind,
        width=avatar.width,
        height=avatar.height,
        frames=avatar.frames,
        poster=None if avatar.poster is None else f"{base}/poster.jpg{stamp}",
        preview=None if avatar.preview is None else f"{base}/preview.mp4{stamp}",
        test_clip=f"/api/clips/{test_clip.name}" if test_clip.is_file() else None,
        report=dict(avatar.report),
        imported=avatar.source.get("imported"),
        report_pictures=[f"{base}/report/{name}" for name in pictures],
    )
