"""Jobs through a real worker process: run, fail, be cancelled, and survive kill -9."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

import portal.worker.runner
from avatars.bundle import AvatarBundle, encode_jpeg
from avatars.library import AvatarLibrary, presets
from avatars.media import read_photo
from avatars.media_limits import fit_within
from pipeline.clock import Clock
from portal.intake.submissions import submit_avatar
from portal.jobs.face_reports import FaceReports
from portal.jobs.opening import open_queue
from portal.jobs.orders import id_of_test_clip, order_of_avatar, order_of_clip
from portal.jobs.queue import JobQueue
from portal.jobs.records import CLIP, LONG_LINES, PREPARE, Job, line_of
from portal.settings import Settings
from portal.worker.process import WorkerProcess
from tests.clips import grey_levels, write_clip

pytestmark = pytest.mark.thorough

SCRIPT = Path(__file__).with_name("job_worker_script.py")
DEADLINE_S = 240.0


async def until(queue: JobQueue, job_id: str, condition: Callable[[Job], bool]) -> Job:
    """Look at a job of another process until it is as wanted, no longer than the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition(job := await asyncio.to_thread(queue.get, job_id)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return job


class Bench:
    """A queue, its worker process, and the gate that the job's second step waits at."""

    def __init__(self, data_dir: Path, database_url: str, clock: Clock | None = None) -> None:
        self.data_dir = data_dir
        os.mkfifo(data_dir / "gate")
        self._gate = os.open(data_dir / "gate", os.O_RDWR)
        self.queue = open_queue(data_dir, AvatarLibrary(data_dir / "avatars"), database_url=database_url)
        settings: Any = SimpleNamespace(
            with_secrets=lambda: json.dumps({"data_dir": str(data_dir), "database_url": database_url}).encode(),
            job_silence_s=600.0 if clock is None else 60.0,
            database_url=SecretStr(database_url),
        )
        self.worker = WorkerProcess(settings, self.queue, command=(sys.executable, str(SCRIPT)), clock=clock)

    def submit_photo(self, content: bytes = b"pixels", *, avatar: str = "ada-1", is_long: bool = False) -> Job:
        photo = self.data_dir / "photo.JPG"
        photo.write_bytes(content)
        order = order_of_avatar(photo, avatar=avatar, name="Ada", consent=True)
        return self.queue.submit(replace(order, is_long=is_long))

    def open_gate(self) -> None:
        os.write(self._gate, b".")

    def trace(self) -> list[str]:
        return (self.data_dir / "trace").read_text().split()

    async def until(self, job_id: str, condition: Callable[[Job], bool]) -> Job:
        return await until(self.queue, job_id, condition)

    async def finished(self, job_id: str) -> Job:
        return await self.until(job_id, lambda job: not job.active)


class JumpingClock:
    """The machine's clock, which the test can put forward: a busy machine's worker is not given up before that."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._jumped = asyncio.Event()

    def now_s(self) -> float:
        return time.monotonic() + self._ahead_s

    async def sleep_until(self, when_s: float) -> None:
        await asyncio.sleep(0)
        while (left_s := when_s - self.now_s()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._jumped.wait(), left_s)

    def jump(self, seconds: float) -> None:
        self._ahead_s += seconds
        self._jumped.set()
        self._jumped = asyncio.Event()


class HurriedBench(Bench):
    """It does not wait for the time after which a job without progress is given up.

    Jobs are in SQLite: on Postgres workers watch themselves (test_jobs_fleet.py).
    """

    def __init__(self, data_dir: Path) -> None:
        self._clock = JumpingClock()
        super().__init__(data_dir, "", self._clock)

    async def worker_is_ended(self, pid: int | None) -> None:
        """Let time pass until this worker process is gone."""
        async with asyncio.timeout(DEADLINE_S):
            while self.worker.pid == pid:
                self._clock.jump(10)
                await asyncio.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The setting `database_url`, for each database in which jobs can be kept."""
    return request.getfixturevalue("database_url") if request.param == "postgres" else ""


@pytest.fixture
async def hurried(tmp_path: Path) -> AsyncIterator[HurriedBench]:
    bench = HurriedBench(tmp_path)
    await bench.worker.start()
    yield bench
    await bench.worker.aclose()
    bench.queue.close()


@pytest.fixture
async def bench(tmp_path: Path, url: str) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, url)
    await bench.worker.start()
    yield bench
    await bench.worker.aclose()
    bench.queue.close()


async def test_a_job_goes_through_its_steps_and_leaves_only_its_result(bench: Bench) -> None:
    """A job hands files on between its steps, gives the last one's result, and its folder is removed."""
    job = await asyncio.to_thread(bench.submit_photo)
    assert (job.state, job.name, job.kind) == ("queued", "Ada", "prepare")
    bench.open_gate()
    job = await bench.finished(job.id)
    assert (job.state, job.progress, job.result) == ("done", 1.0, {"avatar": "photo.JPG", "bytes": 6})
    assert bench.trace() == ["first", "gated", "last"]
    assert not list((bench.data_dir / "jobs").iterdir())


async def test_a_killed_worker_s_job_is_finished_by_the_next_without_repeating_steps(bench: Bench) -> None:
    """After kill -9 in the second step a new worker starts by itself and goes on with the second step."""
    job = await asyncio.to_thread(bench.submit_photo)
    job = await bench.until(job.id, lambda job: job.step == "gated")
    assert job.state == "running" and 0.2 < job.progress < 0.8
    killed = bench.worker.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await bench.until(job.id, lambda _: bench.worker.pid not in (None, killed) and bench.trace().count("gated") == 2)
    bench.open_gate()
    job = await bench.finished(job.id)
    assert job.state == "done"
    assert bench.trace() == ["first", "gated", "gated", "last"]


async def test_a_job_whose_progress_could_not_be_written_down_goes_on_later(bench: Bench) -> None:
    """A full disk in mid-job costs neither the upload nor what was done: the worker ends, the next one finishes it."""
    job = await asyncio.to_thread(bench.submit_photo)
    await bench.until(job.id, lambda job: job.step == "gated")
    (bench.data_dir / "full").touch()
    before = bench.worker.pid
    bench.open_gate()
    await bench.until(job.id, lambda _: bench.worker.pid not in (None, before))
    assert not (bench.data_dir / "full").exists()
    bench.open_gate()
    job = await bench.finished(job.id)
    assert job.state == "done" and job.result == {"avatar": "photo.JPG", "bytes": 6}
    assert bench.trace()[0] == "first" and "first" not in bench.trace()[1:]


async def test_a_job_waits_for_the_next_start_of_the_portal(bench: Bench) -> None:
    """A portal that closes in the middle of a job leaves it; the next portal's worker finishes it."""
    job = await asyncio.to_thread(bench.submit_photo)
    await bench.until(job.id, lambda job: job.step == "gated")
    await bench.worker.aclose()
    await bench.worker.aclose()
    assert (await asyncio.to_thread(bench.queue.get, job.id)).state == "running"
    bench.open_gate()
    await bench.worker.start()
    assert (await bench.finished(job.id)).state == "done"


async def test_a_running_job_is_cancelled_within_its_step(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    """A running step notices a cancellation, quietly, and the next job gets its turn."""
    job = await asyncio.to_thread(lambda: bench.queue.submit(order_of_clip(avatar="ada", text="for ever")))
    await bench.until(job.id, lambda job: job.step == "speak")
    assert (await asyncio.to_thread(bench.queue.cancel, job.id)).state == "cancelled"
    following = await asyncio.to_thread(lambda: bench.queue.submit(order_of_clip(avatar="ada", text="hello")))
    assert (await bench.finished(following.id)).state == "done"
    assert (await asyncio.to_thread(bench.queue.get, job.id)).state == "cancelled"
    assert "no longer owned" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("how", ["cancel", "delete"])
async def test_a_worker_that_hangs_in_a_job_nobody_wants_is_ended(hurried: HurriedBench, how: str) -> None:
    """It does not notice the cancellation, so it is killed; its folder is tidied, and the next job gets its turn."""
    job = await asyncio.to_thread(hurried.submit_photo)
    await hurried.until(job.id, lambda job: job.step == "gated")
    held = hurried.worker.pid
    await asyncio.to_thread(getattr(hurried.queue, how), job.id)
    following = await asyncio.to_thread(lambda: hurried.queue.submit(order_of_clip(avatar="ada", text="hello")))
    await hurried.worker_is_ended(held)
    async with asyncio.timeout(DEADLINE_S):
        while hurried.queue.folders.home(job.id).exists():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (await hurried.finished(following.id)).state == "done"
    assert hurried.trace().count("gated") == 1


async def test_a_job_without_progress_is_given_up_and_told(hurried: HurriedBench) -> None:
    """It fails in plain words, is not tried again by itself, and may be run again by a person."""
    job = await asyncio.to_thread(hurried.submit_photo)
    await hurried.until(job.id, lambda job: job.step == "gated")
    await hurried.worker_is_ended(hurried.worker.pid)
    failed = await hurried.finished(job.id)
    assert failed.state == "failed" and failed.error is not None
    assert failed.error.code == "job_stuck" and "no progress" in failed.error.message and failed.error.hint
    following = await asyncio.to_thread(lambda: hurried.queue.submit(order_of_clip(avatar="ada", text="hello")))
    assert (await hurried.finished(following.id)).state == "done"
    assert hurried.trace().count("gated") == 1
    again = await asyncio.to_thread(hurried.queue.retry, job.id)
    assert again.active and again.error is None
    hurried.open_gate()
    assert (await hurried.finished(job.id)).state == "done"


async def test_failures_keep_their_code_message_and_remedy(bench: Bench) -> None:
    """What went wrong in the worker is read in the portal: code, message and hint."""
    jobs = {
        text: await asyncio.to_thread(lambda text=text: bench.queue.submit(order_of_clip(avatar="ada", text=text)))
        for text in ("bad media", "disk full", "database full", "surprise")
    }
    ended = {text: await bench.finished(job.id) for text, job in jobs.items()}
    assert {job.state for job in ended.values()} == {"failed"}
    errors = {text: job.error for text, job in ended.items()}
    assert errors["bad media"] is not None and errors["disk full"] is not None and errors["surprise"] is not None
    assert errors["database full"] is not None and errors["database full"].code == "disk_full"
    assert (errors["bad media"].code, errors["bad media"].message) == ("bad_media", "It is no picture.")
    assert errors["bad media"].hint == "Upload a JPEG."
    assert errors["disk full"].code == "disk_full" and "space" in errors["disk full"].hint
    assert errors["surprise"].code == "internal" and "by nought" in errors["surprise"].message


async def test_a_failure_is_told_by_the_next_worker_if_the_first_one_ended_before_the_job_did(bench: Bench) -> None:
    """DBOS pickles how a step failed, and the next worker gets it from there."""
    (bench.data_dir / "full").touch()
    order = order_of_clip(avatar="ada", text="bad media")
    job = await bench.finished((await asyncio.to_thread(bench.queue.submit, order)).id)
    assert not (bench.data_dir / "full").exists()
    assert job.state == "failed" and job.error is not None
    assert (job.error.code, job.error.message) == ("bad_media", "It is no picture.")
    assert job.error.hint == "Upload a JPEG."


async def test_a_recording_stays_for_a_running_clip_that_was_cancelled(
    bench: Bench, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """It goes on from its beginning when somebody wants it after all."""
    make_bundle("ada")
    recording = bench.data_dir / "speech.wav"
    recording.write_bytes(b"samples")
    job = await asyncio.to_thread(lambda: bench.queue.submit(order_of_clip(avatar="ada", audio=recording)))
    await bench.until(job.id, lambda job: job.step == "speak")
    await asyncio.to_thread(bench.queue.cancel, job.id)
    following = await asyncio.to_thread(lambda: bench.queue.submit(order_of_clip(avatar="ada", text="hello")))
    await bench.finished(following.id)  # so the other one has been tidied up
    assert bench.queue.folders.upload(job.id) is not None and not bench.queue.folders.work(job.id).exists()
    assert (await asyncio.to_thread(bench.queue.retry, job.id)).active


async def test_nobodys_few_words_wait_for_a_long_clip(bench: Bench, make_bundle: Callable[..., AvatarBundle]) -> None:
    """A recording of ten minutes may take an hour. Long clips have a line of their own."""
    make_bundle("ada")
    recording = bench.data_dir / "speech.wav"
    recording.write_bytes(b"samples")
    order = order_of_clip(avatar="ada", audio=recording, audio_s=600.0)
    long = await asyncio.to_thread(lambda: bench.queue.submit(order))
    await bench.until(long.id, lambda job: job.step == "speak")
    words = [order_of_clip(avatar="ada", text="hello"), order_of_clip(avatar="ada", text="hello", clip_format="mov")]
    for one in words:
        assert (await bench.finished((await asyncio.to_thread(bench.queue.submit, one)).id)).state == "done"
    assert (
        line_of(order_of_clip(avatar="ada", text="hello " * 40, clip_format="mov")) == line_of(long) == LONG_LINES[CLIP]
    )
    assert (await asyncio.to_thread(bench.queue.cancel, long.id)).state == "cancelled"


async def test_nobodys_photo_waits_for_a_clip(bench: Bench) -> None:
    """A clip whose background is cut out takes minutes. It keeps its line when it is run again."""
    clip = await asyncio.to_thread(partial(bench.submit_photo, avatar="clip", is_long=True))
    assert line_of(clip) == LONG_LINES[PREPARE]
    await bench.until(clip.id, lambda job: job.step == "gated")
    photo = await asyncio.to_thread(bench.submit_photo)
    await bench.until(photo.id, lambda job: job.step == "gated")
    await asyncio.to_thread(bench.queue.cancel, clip.id)
    assert line_of(await asyncio.to_thread(bench.queue.retry, clip.id)) == LONG_LINES[PREPARE]
    for job in (photo, clip):
        await asyncio.to_thread(bench.queue.cancel, job.id)
    bench.open_gate()
    bench.open_gate()


def test_whether_an_upload_is_a_photo_is_seen_in_it(tmp_path: Path) -> None:
    """Whatever its name says: clips wait in a line of their own."""
    library = AvatarLibrary(tmp_path / "avatars")
    queue = open_queue(tmp_path, library)
    small_photo(tmp_path / "photo.mp4", presets()[0].picture)
    write_clip(tmp_path / "clip.mp4", grey_levels(range(60, 110)))
    (tmp_path / "clip.mp4").rename(tmp_path / "clip.jpg")
    for name, line in (("photo.mp4", PREPARE), ("clip.jpg", LONG_LINES[PREPARE])):
        job = submit_avatar(library, queue, tmp_path / name, name=name, file_name=name, consent=True)
        assert line_of(job) == line_of(queue.get(job.id)) == line
    queue.close()


async def test_a_failed_job_can_be_run_again(bench: Bench, make_bundle: Callable[..., AvatarBundle]) -> None:
    """Retrying runs a failed job from its first step under the same id."""
    make_bundle("ada")
    job = await asyncio.to_thread(lambda: bench.queue.submit(order_of_clip(avatar="ada", text="disk full")))
    failed = await bench.finished(job.id)
    assert bench.queue.retryable(failed)
    again = await asyncio.to_thread(bench.queue.retry, job.id)
    assert again.id == job.id and again.active and again.error is None
    assert (await bench.finished(job.id)).state == "failed"


async def test_the_shipped_worker_prepares_a_photo_though_it_is_killed_in_the_middle(tmp_path: Path) -> None:
    """The real worker, killed with -9 while it brings a photo to life, is replaced by one that finishes the avatar."""
    library = AvatarLibrary(tmp_path / "avatars")
    queue = open_queue(tmp_path, library)
    worker = WorkerProcess(Settings(data_dir=tmp_path, worker_idle_s=30), queue)
    photo = small_photo(tmp_path / "photo.jpg", presets()[0].picture)

    def submit() -> Job:
        return submit_avatar(library, queue, photo, name="Ada", file_name="ada.jpg", consent=True)

    job = await asyncio.to_thread(submit)
    await worker.start()
    try:
        await until(queue, job.id, lambda job: job.step == "make_loop")
        read = (queue.folders.work(job.id) / "read_source").stat().st_mtime_ns
        killed = worker.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(queue, job.id, lambda _: worker.pid not in (None, killed))
        assert (queue.folders.work(job.id) / "read_source").stat().st_mtime_ns == read
        job = await until(queue, job.id, lambda job: not job.active)
        assert job.state == "done" and job.result == {"avatar": job.avatar}
        bundle = library.open(job.avatar)
        assert bundle.name == "Ada" and bundle.preview_path is not None and bundle.frame_count > 25
        assert bundle.manifest["source"]["consent"] is True and FaceReports(tmp_path).pictures(job.avatar)
        clips = await asyncio.to_thread(queue.list, kind="clip")
        assert [clip.id for clip in clips] == [id_of_test_clip(job.avatar)]
    finally:
        await worker.aclose()
        queue.close()


async def test_the_shipped_worker_explains_a_picture_without_a_face(tmp_path: Path) -> None:
    """A refused photo fails with code, remedy, face report and its strip of pictures, and is not tried again."""
    library = AvatarLibrary(tmp_path / "avatars")
    queue = open_queue(tmp_path, library)
    worker = WorkerProcess(Settings(data_dir=tmp_path, worker_idle_s=30), queue)
    wall = tmp_path / "wall.jpg"
    wall.write_bytes(encode_jpeg(np.full((200, 300, 3), 180, np.uint8)))

    def submit() -> Job:
        return submit_avatar(library, queue, wall, name="Wall", file_name="wall.jpg", consent=True)

    job = await asyncio.to_thread(submit)
    await worker.start()
    try:
        job = await until(queue, job.id, lambda job: not job.active)
        assert job.state == "failed" and job.error is not None and job.error.report is not None
        assert (job.error.code, job.error.cause) == ("no_face", "none") and job.error.hint
        assert job.error.report["counts"]["missing"] == 1
        assert FaceReports(tmp_path).pictures(job.avatar) == [job.error.report["strip"][0]["file"]]
        assert library.list() == [] and not queue.retryable(job) and not queue.folders.work(job.id).exists()
    finally:
        await worker.aclose()
        queue.close()


async def test_a_worker_whose_portal_is_gone_ends_by_itself(tmp_path: Path) -> None:
    """A portal that was killed leaves no worker behind: its standard input closes, and that ends it."""
    settings = Settings(data_dir=tmp_path).with_secrets() + b"\n"
    command = (sys.executable, "-m", "portal.worker.child")
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, cwd=Path(portal.__file__).parents[1])
    async with asyncio.timeout(DEADLINE_S):
        await process.communicate(settings)
    assert process.returncode == 0


async def test_leftovers_of_long_ago_are_swept(bench: Bench) -> None:
    """What killed processes left goes at the next start of a worker; what a link points at stays."""
    elsewhere = bench.data_dir / "elsewhere"
    old = [
        bench.data_dir / name for name in ("uploads/a.png", "jobs/gone", "clips/.half.mp4", "jobs/link", "jobs/lost")
    ]
    for path in (*old, elsewhere / "kept"):
        path.parent.mkdir(exist_ok=True)
    (elsewhere / "kept").write_bytes(b"kept")
    for path in (old[0], old[2], bench.data_dir / "uploads" / "new.png", bench.data_dir / "clips" / "whole.mp4"):
        path.write_bytes(b"half")
    old[1].mkdir()
    old[3].symlink_to(elsewhere)
    old[4].symlink_to("nowhere")
    for path in (*old, bench.data_dir / "clips" / "whole.mp4"):
        os.utime(path, (0, 0), follow_symlinks=False)
    job = await asyncio.to_thread(lambda: bench.queue.submit(order_of_clip(avatar="ada", text="hello")))
    assert (await bench.finished(job.id)).state == "done"
    assert not any(path.is_symlink() or path.exists() for path in old)
    assert (elsewhere / "kept").exists() and (bench.data_dir / "uploads" / "new.png").exists()
    assert (bench.data_dir / "clips" / "whole.mp4").exists()


async def test_a_second_worker_leaves_the_data_folder_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one worker serves a data folder another one says so and ends with status 75."""
    job = await asyncio.to_thread(bench.submit_photo)
    await bench.until(job.id, lambda job: job.step == "gated")
    monkeypatch.setattr(portal.worker.runner, "LOCK_TIMEOUT_S", 0.0)
    monkeypatch.setattr(portal.worker.runner, "lower_priority", lambda: None)
    assert await asyncio.to_thread(portal.worker.runner.run_worker, Settings(data_dir=bench.data_dir), ()) == 75


def small_photo(path: Path, source: Path) -> Path:
    path.write_bytes(encode_jpeg(fit_within(read_photo(source), 384)))
    return path
