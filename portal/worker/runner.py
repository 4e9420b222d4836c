"""The worker: a process of low priority that runs jobs. The portal never runs a job itself.

A data folder has one worker. If jobs are in Postgres, there may be many, on any machine that can see the folder.

The worker is crash-only: its start does everything that an orderly end would do. So ending it with a signal, with
`kill -9` or by a power failure is normal: finished steps are recorded, and the rest is run again.
`portal.worker.process` starts the worker as a child of the portal; `python launch.py worker` runs one by hand.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from filelock import FileLock, Timeout

from avatars.disk import REMEDY, disk_full_explained, is_disk_full
from avatars.errors import AvatarError, DiskFull, StoreUnreachable
from avatars.library import AvatarLibrary
from models.errors import VivavoceError
from portal.errors import DatabaseUnreachable, JobNotFound, OtherCode, WorkerLeftOut
from portal.jobs.opening import open_queue, open_source
from portal.jobs.queue import JobQueue
from portal.jobs.store import JobSource, TakenJob
from portal.jobs.watch import JobWatch
from portal.storage import Storage
from portal.worker.job_work import JobCancelled, JobFailed, JobWork, Recipe, Step

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = [
    "JobRunner",
    "Occupation",
    "clear_after_the_dead",
    "leave",
    "run_worker",
]

logger = logging.getLogger(__name__)

NICENESS = 10
"Added to the process's niceness on POSIX systems."
LOCK_TIMEOUT_S = 10.0
"How long to wait for another worker to end. An orphan of a killed portal ends within milliseconds; others do not."
REPORT_INTERVAL_S = 0.5
"How often progress is written and a cancellation can be noticed."
STALE_S = 3600.0
"Files without a job that are older than this are removed: their request died before its job was queued."
CLEARED_S = 60.0
"This long after the end of a job, no living worker uses its files any more."
LOOK_S = 1.5
"How often a worker checks whether a job blocks it."
ONLY_WORKER = "worker"
"Name of the only worker of a data folder. It is always the same, so that a restarted worker takes up its own jobs."
KEPT_JOBS = 500
"Most ended jobs without a clip that are kept. Jobs with a clip are kept until a person deletes them."


class Occupation:
    """Keeps the list of jobs in hand, so that the process knows how long it was idle and which jobs to watch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: list[str] = []

    @property
    def jobs(self) -> list[str]:
        """Ids of the jobs in hand."""
        with self._changed:
            return [*self._jobs]

    @contextmanager
    def occupied(self, job_id: str) -> Iterator[None]:
        """Count a job as in hand while the block runs."""
        with self._changed:
            self._jobs.append(job_id)
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._jobs.remove(job_id)
                self._changed.notify_all()

    def wait_idle(self, seconds: float) -> None:
        """Return once no job has been in hand for this long."""
        with self._changed:
            while self._changed.wait_for(lambda: self._jobs, timeout=seconds):
                self._changed.wait_for(lambda: not self._jobs)


def run_worker(
    settings: Settings, recipes: Sequence[Recipe], *, idle_exit_s: float | None = None, is_one_of_many: bool = False
) -> int:
    """Run jobs until the process is ended, or there was no job for `idle_exit_s` seconds; return 0 then.

    is_one_of_many: whether other workers may share the data folder, if jobs are in Postgres.

    After Ctrl-C the process ends with status 130. On a failure, this returns or ends the process with a status of
    sysexits.h:
    75, try again later: another worker has this data folder, its disk is full, the database or the store is away, or
        this worker must not take jobs from the database.
    78, configuration: the worker's code differs from the portal's, so restarting it does not help.
    """
    lower_priority()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database_url = settings.database_url.get_secret_value()
    lock, name = FileLock(settings.data_dir / "worker.lock"), ONLY_WORKER
    if database_url and is_one_of_many:
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    elif not _is_taken(lock):
        logger.error("Another worker already serves %s. Stop it first, or use another data folder.", settings.data_dir)
        return 75
    storage = Storage.of(settings)
    library, folders = storage.library, storage.folders
    queue = open_queue(settings.data_dir, library, folders=folders, database_url=database_url, worker=name)
    occupation = Occupation()
    source = open_source(folders, database_url, name, _end_as_left_out)
    try:
        with disk_full_explained("jobs cannot be run"):
            runner = JobRunner(settings, queue, library, occupation)
            source.serve({recipe.kind: partial(runner.run, recipe) for recipe in recipes})
            storage.start()
            _sweep(queue)
        if database_url:
            watch = JobWatch(queue, settings.job_silence_s, lambda: queue.in_hand(occupation.jobs))
            _look_after_others(queue, watch, source)
            logger.info("The worker %s takes jobs from the database.", name)
        if idle_exit_s is None:
            threading.Event().wait()
        else:
            # A job whose end could not be written is left unfinished; the next start takes it up.
            occupation.wait_idle(idle_exit_s)
    except (DiskFull, DatabaseUnreachable, StoreUnreachable, WorkerLeftOut) as error:
        logger.error("%s", error)
        leave(_status_of(error))
    except KeyboardInterrupt:
        logger.info("Stopped. What was under way goes on at the next start, or at another worker.")
        source.leave()
        leave(130)
    source.leave()
    return 0


def _is_taken(lock: FileLock) -> bool:
    """Try to take the lock; return whether we have it now. It is released when the object goes."""
    try:
        lock.acquire(timeout=LOCK_TIMEOUT_S)
    except Timeout:
        return False
    return True


def _look_after_others(queue: JobQueue, watch: JobWatch, source: JobSource) -> None:
    """With several workers: begin to clean up after dead ones, and to watch whether a job blocks this one."""
    threading.Thread(target=_keep_clear, args=(queue,), name="clear", daemon=True).start()
    threading.Thread(target=_end_when_held_up, args=(watch, source), name="watch", daemon=True).start()


def leave(status: int) -> NoReturn:
    """End the process at once. An ordinary exit would wait for the threads of jobs, and so for the jobs in hand."""
    logging.shutdown()
    os._exit(status)


def _end_as_left_out(reason: WorkerLeftOut) -> None:
    logger.error("%s", reason)
    leave(_status_of(reason))


def _status_of(reason: VivavoceError) -> int:
    return 78 if isinstance(reason, OtherCode) else 75


def _end_when_held_up(watch: JobWatch, source: JobSource) -> None:
    """End this worker if one of its jobs blocks it. With SQLite, the portal does this for its only worker."""
    while not _is_held_up(watch):
        time.sleep(LOOK_S)
    logger.warning("A job holds this worker up: it ends, and its other jobs go on elsewhere.")
    watch.end()
    source.leave()
    leave(75)


def _is_held_up(watch: JobWatch) -> bool:
    try:
        return watch.overdue(time.monotonic())
    except Exception as error:  # noqa: BLE001 - the next look will work, or this worker ends as cut off
        logger.debug("The jobs in hand cannot be looked at: %s", error)
        return False


def lower_priority() -> None:
    """Lower the process's priority, because live sessions come first."""
    if sys.platform != "win32":
        os.nice(NICENESS)


class JobRunner:
    """Runs the jobs of this process by their recipes, whatever source they come from."""

    def __init__(self, settings: Settings, queue: JobQueue, library: AvatarLibrary, occupation: Occupation) -> None:
        self._settings = settings
        self._queue = queue
        self._library = library
        self._occupation = occupation

    def run(self, recipe: Recipe, job: TakenJob) -> object:
        """Run all steps of a job and return the last one's result. However the job ends, its files are cleaned up.

        Raises JobFailed, JobCancelled.
        """
        folders = self._queue.folders
        kept_when_cancelled = partial(self._queue.may_go_on, recipe.kind, job.inputs["avatar"])
        whole = sum(step.weight for step in recipe.steps)
        before = 0.0
        result: object = None
        with self._occupation.occupied(job.id), _tidied(self._queue, job.id, kept_when_cancelled):
            # This folder tells the owner of this process that the job is in hand (JobFolders.in_hand).
            with _explained(job.id, recipe.steps[0].name):
                folders.work(job.id).mkdir(parents=True, exist_ok=True)
            for step in recipe.steps:
                report = _Reporter(self._queue, job.id, step.name, before / whole, step.weight / whole)
                work = JobWork(job.id, job.inputs, self._settings, folders, self._library, report)
                with _recorded_or_left():
                    result = job.once(step.name, partial(_perform, step, work, report))
                    if not folders.hands_on_work and step is not recipe.steps[-1] and not _mark(step, work).exists():
                        # Another machine's worker finished this step, and its files are there: do it again here.
                        _perform(step, work, report)
                before += step.weight
        recipe.then(work, self._queue)
        return result


def _perform(step: Step, work: JobWork, report: _Reporter) -> object:
    """Run one step. Any error in it is raised as JobFailed. Raises JobCancelled too."""
    with _explained(work.id, step.name):
        report.begin()
        result = step.run(work)
        if not work.folders.hands_on_work:
            _mark(step, work).touch()
        return result


@contextmanager
def _explained(job_id: str, step: str) -> Iterator[None]:
    """Raise JobFailed, in words for people, instead of any other error of a step. Raises JobCancelled too."""
    try:
        yield
    except JobCancelled:
        logger.info("job %s was cancelled in %s", job_id, step)
        raise
    except JobFailed:
        raise
    except VivavoceError as error:
        if is_disk_full(error):
            raise JobFailed(DiskFull.code, "The disk is full.", REMEDY) from error
        report_of_face = getattr(error, "report", None)
        raise JobFailed(error.code, error.message, error.hint, report_of_face, error.cause) from error
    except MemoryError as error:
        raise JobFailed("out_of_memory", "There is too little memory.", "Use a smaller picture or clip.") from error
    except Exception as error:  # the outermost handler of a job: whatever went wrong, people must be told something
        if is_disk_full(error):
            raise JobFailed(DiskFull.code, "The disk is full.", REMEDY) from error
        if isinstance(error, OSError) and error.errno == errno.EROFS:
            remedy = "The operator has to make it writable again; then try again."
            raise JobFailed("disk_read_only", "The data folder cannot be written to.", remedy) from error
        logger.exception("job %s failed in %s", job_id, step)
        # The page has its own text for this code; this one is for people who read the API or the log.
        message = f"The step '{step}' failed unexpectedly: {type(error).__name__}: {error}"
        raise JobFailed("internal", message, "The worker's log has the details; please report it.") from error


def _mark(step: Step, work: JobWork) -> Path:
    """Return the path of the file that marks a step as finished on this machine."""
    return work.folder / f".{step.name}.done"


@contextmanager
def _recorded_or_left() -> Iterator[None]:
    """End the process if the disk is too full to record how a step ended. The next process runs the step again."""
    try:
        yield
    except JobFailed:
        raise
    except Exception as error:  # several libraries wrap a full disk in errors of their own; others are raised again
        if is_disk_full(error):
            logger.error("The disk is full: jobs wait. Free some space; they then go on by themselves.")
            leave(75)
        raise


@dataclass(slots=True)
class _Reporter:
    """The progress callback of one step. It writes at most every REPORT_INTERVAL_S.

    Raises JobCancelled if the job is no longer wanted.
    """

    queue: JobQueue
    job_id: str
    step: str
    start: float
    "progress of the job before the step, 0..1"
    share: float
    "the step's share of the job, 0..1"
    _due: float = field(default=0.0, init=False)

    def begin(self) -> None:
        """Report the beginning of the step at once."""
        self._write(0.0)

    def __call__(self, fraction: float) -> None:
        if time.monotonic() >= self._due:
            self._write(fraction)

    def _write(self, fraction: float) -> None:
        self._due = time.monotonic() + REPORT_INTERVAL_S
        progress = round(self.start + self.share * min(max(fraction, 0.0), 1.0), 3)
        if not self.queue.store.report(self.job_id, self.step, progress):
            raise JobCancelled(self.job_id)


@contextmanager
def _tidied(queue: JobQueue, job_id: str, kept_when_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Remove a job's files at its end: all after success, all but a small upload if the job may be retried."""
    try:
        yield
    except Exception as error:  # whatever went wrong, the job is over; raised again
        if not isinstance(error, JobCancelled):
            queue.leave(job_id, keep_upload=True)
        elif not _is_wanted(queue, job_id):  # if it is wanted again, its files belong to whoever runs it next
            queue.leave(job_id, keep_upload=kept_when_cancelled())
        raise
    except BaseException:  # DBOS raises one of these if the job was cancelled, or another worker has it now
        if not _is_wanted(queue, job_id):
            queue.leave(job_id, keep_upload=kept_when_cancelled())
        raise
    queue.leave(job_id)


def _is_wanted(queue: JobQueue, job_id: str) -> bool:
    """Whether a job that this worker lost is still to be done: it waits again, or another worker has it."""
    try:
        return queue.get(job_id).active
    except JobNotFound:
        return False


def _keep_clear(queue: JobQueue) -> NoReturn:
    while True:
        try:
            clear_after_the_dead(queue)
        except Exception as error:  # noqa: BLE001 - the next time will do
            logger.debug("What dead workers left cannot be removed: %s", error)
        time.sleep(CLEARED_S)


def clear_after_the_dead(queue: JobQueue) -> None:
    """Remove the files of ended jobs that dead workers had in hand. A living worker would have done so at once."""
    for job_id, job in queue.in_hand():
        if job is not None and job.finished_at is not None and time.time() - job.finished_at > CLEARED_S:
            kept = job.state == "failed" or queue.may_go_on(job.kind, job.avatar)
            with _passed_over(job_id):
                queue.leave(job_id, keep_upload=kept)


def _sweep(queue: JobQueue) -> None:
    """Remove files that no job owns, and the oldest ended jobs without a clip, beyond KEPT_JOBS."""
    jobs = queue.list(limit=None)
    ended = [job.id for job in jobs if not job.active]
    try:
        with_clips = queue.folders.with_clips(ended)
    except StoreUnreachable as error:  # nobody knows which jobs have clips, and deleting a job deletes its clip
        logger.warning("the oldest jobs are removed later: %s", error)
        with_clips = set(ended)
    for job_id in [job_id for job_id in ended if job_id not in with_clips][KEPT_JOBS:]:
        with _passed_over(job_id), suppress(JobNotFound):  # another worker sweeps at the same time
            queue.delete(job_id)
    owned = {job.id for job in jobs}
    data_dir = queue.folders.data_dir
    queue.folders.sweep(owned)
    unfinished_files = (folder.glob(".*") for folder in (data_dir / "clips", data_dir / "reports"))
    for path in chain((data_dir / "jobs").glob("*"), (data_dir / "uploads").glob("*"), *unfinished_files):
        if path.name not in owned and time.time() - path.lstat().st_mtime > STALE_S:
            with _passed_over(path.name):
                if path.parent.name == "jobs":  # a worker was killed while it had this removed job in hand
                    queue.folders.remove_clip(path.name)
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


@contextmanager
def _passed_over(name: str) -> Iterator[None]:
    """If what is tidied up in the block cannot be read or removed, leave it for the next time, and go on with others.

    Otherwise one damaged index in the store would keep a worker from starting.
    """
    try:
        yield
    except DiskFull:
        raise
    except (AvatarError, OSError) as error:
        logger.warning("%s is tidied up later: %s", name, error)
