import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.capacity import DrawingCost
from pipeline.device import COMPOSING_S, DeviceWorker
from pipeline.errors import DeviceOutOfMemory, SessionClosed
from pipeline.types import FacePatch, FeatureWindow, LipSyncRequest


class ScriptedLipSync:
    """Records its batches; can be held at a gate, and can fail."""

    name, features, max_batch, on_device, draws_rest = "scripted", "loudness", 4, True, True

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.failure: Exception | None = None
        self.threads: set[str] = set()

    def load(self, device: str) -> None: ...

    def prepared_from(self, bundle: object) -> None: ...

    def prepare(self, bundle: object) -> object:
        return bundle

    def close(self) -> None: ...

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        self.entered.set()
        assert self.gate.wait(30)
        self.threads.add(threading.current_thread().name)
        self.batches.append([request.deadline_s for request in requests])
        if self.failure is not None:
            raise self.failure
        return [
            FacePatch(np.full((1, 1, 3), int(request.deadline_s), np.uint8), (0, 0, 1, 1), None) for request in requests
        ]


def drawing(
    device: DeviceWorker, lipsync: ScriptedLipSync, *requests: LipSyncRequest
) -> asyncio.Future[list[FacePatch]]:
    """Ask for pictures; resolves when all are there."""
    return asyncio.gather(*device.draw(lipsync, requests))


def request(deadline_s: float) -> LipSyncRequest:
    return LipSyncRequest(SimpleNamespace(), 0, FeatureWindow(np.zeros(1, np.float32), 0), deadline_s)


@pytest.fixture
async def device() -> AsyncIterator[DeviceWorker]:
    worker = DeviceWorker("test")
    worker.start()
    yield worker
    await worker.aclose()


async def wait_for(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_patches_come_back_in_the_order_of_the_requests(device: DeviceWorker) -> None:
    """draw() gives one patch a request, in order, whatever the deadlines."""
    lipsync = ScriptedLipSync()
    lipsync.gate.set()
    patches = await drawing(device, lipsync, request(9), request(2), request(5))
    assert [int(patch.pixels[0, 0, 0]) for patch in patches] == [9, 2, 5]
    assert lipsync.threads == {"device-test"}


async def test_the_earliest_deadline_of_all_sessions_goes_first(device: DeviceWorker) -> None:
    """What waits is served by deadline and in batches of at most max_batch, across callers."""
    lipsync = ScriptedLipSync()
    tasks = [drawing(device, lipsync, request(50))]
    await settle()
    await wait_for(lipsync.entered)
    tasks += [drawing(device, lipsync, request(at_s)) for at_s in (8, 3, 6, 7, 1, 4)]
    await settle()
    lipsync.gate.set()
    await asyncio.gather(*tasks)
    assert lipsync.batches == [[50], [1, 3, 4, 6], [7, 8]]


async def test_other_calls_wait_for_pictures(device: DeviceWorker) -> None:
    """call() runs when no picture waits."""
    lipsync = ScriptedLipSync()
    order: list[str] = []
    first = drawing(device, lipsync, request(1))
    await settle()
    await wait_for(lipsync.entered)
    job = asyncio.create_task(device.call(lambda: order.append(f"job after {len(lipsync.batches)}")))
    await settle()
    second = drawing(device, lipsync, request(2))
    await settle()
    lipsync.gate.set()
    await asyncio.gather(first, second, job)
    assert order == ["job after 2"]


async def test_a_failed_batch_fails_its_turns_and_nobody_else(device: DeviceWorker) -> None:
    """What the backend raises reaches the callers of that batch; the thread serves on."""
    lipsync = ScriptedLipSync()
    lipsync.gate.set()
    lipsync.failure = RuntimeError("out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        await drawing(device, lipsync, request(1))
    lipsync.failure = None
    assert len(await drawing(device, lipsync, request(2))) == 1


async def test_an_avatar_that_cannot_be_drawn_fails_nobody_else(device: DeviceWorker) -> None:
    """Batches mix avatars: the others of such a batch are drawn again without it."""

    class Particular(ScriptedLipSync):
        def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
            if any(request.state == "damaged" for request in requests):
                raise ValueError("no such row")
            return super().infer(requests)

    lipsync = Particular()
    lipsync.gate.set()
    good, bad = request(1), replace(request(2), state="damaged")
    of_good, of_bad, also_good = device.draw(lipsync, [good, bad, replace(good, deadline_s=3)])
    with pytest.raises(ValueError, match="no such row"):
        await of_bad
    assert [int((await future).pixels[0, 0, 0]) for future in (of_good, also_good)] == [1, 3]


async def test_cancelled_requests_are_not_drawn(device: DeviceWorker) -> None:
    """A request whose turn was interrupted before it began never reaches the backend."""
    lipsync = ScriptedLipSync()
    first = drawing(device, lipsync, request(1))
    await settle()
    await wait_for(lipsync.entered)
    stale = drawing(device, lipsync, request(2), request(3))
    await settle()
    stale.cancel()
    await settle()
    lipsync.gate.set()
    await first
    await drawing(device, lipsync, request(4))
    assert lipsync.batches == [[1], [4]]


async def test_closing_tells_those_who_wait_and_may_be_repeated() -> None:
    """aclose() raises SessionClosed in waiting callers and in later ones; twice is fine."""
    device = DeviceWorker("closing")
    device.start()
    lipsync = ScriptedLipSync()
    first = drawing(device, lipsync, request(1))
    await settle()
    await wait_for(lipsync.entered)
    waiting = drawing(device, lipsync, request(2))
    await settle()
    closing = asyncio.create_task(device.aclose())
    await settle()
    lipsync.gate.set()
    await closing
    await device.aclose()
    assert len(await first) == 1
    with pytest.raises(SessionClosed):
        await waiting
    with pytest.raises(SessionClosed):
        await device.call(lambda: None)


async def test_an_urgent_picture_is_drawn_first_and_alone(device: DeviceWorker) -> None:
    """A turn's first picture waits for no full batch, not even of earlier deadlines."""
    lipsync = ScriptedLipSync()
    tasks = [drawing(device, lipsync, request(50))]
    await settle()
    await wait_for(lipsync.entered)
    tasks.append(drawing(device, lipsync, request(1), request(2)))
    tasks.append(drawing(device, lipsync, replace(request(9), urgent=True)))
    await settle()
    lipsync.gate.set()
    await asyncio.gather(*tasks)
    assert lipsync.batches == [[50], [9], [1, 2]]


async def test_without_a_network_the_first_picture_does_not_wait_for_the_second(device: DeviceWorker) -> None:
    """A batch would save no time, as it does with a network. Later pictures come in batches all the same."""
    lipsync = ScriptedLipSync()
    lipsync.on_device = False
    tasks = [drawing(device, lipsync, request(50))]
    await settle()
    await wait_for(lipsync.entered)
    tasks.append(drawing(device, lipsync, *(replace(request(at_s), urgent=True) for at_s in (1, 2))))
    tasks.append(drawing(device, lipsync, request(3), request(4)))
    await settle()
    lipsync.gate.set()
    await asyncio.gather(*tasks)
    assert lipsync.batches == [[50], [1], [2], [3, 4]]


async def test_a_batch_that_does_not_fit_is_halved_from_then_on(device: DeviceWorker) -> None:
    """Out of memory costs a retry, not a turn; a single picture that does not fit is told."""

    class Small(ScriptedLipSync):
        room = 2

        def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
            if len(requests) > self.room:
                raise DeviceOutOfMemory("The GPU is full.")
            return super().infer(requests)

    lipsync = Small()
    lipsync.gate.set()
    patches = await drawing(device, lipsync, *(request(at_s) for at_s in range(4)))
    assert [int(patch.pixels[0, 0, 0]) for patch in patches] == [0, 1, 2, 3]
    assert device.largest_batch(lipsync) == 2
    lipsync.room = 0
    with pytest.raises(DeviceOutOfMemory):
        await drawing(device, lipsync, request(1))


async def test_a_call_with_a_deadline_takes_its_place_among_the_pictures(device: DeviceWorker) -> None:
    """Features wait for earlier pictures and come before later ones."""
    lipsync = ScriptedLipSync()
    order: list[str] = []
    tasks: list[asyncio.Future[Any]] = [drawing(device, lipsync, request(0))]
    await settle()
    await wait_for(lipsync.entered)
    tasks.append(drawing(device, lipsync, request(9)))
    await settle()
    tasks.append(asyncio.create_task(device.call(lambda: order.append(f"after {lipsync.batches}"), 5.0)))
    await settle()
    lipsync.gate.set()
    await asyncio.gather(*tasks)
    assert order == ["after [[0]]"]


TICK_S = 0.01
COST = DrawingCost(batch_s=TICK_S, picture_s=TICK_S)


@pytest.fixture
async def planner() -> AsyncIterator[DeviceWorker]:
    """A device that knows what drawing costs, in whole ticks, on a clock that stands still at 100."""
    worker = DeviceWorker("planner", lambda: 100.0)
    worker.start()
    yield worker
    await worker.aclose()


async def batches_of(
    worker: DeviceWorker, waiting: Sequence[LipSyncRequest], cost: DrawingCost | None = COST
) -> list[list[float]]:
    """The batches in which all that waits is drawn, as ticks from now until each picture must be drawn."""
    lipsync = ScriptedLipSync()
    if cost is not None:
        worker.expect(lipsync, cost)
    blocking = worker.draw(lipsync, [in_time(1)])
    await wait_for(lipsync.entered)
    futures = worker.draw(lipsync, waiting)
    lipsync.gate.set()
    await asyncio.gather(*blocking, *futures)
    return [[round((at_s - 100 - COMPOSING_S) / TICK_S) for at_s in batch] for batch in lipsync.batches[1:]]


def in_time(ticks: int, urgent: bool = False) -> LipSyncRequest:
    """A picture that must be drawn so many ticks from now."""
    return replace(request(100 + ticks * TICK_S + COMPOSING_S + 1e-6), urgent=urgent)


async def test_a_batch_is_no_larger_than_its_earliest_picture_can_wait_for(planner: DeviceWorker) -> None:
    """Three pictures take 4 ticks: the first would be late in a batch of four, with three it is not."""
    assert await batches_of(planner, [in_time(4), in_time(50), in_time(51), in_time(52)]) == [[4, 50, 51], [52]]


async def test_what_is_late_in_any_case_gets_full_batches(planner: DeviceWorker) -> None:
    """Nothing is gained by small batches then, and they take longer."""
    assert await batches_of(planner, [in_time(-3), in_time(1), in_time(50), in_time(51)]) == [[-3, 1, 50, 51]]


async def test_first_pictures_do_not_make_others_late(planner: DeviceWorker) -> None:
    """Two of three first pictures (3 ticks) leave time for the ordinary one (2 ticks); it comes before the third."""
    urgent = [in_time(0, urgent=True)] * 3
    assert await batches_of(planner, [*urgent, in_time(5)]) == [[0, 0], [0], [5]]


async def test_an_ordinary_picture_that_could_not_wait_for_a_first_one_goes_before_it(planner: DeviceWorker) -> None:
    """A voice that stops costs more than a voice that begins a little later."""
    assert await batches_of(planner, [in_time(0, urgent=True), in_time(3)]) == [[3], [0]]


async def test_without_a_known_cost_batches_are_full(planner: DeviceWorker) -> None:
    """Deadlines order them all the same."""
    waiting = [in_time(at_s) for at_s in (4, 9, 2, 7, 5)]
    assert await batches_of(planner, waiting, cost=None) == [[2, 4, 5, 7], [9]]


async def test_a_batch_takes_a_tenth_of_a_second_at_most(device: DeviceWorker) -> None:
    """Whoever comes meanwhile waits for its end; one picture is always drawn."""
    lipsync = ScriptedLipSync()
    device.expect(lipsync, DrawingCost(batch_s=0.01, picture_s=0.03))
    assert device.largest_batch(lipsync) == 3
    device.expect(lipsync, DrawingCost(batch_s=0.5, picture_s=0.5))
    assert device.largest_batch(lipsync) == 1
