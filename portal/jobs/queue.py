"""The durable job queue: submit, look, cancel, run again. The portal never runs a job.

Jobs are run, one step after another, by the worker process of `portal/worker`. All that the portal and the worker share
is the store of jobs (`store.py`) and the files below the data folder, which are looked after here:

    jobs/<id>/upload         what was uploaded; kept, while it is small, after a failure, and a recording also after its
                             clip was cancelled, so that the job can be run again
    jobs/<id>/work/          what the steps hand on to each other; removed at the end
    clips/<id>.mp4           results of clip jobs, or .webm or .mov

Methods block for milliseconds: call them from a thread, not on the event loop.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

from avatars.disk import disk_full_explained, require_room
from models.errors import kinds_of_errors
from pipeline.errors import BadRequest
from portal.errors import JobNotFound, QueueFull
from portal.http.limits import TooMany
from portal.jobs.askers import Askers
from portal.jobs.records import CLIP, PREPARE, Job, JobFailure, JobFolders, JobOrder, Joins
from portal.jobs.shares import person_key
from portal.jobs.store import JobStore

__all__ = ["MAX_SPEECH_EACH_S", "JobQueue", "may_do_better"]

MAX_SPEECH_EACH_S = 1800.0
"""Of the clips that one address has waiting or running, about. A first clip is taken however long it is."""

_REMEDIES = {
    "avatar": "Its avatar was deleted: choose another one.",
    "upload": "Upload the file once more.",
    "": "Only jobs that have failed or were cancelled can.",
}
"What helps where a job cannot be run again, by what is gone."

_WITHOUT_A_CLASS = frozenset({"nothing_spoken", "upload_gone"})
"Codes that only jobs fail with, because of what went in."


def may_do_better(job: Job) -> bool:
    """Whether it ended without a result, and not because of what went in."""
    return job.state in ("failed", "cancelled") and not (job.error and _fails_the_same_way_again(job.error.code))


def _fails_the_same_way_again(code: str) -> bool:
    """By its code, because the error itself ended with the worker process."""
    return code in _WITHOUT_A_CLASS or any(kind.code == code and not kind.retryable for kind in kinds_of_errors())


@dataclass(eq=False)
class JobQueue:
    """Decides which jobs are taken, which may be run again, and what becomes of their files. The rest is the store's.

    Thread-safe.
    """

    store: JobStore
    folders: JobFolders
    avatars: Container[str]
    "ids of those that are there"
    _: KW_ONLY
    max_waiting: int = 50
    keep_free_bytes: int = 0
    "of the disk, below which no job is taken"
    _listeners: Sequence[Callable[[], object]] = field(default=(), init=False)
    _askers: Askers = field(init=False)
    _admitting: threading.Lock = field(default_factory=threading.Lock, init=False)
    "held from the look whether there is room until the job is in the store, so that a place is given once"

    def __post_init__(self) -> None:
        self._askers = Askers(self.folders.data_dir / "askers.json")

    def on_submit(self, listener: Callable[[], object]) -> None:
        """Have `listener` called, in the submitting thread, each time there is new work."""
        self._listeners = (*self._listeners, listener)

    def close(self) -> None:
        self.store.close()

    # -- looking

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        return self.store.get(job_id)

    def list(self, *, limit: int | None = 100, kind: str | None = None) -> list[Job]:
        """Jobs, the newest first."""
        return self.store.list(limit=limit, kind=kind)

    def active(self, avatar: str | None = None, kind: str | None = None) -> Sequence[Job]:
        """Jobs that wait or run, the newest first; all of them, or those for an avatar, or of a kind."""
        jobs = self.store.list(kind=kind, active=True)
        return [job for job in jobs if avatar is None or job.avatar == avatar]

    def active_askers(self) -> Sequence[str]:
        """Who asked for the jobs that wait or run: for each job that somebody asked for an address, and its owner as
        person_key() has them.
        """
        asked = [(asker, job.owner) for job in self.active() if (asker := self._askers.of(job.id))]
        return [address for address, _owner in asked] + [person_key(owner) for _address, owner in asked if owner]

    def retryable(self, job: Job) -> bool:
        """Whether retry() may help: it ended without a result, nothing that it needs is gone, and it may do better."""
        return may_do_better(job) and not self.gone(job)

    def gone(self, job: Job) -> str:
        """What keeps a job that ended without a result from being run again: "avatar", "upload", or nothing ("")."""
        if job.active or job.state == "done":
            return ""
        if job.kind != PREPARE and job.avatar not in self.avatars:
            return "avatar"
        return "upload" if job.uploaded and not self.folders.has_upload(job.id) else ""

    def job_of_report(self, avatar: str) -> Job | None:
        """The job that made the face report of an avatar, or of an upload of that id that was refused."""
        job_id = self.folders.reports.job_of(avatar)
        if job_id is None:
            return None
        jobs = [job for job in self.list(limit=None, kind=PREPARE) if job.avatar == avatar]
        # Earlier versions did not write down which it was. The oldest was there before others could take the id.
        return next((job for job in jobs if job.id == job_id), None) if job_id else next(iter(jobs[::-1]), None)

    def may_go_on(self, kind: str, avatar: str) -> bool:
        """Whether the upload of a cancelled job is kept, so that the job can be run again after all.

        A recording for a clip is: it costs work to make. A photo is not: people who take one back do not expect us to
        keep it.
        """
        return kind == CLIP and avatar in self.avatars

    # -- changing

    def submit(self, order: JobOrder, asker: str = "", check: Callable[[], None] = lambda: None) -> Job:
        """Let a job wait for the worker, or give back the one that the order joins. The order's upload is moved.

        asker: an address. Jobs of several askers are taken in turn: a first job of somebody never waits for the many of
        somebody else. Empty for the portal's own, which have their turn as a newcomer's.
        check: called while nobody else submits; raises what keeps the job from being taken.

        Joining takes no place, so it works in a full queue. Raises QueueFull, TooMany (the asker has ordered very long
        clips), BadRequest (there is a job of that id already), DiskFull, and what `check` raises; nothing is left of
        the upload.
        """
        with self._admitting, disk_full_explained("the job was not taken"):
            under_way = self._joined_by(order)
            if under_way is not None:
                return under_way
            self._check_room()
            self._check_speech(order, asker)
            check()
            job_id = order.id or _new_id()
            if order.id and order.upload is not None and self._is_taken(order.id):
                raise BadRequest(f"There is a job {order.id!r} already.", "Choose another id, or leave it out.")
            with nullcontext() if order.upload is None else self._taken_over(job_id, order.upload):
                job = self.store.add(job_id, replace(order, rank=self._rank_of_next(order.kind, asker)))
            self._note(job, asker)
        self._announce()
        return job

    @disk_full_explained("the job was not cancelled")
    def cancel(self, job_id: str) -> Job:
        """Stop a job that waits or runs (a running step notices within a second); others are left as they are.

        Raises JobNotFound.
        """
        job = self.get(job_id)
        if job.active:
            self.store.cancel(job_id)
            if job.state == "queued":
                self.folders.clear(job_id, keep_upload=self.may_go_on(job.kind, job.avatar))
        return self.get(job_id)

    def cancel_all_of(self, avatar: str) -> None:
        """Stop all jobs that wait or run for an avatar: it is gone. Raises DiskFull."""
        for job in self.active(avatar):
            with suppress(JobNotFound):
                self.cancel(job.id)

    @disk_full_explained("the job was not taken")
    def retry(self, job_id: str, asker: str = "") -> Job:
        """Run a failed or cancelled job again from its first step. asker: see submit().

        Raises JobNotFound, BadRequest (it cannot be retried), QueueFull.
        """
        with self._admitting:  # if two people ask at once, the second one finds the job waiting
            job = self.get(job_id)
            if not self.retryable(job):
                remedy = job.error.hint if job.error is not None and not self.gone(job) else _REMEDIES[self.gone(job)]
                raise BadRequest("This job cannot be run again.", remedy, cause="not_again")
            self._check_room()
            self.folders.take_back(job_id)
            self.store.run_again(job_id)
            self._note(job, asker)
        self._announce()
        return self.get(job_id)

    @disk_full_explained("the job was not removed")
    def delete(self, job_id: str) -> None:
        """Forget a job; one that waits or runs is cancelled first. Its clip goes too, its avatar stays.

        Raises JobNotFound.
        """
        with self._admitting:  # nobody runs it again meanwhile
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
        """What workers have begun and not left yet, or of these `ids`; None for a job that was removed meanwhile.

        Cancelled ones are among them until the worker has noticed; so are those that a killed worker had in hand.
        """
        ids = self.folders.in_hand() if ids is None else ids
        jobs = {job.id: job for job in self.store.those(ids)}
        return ((job_id, jobs.get(job_id)) for job_id in ids)

    @disk_full_explained("the job was not given up")
    def give_up(self, job_id: str, failure: JobFailure) -> None:
        """Let a job whose worker is gone end as failed; one that was cancelled or removed stays so."""
        with suppress(JobNotFound):
            job = self.get(job_id)
            if job.active:
                self.store.fail(job_id, failure)
            self.leave(job_id, keep_upload=job.active or self.may_go_on(job.kind, job.avatar))
            return
        self.leave(job_id)

    def leave(self, job_id: str, *, keep_upload: bool = False) -> None:
        """Remove what a job that a worker had in hand left behind; with `keep_upload` all but a small upload.

        A clip may have been completed after somebody cancelled or removed the job. It goes, too, or nobody could ever
        see or remove it.
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

    def _rank_of_next(self, kind: str, asker: str) -> int:
        """One behind the last job of the same asker, and no better than that of the first in the line.

        So somebody new has the next turn, and nobody who waits is passed by newcomers for ever.
        """
        line = self.active(kind=kind)
        own = [job.rank + 1 for job in line if asker and self._askers.of(job.id) == asker]
        return max(min((job.rank for job in line), default=0), *own, 0)

    def _check_room(self) -> None:
        waiting = sum(job.state == "queued" for job in self.active())
        if waiting >= self.max_waiting:
            raise QueueFull(f"{waiting} jobs are waiting already.", "Try again when some of them are done.")
        require_room(self.folders.data_dir, self.keep_free_bytes, "the job was not taken")

    def _check_speech(self, order: JobOrder, asker: str) -> None:
        if not asker or not order.speech_s:
            return
        ordered_s = sum(job.speech_s for job in self.active() if self._askers.of(job.id) == asker)
        if ordered_s and ordered_s + order.speech_s > MAX_SPEECH_EACH_S:
            raise TooMany(
                f"Clips of about {ordered_s / 60:.0f} minutes from your address are waiting or running already.",
                "Wait until one of them has ended, or cancel one under Jobs.",
                cause="jobs",
            )

    def _note(self, job: Job, asker: str) -> None:
        self._askers.note(job.id, asker, {job.id, *(one.id for one in self.active())})

    @contextmanager
    def _taken_over(self, job_id: str, upload: Path) -> Iterator[None]:
        """The upload is the job's while the block runs, and after it ended well; else nothing is left of it."""
        self.folders.take_upload(job_id, upload)  # raises where there is one already, which is another job's and stays
        try:
            yield
        except BaseException:  # whatever ended the block, an upload without a job is nobody's
            self.folders.clear(job_id)
            raise

    def _announce(self) -> None:
        for listener in self._listeners:
            listener()


def _new_id() -> str:
    """Ids sort by time of birth."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(4)}"
