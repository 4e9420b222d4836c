"""What is known of a job: the order it was made from, its record, and the files it keeps."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Required, TypedDict

from portal.jobs.face_reports import FaceReports
from portal.names import clip_file_name

__all__ = [
    "CLIP",
    "CLIP_TYPES",
    "GESTURE",
    "KINDS",
    "LONG_CLIPS",
    "MP4",
    "PARTS",
    "PREPARE",
    "VOICE_SAMPLE",
    "Job",
    "JobFailure",
    "JobFolders",
    "JobOrder",
    "Joins",
    "line_of",
]

PREPARE = "prepare"
CLIP = "clip"
PARTS = "parts"
GESTURE = "gesture"
VOICE_SAMPLE = "voice"
KINDS = (PREPARE, CLIP, PARTS, GESTURE, VOICE_SAMPLE)

MP4 = "mp4"
CLIP_TYPES: Final[Mapping[str, str]] = {MP4: "video/mp4", "webm": "video/webm", "mov": "video/quicktime"}
"""Formats of clips, by how their files' names end, and their media types. All but MP4 show the person alone."""

LONG_CLIPS = "long-clip"
"The line of clips that take minutes to make."
LONG_CLIP_S = 60.0
"Seconds of speech from which a clip counts as long."
ALPHA_WORK = 10.0
"How many times the work of an MP4 a clip with alpha counts as. Once it was seen to take 13 times as long."

MAX_KEPT_UPLOAD_BYTES = 64 * 1024 * 1024
"A larger upload is not kept for a retry."
MAX_KEPT_BYTES = 1024**3
"Of all uploads that are kept for a retry; beyond it the oldest go."
FOLDER_MARK = "jobs-folder.id"
"File in the data folder by which every process knows it again, wherever it is mounted."
KEPT = "kept"
"Beside an upload whose job has ended: it is there for a retry."


class Joins(Enum):
    """Whether a job under way will do instead of a new one: the newest of the same kind, avatar and backend."""

    NOTHING = "nothing"
    SAME = "same"
    "it will, if it has the same parameters"
    ANY = "any"


class JobInputs(TypedDict, total=False):
    """What the worker works with, as JSON; each kind of job has some of it, written by `orders.py`."""

    avatar: Required[str]
    name: str
    "of the avatar"
    owner: str
    "of the avatar that is made; jobs of earlier versions have none"
    file_name: str
    consent: bool
    framing: Sequence[float] | None
    cutout: bool
    "whether the person is cut out of a clip; jobs of earlier versions have none, and leave the background"
    preset: str
    text: str | None
    voice: str | None
    backend: str
    parameters: Mapping[str, object]
    gesture: str
    "its name"
    sound: bool
    "whether the gesture's own sound is to be heard"
    idle: bool
    "whether the avatar shows the gesture by itself"
    transcript: str
    "what is said in a voice sample; empty: it is recognised"
    format: str
    "of a clip, one of CLIP_TYPES; jobs of earlier versions have none, and are MP4"


@dataclass(frozen=True, slots=True)
class JobOrder:
    """A wish for a job, checked (`orders.py`)."""

    kind: str
    "one of KINDS"
    name: str
    "what people see it called"
    avatar: str
    "id of the avatar to be made, or that speaks, or is prepared"
    inputs: JobInputs
    "JSON; what the worker works with"
    upload: Path | None = None
    "a file that becomes the job's own"
    speaker: str = ""
    "name of the avatar that speaks in a clip"
    owner: str = ""
    "name of the person whose job it is; empty for everybody's"
    id: str = ""
    "where it is always the same job; empty for a fresh one"
    urgent: bool = False
    rank: int = 0
    "jobs of a lower rank come first, whenever they were ordered; given by the queue"
    notify: str = ""
    "address that is told of each change of its state; empty for none"
    joins: Joins = Joins.NOTHING
    speech_s: float = 0.0
    "of a clip, about; 0 for other kinds of job"

    @property
    def backend(self) -> str:
        """Lip-sync backend that the avatar is prepared for; empty for other kinds of job."""
        return str(self.inputs.get("backend", ""))

    @property
    def format(self) -> str:
        """Of a clip, one of CLIP_TYPES."""
        return self.inputs.get("format", MP4)

    @property
    def parameters(self) -> Mapping[str, object]:
        """With which it is prepared."""
        return self.inputs.get("parameters", {})


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed, fit to be shown to a person."""

    code: str
    message: str
    hint: str = ""
    report: Mapping[str, object] | None = None
    "the face report, when it was the face"
    cause: str = ""
    "which of several things the code stands for"


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    kind: str
    "prepare, clip, parts, gesture or voice"
    name: str
    "what the person called it"
    state: str
    "queued, running, done, failed or cancelled"
    step: str
    "name of the step it is in; empty before the first"
    progress: float
    "0..1 over all steps"
    avatar: str
    "id of the avatar being made or speaking"
    backend: str
    "lip-sync backend that the avatar is prepared for; empty for other kinds of job, as the parameters"
    parameters: Mapping[str, object]
    "with which it is prepared"
    speaker: str
    "name of the avatar that speaks, as it was when a clip was asked for; empty for other kinds of job"
    uploaded: bool
    "whether it works on a file somebody uploaded"
    error: JobFailure | None
    result: Mapping[str, object] | None
    created_at: float
    "seconds since the epoch, as the two below"
    started_at: float | None
    finished_at: float | None
    reported_at: float = 0.0
    "when its worker last reported how far it is"
    rank: int = 0
    "as in its order"
    speech_s: float = 0.0
    "as in its order; 0 for clips of earlier versions"
    owner: str = ""
    "as in its order; empty for jobs of earlier versions, as the next"
    notify: str = ""
    "as in its order"
    format: str = MP4
    "of a clip, as in its order; means nothing for other kinds of job"

    @property
    def file_name(self) -> str:
        """What its clip is called when it is downloaded; empty for other kinds of job."""
        if self.kind != CLIP:
            return ""
        return clip_file_name(self.speaker, self.name.removeprefix(f"{self.speaker}: "), self.format)

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")


def line_of(job: Job | JobOrder) -> str:
    """The line in which a job waits. One job of each line is worked on at a time.

    Long clips have a line of their own: whoever orders one must not keep everybody's few words waiting for it.
    """
    work_s = job.speech_s * (1.0 if job.format == MP4 else ALPHA_WORK)
    return LONG_CLIPS if job.kind == CLIP and work_s > LONG_CLIP_S else job.kind


@dataclass(frozen=True, slots=True)
class JobFolders:
    """Where jobs keep their files."""

    data_dir: Path

    @property
    def reports(self) -> FaceReports:
        return FaceReports(self.data_dir)

    @property
    def mark(self) -> str:
        """By which every process knows again where the files of these jobs are; empty where nobody has made it yet."""
        try:
            return (self.data_dir / FOLDER_MARK).read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def make_mark(self) -> str:
        """The mark, which is made where there is none."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), (self.data_dir / FOLDER_MARK).open("x", encoding="ascii") as file:
            file.write(secrets.token_hex(16))
        return self.mark

    @property
    def hands_on_work(self) -> bool:
        """Whether a worker finds what another one has left in work()."""
        return True

    def home(self, job_id: str) -> Path:
        return self.data_dir / "jobs" / job_id

    def work(self, job_id: str) -> Path:
        return self.home(job_id) / "work"

    def upload(self, job_id: str) -> Path | None:
        return next(iter(sorted(self.home(job_id).glob("upload*"))), None)

    def has_upload(self, job_id: str) -> bool:
        """Whether upload() gives a file; for lists."""
        return self.upload(job_id) is not None

    def take_upload(self, job_id: str, upload: Path) -> None:
        """Make a stored file the upload of a new job. Raises FileExistsError: there is a job of that id."""
        home = self.home(job_id)
        home.mkdir(parents=True)
        try:
            shutil.move(upload, home / "upload")
        except BaseException:  # whatever it was: there will be no job
            shutil.rmtree(home, ignore_errors=True)
            raise

    def clip(self, job_id: str, ending: str = MP4) -> Path:
        """Where the job's clip is made. ending: one of CLIP_TYPES."""
        return self.data_dir / "clips" / f"{job_id}.{ending}"

    def keep_clip(self, job_id: str, ending: str) -> None:
        """Its clip is complete, and is to be seen from now on. ending: one of CLIP_TYPES."""

    def find_clip(self, job_id: str, ending: str) -> Path | None:
        """The job's clip of that format; None if there is none."""
        path = self.clip(job_id, ending)
        return path if path.is_file() else None

    def has_clip(self, job_id: str) -> bool:
        """Whether made_clip() gives a file; for lists."""
        return self.made_clip(job_id) is not None

    def made_clip(self, job_id: str) -> Path | None:
        """The job's clip, whatever its format; None if there is none."""
        return next((path for ending in CLIP_TYPES if (path := self.find_clip(job_id, ending))), None)

    def remove_clip(self, job_id: str) -> None:
        for ending in CLIP_TYPES:
            self.clip(job_id, ending).unlink(missing_ok=True)

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

    def sweep(self, owned: Collection[str]) -> None:
        """Remove what of an ended job could not be removed where it is shared. owned: ids of jobs that there are."""

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
