"""The worker: a process of low priority that runs jobs. One per data folder; the portal never runs a job itself.

It is crash-only. Nothing is done at the end of the process that its next start does not do as well, so ending it with a
signal, by pulling the plug or by `kill -9` is the ordinary way: each finished step is recorded, the rest is run again.
`portal.worker.process` starts it as a child of the portal; `python launch.py worker` runs one by hand.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from avatars.disk import REMEDY, disk_full_explained, is_disk_full
from avatars.errors import DiskFull
from avatars.library import AvatarLibrary
from models.errors import VivavoceError
from portal.jobs.opening import open_queue, open_source
from portal.jobs.queue import JobQueue
from portal.jobs.records import JobFolders, JobInputs
from portal.jobs.store import TakenJob

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = [
    "JobCancelled",
    "JobFailed",
    "JobRunner",
    "JobWork",
    "Occupation",
    "Recipe",
    "Step",
    "leave",
    "run_worker",
]

logger = logging.getLogger(__name__)

NICENESS = 10
LOCK_TIMEOUT_S = 10.0
"A worker orphaned by a killed portal ends within milliseconds; one that still runs after this is somebody else's."
REPORT_INTERVAL_S = 0.5
"Progress is written, and a cancellation noticed, this often."
STALE_S = 3600.0
"A file of an upload or a job whose request died before its job was queued."
KEPT_JOBS = 500
"Finished ones, besides those whose clips are there: only a person deletes what was made."


class JobFailed(Exception):
    """A step's failure. Its `data` is kept as JSON and becomes a JobFailure in the portal."""

    def __init__(
        self, code: str, message: str, hint: str, report: Mapping[str, object] | None = None, cause: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.data = {"code": code, "message": message, "hint": hint, "report": report, "cause": cause}


class JobCancelled(Exception):
    """Raised through a running step by its progress callback."""


@dataclass(frozen=True, slots=True)
class JobWork:
    """What a step is given."""

    id: str
    inputs: JobInputs
    settings: Settings
    folders: JobFolders
    library: AvatarLibrary
    progress: Callable[[float], None]
    "takes 0..1 of this step; raises when the job was cancelled, so call it often"

    @property
    def upload(self) -> Path:
        """The uploaded file. Raises JobFailed when it is gone."""
        path = self.folders.upload(self.id)
        if path is None:
            raise JobFailed("upload_gone", "The uploaded file is gone.", "Upload it again.")
        return path

    @property
    def folder(self) -> Path:
        """Where steps hand files on. What a step puts there it puts there whole, by renaming."""
        path = self.folders.work(self.id)
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a job: safe to run twice, never run again once it has returned."""

    name: str
    weight: float
    "its share of the whole time"
    run: Callable[[JobWork], object]
    "gives JSON; that of the last step is the result of the job"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a kind of job is done."""

    kind: str
    steps: Sequence[Step]
    then: Callable[[JobWork, JobQueue], None] = lambda work, queue: None
    "what to submit after success; may be called twice"


class Occupation:
    """Counts the jobs in hand, so that the process can tell when it has been idle."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = 0

    @contextmanager
    def occupied(self) -> Iterator[None]:
        with self._changed:
            self._busy += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def wait_idle(self, seconds: float) -> None:
        """Return once nothing has been in hand for so long."""
        with self._changed:
            while self._changed.wait_for(lambda: self._busy > 0, timeout=seconds):
                self._changed.wait_for(lambda: self._busy == 0)


def run_worker(settings: Settings, recipes: Sequence[Recipe], *, idle_exit_s: float | None = None) -> int:
    """Run jobs until the process is ended, or for `idle_exit_s` there was none. Gives the exit status.

    Status 75 ("try again later"): another worker has this data folder, or its disk is full.
    """
    import filelock

    lower_priority()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(settings.data_dir / "worker.lock")
    try:
        lock.acquire(timeout=LOCK_TIMEOUT_S)
    except filelock.Timeout:
        logger.error("Another worker already serves %s. Stop it first, or use another data folder.", settings.data_dir)
        return 75
    library = AvatarLibrary(settings.data_dir / "avatars")
    queue = open_queue(settings.data_dir, library)
    occupation = Occupation()
    try:
        with disk_full_explained("jobs cannot be run"):
            runner = JobRunner(settings, queue, library, occupation)
            open_source(settings.data_dir).serve({recipe.kind: partial(runner.run, recipe) for recipe in recipes})
            library.sweep()
            _sweep(queue)
    except DiskFull as error:
        logger.error("%s", error)
        leave(75)
    try:
        if idle_exit_s is None:
            threading.Event().wait()
        else:
            # A job may be left unfinished: one whose end could not be written. The next start takes it up.
            occupation.wait_idle(idle_exit_s)
    except KeyboardInterrupt:
        logger.info("Stopped. What was under way goes on at the next start.")
        leave(130)
    return 0


def leave(status: int) -> NoReturn:
    """End the process at once: an ordinary exit would wait for the threads of jobs, and so for the job in hand."""
    logging.shutdown()
    os._exit(status)


def lower_priority() -> None:
    """Live sessions come first: the system gives this process what they leave."""
    if sys.platform != "win32":
        os.nice(NICENESS)


class JobRunner:
    """Runs the jobs of this process by their recipes, wherever they come from."""

    def __init__(self, settings: Settings, queue: JobQueue, library: AvatarLibrary, occupation: Occupation) -> None:
        self._settings = settings
        self._queue = queue
        self._library = library
        self._occupation = occupation

    def run(self, recipe: Recipe, job: TakenJob) -> object:
        """Do all steps of a job; gives what the last one gives. Its files are tidied up, however it ends.

        Raises JobFailed, JobCancelled.
        """
        folders = self._queue.folders
        kept_when_cancelled = partial(self._queue.may_go_on, recipe.kind, job.inputs["avatar"])
        whole = sum(step.weight for step in recipe.steps)
        before = 0.0
        result: object = None
        with self._occupation.occupied(), _tidied(self._queue, job.id, kept_when_cancelled):
            # While this folder exists, the owner of this process knows that the job is in hand.
            folders.work(job.id).mkdir(parents=True, exist_ok=True)
            for step in recipe.steps:
                report = _Reporter(self._queue, job.id, step.name, before / whole, step.weight / whole)
                work = JobWork(job.id, job.inputs, self._settings, folders, self._library, report)
                with _recorded_or_left():
                    result = job.once(step.name, partial(_perform, step, work, report))
                before += step.weight
        recipe.then(work, self._queue)
        return result


def _perform(step: Step, work: JobWork, report: _Reporter) -> object:
    """Run one step; whatever goes wrong in it comes out as JobFailed."""
    try:
        report.begin()
        return step.run(work)
    except JobCancelled:
        logger.info("job %s was cancelled in %s", work.id, step.name)
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
    except Exception as error:  # the border of a job: whatever goes wrong in it, its page has to show something
        if is_disk_full(error):
            raise JobFailed(DiskFull.code, "The disk is full.", REMEDY) from error
        logger.exception("job %s failed in %s", work.id, step.name)
        # The page has its own words for this code. These are for people who read the API or the log.
        message = f"The step '{step.name}' failed unexpectedly: {type(error).__name__}: {error}"
        raise JobFailed("internal", message, "The worker's log has the details; please report it.") from error


@contextmanager
def _recorded_or_left() -> Iterator[None]:
    """End the process when the disk is too full even to write down how a step ended: the next one runs it again."""
    try:
        yield
    except JobFailed:
        raise
    except Exception as error:  # a full disk hides in errors of several libraries; all others are raised again
        if is_disk_full(error):
            logger.error("The disk is full: jobs wait. Free some space; they then go on by themselves.")
            leave(75)
        raise


class _Reporter:
    """Progress callback of one step: throttled; raises JobCancelled once the job is no longer wanted."""

    def __init__(self, queue: JobQueue, job_id: str, step: str, start: float, share: float) -> None:
        self._queue = queue
        self._job_id = job_id
        self._step = step
        self._start = start
        self._share = share
        self._due = 0.0

    def begin(self) -> None:
        self._write(0.0)

    def __call__(self, fraction: float) -> None:
        if time.monotonic() >= self._due:
            self._write(fraction)

    def _write(self, fraction: float) -> None:
        self._due = time.monotonic() + REPORT_INTERVAL_S
        progress = round(self._start + self._share * min(max(fraction, 0.0), 1.0), 3)
        if not self._queue.store.report(self._job_id, self._step, progress):
            raise JobCancelled(self._job_id)


@contextmanager
def _tidied(queue: JobQueue, job_id: str, kept_when_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Remove a job's files at its end: all after success, all but a small upload where it may be run again."""
    try:
        yield
    except Exception as error:  # whatever it was, the job is over; it is raised again
        queue.folders.clear(job_id, keep_upload=not isinstance(error, JobCancelled) or kept_when_cancelled())
        raise
    except BaseException:  # DBOS says in this way that a job was cancelled
        queue.folders.clear(job_id, keep_upload=kept_when_cancelled())
        raise
    queue.folders.clear(job_id)


def _sweep(queue: JobQueue) -> None:
    """Remove files that no job owns, and the oldest of very many finished jobs that left no clip behind."""
    jobs = queue.list(limit=None)
    without_result = [job for job in jobs if not job.active and not queue.folders.clip(job.id).exists()]
    for job in without_result[KEPT_JOBS:]:
        queue.delete(job.id)
    owned = {job.id for job in jobs}
    data_dir = queue.folders.data_dir
    unfinished_files = (folder.glob(".*") for folder in (data_dir / "clips", data_dir / "reports"))
    for path in chain((data_dir / "jobs").glob("*"), (data_dir / "uploads").glob("*"), *unfinished_files):
        if path.name not in owned and time.time() - path.lstat().st_mtime > STALE_S:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
