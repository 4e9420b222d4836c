"""DeviceWorker: owns the one thread that may touch a device's models.

Requests of all sessions wait in one queue ordered by deadline. The thread takes the earliest, and whatever else waits
for the same backend, up to its largest batch. So batches are small when few requests wait, and grow under load. The
first picture of a turn comes before all others and is drawn without them, so it never waits for a full batch. A
backend without a network draws it without those of its own turn as well. Other calls (features, loading, preparing an
avatar) have a deadline, too, or run when nothing else waits.

Once a backend's drawing cost is known, batches are limited in size. None is so large that its earliest picture, or the
earliest one that waits behind it, comes too late because of the others. If the earliest is late in any case, batches
are full, because that catches up soonest.

A batch that does not fit into the device's memory is halved, and so are later batches of that backend.
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
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline.capacity import DrawingCost
from pipeline.errors import DeviceOutOfMemory, SessionClosed
from pipeline.interfaces import LipSync
from pipeline.types import FacePatch, LipSyncRequest

__all__ = ["DeviceWorker", "find_devices"]

logger = logging.getLogger(__name__)
R = TypeVar("R")
NO_DEADLINE_S = float("inf")
LONGEST_BATCH_S = 0.1
"""Longest a batch may take to draw. Requests that arrive meanwhile wait for its end."""
COMPOSING_S = 0.02
"""Time from the end of a batch until its pictures can be shown."""


def find_devices(wanted: Sequence[str]) -> tuple[str, ...]:
    """Return torch's names of the devices to use. `auto` means every CUDA device, else Apple's, else the CPU.

    torch takes seconds to import, so it is asked only on machines that may have a GPU.
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
    "False for urgent work, which sorts first"
    deadline_s: float
    order: int
    future: asyncio.Future[Any] = field(compare=False)
    call: Callable[[], object] | None = field(compare=False, default=None)
    backend: LipSync | None = field(compare=False, default=None)
    request: LipSyncRequest | None = field(compare=False, default=None)


_Result = tuple[_Work, object, BaseException | None]


class DeviceWorker:
    """Owns one thread. Call start() and aclose() on the event loop that awaits the results.

    now_s  the clock that deadlines refer to
    """

    def __init__(self, name: str = "cpu", now_s: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._now_s = now_s
        self._costs: dict[str, DrawingCost] = {}  # by name of the backend
        self._order = itertools.count()
        self._waiting: list[_Work] = []  # sorted
        self._fits_memory: dict[str, int] = {}  # largest batch that fits, by backend, if less than its max_batch
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start the thread. Idempotent."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name=f"device-{self.name}")
            self._thread.start()

    def draw(self, backend: LipSync, requests: Sequence[LipSyncRequest]) -> list[asyncio.Future[FacePatch]]:
        """Queue pictures to be drawn. Returns a future for each, in order.

        Among all sessions the earliest deadline is served first. A future cancelled in time is not drawn. Futures raise
        what the backend raised for their batch, or SessionClosed after aclose(). Raises SessionClosed after aclose().
        """
        works = [_Work(not r.urgent, r.deadline_s, 0, self._future(), None, backend, r) for r in requests]
        self._submit(works)
        return [work.future for work in works]

    async def call(self, function: Callable[[], R], deadline_s: float = NO_DEADLINE_S) -> R:
        """Run a function on the device thread.

        It queues with the pictures by deadline; without one, after all of them.
        """
        work = _Work(True, deadline_s, 0, self._future(), function)
        self._submit([work])
        result: R = await work.future
        return result

    def largest_batch(self, backend: LipSync) -> int:
        """Return the most pictures drawn in one batch."""
        cost = self._costs.get(backend.name)
        timely = backend.max_batch if cost is None else max(1, cost.pictures_within(LONGEST_BATCH_S))
        return min(backend.max_batch, self._fits_memory.get(backend.name, backend.max_batch), timely)

    def expect(self, backend: LipSync, cost: DrawingCost) -> None:
        """Size batches by this drawing cost from now on."""
        self._costs[backend.name] = cost

    async def aclose(self) -> None:
        """Finish the current work, drop the rest, and end the thread. Idempotent."""
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

    def _submit(self, works: Sequence[_Work]) -> None:
        """Queue all works at once, so that the thread does not start with the first one alone."""
        with self._changed:
            if self._stopping or self._thread is None:
                raise SessionClosed("The device worker is not running.")
            for work in works:
                work.order = next(self._order)
                bisect.insort(self._waiting, work)
            self._changed.notify()

    def _run(self) -> None:
        while self._has_worked():
            pass

    def _has_worked(self) -> bool:
        """Do the next work; False when stopped.

        Separate, so that a waiting thread keeps no reference to the last batch.
        """
        batch = self._next_batch()
        if batch is None:
            return False
        results = self._perform(batch)
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_settle, results)
        except RuntimeError:  # the loop was closed meanwhile, so nobody waits for the result
            return False
        return True

    def _next_batch(self) -> list[_Work] | None:
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return None
            batch = self._chosen()
            taken = {work.order for work in batch}
            self._waiting = [work for work in self._waiting if work.order not in taken]
            return batch

    def _chosen(self) -> list[_Work]:
        """Return the works to do next."""
        first = self._waiting[0]
        if first.backend is None:
            return [first]
        # The first may be urgent, and then precedes all ordinary pictures. The exception: if it would make the earliest
        # ordinary picture late, and that one could still be in time, the ordinary one goes first.
        ordinary = next((work for work in self._waiting if work.later and work.backend is not None), None)
        fitting = ordinary and self._fitting(first, ordinary)
        if ordinary is not None and fitting == 0:
            first, fitting = ordinary, self._fitting(ordinary, ordinary)
        assert first.backend is not None
        if not first.later and not first.backend.on_device:
            return [first]  # a painter takes as long one by one, and the first picture need not wait for the second
        largest = self.largest_batch(first.backend)
        # Urgent pictures are not batched with others: they would wait for the end of the larger batch.
        alike = (work for work in self._waiting if work.backend is first.backend and work.later == first.later)
        return list(itertools.islice(alike, min(largest, fitting or largest)))

    def _fitting(self, first: _Work, ordinary: _Work) -> int | None:
        """Return how many pictures like `first` can be drawn without making the earliest ordinary one late.

        If `first` is that ordinary one, it counts as well. None if there is no limit: it is late in any case, or the
        cost of drawing is unknown.
        """
        assert first.backend is not None and ordinary.backend is not None
        cost, own = self._costs.get(first.backend.name), self._costs.get(ordinary.backend.name)
        if cost is None or own is None:
            return None
        left_s = ordinary.deadline_s - COMPOSING_S - self._now_s()
        if left_s < own.drawing_s(1):
            return None
        # A batch that includes the ordinary picture may take all the time left. A batch before it must leave time for
        # it.
        return cost.pictures_within(left_s if first is ordinary else left_s - own.drawing_s(1))

    def _perform(self, batch: list[_Work]) -> list[_Result]:
        wanted = [work for work in batch if not work.future.cancelled()]
        if not wanted:
            return []
        first = wanted[0]
        if first.backend is not None:
            return self._patches(first.backend, wanted)
        assert first.call is not None
        try:
            return [(first, first.call(), None)]
        except Exception as error:  # noqa: BLE001 - it is told to whoever called
            return [(first, None, error)]

    def _patches(self, backend: LipSync, works: list[_Work]) -> list[_Result]:
        try:
            patches = self.draw_here(backend, [work.request for work in works if work.request is not None])
            return [(work, patch, None) for work, patch in zip(works, patches, strict=True)]
        except Exception as error:  # noqa: BLE001 - a failed batch fails its turns, not the thread that serves all
            of_avatars: dict[int, list[_Work]] = {}
            for work in works:
                of_avatars.setdefault(id(work.request and work.request.state), []).append(work)
            if len(of_avatars) > 1:  # perhaps only one avatar cannot be drawn: try each alone
                return [result for own in of_avatars.values() for result in self._patches(backend, own)]
            logger.warning("a batch on device %s failed: %s", self.name, error)
            return [(work, None, error) for work in works]

    def draw_here(self, backend: LipSync, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """Draw now, on the device's own thread. Splits the batch in halves if it does not fit into memory.

        Raises what the backend raises, and DeviceOutOfMemory if a single picture does not fit.
        """
        try:
            return backend.infer(requests)
        except DeviceOutOfMemory as error:
            if len(requests) == 1:
                raise
            half = len(requests) // 2
            self._fits_memory[backend.name] = half
            logger.warning("device %s: %s From now on %d pictures at once.", self.name, error, half)
        return self.draw_here(backend, requests[:half]) + self.draw_here(backend, requests[half:])


def _settle(results: list[_Result]) -> None:
    for work, value, error in results:
        if work.future.done():
            continue
        if error is None:
            work.future.set_result(value)
        else:
            work.future.set_exception(error)
