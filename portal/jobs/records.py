"""What is known of a job: its record, and the files it keeps."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portal.names import clip_file_name

if TYPE_CHECKING:
    from dbos import WorkflowStatus

__all__ = ["Job", "JobFailure", "JobFolders", "job_of"]

MAX_KEPT_UPLOAD_BYTES = 64 * 1024 * 1024
"A larger upload is not kept for a retry."
MAX_KEPT_BYTES = 1024**3
"Of all uploads that are kept for a retry; beyond it the oldest go."
KEPT = "kept"
"Beside an upload whose job has ended: it is there for a retry."

_STATES = {
    "DELAYED": "queued",
    "ENQUEUED": "queued",
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed, fit to be shown to a person."""

    code: str
    message: str
    hint: str = ""
    report: Mapping[str, Any] | None = None
    "the face report, when it was the face"
    cause: str = ""
    "which of several things the code stands for"


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    kind: str
    "prepare, clip or parts"
    name: str
    "what the person called it"
    state: str
    "queued, running, done, failed or cancelled"
    stage: str
    "name of the step it is in; empty before the first"
    progress: float
    "0..1 over all stages"
    avatar: str
    "id of the avatar being made or speaking"
    backend: str
    "lip-sync backend that the avatar is prepared for; empty for other kinds of job, as the parameters"
    parameters: Mapping[str, Any]
    "with which it is prepared"
    speaker: str
    "name of the avatar that speaks, as it was when a clip was asked for; empty for other kinds of job"
    uploaded: bool
    "whether it works on a file somebody uploaded"
    error: JobFailure | None
    result: Mapping[str, Any] | None
    created_at: float
    "seconds since the epoch, as the two below"
    started_at: float | None
    finished_at: float | None
    told_at: float = 0.0
    "when its worker last told how far it is"

    @property
    def file_name(self) -> str:
        """What its clip is called when it is downloaded; empty for other kinds of job."""
        return clip_file_name(self.speaker, self.name.removeprefix(f"{self.speaker}: ")) if self.kind == "clip" else ""

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")


@dataclass(frozen=True, slots=True)
class JobFolders:
    """Where jobs keep their files."""

    data_dir: Path

    def home(self, job_id: str) -> Path:
        return self.data_dir / "jobs" / job_id

    def work(self, job_id: str) -> Path:
        return self.home(job_id) / "work"

    def upload(self, job_id: str) -> Path | None:
        return next(iter(sorted(self.home(job_id).glob("upload*"))), None)

    def clip(self, job_id: str) -> Path:
        return self.data_dir / "clips" / f"{job_id}.mp4"

    def in_hand(self) -> list[str]:
        """Ids of the jobs that a worker has begun and not left yet: their `work` is there."""
        return sorted(path.parent.name for path in (self.data_dir / "jobs").glob("*/work"))

    def abandon(self, job_id: str) -> None:
        """Remove the upload of a job that a worker has still in hand; the worker removes the rest when it leaves it."""
        upload = self.upload(job_id)
        if upload is not None:
            upload.unlink(missing_ok=True)

    def clear(self, job_id: str, *, keep_upload: bool = False) -> None:
        """Remove what the job left behind, but for its clip; with `keep_upload` also but for a small upload."""
        upload = self.upload(job_id)
        if keep_upload and upload is not None and upload.stat().st_size <= MAX_KEPT_UPLOAD_BYTES:
            shutil.rmtree(self.work(job_id), ignore_errors=True)
            (self.home(job_id) / KEPT).touch()
            self._forget_oldest()
        else:
            shutil.rmtree(self.home(job_id), ignore_errors=True)

    def take_back(self, job_id: str) -> None:
        """The job is run again: its upload is no longer one of those that may be forgotten."""
        (self.home(job_id) / KEPT).unlink(missing_ok=True)

    def _forget_oldest(self) -> None:
        """Whoever cancels again and again must not fill the disk."""
        kept: list[tuple[float, int, Path]] = []
        for mark in (self.data_dir / "jobs").glob(f"*/{KEPT}"):
            with suppress(OSError):  # somebody else removes it just now
                uploads_bytes = sum(path.stat().st_size for path in mark.parent.glob("upload*"))
                kept.append((mark.stat().st_mtime, uploads_bytes, mark.parent))
        total_bytes = sum(size for _, size, _ in kept)
        for _, size, home in sorted(kept):
            if total_bytes <= MAX_KEPT_BYTES:
                return
            shutil.rmtree(home, ignore_errors=True)
            total_bytes -= size


def job_of(row: WorkflowStatus) -> Job:
    """A job as DBOS keeps it: its attributes are ours, its error is that of `portal.worker.runner.JobFailed`."""
    attributes = row.attributes or {}
    given_up = attributes.get("given_up")
    state = "failed" if given_up and row.status == "CANCELLED" else _STATES[row.status]
    return Job(
        id=row.workflow_id,
        kind=row.name,
        name=attributes.get("name", ""),
        state=state,
        stage=attributes.get("stage", ""),
        progress=1.0 if state == "done" else float(attributes.get("progress", 0.0)),
        avatar=attributes.get("avatar", ""),
        backend=attributes.get("backend", ""),
        parameters=attributes.get("parameters", {}),
        speaker=attributes.get("speaker", ""),
        uploaded=bool(attributes.get("upload")),
        error=_failure_of(row) if state == "failed" else None,
        result=row.output if state == "done" else None,
        created_at=_seconds(row.created_at) or 0.0,
        started_at=_seconds(row.dequeued_at),
        finished_at=_seconds(row.completed_at),
        told_at=float(attributes.get("told_at", 0.0)),
    )


def _failure_of(row: WorkflowStatus) -> JobFailure:
    given_up = (row.attributes or {}).get("given_up")
    if given_up:
        return JobFailure(given_up["code"], given_up["message"], given_up["hint"])
    if row.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return JobFailure(
            "worker_died",
            "The worker process died each time it tried this job.",
            "The file may be damaged, or memory too short: try a smaller one.",
        )
    details = getattr(row.error, "data", None)
    if isinstance(details, Mapping):
        return JobFailure(
            details["code"],
            details["message"],
            details["hint"],
            details.get("report"),
            details.get("cause", ""),  # there was none in earlier versions
        )
    return JobFailure("internal", f"The job failed: {row.error}", "The worker's log has the details.")


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
