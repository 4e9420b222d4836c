"""The data types of jobs: the order that a job is made from, its record, and its files."""

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
from portal.jobs.former_ids import FormerIds
from portal.names import clip_file_name

__all__ = [
    "CLIP",
    "CLIP_TYPES",
    "GESTURE",
    "KINDS",
    "LONG_LINES",
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
"""Formats of clips, as file name ending -> media type. All but MP4 show the person alone, without a background."""

LONG_LINES: Final[Mapping[str, str]] = {PREPARE: "long-prepare", CLIP: "long-clip"}
"""Names of the lines for jobs that take minutes, by their kind. Those of other kinds take seconds."""
LONG_CLIP_S = 60.0
"A clip with more than this many seconds of speech counts as long."
ALPHA_WORK = 10.0
"A second of a clip with alpha counts as this many of an MP4. In one measurement it took 13 times as long."

MAX_KEPT_UPLOAD_BYTES = 64 * 1024 * 1024
"Largest upload that is kept for a retry."
MAX_KEPT_BYTES = 1024**3
"Largest total size of the uploads kept for a retry; beyond it the oldest are removed."
FOLDER_MARK = "jobs-folder.id"
"File in the data folder with a random id, by which a process recognises the folder wherever it is mounted."
KEPT = "kept"
"Empty file beside an upload whose job has ended; it says that the upload is kept for a retry."


class Joins(Enum):
    """Whether an order joins a job under way instead of making a new one.

    Only the newest job of the same kind, avatar and backend can be joined.
    """

    NOTHING = "nothing"
    SAME = "same"
    "it joins that job if the parameters are the same"
    ANY = "any"
    "it joins that job whatever its parameters"


class JobInputs(TypedDict, total=False):
    """The input of a job for the worker, as JSON. `orders.py` writes it; each kind of job uses some of the fields."""

    avatar: Required[str]
    name: str
    "name of the avatar"
    owner: str
    "owner of the avatar that is made; missing in jobs of earlier versions"
    file_name: str
    consent: bool
    framing: Sequence[float] | None
    cutout: bool
    "whether the person is cut out of a clip; missing in jobs of earlier versions, which keep the background"
    preset: str
    text: str | None
    voice: str | None
    backend: str
    parameters: Mapping[str, object]
    gesture: str
    "name of the gesture"
    sound: bool
    "whether the gesture's own sound is to be heard"
    idle: bool
    "whether the avatar shows the gesture by itself"
    transcript: str
    "what is said in a voice sample; if empty, speech recognition finds out"
    format: str
    "format of a clip, one of CLIP_TYPES; missing in jobs of earlier versions, which make MP4"


@dataclass(frozen=True, slots=True)
class JobOrder:
    """A checked order for a job (`orders.py`)."""

    kind: str
    "one of KINDS"
    name: str
    "the job's name for people"
    avatar: str
    "id of the avatar that is made, prepared or changed, or that speaks"
    inputs: JobInputs
    "input for the worker, as JSON"
    upload: Path | None = None
    "uploaded file, which is moved to the job's folder"
    speaker: str = ""
    "name of the avatar that speaks in a clip"
    owner: str = ""
    "name of the person who owns the job; empty if it belongs to everybody"
    id: str = ""
    "id of the job, if it has to have a certain one; empty for a new id"
    urgent: bool = False
    "whether the job comes before all that are not urgent"
    rank: int = 0
    "jobs of a lower rank come first, whenever they were ordered; set by the queue"
    notify: str = ""
    "address that is told of each change of the job's state; empty for none"
    joins: Joins = Joins.NOTHING
    speech_s: float = 0.0
    "approximate seconds of speech in a clip; 0 for other kinds of job"
    is_long: bool = False
    "whether an avatar is made of anything but a photo, which may take minutes"

    @property
    def backend(self) -> str:
        """The lip-sync backend that the avatar is prepared for; empty for other kinds of job."""
        return str(self.inputs.get("backend", ""))

    @property
    def format(self) -> str:
        """The format of a clip, one of CLIP_TYPES."""
        return self.inputs.get("format", MP4)

    @property
    def parameters(self) -> Mapping[str, object]:
        """The parameters of that preparation."""
        return self.inputs.get("parameters", {})


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed, in words for people."""

    code: str
    message: str
    hint: str = ""
    report: Mapping[str, object] | None = None
    "the face report, if the face was the reason"
    cause: str = ""
    "tells apart the several things that a code may stand for"


@dataclass(frozen=True, slots=True)
class Job:
    """The record of a job."""

    id: str
    kind: str
    "prepare, clip, parts, gesture or voice"
    name: str
    "the job's name for people"
    state: str
    "queued, running, done, failed or cancelled"
    step: str
    "name of the current step; empty before the first"
    progress: float
    "0..1 over all steps"
    avatar: str
    "id of the avatar that is made, prepared or changed, or that speaks"
    backend: str
    "lip-sync backend that the avatar is prepared for; empty for other kinds of job"
    parameters: Mapping[str, object]
    "parameters of that preparation; empty for other kinds of job"
    speaker: str
    "name of the avatar that speaks, as it was when a clip was asked for; empty for other kinds of job"
    uploaded: bool
    "whether it needs an uploaded file"
    error: JobFailure | None
    result: Mapping[str, object] | None
    created_at: float
    "in seconds since the epoch, like the three times below"
    started_at: float | None
    finished_at: float | None
    reported_at: float = 0.0
    "when its worker last reported progress"
    rank: int = 0
    "see JobOrder"
    speech_s: float = 0.0
    "see JobOrder; 0 for clips of earlier versions"
    is_long: bool = False
    "see JobOrder; False for jobs of earlier versions"
    owner: str = ""
    "see JobOrder; empty for jobs of earlier versions"
    notify: str = ""
    "see JobOrder; empty for jobs of earlier versions"
    format: str = MP4
    "format of a clip; without meaning for other kinds of job"

    @property
    def file_name(self) -> str:
        """The file name for a download of its clip; empty for other kinds of job."""
        if self.kind != CLIP:
            return ""
        return clip_file_name(self.speaker, self.name.removeprefix(f"{self.speaker}: "), self.format)

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("queued", "running")


def line_of(job: Job | JobOrder) -> str:
    """Return the name of the line in which a job waits. A worker runs one job of each line at a time.

    Long jobs have lines of their own, so that short ones of other people do not wait for them.
    """
    work_s = job.speech_s * (1.0 if job.format == MP4 else ALPHA_WORK)
    return LONG_LINES.get(job.kind, job.kind) if job.is_long or work_s > LONG_CLIP_S else job.kind


@dataclass(frozen=True, slots=True)
class JobFolders:
    """The files of jobs, in the data folder."""

    data_dir: Path

    @property
    def reports(self) -> FaceReports:
        """The pictures of face reports."""
        return FaceReports(self.data_dir)

    @property
    def former_ids(self) -> FormerIds:
        return FormerIds(self.data_dir)

    @property
    def mark(self) -> str:
        """The random id by which a process recognises the place of these files; empty if it was not made yet."""
        try:
            return (self.data_dir / FOLDER_MARK).read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def make_mark(self) -> str:
        """Return the mark; make it if there is none."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), (self.data_dir / FOLDER_MARK).open("x", encoding="ascii") as file:
            file.write(secrets.token_hex(16))
        return self.mark

    @property
    def hands_on_work(self) -> bool:
        """Whether a worker can see the files that another worker has left in work()."""
        return True

    def home(self, job_id: str) -> Path:
        """Return the job's folder."""
        return self.data_dir / "jobs" / job_id

    def work(self, job_id: str) -> Path:
        """Return the folder in which the job's steps work. It exists while a worker has the job in hand."""
        return self.home(job_id) / "work"

    def upload(self, job_id: str) -> Path | None:
        """Return the path of the job's upload; None if there is none."""
        return next(iter(sorted(self.home(job_id).glob("upload*"))), None)

    def has_upload(self, job_id: str) -> bool:
        """Whether the job has an upload. This is cheap, for lists of jobs."""
        return self.upload(job_id) is not None

    def take_upload(self, job_id: str, upload: Path) -> None:
        """Move a stored file into the folder of a new job. Raises FileExistsError: a job with this id has a folder."""
        home = self.home(job_id)
        home.mkdir(parents=True)
        try:
            shutil.move(upload, home / "upload")
        except BaseException:  # whatever went wrong, there will be no job to own the folder
            shutil.rmtree(home, ignore_errors=True)
            raise

    def clip(self, job_id: str, ending: str = MP4) -> Path:
        """Return the path at which the job's clip is made. ending: one of CLIP_TYPES."""
        return self.data_dir / "clips" / f"{job_id}.{ending}"

    def keep_clip(self, job_id: str, ending: str) -> None:
        """Publish the job's clip, which is complete. ending: one of CLIP_TYPES."""

    def find_clip(self, job_id: str, ending: str) -> Path | None:
        """Return the path of the job's clip in a format; None if there is none."""
        path = self.clip(job_id, ending)
        return path if path.is_file() else None

    def has_clip(self, job_id: str) -> bool:
        """Whether the job has a clip. This is cheap, for lists of jobs."""
        return self.made_clip(job_id) is not None

    def with_clips(self, job_ids: Collection[str]) -> set[str]:
        """Return the ids of those of these jobs that have a clip.

        Raises StoreUnreachable if that is not known now. has_clip() then says what was known before.
        """
        return {job_id for job_id in job_ids if self.has_clip(job_id)}

    def made_clip(self, job_id: str) -> Path | None:
        """Return the path of the job's clip, whatever its format; None if there is none."""
        return next((path for ending in CLIP_TYPES if (path := self.find_clip(job_id, ending))), None)

    def remove_clip(self, job_id: str) -> None:
        """Remove the job's clip, whatever its format."""
        for ending in CLIP_TYPES:
            self.clip(job_id, ending).unlink(missing_ok=True)

    def in_hand(self) -> list[str]:
        """Return the ids of jobs that a worker has begun and not finished, sorted. Their `work` folders exist."""
        return sorted(path.parent.name for path in (self.data_dir / "jobs").glob("*/work"))

    def abandon(self, job_id: str) -> None:
        """Remove the upload of a job that a worker still has in hand. The worker removes the rest when it finishes."""
        upload = self.upload(job_id)
        if upload is not None:
            upload.unlink(missing_ok=True)

    def clear(self, job_id: str, *, keep_upload: bool = False) -> None:
        """Remove the job's files except its clip and, with `keep_upload`, a small upload."""
        upload = self.upload(job_id)
        if keep_upload and upload is not None and upload.stat().st_size <= MAX_KEPT_UPLOAD_BYTES:
            shutil.rmtree(self.work(job_id), ignore_errors=True)
            (self.home(job_id) / KEPT).touch()
            self._forget_oldest()
        else:
            shutil.rmtree(self.home(job_id), ignore_errors=True)

    def sweep(self, owned: Collection[str]) -> None:
        """Remove shared files of ended jobs that could not be removed before. owned: ids of all existing jobs.

        There are none here; see SharedJobFolders.
        """

    def take_back(self, job_id: str) -> None:
        """Unmark the upload of a job that is retried, so that it is not removed as one of the oldest kept uploads."""
        (self.home(job_id) / KEPT).unlink(missing_ok=True)

    def _forget_oldest(self) -> None:
        """Remove the oldest kept uploads beyond MAX_KEPT_BYTES, so that cancelling again and again fills no disk."""
        kept: list[tuple[float, int, Path]] = []
        for mark in (self.data_dir / "jobs").glob(f"*/{KEPT}"):
            with suppress(OSError):  # somebody else has just removed it
                uploads_bytes = sum(path.stat().st_size for path in mark.parent.glob("upload*"))
                kept.append((mark.stat().st_mtime, uploads_bytes, mark.parent))
        total_bytes = sum(size for _, size, _ in kept)
        for _, size, home in sorted(kept):
            if total_bytes <= MAX_KEPT_BYTES:
                return
            shutil.rmtree(home, ignore_errors=True)
            total_bytes -= size
