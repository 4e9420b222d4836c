"""DeviceWorker: the one thread that may touch a device's models.

Requests of all sessions wait in one line ordered by deadline; the thread takes the earliest and whatever else waits
for the same backend, up to its largest batch. So batches are small when few wait and grow under load. First pictures
of turns come before all others and are drawn without them: they never wait for a full batch. Calls that are not
pictures (features, loading, preparing an avatar) have a deadline too, or run when nothing else waits.

A batch that does not fit into the device's memory is halved, and so are the backend's batches from then on.
"""

from __future__ import annotations

import asyncio
import bisect
import importlib.util
import itertools
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline.errors import DeviceOutOfMemory, SessionClosed
from pipeline.interfaces import LipSync
from pipeline.types import FacePatch, LipSyncRequest

__all__ = ["DeviceWorker", "find_devices"]

logger = logging.getLogger(__name__)
R = TypeVar("R")
NO_DEADLINE_S = float("inf")


def find_devices(wanted: Sequence[str]) -> tuple[str, ...]:
    """Torch's names of the devices to use: `auto` means every CUDA device, else Apple's, else the CPU.

    torch, which takes seconds to import, is asked only where there may be something else than a CPU.
    """
    if tuple(wanted) != ("auto",):
        return tuple(wanted)
    may_have_gpu = shutil.which("nvidia-smi") is not None or sys.platform == "darwin"
    if not may_have_gpu or importlib.util.find_spec("torch") is None:
        return ("cpu",)
    import torch

    if torch.cuda.is_available():
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return ("mps",) if torch.backends.mps.is_available() else ("cpu",)


@dataclass(order=True, slots=True)
class _Work:
    later: bool
    "False for what is urgent"
    deadline_s: float
    order: int
    future: asyncio.Future[Any] = field(compare=False)
    call: Callable[[], Any] | None = field(compare=False, default=None)
    backend: LipSync | None = field(compare=False, default=None)
    request: LipSyncRequest | None = field(compare=False, default=None)


class DeviceWorker:
    """Owns one thread. start() and aclose() on the event loop that awaits the results."""

    def __init__(self, name: str = "cpu") -> None:
        self.name = name
        self._order = itertools.count()
        self._waiting: list[_Work] = []  # sorted
        self._largest: dict[str, int] = {}  # by backend, where less than its max_batch
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name=f"device-{self.name}")
            self._thread.start()

    async def infer(self, backend: LipSync, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """Draw pictures, earliest deadline of all sessions first. Cancelling drops what has not begun.

        Raises SessionClosed after aclose(), and whatever the backend raised for the batch.
        """
        works = [self._submit(_Work(not r.urgent, r.deadline_s, 0, self._future(), None, backend, r)) for r in requests]
        try:
            return await asyncio.gather(*(work.future for work in works))
        finally:  # of an interrupted or failed batch, what has not begun is not drawn
            for work in works:
                work.future.cancel()

    async def call(self, function: Callable[[], R], deadline_s: float = NO_DEADLINE_S) -> R:
        """Run something on the device thread: among the pictures by its deadline, without one when none waits."""
        result: R = await self._submit(_Work(True, deadline_s, 0, self._future(), function)).future
        return result

    def largest_batch(self, backend: LipSync) -> int:
        return min(backend.max_batch, self._largest.get(backend.name, backend.max_batch))

    def limit_batches(self, backend: LipSync, largest: int) -> None:
        """Draw no more pictures at once than this (at least 1), e.g. so that nobody waits long for a batch to end."""
        self._largest[backend.name] = max(1, min(largest, self.largest_batch(backend)))

    async def aclose(self) -> None:
        """Finish the work in hand, drop the rest, end the thread. Idempotent."""
        with self._changed:
            self._stopping = True
            dropped, self._waiting = self._waiting, []
            self._changed.notify()
        for work in dropped:
            _settle([(work, None, SessionClosed("The device worker has stopped."))])
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.to_thread(thread.join)

    def _future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def _submit(self, work: _Work) -> _Work:
        work.order = next(self._order)
        with self._changed:
            if self._stopping or self._thread is None:
                raise SessionClosed("The device worker is not running.")
            bisect.insort(self._waiting, work)
            self._changed.notify()
        return work

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            results = self._perform(batch)
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(_settle, results)
            except RuntimeError:  # the loop has closed while we worked: nobody waits any more
                return

    def _next_batch(self) -> list[_Work] | None:
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return None
            first = self._waiting[0]
            batch = [first]
            if first.backend is not None:
                alike = (w for w in self._waiting if w.backend is first.backend and w.later == first.later)
                batch = list(itertools.islice(alike, self.largest_batch(first.backend)))
            taken = {work.order for work in batch}
            self._waiting = [work for work in self._waiting if work.order not in taken]
            return batch

    def _perform(self, batch: list[_Work]) -> list[tuple[_Work, Any, BaseException | None]]:
        wanted = [work for work in batch if not work.future.cancelled()]
        if not wanted:
            return []
        first = wanted[0]
        try:
            if first.backend is None:
                assert first.call is not None
                return [(first, first.call(), None)]
            patches = self._draw(first.backend, [work.request for work in wanted if work.request is not None])
            return [(work, patch, None) for work, patch in zip(wanted, patches, strict=True)]
        except Exception as error:  # noqa: BLE001 - a failed batch fails its turns, not the thread that serves all
            if first.backend is not None:
                logger.warning("a batch on device %s failed: %s", self.name, error)
            return [(work, None, error) for work in wanted]

    def _draw(self, backend: LipSync, requests: list[LipSyncRequest]) -> list[FacePatch]:
        try:
            return backend.infer(requests)
        except DeviceOutOfMemory as error:
            if len(requests) == 1:
                raise
            half = len(requests) // 2
            self.limit_batches(backend, half)
            logger.warning("device %s: %s From now on %d pictures at once.", self.name, error, half)
        return self._draw(backend, requests[:half]) + self._draw(backend, requests[half:])


def _settle(results: list[tuple[_Work, Any, BaseException | None]]) -> None:
    for work, value, error in results:
        if work.future.done():
            continue
        if error is None:
            work.future.set_result(value)
        else:
            work.future.set_exception(error)
