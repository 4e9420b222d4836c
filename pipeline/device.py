"""DeviceWorker: the one thread that may touch a device's models.

Requests of all sessions wait in one line ordered by deadline; the thread takes the earliest and whatever else waits
for the same backend, up to its largest batch. So batches are small when few wait and grow under load. First pictures
of turns come before all others and are drawn without them: they never wait for a full batch. Calls that are not
pictures (features, loading, preparing an avatar) have a deadline too, or run when nothing else waits.

Once it is known what a backend's drawing costs, no batch is so large that its earliest picture, or the earliest of
those that wait behind it, comes too late only because of the others. What is late in any case gets full batches: they
catch up soonest.

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
"""What comes while a batch is drawn waits for its end."""
COMPOSING_S = 0.02
"""From the end of a batch until its pictures can be shown."""


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
    call: Callable[[], object] | None = field(compare=False, default=None)
    backend: LipSync | None = field(compare=False, default=None)
    request: LipSyncRequest | None = field(compare=False, default=None)


_Result = tuple[_Work, object, BaseException | None]


class DeviceWorker:
    """Owns one thread. start() and aclose() on the event loop that awaits the results.

    now_s  the clock by which deadlines are meant
    """

    def __init__(self, name: str = "cpu", now_s: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._now_s = now_s
        self._costs: dict[str, DrawingCost] = {}  # by backend
        self._order = itertools.count()
        self._waiting: list[_Work] = []  # sorted
        self._fits_memory: dict[str, int] = {}  # pictures at once, by backend, where less than its max_batch
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name=f"device-{self.name}")
            self._thread.start()

    def draw(self, backend: LipSync, requests: Sequence[LipSyncRequest]) -> list[asyncio.Future[FacePatch]]:
        """Have pictures drawn, earliest deadline of all sessions first; a future for each, in order.

        A cancelled one is not drawn if it has not begun. Futures may hold SessionClosed after aclose(), and whatever
        the backend raised for the batch. Raises SessionClosed (after aclose()).
        """
        works = [_Work(not r.urgent, r.deadline_s, 0, self._future(), None, backend, r) for r in requests]
        self._submit(works)
        return [work.future for work in works]

    async def call(self, function: Callable[[], R], deadline_s: float = NO_DEADLINE_S) -> R:
        """Run something on the device thread: among the pictures by its deadline, without one when none waits."""
        work = _Work(True, deadline_s, 0, self._future(), function)
        self._submit([work])
        result: R = await work.future
        return result

    def largest_batch(self, backend: LipSync) -> int:
        """How many pictures are drawn at once at most."""
        cost = self._costs.get(backend.name)
        timely = backend.max_batch if cost is None else max(1, cost.pictures_within(LONGEST_BATCH_S))
        return min(backend.max_batch, self._fits_memory.get(backend.name, backend.max_batch), timely)

    def expect(self, backend: LipSync, cost: DrawingCost) -> None:
        """Batches are made by what drawing costs from now on."""
        self._costs[backend.name] = cost

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

    def _submit(self, works: Sequence[_Work]) -> None:
        """All at once, so that the thread does not begin with the first alone."""
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
        """Do the next work. A method of its own, so that a thread that waits for work holds nothing of the last."""
        batch = self._next_batch()
        if batch is None:
            return False
        results = self._perform(batch)
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_settle, results)
        except RuntimeError:  # the loop has closed while we worked: nobody waits any more
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
        """Of what waits, what is to be done next."""
        first = self._waiting[0]
        if first.backend is None:
            return [first]
        # The first may be urgent, and then it comes before all ordinary pictures. Only where it would make the earliest
        # of these late, which could still be in time, does that one go before it.
        ordinary = next((work for work in self._waiting if work.later and work.backend is not None), None)
        fitting = ordinary and self._fitting(first, ordinary)
        if ordinary is not None and fitting == 0:
            first, fitting = ordinary, self._fitting(ordinary, ordinary)
        assert first.backend is not None
        largest = self.largest_batch(first.backend)
        # Never urgent ones together with others: their pictures would wait for the end of the larger batch.
        alike = (work for work in self._waiting if work.backend is first.backend and work.later == first.later)
        return list(itertools.islice(alike, min(largest, fitting or largest)))

    def _fitting(self, first: _Work, ordinary: _Work) -> int | None:
        """How many pictures like `first` can be drawn before the earliest ordinary one, or with it, and it is in time.

        None where nothing is to be saved: it is late in any case, or nobody knows what drawing costs.
        """
        assert first.backend is not None and ordinary.backend is not None
        cost, own = self._costs.get(first.backend.name), self._costs.get(ordinary.backend.name)
        if cost is None or own is None:
            return None
        left_s = ordinary.deadline_s - COMPOSING_S - self._now_s()
        if left_s < own.drawing_s(1):
            return None
        # A batch that the ordinary one is in may take all of the time. One before it has to leave the time to draw it.
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
            if len(of_avatars) > 1:  # one of them may be what cannot be drawn
                return [result for own in of_avatars.values() for result in self._patches(backend, own)]
            logger.warning("a batch on device %s failed: %s", self.name, error)
            return [(work, None, error) for work in works]

    def draw_here(self, backend: LipSync, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """On the device's own thread: draw them now, in halves if they do not fit into its memory.

        Raises what the backend raises; DeviceOutOfMemory when a single picture does not fit.
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
