import asyncio

from pipeline.clock import ManualClock, SystemClock


async def test_sleepers_wake_in_order_each_at_its_own_time() -> None:
    """advance() wakes sleepers by their times, and each sees its own time as now."""
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleep(name: str, until_s: float) -> None:
        await clock.sleep_until(until_s)
        woken.append((name, clock.now_s()))

    tasks = [asyncio.create_task(sleep("b", 2.0)), asyncio.create_task(sleep("a", 1.0))]
    await clock.advance(3.0)
    await asyncio.gather(*tasks)
    assert woken == [("a", 1.0), ("b", 2.0)]
    assert clock.now_s() == 3.0


async def test_a_sleeper_may_sleep_again_within_one_advance() -> None:
    """A loop that sleeps every second runs once for each second that passes."""
    clock = ManualClock()
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await clock.sleep_until(clock.now_s() + 1.0)
            ticks.append(clock.now_s())

    task = asyncio.create_task(tick())
    await clock.advance(3.5)
    task.cancel()
    assert ticks == [1.0, 2.0, 3.0]


async def test_each_step_of_a_picture_wakes_who_waits_for_that_picture() -> None:
    """However many steps were added up, none wakes nobody, and none wakes the sleeper of two pictures."""
    clock = ManualClock()
    shown: list[int] = []

    async def show() -> None:
        for number in range(1, 3001):
            await clock.sleep_until(number / 25)
            shown.append(number)

    task = asyncio.create_task(show())
    after_each_step: list[int] = []
    for _ in range(3000):
        await clock.advance(0.04)
        after_each_step.append(len(shown))
    await task
    assert after_each_step == list(range(1, 3001))


async def test_a_time_in_the_past_returns_at_once() -> None:
    """sleep_until() a moment that has passed does not wait."""
    await ManualClock(start_s=5.0).sleep_until(4.0)
    clock = SystemClock()
    await clock.sleep_until(clock.now_s() - 1.0)
