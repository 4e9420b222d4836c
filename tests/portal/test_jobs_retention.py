"""Clips are removed when their time is over, where the operator has set one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatars.library import AvatarLibrary
from pipeline.clock import ManualClock
from portal.jobs.orders import order_of_clip, order_of_test_clip
from portal.jobs.queue import JobQueue
from portal.jobs.records import JobFolders, JobOrder
from portal.jobs.retention import LOOK_S, ClipRetention
from tests.portal.memory_store import MemoryStore

KEEP_S = 3600.0
WITHIN_S = 60.0


class Hours:
    """The time of day, in the test's hands."""

    now_unix_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_unix_s


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def queue(hours: Hours, tmp_path: Path, library: AvatarLibrary) -> Iterator[JobQueue]:
    queue = JobQueue(MemoryStore(hours), JobFolders(tmp_path), library, max_waiting=9)
    yield queue
    queue.close()


def made(queue: JobQueue, order: JobOrder) -> str:
    job = queue.submit(order)
    store = queue.store
    assert isinstance(store, MemoryStore)
    store.take(job.id)
    store.finish(job.id, {})
    clip = queue.folders.clip(job.id)
    clip.parent.mkdir(exist_ok=True)
    clip.write_bytes(b"a clip")
    return job.id


def clips(queue: JobQueue) -> set[str]:
    return {path.stem for path in (queue.folders.data_dir / "clips").iterdir()}


async def looked(clock: ManualClock) -> None:
    """It has looked, and waits for the next time."""
    async with asyncio.timeout(WITHIN_S):
        while not clock.sleepers:  # noqa: ASYNC110 - a thread looks
            await asyncio.sleep(0)


async def test_old_clips_go_and_others_stay(queue: JobQueue, hours: Hours) -> None:
    """Record and file; a newer one, one that waits, and an avatar's test clip stay."""
    clock = ManualClock()
    old = made(queue, order_of_clip(avatar="ada", text="Old."))
    test_clip = made(queue, order_of_test_clip("ada", "Ada"))
    waiting = queue.submit(order_of_clip(avatar="ada", text="Waiting.")).id
    hours.now_unix_s += KEEP_S - 1
    new = made(queue, order_of_clip(avatar="ada", text="New."))
    retention = ClipRetention(queue, clock, KEEP_S, hours)
    await retention.start()
    await looked(clock)
    assert clips(queue) == {old, test_clip, new}
    hours.now_unix_s += 2
    await clock.advance(LOOK_S)
    await looked(clock)
    assert clips(queue) == {test_clip, new}
    assert {job.id for job in queue.list(limit=None)} == {test_clip, new, waiting}
    await retention.aclose()
    await retention.aclose()
