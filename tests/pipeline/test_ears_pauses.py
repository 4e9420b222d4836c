"""The line in front of the end-of-turn detector: those who ask take turns, and it is asked one thing at a time."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.ears.pauses import Pauses
from pipeline.types import FloatArray


class HeldUp:
    """A detector that answers when it may. It names what it was asked by the first sample."""

    name = "held up"

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked: list[int] = []
        self.at_once = self.most_at_once = 0

    def load(self) -> None: ...

    async def aclose(self) -> None: ...

    def probability(self, samples: FloatArray) -> float:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.may_answer.wait(60)
        self.asked.append(int(samples[0]))
        self.at_once -= 1
        if samples[0] < 0:
            raise ValueError("no sound")
        return 0.5


@pytest.fixture
def detector() -> HeldUp:
    return HeldUp()


async def ask(detector: HeldUp, *wishes: tuple[int, str]) -> list[float | BaseException]:
    with ThreadPoolExecutor(2) as executor:
        pauses = Pauses(detector, executor, 1)
        asking = [
            asyncio.create_task(pauses.probability(np.full(9, number, np.float32), asker)) for number, asker in wishes
        ]
        for _ in range(20):
            await asyncio.sleep(0)
        detector.may_answer.set()
        return await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 60)


async def test_those_who_ask_take_turns(detector: HeldUp) -> None:
    """Six microphones of one address hold up nobody else for long."""
    wishes = [*((number, "many") for number in range(6)), (6, "one")]
    assert await ask(detector, *wishes) == [0.5] * 7
    assert detector.asked == [0, 6, 1, 2, 3, 4, 5]
    assert detector.most_at_once == 1


async def test_one_that_fails_holds_up_nobody(detector: HeldUp) -> None:
    """It is told to whoever asked."""
    failed, right = await ask(detector, (-1, "a"), (2, "b"))
    assert isinstance(failed, ValueError) and right == 0.5
