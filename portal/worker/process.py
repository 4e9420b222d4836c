"""Owns the worker process: starts it when there are jobs, restarts it if it dies, and ends it with the portal.

Without jobs there is no process, so it costs neither memory nor CPU time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.clock import Clock, SystemClock
from portal.jobs.queue import JobQueue
from portal.jobs.watch import JobWatch
from portal.process import child_environment

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["WorkerProcess"]

logger = logging.getLogger(__name__)

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
"Pauses before a failed worker is started again: the first, doubled each time, up to the longest."
TERMINATION_S = 2.0
"How long the process may take to end before it is killed."
LOOK_S = 1.5
"How often we check whether a job blocks the worker."


class WorkerProcess:
    """At most one child process of `portal.worker.child` for the queue's data folder."""

    def __init__(
        self, settings: Settings, queue: JobQueue, *, command: Sequence[str] = (), clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._command = tuple(command) or (sys.executable, "-m", "portal.worker.child")
        self._settings = settings
        self._queue = queue
        # With several workers, each watches its own jobs, because those in hand may be another worker's.
        is_one_of_many = bool(settings.database_url.get_secret_value())
        self._watch = JobWatch(queue, settings.job_silence_s, tuple if is_one_of_many else None)
        self._wanted = asyncio.Event()
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.trouble = ""
        "why the last attempt to run jobs failed; empty if it did not"

    @property
    def pid(self) -> int | None:
        """Process id of the running worker; None if there is none."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Begin to watch the queue. Jobs left from before are taken up at once."""
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._queue.on_submit(lambda: loop.call_soon_threadsafe(self._wanted.set))
            self._task = asyncio.create_task(self._supervise(), name="worker process")

    async def aclose(self) -> None:
        """End the worker, whatever it is doing. Its job goes on at the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _supervise(self) -> None:
        """Run the worker whenever there are jobs. After a failure, wait twice as long each time."""
        backoff_s = FIRST_BACKOFF_S
        while True:
            if await self._serve_jobs():
                backoff_s, self.trouble = FIRST_BACKOFF_S, ""
                continue
            logger.warning("Jobs wait; they go on in %.0f s.", backoff_s)
            await self._clock.sleep_until(self._clock.now_s() + backoff_s)
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)

    async def _serve_jobs(self) -> bool:
        """Wait for jobs and have them done. Return False if that failed and should be tried again later."""
        try:
            self._wanted.clear()
            if not await asyncio.to_thread(self._queue.active):
                await self._wanted.wait()
            status = await self._run_once()
        except Exception as error:  # noqa: BLE001 - a full disk, a locked database, no room for a process: all pass
            # Anybody can read this in /healthz, and a database's error text may contain values of the statement.
            self.trouble = f"No worker process can be started ({type(error).__name__}); see the server's log."
            logger.warning("no worker process can be started: %s: %s", type(error).__name__, error)
            return False
        if status != 0:
            self.trouble = f"The worker process ended with status {status}."
            logger.warning("%s", self.trouble)
        return status == 0

    async def _run_once(self) -> int:
        await asyncio.to_thread(self._watch.begin)
        # A session of its own, so that Ctrl-C in the terminal reaches only the portal, which then ends the worker.
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, start_new_session=True, env=child_environment()
        )
        self._process = process
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(self._settings.with_secrets() + b"\n")
                await process.stdin.drain()
            return await self._watched(process)
        finally:
            self._process = None
            await _end(process)

    async def _watched(self, process: Process) -> int:
        """Wait for the worker to end, and return its exit status.

        If a job blocks the worker, kill it and return 0, so that the other jobs go on in a new process.
        """
        ended = asyncio.create_task(process.wait())
        try:
            while not ended.done():
                looked = asyncio.create_task(self._clock.sleep_until(self._clock.now_s() + LOOK_S))
                await asyncio.wait([ended, looked], return_when=asyncio.FIRST_COMPLETED)
                looked.cancel()
                if not ended.done() and await self._is_held_up():
                    logger.warning("A job holds the worker process up: it is ended.")
                    process.kill()
                    await ended
                    await asyncio.to_thread(self._watch.end)
                    return 0
            return ended.result()
        finally:
            ended.cancel()

    async def _is_held_up(self) -> bool:
        try:
            return await asyncio.to_thread(self._watch.overdue, self._clock.now_s())
        except Exception as error:  # noqa: BLE001 - a locked database passes; the next look will work
            logger.debug("The jobs in hand cannot be looked at: %s", error)
            return False


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), TERMINATION_S)
    except TimeoutError:
        process.kill()
        await process.wait()
