"""How a job is run, over a store in memory and without a process: its steps, its progress, and what is left of it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avatars.bundle import AvatarBundle
from avatars.errors import BadMedia
from avatars.library import AvatarLibrary
from portal.jobs.orders import order_of_avatar, order_of_clip
from portal.jobs.queue import JobQueue
from portal.jobs.records import Job, JobFailure, JobFolders
from portal.jobs.store import TakenJob
from portal.settings import Settings
from portal.worker import runner
from portal.worker.job_work import JobCancelled, JobFailed, JobWork, Recipe, Step
from portal.worker.runner import JobRunner, Occupation, clear_after_the_dead
from tests.portal.memory_store import MemoryStore


class Bench:
    """A queue, and a runner that is handed jobs as a JobSource would do it."""

    def __init__(self, data_dir: Path, library: AvatarLibrary) -> None:
        self.store = MemoryStore()
        self.queue = JobQueue(self.store, JobFolders(data_dir), library)
        self.ended: dict[str, Any] = {}
        "what the steps that have ended gave, as a source keeps it over the death of a process"
        self._data_dir = data_dir
        self._runner = JobRunner(Settings(data_dir=data_dir), self.queue, library, Occupation())

    def photo(self, avatar: str = "ada-1") -> Job:
        path = self._data_dir / "photo.png"
        path.write_bytes(b"pixels")
        return self.queue.submit(order_of_avatar(path, avatar=avatar, name="Ada", consent=True))

    def run(self, job: Job, *steps: Step, then: Callable[[JobWork, JobQueue], None] | None = None) -> Any:
        self.store.take(job.id)
        recipe = Recipe(job.kind, steps) if then is None else Recipe(job.kind, steps, then)
        return self._runner.run(recipe, TakenJob(job.id, {"avatar": job.avatar}, self._once))

    def _once(self, name: str, step: Callable[[], Any]) -> Any:
        if name not in self.ended:
            self.ended[name] = step()
        return self.ended[name]


@pytest.fixture
def bench(tmp_path: Path, library: AvatarLibrary) -> Iterator[Bench]:
    bench = Bench(tmp_path, library)
    yield bench
    bench.queue.close()


def fails(error: BaseException) -> Callable[[JobWork], None]:
    def run(_work: JobWork) -> None:
        raise error

    return run


def test_steps_hand_files_on_and_the_last_one_gives_the_result(bench: Bench) -> None:
    """They share a folder, which is gone at the end with the upload; then the recipe says what follows."""
    followed: list[str] = []

    def last(work: JobWork) -> dict[str, str]:
        return {"found": (work.folder / "note").read_text(), "upload": work.upload.read_text()}

    steps = Step("first", 1, lambda work: (work.folder / "note").write_text("made")), Step("last", 3, last)
    job = bench.photo()
    result = bench.run(job, *steps, then=lambda work, _queue: followed.append(work.id))
    assert result == {"found": "made", "upload": "pixels"}
    assert followed == [job.id] and not bench.queue.folders.home(job.id).exists()


def test_progress_is_that_of_the_whole_job(bench: Bench) -> None:
    """Each step has its share by its weight; between two reports little time passes, so the rest is left out."""
    seen: list[tuple[str, float]] = []

    def look(work: JobWork) -> None:
        job = bench.queue.get(work.id)
        seen.append((job.step, job.progress))

    bench.run(bench.photo(), Step("first", 1, look), Step("last", 3, look))
    assert seen == [("first", 0.0), ("last", 0.25)]


def test_a_step_that_has_ended_is_not_run_again(bench: Bench) -> None:
    """The process was killed in the second step: the next one begins there, with what the first one gave."""
    runs: list[str] = []

    def first(_work: JobWork) -> str:
        runs.append("first")
        return "given"

    class Killed(BaseException):
        pass

    job = bench.photo()
    with pytest.raises(Killed):
        bench.run(job, Step("first", 1, first), Step("last", 1, fails(Killed())))
    assert bench.run(job, Step("first", 1, first), Step("last", 1, lambda _work: runs.append("last"))) is None
    assert runs == ["first", "last"]


def cancelled_within(bench: Bench) -> Step:
    """A step that somebody cancels, and that then reports how far it is."""

    def run(work: JobWork) -> None:
        (work.folder / "note").write_text("made")
        bench.queue.cancel(work.id)
        work.progress(0.5)

    return Step("first", 1, run)


def test_a_job_that_nobody_wants_any_more_ends_at_its_next_step(bench: Bench) -> None:
    """The second step is not begun, and the files go: people who take a photo back do not want it kept."""
    job = bench.photo()
    with pytest.raises(JobCancelled):
        bench.run(job, cancelled_within(bench), Step("last", 1, fails(AssertionError("it was begun"))))
    assert not bench.queue.folders.home(job.id).exists()


def test_who_has_lost_a_job_leaves_its_files_to_who_has_it_now(bench: Bench) -> None:
    """It waits again, or another worker has it: what this one was told when it reported how far it is."""

    def lose(work: JobWork) -> None:
        (work.folder / "note").write_text("made")
        bench.queue.cancel(work.id)
        bench.store.run_again(work.id)
        raise JobCancelled(work.id)

    job = bench.photo()
    with pytest.raises(JobCancelled):
        bench.run(job, Step("first", 1, lose))
    assert bench.queue.folders.upload(job.id) is not None
    assert (bench.queue.folders.work(job.id) / "note").read_text() == "made"


def test_what_a_dead_worker_left_of_a_job_that_has_ended_goes(bench: Bench) -> None:
    """Where others live nobody starts again who would find it. One that ended just now may be in hand still."""
    long_ago, just_now, waits = bench.photo("ada-1"), bench.photo("ada-2"), bench.photo("ada-3")
    for job in (long_ago, just_now, waits):
        bench.queue.folders.work(job.id).mkdir()
    bench.store.clock_s = lambda: time.time() - 61
    bench.store.fail(long_ago.id, JobFailure("worker_died", "It died."))
    bench.store.clock_s = time.time
    bench.store.fail(just_now.id, JobFailure("worker_died", "It died."))
    clear_after_the_dead(bench.queue)
    assert bench.queue.folders.in_hand() == sorted([just_now.id, waits.id])
    assert bench.queue.folders.upload(long_ago.id) is not None


def test_the_recording_of_a_cancelled_clip_stays(
    bench: Bench, make_bundle: Callable[..., AvatarBundle], tmp_path: Path
) -> None:
    """It can be run again; what its steps had made goes."""
    make_bundle("ada")
    (tmp_path / "speech.wav").write_bytes(b"samples")
    job = bench.queue.submit(order_of_clip(avatar="ada", audio=tmp_path / "speech.wav"))
    with pytest.raises(JobCancelled):
        bench.run(job, cancelled_within(bench), Step("last", 1, fails(AssertionError("it was begun"))))
    assert bench.queue.folders.upload(job.id) is not None and not bench.queue.folders.work(job.id).exists()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (BadMedia("It is no picture.", "Upload a JPEG.", cause="empty"), "bad_media", "It is no picture."),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "disk_full", "The disk is full."),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "disk_read_only", "cannot be written to"),
        (MemoryError(), "out_of_memory", "too little memory"),
        (ZeroDivisionError("by nought"), "internal", "by nought"),
    ],
    ids=["ours", "disk", "read-only", "memory", "surprise"],
)
def test_what_goes_wrong_is_kept_with_its_remedy(bench: Bench, error: Exception, code: str, words: str) -> None:
    """Whatever it is, it ends the job as a JobFailed; the upload stays for another try."""
    job = bench.photo()
    with pytest.raises(JobFailed) as failed:
        bench.run(job, Step("first", 1, fails(error)))
    assert failed.value.data["code"] == code and words in failed.value.data["message"] and failed.value.data["hint"]
    assert failed.value.data["cause"] == ("empty" if code == "bad_media" else "")
    assert bench.queue.folders.upload(job.id) is not None


def test_a_folder_that_takes_nothing_is_named_before_the_first_step_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.photo()
    make = Path.mkdir

    def make_if_writable(path: Path, *given: Any, **named: Any) -> None:
        if path == bench.queue.folders.work(job.id):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        make(path, *given, **named)

    monkeypatch.setattr(Path, "mkdir", make_if_writable)
    with pytest.raises(JobFailed) as failed:
        bench.run(job, Step("first", 1, fails(AssertionError("it was begun"))))
    assert failed.value.data["code"] == "disk_read_only" and failed.value.data["hint"]


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_clip_that_nobody_wants_any_more_goes_with_its_job(bench: Bench, how: str) -> None:
    """The job was taken back in its last moment, when the clip was being put in its place: no list would show it."""
    job = bench.queue.submit(order_of_clip(avatar="ada-1", text="Hello."))
    clip = bench.queue.folders.clip(job.id)

    def speak(_work: JobWork) -> None:
        getattr(bench.queue, how)(job.id)
        clip.parent.mkdir(exist_ok=True)
        clip.write_bytes(b"a clip")

    bench.run(job, Step("speak", 1, speak))
    assert not clip.exists() and not bench.queue.folders.home(job.id).exists()


def test_a_clip_whose_worker_was_killed_goes_with_its_removed_job(bench: Bench) -> None:
    """Found by what the worker had in hand. Clips whose record is lost in another way stay."""
    lost, removed = (bench.queue.folders.clip(name) for name in ("lost", "removed"))
    lost.parent.mkdir(parents=True)
    for clip in (lost, removed):
        clip.write_bytes(b"a clip")
    bench.queue.folders.work("removed").mkdir(parents=True)
    os.utime(bench.queue.folders.home("removed"), (0, 0))
    runner._sweep(bench.queue)
    assert lost.exists() and not removed.exists() and not bench.queue.folders.home("removed").exists()
    bench.queue.folders.work("removed").mkdir(parents=True)
    removed.write_bytes(b"a clip")
    bench.queue.give_up("removed", JobFailure("job_stuck", "It hung.", "Try again."))
    assert not removed.exists()
