import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.device import DeviceWorker
from pipeline.errors import DeviceOutOfMemory, SessionClosed
from pipeline.types import FacePatch, FeatureWindow, LipSyncRequest


class ScriptedLipSync:
    """Records its batches; can be held at a gate, and can fail."""

    name, features, max_batch, draws_rest = "scripted", "loudness", 4, True

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.failure: Exception | None = None
        self.threads: set[str] = set()

    def load(self, device: str) -> None: ...

    def prepare(self, bundle: object) -> object:
        return bundle

    def close(self) -> None: ...

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        self.entered.set()
        assert self.gate.wait(10)
        self.threads.add(threading.current_thread().name)
        self.batches.append([request.deadline_s for request in requests])
        if self.failure is not None:
            raise self.failure
        return [
            FacePatch(np.full((1, 1, 3), int(request.deadline_s), np.uint8), (0, 0, 1, 1), None) for request in requests
        ]


def request(deadline_s: float) -> LipSyncRequest:
    return LipSyncRequest(SimpleNamespace(), 0, FeatureWindow(np.zeros(1, np.float32), 0), deadline_s)


@pytest.fixture
async def device():
    worker = DeviceWorker("test")
    worker.start()
    yield worker
    await worker.aclose()


async def wait_for(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_patches_come_back_in_the_order_of_the_requests(device: DeviceWorker) -> None:
    """infer() gives one patch a request, in order, whatever the deadlines."""
    lipsync = ScriptedLipSync()
    lipsync.gate.set()
    patches = await device.infer(lipsync, [request(9), request(2), request(5)])
    assert [int(patch.pixels[0, 0, 0]) for patch in patches] == [9, 2, 5]
    assert lipsync.threads == {"device-test"}


async def test_the_earliest_deadline_of_all_sessions_goes_first(device: DeviceWorker) -> None:
    """What waits is served by deadline and in batches of at most max_batch, across callers."""
    lipsync = ScriptedLipSync()
    tasks = [asyncio.create_task(device.infer(lipsync, [request(50)]))]
    await settle()
    await wait_for(lipsync.entered)
    tasks += [asyncio.create_task(device.infer(lipsync, [request(at_s)])) for at_s in (8, 3, 6, 7, 1, 4)]
    await settle()
    lipsync.gate.set()
    await asyncio.gather(*tasks)
    assert lipsync.batches == [[50], [1, 3, 4, 6], [7, 8]]


async def test_other_calls_wait_for_pictures(device: DeviceWorker) -> None:
    """call() runs when no picture waits."""
    lipsync = ScriptedLipSync()
    order: list[str] = []
    first = asyncio.create_task(device.infer(lipsync, [request(1)]))
    await settle()
    await wait_for(lipsync.entered)
    job = asyncio.create_task(device.call(lambda: order.append(f"job after {len(lipsync.batches)}")))
    await settle()
    second = asyncio.create_task(device.infer(lipsync, [request(2)]))
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
        await device.infer(lipsync, [request(1)])
    lipsync.failure = None
    assert len(await device.infer(lipsync, [request(2)])) == 1


async def test_cancelled_requests_are_not_drawn(device: DeviceWorker) -> None:
    """A request whose turn was interrupted before it began never reaches the backend."""
    lipsync = ScriptedLipSync()
    first = asyncio.create_task(device.infer(lipsync, [request(1)]))
    await settle()
    await wait_for(lipsync.entered)
    stale = asyncio.create_task(device.infer(lipsync, [request(2), request(3)]))
    await settle()
    stale.cancel()
    await settle()
    lipsync.gate.set()
    await first
    await device.infer(lipsync, [request(4)])
    assert lipsync.batches == [[1], [4]]


async def test_closing_tells_those_who_wait_and_may_be_repeated() -> None:
    """aclose() raises SessionClosed in waiting callers and in later ones; twice is fine."""
    device = DeviceWorker("closing")
    device.start()
    lipsync = ScriptedLipSync()
    first = asyncio.create_task(device.infer(lipsync, [request(1)]))
    await settle()
    await wait_for(lipsync.entered)
    waiting = asyncio.create_task(device.infer(lipsync, [request(2)]))
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


async def test_what_is_left_of_a_failed_batch_is_not_drawn(device: DeviceWorker) -> None:
    """A caller whose first batch failed has given up: the rest of its pictures cost nobody time."""

    class Failing(ScriptedLipSync):
        def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
            if requests[0].deadline_s == 0:
                raise RuntimeError("out of memory")
            return super().infer(requests)  # held at the gate until the caller knows

    lipsync = Failing()
    with pytest.raises(RuntimeError, match="out of memory"):
        await device.infer(lipsync, [request(at_s) for at_s in range(12)])
    lipsync.gate.set()
    await device.infer(lipsync, [request(50)])
    assert [8, 9, 10, 11] not in lipsync.batches
    assert lipsync.batches[-1] == [50]


async def test_an_urgent_picture_is_drawn_first_and_alone(device: DeviceWorker) -> None:
    """A turn's first picture waits for no full batch, not even of earlier deadlines."""
    lipsync = ScriptedLipSync()
    tasks = [asyncio.create_task(device.infer(lipsync, [request(50)]))]
    await settle()
    await wait_for(lipsync.entered)
    tasks.append(asyncio.create_task(device.infer(lipsync, [request(1), request(2)])))
    tasks.append(asyncio.create_task(device.infer(lipsync, [replace(request(9), urgent=True)])))
    await settle()
    lipsync.gate.set()
    await asyncio.gather(*tasks)
    assert lipsync.batches == [[50], [9], [1, 2]]


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
    patches = await device.infer(lipsync, [request(at_s) for at_s in range(4)])
    assert [int(patch.pixels[0, 0, 0]) for patch in patches] == [0, 1, 2, 3]
    assert device.largest_batch(lipsync) == 2
    lipsync.room = 0
    with pytest.raises(DeviceOutOfMemory):
        await device.infer(lipsync, [request(1)])


async def test_a_call_with_a_deadline_takes_its_place_among_the_pictures(device: DeviceWorker) -> None:
    """Features wait for earlier pictures and come before later ones."""
    lipsync = ScriptedLipSync()
    order: list[str] = []
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(device.infer(lipsync, [request(0)]))]
    await settle()
    await wait_for(lipsync.entered)
    tasks.append(asyncio.create_task(device.infer(lipsync, [request(9)])))
    await settle()
    tasks.append(asyncio.create_task(device.call(lambda: order.append(f"after {lipsync.batches}"), 5.0)))
    await settle()
    lipsync.gate.set()
    await asyncio.gather(*tasks)
    assert order == ["after [[0]]"]
