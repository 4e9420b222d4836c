"""The durable job queue: submit, list, cancel and retry jobs. The portal never runs a job itself.

The worker process (`portal/worker`) runs jobs, one step after another. The portal and the worker share only the store
of jobs (`store.py`) and the files below the data folder, which are managed here:

    jobs/<id>/upload         the uploaded file. A small one is kept for a retry after a failure; a recording also after
                             its clip was cancelled
    jobs/<id>/work/          files that one step hands on to the next; removed at the end
    clips/<id>.mp4           results of clip jobs; also .webm or .mov

Methods block for milliseconds: call them from a thread, not on the event loop.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

from avatars.disk import disk_full_explained, require_room
from models.errors import kinds_of_errors
from pipeline.errors import BadRequest
from portal.errors import JobNotFound, QueueFull
from portal.http.limits import TooMany
from portal.jobs.askers import Askers, FileAskers
from portal.jobs.records import CLIP, PREPARE, Job, JobFailure, JobFolders, JobOrder, Joins, line_of
from portal.jobs.shares import is_viewer_key, person_key
from portal.jobs.store import JobStore, id_taken

__all__ = ["MAX_SPEECH_EACH_S", "JobQueue", "may_do_better"]

MAX_SPEECH_EACH_S = 1800.0
"""Approximate limit on the total length of the clips one address may have queued or running. The first clip is always
accepted, however long."""

_REMEDIES = {
    "avatar": "Its avatar was deleted: choose another one.",
    "upload": "Upload the file once more.",
    "": "Only jobs that have failed or were cancelled can.",
}
"Hint shown when a job cannot be retried, keyed by the missing part; see JobQueue.missing_input()."

_WITHOUT_A_CLASS = frozenset({"nothing_spoken", "upload_gone"})
"Codes of failures that are due to the input and have no error class, because only jobs use them."


def may_do_better(job: Job) -> bool:
    """True if the job failed or was cancelled for a reason other than its input, so a retry may succeed."""
    return job.state in ("failed", "cancelled") and not (job.error and _fails_the_same_way_again(job.error.code))


def _fails_the_same_way_again(code: str) -> bool:
    """Whether a retry cannot help, judged by the failure's code; the error object was in the worker process."""
    return code in _WITHOUT_A_CLASS or any(kind.code == code and not kind.retryable for kind in kinds_of_errors())


@dataclass(eq=False)
class JobQueue:
    """Decides which jobs are accepted, which may be retried, and what becomes of their files.

    The store keeps the records. Thread-safe.
    """

    store: JobStore
    folders: JobFolders
    avatars: Container[str]
    "ids of the existing avatars"
    _: KW_ONLY
    max_waiting: int = 50
    keep_free_bytes: int = 0
    "free space on the disk below which no job is accepted"
    askers: Askers | None = None
    "who asked for which job; by default in the data folder"
    _listeners: Sequence[Callable[[], object]] = field(default=(), init=False)
    _askers: Askers = field(init=False)
    _admitting: threading.Lock = field(default_factory=threading.Lock, init=False)
    "held from the capacity check until the job is stored, so that two submissions cannot take the same place"
    _being_taken: set[str] = field(default_factory=set, init=False)
    "ids of jobs whose upload is being taken, before they are stored; guarded by _admitting"

    def __post_init__(self) -> None:
        self._askers = self.askers or FileAskers(self.folders.data_dir)

    def on_submit(self, listener: Callable[[], object]) -> None:
        """Call `listener`, in the submitting thread, each time there is new work."""
        self._listeners = (*self._listeners, listener)

    def close(self) -> None:
        """Close the store. Idempotent."""
        self._askers.close()
        self.store.close()

    # -- looking

    def get(self, job_id: str) -> Job:
        """Return a job. Raises JobNotFound."""
        return self.store.get(job_id)

    def list(self, *, limit: int | None = 100, kind: str | None = None) -> list[Job]:
        """Return jobs, the newest first. limit: at most this many; None for all."""
        return self.store.list(limit=limit, kind=kind)

    def active(self, avatar: str | None = None, kind: str | None = None) -> Sequence[Job]:
        """Return the jobs that wait or run, the newest first; optionally only those for an avatar, or of a kind."""
        jobs = self.store.list(kind=kind, active=True)
        return [job for job in jobs if avatar is None or job.avatar == avatar]

    def active_askers(self) -> Sequence[str]:
        """Return who asked for the jobs that wait or run, with one entry per job and asker.

        Each job that somebody asked for adds their address and, if the job has an owner, the owner's person_key(). A
        job for a viewer's session adds their viewer_key() alone: the owner of its avatar has not asked for it.
        """
        jobs, askers = self.active(), self._askers.known()
        asked = [(asker, job.owner) for job in jobs if (asker := askers.get(job.id))]
        return [asker for asker, _owner in asked] + [
            person_key(owner) for asker, owner in asked if owner and not is_viewer_key(asker)
        ]

    def retryable(self, job: Job) -> bool:
        """Whether retry() may help: a retry may succeed, and nothing that the job needs is gone."""
        return may_do_better(job) and not self.missing_input(job)

    def missing_input(self, job: Job) -> str:
        """Return what a job that ended without a result lacks for a retry: "avatar", "upload", or "" for nothing."""
        if job.active or job.state == "done":
            return ""
        if job.kind != PREPARE and job.avatar not in self.avatars:
            return "avatar"
        return "upload" if job.uploaded and not self.folders.has_upload(job.id) else ""

    def job_of_report(self, avatar: str) -> Job | None:
        """Return the job that made the face report of an avatar, or of a refused upload that was to have this id."""
        job_id = self.folders.reports.job_of(avatar)
        if job_id is None:
            return None
        jobs = [job for job in self.list(limit=None, kind=PREPARE) if job.avatar == avatar]
        # Earlier versions did not note the job's id. Then it is the oldest job, because the id was free for it.
        return next((job for job in jobs if job.id == job_id), None) if job_id else next(iter(jobs[::-1]), None)

    def may_go_on(self, kind: str, avatar: str) -> bool:
        """Whether the upload of a cancelled job is kept, so that the job can still be retried.

        The recording for a clip is kept, because it takes work to make. A photo is not, because people who cancel do
        not expect us to keep their picture.
        """
        return kind == CLIP and avatar in self.avatars

    # -- changing

    def submit(self, order: JobOrder, asker: str = "", check: Callable[[], None] = lambda: None) -> Job:
        """Queue a job for the worker, or return the job under way that the order joins. The order's upload is moved.

        asker: the client's address. Askers take turns, so somebody's first job does not wait for another's many jobs.
            Empty for the portal's own jobs, which are treated like those of a newcomer.
        check: called while no other job can be submitted; raises an error to refuse the job.

        Joining needs no place, so it works even if the queue is full.

        Raises QueueFull, TooMany (the asker has ordered very long clips), BadRequest (there is a job with this id
        already), DiskFull, and what `check` raises. If any is raised, nothing is left of the upload.
        """
        with disk_full_explained("the job was not taken"), ExitStack() as taking:
            job_id = order.id or _new_id()
            # Without an upload, store.add() returns an existing job with this id, which is what such orders want. They
            # alone may join another job.
            if order.upload is not None:
                # Before the lock, since putting it into a store may take a minute, and others order meanwhile.
                self._check_room()
                taking.enter_context(self._reserved(job_id))
                taking.enter_context(self._taken_over(job_id, order.upload))
            taking.enter_context(self._admitting)
            if order.upload is None and job_id in self._being_taken:
                raise id_taken(job_id)
            under_way = self._joined_by(order)
            if under_way is not None:
                return under_way
            self._check_room()
            self._check_speech(order, asker)
            check()
            job = self.store.add(job_id, replace(order, rank=self._rank_of_next(order, asker)))
            self._note(job, asker)
        self._announce()
        return job

    @disk_full_explained("the job was not cancelled")
    def cancel(self, job_id: str) -> Job:
        """Cancel a job that waits or runs; a running step notices it within a second. No effect on an ended job.

        Raises JobNotFound, DiskFull.
        """
        job = self.get(job_id)
        if job.active:
            self.store.cancel(job_id)
            if job.state == "queued":
                self.folders.clear(job_id, keep_upload=self.may_go_on(job.kind, job.avatar))
        return self.get(job_id)

    def cancel_all_of(self, avatar: str, before: float = math.inf) -> None:
        """Cancel all jobs that wait or run for an avatar that was deleted. Raises DiskFull.

        before: Unix time. Jobs that were ordered later are for a new avatar with this id.
        """
        for job in self.active(avatar):
            if job.created_at < before:
                with suppress(JobNotFound):
                    self.cancel(job.id)

    @disk_full_explained("the job was not taken")
    def retry(self, job_id: str, asker: str = "") -> Job:
        """Run a failed or cancelled job again from its first step. asker: see submit().

        Raises JobNotFound, BadRequest (it cannot be retried), QueueFull, DiskFull.
        """
        with self._admitting:  # if two people ask at once, the second finds the job waiting already
            job = self.get(job_id)
            if not self.retryable(job):
                missing = self.missing_input(job)
                remedy = job.error.hint if job.error is not None and not missing else _REMEDIES[missing]
                raise BadRequest("This job cannot be run again.", remedy, cause="not_again")
            self._check_room()
            self.folders.take_back(job_id)
            self.store.run_again(job_id)
            self._note(job, asker)
        self._announce()
        return self.get(job_id)

    @disk_full_explained("the job was not removed")
    def delete(self, job_id: str) -> None:
        """Delete a job and its clip; one that waits or runs is cancelled first. The avatar it made stays.

        Raises JobNotFound, DiskFull.
        """
        with self._admitting:  # so that nobody retries it meanwhile
            was_running = self.get(job_id).state == "running"
            job = self.cancel(job_id)
            if job.state != "done" and (of_report := self.job_of_report(job.avatar)) and of_report.id == job_id:
                self.folders.reports.delete(job.avatar)
            if was_running:
                self.folders.abandon(job_id)
            else:
                self.folders.clear(job_id)
            self.folders.remove_clip(job_id)
            # Last: on a full disk the database can only be written once the files are gone.
            self.store.delete(job_id)

    # -- for the owner of the worker

    def in_hand(self, ids: Collection[str] | None = None) -> Iterator[tuple[str, Job | None]]:
        """Yield the ids of jobs in hand (begun by a worker and not finished), each with its record.

        ids: yield these instead. The record is None if the job was removed meanwhile. Cancelled jobs are included until
        their worker has noticed; so are the jobs of a killed worker.
        """
        ids = self.folders.in_hand() if ids is None else ids
        jobs = {job.id: job for job in self.store.get_many(ids)}
        return ((job_id, jobs.get(job_id)) for job_id in ids)

    @disk_full_explained("the job was not given up")
    def give_up(self, job_id: str, failure: JobFailure) -> None:
        """End a job whose worker is gone as failed; one that was cancelled or removed stays so. Raises DiskFull."""
        with suppress(JobNotFound):
            job = self.get(job_id)
            if job.active:
                self.store.fail(job_id, failure)
            self.leave(job_id, keep_upload=job.active or self.may_go_on(job.kind, job.avatar))
            return
        self.leave(job_id)

    def leave(self, job_id: str, *, keep_upload: bool = False) -> None:
        """Remove the files of a job that a worker had in hand; with `keep_upload`, all but a small upload.

        The clip may have been completed after somebody cancelled or removed the job. Then it is removed too, because
        nobody could ever see or remove it otherwise.
        """
        with suppress(JobNotFound):
            if self.get(job_id).state != "cancelled":
                self.folders.clear(job_id, keep_upload=keep_upload)
                return
        self.folders.remove_clip(job_id)
        self.folders.clear(job_id, keep_upload=keep_upload)

    # -- inside

    def _joined_by(self, order: JobOrder) -> Job | None:
        if order.joins is Joins.NOTHING:
            return None
        newest = next((job for job in self.active(order.avatar, order.kind) if job.backend == order.backend), None)
        if newest is None or order.joins is Joins.ANY or newest.parameters == order.parameters:
            return newest
        return None

    def _is_taken(self, job_id: str) -> bool:
        with suppress(JobNotFound):
            self.store.get(job_id)
            return True
        return False

    def _rank_of_next(self, order: JobOrder, asker: str) -> int:
        """Return the rank of an asker's next job: one above their last job's, and at least the lowest rank in the line.

        So a newcomer gets the next turn, yet newcomers cannot overtake a waiting job for ever.
        """
        line = [job for job in self.active(kind=order.kind) if line_of(job) == line_of(order)]
        askers = self._askers.known() if asker else {}
        own = [job.rank + 1 for job in line if asker and askers.get(job.id) == asker]
        return max(min((job.rank for job in line), default=0), *own, 0)

    def _check_room(self) -> None:
        waiting = sum(job.state == "queued" for job in self.active())
        if waiting >= self.max_waiting:
            raise QueueFull(f"{waiting} jobs are waiting already.", "Try again when some of them are done.")
        require_room(self.folders.data_dir, self.keep_free_bytes, "the job was not taken")

    def _check_speech(self, order: JobOrder, asker: str) -> None:
        if not asker or not order.speech_s:
            return
        askers = self._askers.known()
        ordered_s = sum(job.speech_s for job in self.active() if askers.get(job.id) == asker)
        if ordered_s and ordered_s + order.speech_s > MAX_SPEECH_EACH_S:
            raise TooMany(
                f"Clips of about {ordered_s / 60:.0f} minutes from your address are waiting or running already.",
                "Wait until one of them has ended, or cancel one under Jobs.",
                cause="jobs",
            )

    def _note(self, job: Job, asker: str) -> None:
        self._askers.note(job.id, asker, lambda: {job.id, *(one.id for one in self.active())})

    @contextmanager
    def _reserved(self, job_id: str) -> Iterator[None]:
        """Keep the id for one submission while the block runs. Raises BadRequest: a job or a submission has it already.

        So the second of two submissions is refused before its upload is moved. Of submissions at several portals, the
        second is refused by the folder or the store (see take_upload()), or at last by the database.
        """
        with self._admitting:
            if job_id in self._being_taken or self._is_taken(job_id):
                raise id_taken(job_id)
            self._being_taken.add(job_id)
        try:
            yield
        finally:
            with self._admitting:
                self._being_taken.discard(job_id)

    @contextmanager
    def _taken_over(self, job_id: str, upload: Path) -> Iterator[None]:
        """Move the upload to the job while the block runs. If the block raises, remove the upload.

        Raises BadRequest: another job has files under this id.
        """
        try:
            self.folders.take_upload(job_id, upload)
        except FileExistsError as error:
            raise id_taken(job_id) from error
        try:
            yield
        except BaseException:  # whatever ended the block, nobody would ever remove an upload without a job
            self.folders.clear(job_id)
            raise

    def _announce(self) -> None:
        for listener in self._listeners:
            listener()


def _new_id() -> str:
    """Return a new job id. Ids sort by the time of creation."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(4)}"
