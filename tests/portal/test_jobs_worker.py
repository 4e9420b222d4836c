"""Jobs through a real worker process: run, fail, be cancelled, and survive kill -9."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from portal.job_records import Job
from portal.jobs import JobQueue
from portal.worker_process import WorkerProcess

SCRIPT = Path(__file__).with_name("job_worker_script.py")
DEADLINE_S = 60.0


class Bench:
    """A queue, its worker process, and the gate that the job's second stage waits at."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        os.mkfifo(data_dir / "gate")
        self._gate = os.open(data_dir / "gate", os.O_RDWR)
        self.queue = JobQueue(data_dir)
        settings: Any = SimpleNamespace(model_dump_json=lambda: f'{{"data_dir": "{data_dir}"}}')
        self.worker = WorkerProcess(settings, self.queue, command=(sys.executable, str(SCRIPT)))

    def submit_photo(self, content: bytes = b"pixels") -> Job:
        photo = self.data_dir / "photo.JPG"
        photo.write_bytes(content)
        return self.queue.submit_avatar(photo, avatar="ada-1", name="Ada", consent=True)

    def open_gate(self) -> None:
        os.write(self._gate, b".")

    def trace(self) -> list[str]:
        return (self.data_dir / "trace").read_text().split()

    async def until(self, job_id: str, condition: Callable[[Job], bool]) -> Job:
        """Look at a job of another process until it is as wanted, no longer than the deadline."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition(job := await asyncio.to_thread(self.queue.get, job_id)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return job

    async def finished(self, job_id: str) -> Job:
        return await self.until(job_id, lambda job: not job.active)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    await bench.worker.start()
    yield bench
    await bench.worker.aclose()
    bench.queue.close()


async def test_a_job_goes_through_its_stages_and_leaves_only_its_result(bench: Bench) -> None:
    """A job hands files on between its stages, gives the last one's result, and its folder is removed."""
    job = await asyncio.to_thread(bench.submit_photo)
    assert (job.state, job.name, job.kind) == ("queued", "Ada", "prepare")
    bench.open_gate()
    job = await bench.finished(job.id)
    assert (job.state, job.progress, job.result) == ("done", 1.0, {"avatar": "photo.JPG", "bytes": 6})
    assert bench.trace() == ["first", "gated", "last"]
    assert not list((bench.data_dir / "jobs").iterdir())


async def test_a_killed_worker_s_job_is_finished_by_the_next_without_repeating_stages(bench: Bench) -> None:
    """After kill -9 in the second stage a new worker starts by itself and goes on with the second stage."""
    job = await asyncio.to_thread(bench.submit_photo)
    job = await bench.until(job.id, lambda job: job.stage == "gated")
    assert job.state == "running" and 0.2 < job.progress < 0.8
    killed = bench.worker.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await bench.until(job.id, lambda _: bench.worker.pid not in (None, killed) and bench.trace().count("gated") == 2)
    bench.open_gate()
    job = await bench.finished(job.id)
    assert job.state == "done"
    assert bench.trace() == ["first", "gated", "gated", "last"]


async def test_a_job_waits_for_the_next_start_of_the_portal(bench: Bench) -> None:
    """A portal that closes in the middle of a job leaves it; the next portal's worker finishes it."""
    job = await asyncio.to_thread(bench.submit_photo)
    await bench.until(job.id, lambda job: job.stage == "gated")
    await bench.worker.aclose()
    await bench.worker.aclose()
    assert (await asyncio.to_thread(bench.queue.get, job.id)).state == "running"
    bench.open_gate()
    await bench.worker.start()
    assert (await bench.finished(job.id)).state == "done"


async def test_a_running_job_is_cancelled_within_its_step(bench: Bench) -> None:
    """A running step notices a cancellation, and the next job gets its turn."""
    job = await asyncio.to_thread(lambda: bench.queue.submit_clip(avatar="ada", text="for ever"))
    await bench.until(job.id, lambda job: job.stage == "speak")
    assert (await asyncio.to_thread(bench.queue.cancel, job.id)).state == "cancelled"
    following = await asyncio.to_thread(lambda: bench.queue.submit_clip(avatar="ada", text="hello"))
    assert (await bench.finished(following.id)).state == "done"
    assert (await asyncio.to_thread(bench.queue.get, job.id)).state == "cancelled"


async def test_failures_keep_their_code_message_and_remedy(bench: Bench) -> None:
    """What went wrong in the worker is read in the portal: code, message and hint."""
    jobs = {
        text: await asyncio.to_thread(lambda text=text: bench.queue.submit_clip(avatar="ada", text=text))
        for text in ("bad media", "disk full", "surprise")
    }
    ended = {text: await bench.finished(job.id) for text, job in jobs.items()}
    assert {job.state for job in ended.values()} == {"failed"}
    errors = {text: job.error for text, job in ended.items()}
    assert errors["bad media"] is not None and errors["disk full"] is not None and errors["surprise"] is not None
    assert (errors["bad media"].code, errors["bad media"].message) == ("bad_media", "It is no picture.")
    assert errors["bad media"].hint == "Upload a JPEG."
    assert errors["disk full"].code == "disk_full" and "space" in errors["disk full"].hint
    assert errors["surprise"].code == "internal" and "by nought" in errors["surprise"].message


async def test_a_failed_job_can_be_run_again(bench: Bench) -> None:
    """Retrying runs a failed job from its first stage under the same id."""
    job = await asyncio.to_thread(lambda: bench.queue.submit_clip(avatar="ada", text="disk full"))
    failed = await bench.finished(job.id)
    assert bench.queue.retryable(failed)
    again = await asyncio.to_thread(bench.queue.retry, job.id)
    assert again.id == job.id and again.active and again.error is None
    assert (await bench.finished(job.id)).state == "failed"
