"""The durable job queue, seen from the portal: submit, look, cancel. The portal never runs a job.

Jobs live in `<data_dir>/jobs.db` (DBOS on SQLite) and are run, one step after another, by the worker process of
`portal/worker`. A step that has finished is never run again, whatever dies. All the portal and the worker share is
this database and the folder of each job:

    jobs.db                  states, results, errors
    jobs/<id>/upload         what was uploaded; kept, while it is small, after a failure, and a recording also after its
                             clip was cancelled, so that the job can be retried
    jobs/<id>/work/          what the steps hand on to each other; removed at the end
    clips/<id>.mp4           results of clip jobs

Methods block for milliseconds (SQLite): call them from a thread, not on the event loop.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatars.disk import disk_full_explained
from avatars.library import AvatarLibrary
from models.errors import kinds_of_errors
from pipeline.errors import BadRequest
from portal.errors import JobNotFound, QueueFull
from portal.jobs.face_reports import FaceReports
from portal.jobs.records import Job, JobFailure, JobFolders, job_of
from portal.names import clean_file_name, clean_name

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions

__all__ = [
    "APPLICATION",
    "APPLICATION_VERSION",
    "CLIP",
    "EXECUTOR_ID",
    "PARTS",
    "PREPARE",
    "JobQueue",
    "database_url",
    "enqueue_options",
    "id_of_test_clip",
    "may_do_better",
    "new_job_id",
    "open_database",
]

PREPARE = "prepare"
CLIP = "clip"
PARTS = "parts"

APPLICATION = "vivavoce"
APPLICATION_VERSION = "jobs-1"
"A constant: DBOS recovers only jobs of its own version, and a newer Vivavoce must finish the jobs of an older one."
EXECUTOR_ID = "worker"
"A constant: a restarted worker takes up what the killed one left."

URGENT, ORDINARY = 1, 10
"Priorities, lower first. Presets are urgent: without them there is nobody to talk to."

MAX_TEXT_CHARACTERS = 5000
TEST_WORDS = "Hello! This is how I look when I speak."

_REMEDIES = {
    "avatar": "Its avatar was deleted: choose another one.",
    "upload": "Upload the file once more.",
    "": "Only jobs that have failed or were cancelled can.",
}
"What helps where a job cannot be run again, by what is gone."

_WITHOUT_A_CLASS = frozenset({"nothing_spoken", "upload_gone"})
"Codes that only jobs fail with, because of what went in."

_KINDS = (PREPARE, CLIP, PARTS)
_WAITING = ["ENQUEUED", "DELAYED"]
_ACTIVE = [*_WAITING, "PENDING"]


def new_job_id() -> str:
    """Ids sort by time of birth: the database keeps whole seconds only."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(4)}"


def may_do_better(job: Job) -> bool:
    """Whether it ended without a result, and not because of what went in."""
    return job.state in ("failed", "cancelled") and not (job.error and _fails_the_same_way_again(job.error.code))


def _fails_the_same_way_again(code: str) -> bool:
    """By its code, because the error itself ended with the worker process."""
    return code in _WITHOUT_A_CLASS or any(kind.code == code and not kind.retryable for kind in kinds_of_errors())


def id_of_test_clip(avatar: str) -> str:
    """Id of the one job that shows how an avatar speaks."""
    return f"test-{avatar}"


def database_url(data_dir: Path) -> str:
    import sqlalchemy

    path = (data_dir / "jobs.db").resolve()
    return sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def open_database(data_dir: Path) -> str:
    """Make or migrate `jobs.db`; gives its URL. Portal and worker may both do it, in any order."""
    from dbos import DBOS

    # At INFO it tells of each of its hundred migrations, and that SQLite is for development.
    logging.getLogger("dbos").setLevel(logging.WARNING)
    data_dir.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(data_dir / "jobs.db", timeout=30)
    # WAL: the page reads while the worker writes. The mode is kept in the file.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    url = database_url(data_dir)
    DBOS.migrate(url)
    return url


class JobQueue:
    """Thread-safe. Cheap to build; connects (and imports DBOS, 0.6 s) at its first use."""

    def __init__(self, data_dir: Path, *, max_waiting: int = 50) -> None:
        self.folders = JobFolders(data_dir)
        self._max_waiting = max_waiting
        self._listeners: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self._asking_for_parts = threading.Lock()
        self._admitting = threading.Lock()
        "held from looking whether there is room until the job is in the queue"
        self._library = AvatarLibrary(data_dir / "avatars")
        self._connection: DBOSClient | None = None

    def on_submit(self, listener: Callable[[], object]) -> None:
        """Have `listener` called, in the submitting thread, each time there is new work."""
        self._listeners.append(listener)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.destroy()
                self._connection = None

    # -- submitting

    def submit_avatar(
        self,
        upload: Path,
        *,
        avatar: str,
        name: str,
        consent: bool,
        file_name: str = "",
        framing: Sequence[float] | None = None,
    ) -> Job:
        """Take over `upload` (it is moved) and queue its preparation as the avatar of the fresh id `avatar`.

        framing: x, y, width, height of what is used of it, in parts of the picture.

        Raises BadRequest (no consent), QueueFull, DiskFull.
        """
        if not consent:
            raise BadRequest(
                "Nobody has confirmed that this picture may be used.",
                "Tick the box that says that you have the consent of the person shown.",
                cause="consent",
            )
        shown_name = clean_file_name(file_name or upload.name, limit=120)
        title = clean_name(name) or clean_name(Path(shown_name).stem) or "Avatar"
        inputs = {"avatar": avatar, "name": title, "file_name": shown_name, "consent": True, "framing": framing}
        return self._submit(PREPARE, title, inputs, upload=upload, avatar=avatar)

    def submit_preset(self, preset: str, name: str) -> Job:
        """Queue the preparation of one of our own drawn characters; the same one is never queued twice.

        Raises QueueFull, DiskFull.
        """
        under_way = self.making(preset)
        if under_way is not None:
            return under_way
        inputs = {"avatar": preset, "name": name, "preset": preset}
        return self._submit(PREPARE, name, inputs, avatar=preset, priority=URGENT, only_once=f"preset:{preset}")

    def submit_clip(
        self,
        *,
        avatar: str,
        text: str | None = None,
        audio: Path | None = None,
        voice: str | None = None,
        name: str = "",
        speaker: str = "",
    ) -> Job:
        """Queue a clip of `avatar`, called `speaker`, speaking `text`, or the recording `audio` (it is moved).

        Raises BadRequest (neither or both, empty or too long), QueueFull, DiskFull.
        """
        words = (text or "").strip()
        if bool(words) == (audio is not None):
            raise BadRequest(
                "A clip needs a text or a recording, one of the two.", "Type a text or choose a file.", cause="empty"
            )
        if len(words) > MAX_TEXT_CHARACTERS:
            raise BadRequest(
                f"The text has {len(words)} characters; a clip takes {MAX_TEXT_CHARACTERS}.",
                "Split it into several clips.",
                cause="clip_too_long",
            )
        title = clean_name(name) or clean_name(words) or "Clip"
        inputs = {"avatar": avatar, "text": words or None, "voice": voice}
        return self._submit(CLIP, title, inputs, upload=audio, avatar=avatar, speaker=speaker)

    def submit_test_clip(self, avatar: str, name: str) -> Job:
        """Queue a few spoken words of an avatar, unless they are there or under way. Raises QueueFull, DiskFull."""
        job_id = id_of_test_clip(avatar)
        with suppress(JobNotFound):
            job = self.get(job_id)
            if job.active or self.folders.clip(job_id).exists():
                return job
            self.delete(job_id)
        inputs = {"avatar": avatar, "text": TEST_WORDS, "voice": None}
        return self._submit(CLIP, f"{name}: {TEST_WORDS}", inputs, avatar=avatar, speaker=name, job_id=job_id)

    def submit_parts(
        self, avatar: str, name: str, backend: str, parameters: Mapping[str, Any], *, join: bool = False
    ) -> Job:
        """Queue the preparation of an avatar for a lip-sync backend; `parameters` as JSON.

        The last wish counts: such jobs run one after another, and each replaces what the one before has made. Who
        wishes the same as the last did gets that one's job while it is under way; with `join`, whatever is under way.

        Raises QueueFull, DiskFull.
        """
        inputs = {"avatar": avatar, "backend": backend, "parameters": dict(parameters)}
        with self._asking_for_parts:
            last = self.preparing(avatar, backend)
            if last is not None and (join or last.parameters == inputs["parameters"]):
                return last
            return self._submit(PARTS, f"{name}: {backend}", inputs, avatar=avatar)

    # -- looking

    def making(self, avatar: str) -> Job | None:
        """The job under way that makes an avatar."""
        return next(iter(self._active_of(avatar, PREPARE)), None)

    def preparing(self, avatar: str, backend: str) -> Job | None:
        """The last of the jobs under way that prepare an avatar for a lip-sync backend."""
        jobs = [job for job in self._active_of(avatar, PARTS) if job.backend == backend]
        return max(jobs, key=lambda job: job.id, default=None)

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        rows = self._client.list_workflows(workflow_ids=[job_id], load_input=False)
        if not rows:
            raise JobNotFound(f"There is no job {job_id[:64]!r}.", "It may have been deleted; see the list of jobs.")
        return job_of(rows[0])

    def list(self, *, limit: int | None = 100, kind: str | None = None) -> list[Job]:
        """Jobs, the newest first; those of the same second by id, which tells of birth too, but for test clips."""
        rows = self._client.list_workflows(name=kind or [*_KINDS], sort_desc=True, limit=limit, load_input=False)
        return sorted(map(job_of, rows), key=lambda job: (job.created_at, job.id), reverse=True)

    def active_ids(self) -> set[str]:
        """Of the jobs that wait or run."""
        rows = self._client.list_workflows(status=_ACTIVE, load_input=False, load_output=False)
        return {row.workflow_id for row in rows}

    def unfinished(self) -> bool:
        """Whether there is anything for a worker to do."""
        return bool(self._client.list_workflows(status=_ACTIVE, limit=1, load_input=False, load_output=False))

    def counts(self) -> dict[str, int]:
        """How many jobs wait and run."""
        rows = self._client.list_workflows(status=_ACTIVE, load_input=False, load_output=False)
        running = sum(row.status == "PENDING" for row in rows)
        return {"queued": len(rows) - running, "running": running}

    def retryable(self, job: Job) -> bool:
        """Whether retry() may help: it ended without a result, nothing that it needs is gone, and it may do better."""
        return may_do_better(job) and not self.gone(job)

    def gone(self, job: Job) -> str:
        """What keeps a job that ended without a result from being run again: "avatar", "upload", or nothing ("")."""
        if job.active or job.state == "done":
            return ""
        if job.kind != PREPARE and not self._has(job.avatar):
            return "avatar"
        return "upload" if job.uploaded and self.folders.upload(job.id) is None else ""

    def may_go_on(self, kind: str, avatar: str) -> bool:
        """Whether a person who has cancelled such a job may want it after all: a clip costs a recording to ask for.

        What was to become an avatar is not kept: who takes a photo back does not expect it to stay.
        """
        return kind == CLIP and self._has(avatar)

    # -- changing

    @disk_full_explained("the job was not cancelled")
    def cancel(self, job_id: str) -> Job:
        """Stop a job that waits or runs (a running step notices within a second); others are left as they are.

        Raises JobNotFound.
        """
        job = self.get(job_id)
        if job.active:
            self._client.cancel_workflow(job_id)
            if job.state == "queued":
                self.folders.clear(job_id, keep_upload=self.may_go_on(job.kind, job.avatar))
        return self.get(job_id)

    def cancel_all_of(self, avatar: str) -> None:
        """Stop all jobs that wait or run for an avatar: it is gone. Raises DiskFull."""
        for job in self._active_of(avatar, *_KINDS):
            with suppress(JobNotFound):
                self.cancel(job.id)

    @disk_full_explained("the job was not taken")
    def retry(self, job_id: str) -> Job:
        """Run a failed or cancelled job again from its first step.

        Raises JobNotFound, BadRequest (it cannot be retried), QueueFull.
        """
        with self._admitting:  # of two who ask at the same time, the second finds it waiting
            job = self.get(job_id)
            if not self.retryable(job):
                remedy = job.error.hint if job.error is not None and not self.gone(job) else _REMEDIES[self.gone(job)]
                raise BadRequest("This job cannot be run again.", remedy, cause="not_again")
            self._check_room()
            self.folders.take_back(job_id)
            afresh = {"stage": "", "progress": 0.0, "given_up": None}
            self._client.update_workflow_attributes(job_id, afresh, merge=True)
            self._client.rewind_workflow(
                job_id, start_step=1, application_version=APPLICATION_VERSION, queue_name=job.kind
            )
        self._announce()
        return self.get(job_id)

    @disk_full_explained("the job was not removed")
    def delete(self, job_id: str) -> None:
        """Forget a job; one that waits or runs is cancelled first. Its clip goes too, its avatar stays.

        Raises JobNotFound.
        """
        with self._admitting:  # it is not run again meanwhile
            was_running = self.get(job_id).state == "running"
            job = self.cancel(job_id)
            if job.kind == PREPARE and job.state != "done":
                FaceReports(self.folders.data_dir).delete(job.avatar)
            if was_running:
                self.folders.abandon(job_id)
            else:
                self.folders.clear(job_id)
            self.folders.clip(job_id).unlink(missing_ok=True)
            # Last: on a full disk the database can only be written once the files are gone.
            self._client.delete_workflow(job_id)

    # -- for the worker

    @disk_full_explained("the job cannot go on")
    def report(self, job_id: str, stage: str, progress: float) -> bool:
        """Note how far a running job is; False when it is no longer wanted."""
        rows = self._client.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
        if not rows or rows[0].status == "CANCELLED":
            return False
        told = {"stage": stage, "progress": progress, "told_at": time.time()}
        self._client.update_workflow_attributes(job_id, told, merge=True)
        return True

    # -- for the owner of the worker

    def in_hand(self) -> Iterator[tuple[str, Job | None]]:
        """What a worker has begun and not left yet, by id; None for a job that was removed meanwhile.

        Cancelled ones are among them until the worker has noticed; so are those that a killed worker had in hand.
        """
        ids = self.folders.in_hand()
        rows = self._client.list_workflows(workflow_ids=ids, load_input=False, load_output=False) if ids else []
        jobs = {row.workflow_id: job_of(row) for row in rows}
        return ((job_id, jobs.get(job_id)) for job_id in ids)

    @disk_full_explained("the job was not given up")
    def give_up(self, job_id: str, failure: JobFailure) -> None:
        """Let a job whose worker is gone end as failed; one that was cancelled or removed stays so."""
        with suppress(JobNotFound):
            job = self.get(job_id)
            if job.active:
                told = {"code": failure.code, "message": failure.message, "hint": failure.hint}
                self._client.update_workflow_attributes(job_id, {"given_up": told}, merge=True)
                self._client.cancel_workflow(job_id)
            self.folders.clear(job_id, keep_upload=job.active or self.may_go_on(job.kind, job.avatar))
            return
        self.folders.clear(job_id)

    # -- inside

    @property
    def _client(self) -> DBOSClient:
        with self._lock:
            if self._connection is None:
                from dbos import DBOSClient

                with disk_full_explained("jobs cannot be kept"):
                    url = open_database(self.folders.data_dir)
                self._connection = DBOSClient(system_database_url=url, application_name=APPLICATION)
            return self._connection

    def _submit(
        self,
        kind: str,
        name: str,
        inputs: dict[str, Any],
        *,
        upload: Path | None = None,
        avatar: str,
        speaker: str = "",
        job_id: str = "",
        priority: int = ORDINARY,
        only_once: str | None = None,
    ) -> Job:
        job_id = job_id or new_job_id()
        home = self.folders.home(job_id)
        attributes = {"name": name, "avatar": avatar, "upload": upload is not None, "stage": "", "progress": 0.0}
        attributes |= {key: inputs[key] for key in ("backend", "parameters") if key in inputs}
        attributes |= {"speaker": speaker} if speaker else {}
        options = enqueue_options(kind, job_id, attributes, priority=priority, only_once=only_once)
        keeping = nullcontext() if upload is None else _removed_on_failure(home)
        with self._admitting, disk_full_explained("the job was not taken"), keeping:
            self._check_room()
            if upload is not None:
                home.mkdir(parents=True)
                shutil.move(upload, home / "upload")
            handle: Any = self._client.enqueue(options, inputs)
        self._announce()
        return self.get(handle.get_workflow_id())

    def _has(self, avatar: str) -> bool:
        return avatar in self._library

    def _active_of(self, avatar: str, *kinds: str) -> Iterator[Job]:
        """Jobs of these kinds that wait or run for an avatar."""
        rows = self._client.list_workflows(name=[*kinds], status=_ACTIVE, load_input=False, load_output=False)
        return (job for job in map(job_of, rows) if job.avatar == avatar)

    def _check_room(self) -> None:
        waiting = len(self._client.list_workflows(status=_WAITING, load_input=False, load_output=False))
        if waiting >= self._max_waiting:
            raise QueueFull(f"{waiting} jobs are waiting already.", "Try again when some of them are done.")

    def _announce(self) -> None:
        for listener in self._listeners:
            listener()


def enqueue_options(
    kind: str,
    job_id: str,
    attributes: Mapping[str, Any],
    *,
    priority: int = ORDINARY,
    only_once: str | None = None,
) -> EnqueueOptions:
    """DBOS options of one job. JSON ("portable") all through: nothing in the database is ever unpickled."""
    from dbos import EnqueueOptions, WorkflowSerializationFormat

    options = EnqueueOptions(
        workflow_name=kind,
        queue_name=kind,
        workflow_id=job_id,
        app_version=APPLICATION_VERSION,
        application_name=APPLICATION,
        serialization_type=WorkflowSerializationFormat.PORTABLE,
        priority=priority,
        attributes=dict(attributes),
    )
    if only_once is not None:
        options["deduplication_id"] = only_once
        options["duplication_policy"] = "return-existing"
    return options


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
