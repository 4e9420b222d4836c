import asyncio
from collections.abc import Sequence

import pytest

from avatars.bundle import AvatarBundle
from pipeline import registry
from pipeline.engine import MEASURED_AGAIN_S, Engine
from pipeline.errors import AtCapacity, BackendUnavailable
from pipeline.lipsync.flash import FlashLipSync
from pipeline.measuring import measure_cost, measured_fairly
from pipeline.turn_context import Choice
from pipeline.types import FacePatch, LipSyncRequest

MEASURED = Choice(llm="echo", tts="beep", lipsync="flash")


class Stopwatch:
    """A clock that only drawing moves: each batch takes 5 ms and 3 ms a picture."""

    def __init__(self, batch_s: float = 0.005, picture_s: float = 0.003) -> None:
        self.batch_s, self.picture_s, self.time_s = batch_s, picture_s, 0.0

    def draw(self, count: int) -> None:
        self.time_s += self.batch_s + count * self.picture_s

    async def timed(self, count: int) -> float:
        self.draw(count)
        return self.batch_s + count * self.picture_s

    def now_s(self) -> float:
        return self.time_s

    async def sleep_until(self, time_s: float) -> None:
        await asyncio.Event().wait()  # nothing is played here


async def test_two_batch_sizes_tell_what_drawing_costs() -> None:
    """The fixed time of a batch and the time of a picture come out as they are."""
    watch = Stopwatch()
    cost = await measure_cost(watch.timed, 16)
    assert cost.batch_s == pytest.approx(0.005)
    assert cost.picture_s == pytest.approx(0.003)
    assert cost.share(10) == pytest.approx(25 * 0.0035)


async def test_a_hopeless_picture_is_not_drawn_again_and_again() -> None:
    """A network that takes 10 s a picture is asked twice: to warm up, and to be measured."""
    watch = Stopwatch(0.0, 10.0)
    cost = await measure_cost(watch.timed, 16)
    assert watch.time_s == pytest.approx(20.0)
    assert (cost.batch_s, cost.picture_s, cost.features_s) == (0.0, pytest.approx(10.0), 0.0)


async def test_what_looks_too_slow_on_a_busy_machine_is_looked_at_again() -> None:
    """A backend is refused by its best of three measurements; a hopeless one, or one that will do, is measured once."""
    for waits_s, expected, looks in (
        ([0.08, 0.08, 0.01], 0.01, 3),
        ([0.01], 0.01, 1),
        ([9.0], 9.0, 1),
        ([0.2], 0.2, 1),
    ):
        seen: list[int] = []

        async def timed(count: int, waits_s: list[float] = waits_s, seen: list[int] = seen) -> float:
            if count == 1 and (not seen or seen[-1] != 1):  # a measurement begins with single pictures
                seen.append(0)
            seen.append(count)
            return count * waits_s[min(seen.count(0), len(waits_s)) - 1]

        assert (await measured_fairly(timed, 16)).picture_s == pytest.approx(expected)
        assert seen.count(0) == looks


def slow_down_flash(monkeypatch: pytest.MonkeyPatch, watch: Stopwatch) -> None:
    """`flash` is a network from here on, and takes the time of this watch."""
    ordinary = registry.backend_class

    class Slow(FlashLipSync):
        on_device = True

        def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
            watch.draw(len(requests))
            return super().infer(requests)

    monkeypatch.setattr(registry, "backend_class", lambda kind, name: Slow if name == "flash" else ordinary(kind, name))


async def opened(engine: Engine, bundle: AvatarBundle) -> int:
    """How many sessions get in."""
    count = 0
    while True:
        try:
            await engine.open_session(f"s{count}", bundle, MEASURED)
        except AtCapacity:
            return count
        count += 1


@pytest.mark.parametrize("devices", [("cpu",), ("cpu", "cpu")])
async def test_sessions_are_admitted_by_what_the_devices_carry(
    devices: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, small_bundle: AvatarBundle
) -> None:
    """5 ms a batch of 8 and 10 ms a picture let three sessions in on a device; a second device lets in as many more."""
    watch = Stopwatch(0.005, 0.010)
    slow_down_flash(monkeypatch, watch)
    engine = Engine(clock=watch, devices=devices)
    await engine.start()
    try:
        assert await opened(engine, small_bundle) == 3 * len(devices)
        assert [engine.load(device) for device in engine.devices] == [pytest.approx(0.797, abs=0.01)] * len(devices)
        await engine.close_session(engine.sessions["s0"])
        await engine.open_session("again", small_bundle, MEASURED)
    finally:
        await engine.aclose()


async def test_sessions_that_open_at_once_are_spread_over_the_devices(
    monkeypatch: pytest.MonkeyPatch, small_bundle: AvatarBundle
) -> None:
    """Each looks for a device while none is taken yet; whom the first one then refuses goes to the other."""
    watch = Stopwatch(0.005, 0.010)
    slow_down_flash(monkeypatch, watch)
    engine = Engine(clock=watch, devices=("cpu", "cpu"))
    await engine.start()
    try:
        came = await asyncio.gather(
            *(engine.open_session(f"s{number}", small_bundle, MEASURED) for number in range(7)), return_exceptions=True
        )
        assert [type(one) for one in came if isinstance(one, BaseException)] == [AtCapacity]
        assert len(engine.sessions) == 6
    finally:
        await engine.aclose()


async def test_measuring_may_be_left_out(monkeypatch: pytest.MonkeyPatch, small_bundle: AvatarBundle) -> None:
    """Then nothing is drawn before a session, and the slowest backend gets in: somebody wants to see it."""
    watch = Stopwatch(0.0, 1.0)
    slow_down_flash(monkeypatch, watch)
    engine = Engine(clock=watch, measure=False)
    await engine.start()
    try:
        await engine.open_session("one", small_bundle, MEASURED)
        assert watch.time_s == 0
    finally:
        await engine.aclose()


async def test_a_backend_too_slow_for_one_session_is_refused_with_its_speed(
    monkeypatch: pytest.MonkeyPatch, small_bundle: AvatarBundle
) -> None:
    """Nobody is let into a session that could only stutter."""
    watch = Stopwatch(0.0, 0.1)
    slow_down_flash(monkeypatch, watch)
    engine = Engine(clock=watch)
    await engine.start()
    try:
        with pytest.raises(BackendUnavailable, match=r"10\.0 pictures a second on cpu, and 25 are needed"):
            await engine.open_session("one", small_bundle, MEASURED)
        assert not engine.sessions
        measured_s = watch.time_s
        with pytest.raises(BackendUnavailable, match=r"10\.0 pictures a second"):
            await engine.open_session("at once", small_bundle, MEASURED)
        assert watch.time_s == measured_s, "it was not measured again"
        watch.picture_s = 0.001
        watch.time_s += MEASURED_AGAIN_S
        await engine.open_session("when the machine is free again", small_bundle, MEASURED)
    finally:
        await engine.aclose()
