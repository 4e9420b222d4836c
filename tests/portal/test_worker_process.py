"""The owner of the worker process, when looking at the queue or starting a process fails."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from avatars.errors import DiskFull
from pipeline.clock import ManualClock
from portal.worker.process import FIRST_BACKOFF_S, LONGEST_BACKOFF_S, LOOK_S, WorkerProcess

QUICK = (sys.executable, "-c", "")


class Looks:
    """A queue that answers, each time it is looked at, as the test says; then it has nothing to do."""

    def __init__(self, *answers: bool | Exception) -> None:
        self._answers = iter(answers)
        self._loop = asyncio.get_running_loop()
        self.looks: asyncio.Queue[object] = asyncio.Queue()

    def active(self) -> bool:
        answer = next(self._answers, False)
        self._loop.call_soon_threadsafe(self.looks.put_nowait, answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def in_hand(self) -> list[tuple[str, object]]:
        return []

    def on_submit(self, listener: Callable[[], object]) -> None:
        return


class Waits(ManualClock):
    """Time that passes as soon as somebody waits for it, and is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.waits_s: list[float] = []

    async def sleep_until(self, when_s: float) -> None:
        wait_s = when_s - self.now_s()
        if wait_s != LOOK_S:
            self.waits_s.append(wait_s)
        await asyncio.sleep(0)


class Bench:
    def __init__(self) -> None:
        self.clock = Waits()
        self._workers: list[WorkerProcess] = []

    async def watch(self, *answers: bool | Exception, command: tuple[str, ...] = QUICK) -> None:
        """Have the queue watched until it has been looked at once more than it has answers, then end the watching."""
        queue: Any = Looks(*answers)
        settings: Any = SimpleNamespace(with_secrets=lambda: b"{}", job_silence_s=60.0, database_url=SecretStr(""))
        worker = WorkerProcess(settings, queue, command=command, clock=self.clock)
        self._workers.append(worker)
        await worker.start()
        async with asyncio.timeout(30):
            for _ in range(len(answers) + 1):
                await queue.looks.get()
        await worker.aclose()

    async def aclose(self) -> None:
        for worker in self._workers:
            await worker.aclose()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.aclose()


async def test_a_queue_that_cannot_be_read_is_looked_at_again(bench: Bench) -> None:
    """A full disk or a locked database ends nothing: each further look comes later, and closing is quiet."""
    locked = sqlite3.OperationalError("database is locked")
    await bench.watch(DiskFull("The disk is full."), locked, True)
    assert bench.clock.waits_s == [FIRST_BACKOFF_S, 2 * FIRST_BACKOFF_S]


async def test_a_process_that_cannot_be_started_is_tried_again(bench: Bench) -> None:
    """No room for a process, or no program: jobs wait and are taken up by themselves, a minute later at most."""
    await bench.watch(*[True] * 8, command=("/no/such/program",))
    assert bench.clock.waits_s[:2] == [FIRST_BACKOFF_S, 2 * FIRST_BACKOFF_S]
    assert len(bench.clock.waits_s) == 8 and bench.clock.waits_s[-1] == LONGEST_BACKOFF_S


async def test_a_worker_that_ends_well_is_started_again_at_once(bench: Bench) -> None:
    """After an end in order nothing is waited for, and an earlier failure is forgotten."""
    await bench.watch(OSError("once"), True, True, OSError("again"))
    assert bench.clock.waits_s == [FIRST_BACKOFF_S, FIRST_BACKOFF_S]
