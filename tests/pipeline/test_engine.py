import asyncio
import threading
from dataclasses import replace
from typing import Any, ClassVar

import cv2
import pytest
from threadpoolctl import ThreadpoolController

from avatars.bundle import AvatarBundle
from pipeline import registry
from pipeline.engine import Engine
from pipeline.errors import BackendUnavailable, SessionClosed
from pipeline.lipsync.flash import FlashLipSync
from pipeline.llm.echo import EchoLanguageModel
from pipeline.session import Session
from pipeline.turn_context import Choice
from pipeline.types import TurnEvent, TurnState

MEASURED = Choice(llm="echo", tts="beep", lipsync="flash")


def replaced(monkeypatch: pytest.MonkeyPatch, name: str, cls: type[Any]) -> None:
    """The registry gives `cls` for that name."""
    ordinary = registry.backend_class
    monkeypatch.setattr(
        registry, "backend_class", lambda kind, wanted: cls if wanted == name else ordinary(kind, wanted)
    )


def device_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("device-")]


async def test_a_backend_that_could_not_be_loaded_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put right meanwhile (weights, a network) needs no restart; what was loaded is loaded once."""

    class Flaky(EchoLanguageModel):
        loads: ClassVar[int] = 0

        def load(self) -> None:
            Flaky.loads += 1
            if Flaky.loads == 1:
                raise BackendUnavailable("echo", "not yet")

    replaced(monkeypatch, "echo", Flaky)
    engine = Engine()
    await engine.start()
    with pytest.raises(BackendUnavailable):
        await engine.backends.get("llm", "echo")
    first, second = await asyncio.gather(engine.backends.get("llm", "echo"), engine.backends.get("llm", "echo"))
    assert first is second
    assert Flaky.loads == 2
    await engine.aclose()


async def test_a_session_that_is_being_opened_while_the_engine_closes_is_refused(
    monkeypatch: pytest.MonkeyPatch, small_bundle: AvatarBundle
) -> None:
    """It is told, nothing of it goes on, and the backend that was being loaded for it is closed too."""
    loading, go_on = threading.Event(), threading.Event()
    closed: list[str] = []

    class Slow(EchoLanguageModel):
        def load(self) -> None:
            loading.set()
            go_on.wait(30)

        async def aclose(self) -> None:
            closed.append("echo")

    replaced(monkeypatch, "echo", Slow)
    engine = Engine()
    await engine.start()
    opening = asyncio.create_task(engine.open_session("late", small_bundle, MEASURED))
    await asyncio.to_thread(loading.wait, 10)
    closing = asyncio.create_task(engine.aclose())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    with pytest.raises(SessionClosed):
        await opening
    assert engine.sessions == {}
    assert closed == ["echo"]
    with pytest.raises(SessionClosed):
        await engine.backends.get("tts", "beep")


async def test_closing_goes_on_past_what_cannot_be_closed(
    monkeypatch: pytest.MonkeyPatch, small_bundle: AvatarBundle
) -> None:
    """A backend that fails to close is told of, after its session, the others and the threads have ended."""

    class Stuck(FlashLipSync):
        def close(self) -> None:
            raise RuntimeError("the driver is gone")

    replaced(monkeypatch, "flash", Stuck)
    engine = Engine()
    await engine.start()
    session = await engine.open_session("one", small_bundle, MEASURED)
    assert device_threads()
    with pytest.raises(RuntimeError, match="driver"):
        await engine.aclose()
    assert session.closed
    assert device_threads() == []
    await engine.aclose()


async def test_what_is_no_network_is_not_held_up_by_one(
    monkeypatch: pytest.MonkeyPatch, small_bundle: AvatarBundle
) -> None:
    """While a network takes its minute to load, sessions of the embedded renderer open and draw."""
    loading, go_on = threading.Event(), threading.Event()

    class Large(FlashLipSync):
        on_device = True

        def load(self, device: str) -> None:
            loading.set()
            assert go_on.wait(30)

    replaced(monkeypatch, "null", Large)
    engine = Engine()
    await engine.start()
    try:
        opening = asyncio.create_task(engine.open_session("large", small_bundle, replace(MEASURED, lipsync="null")))
        assert await asyncio.to_thread(loading.wait, 10)
        await begins_to_speak(await engine.open_session("small", small_bundle, MEASURED))
        assert not opening.done()
        go_on.set()
        await opening
    finally:
        go_on.set()
        await engine.aclose()


async def test_nobody_is_held_up_by_an_avatar_that_takes_long_to_prepare(
    monkeypatch: pytest.MonkeyPatch, small_bundle: AvatarBundle
) -> None:
    """One with many gestures takes seconds, and everybody may choose it. Those who are there are drawn meanwhile."""
    preparing, go_on = threading.Event(), threading.Event()

    class Thorough(FlashLipSync):
        def prepare(self, bundle: AvatarBundle) -> AvatarBundle:
            preparing.set()
            assert go_on.wait(30)
            return super().prepare(bundle)

    replaced(monkeypatch, "null", Thorough)
    engine = Engine()
    await engine.start()
    try:
        session = await engine.open_session("small", small_bundle, MEASURED)
        opening = asyncio.create_task(engine.open_session("large", small_bundle, replace(MEASURED, lipsync="null")))
        assert await asyncio.to_thread(preparing.wait, 10)
        await begins_to_speak(session)
        assert not opening.done()
        go_on.set()
        await opening
    finally:
        go_on.set()
        await engine.aclose()


async def begins_to_speak(session: Session) -> None:
    session.say("Hello.", mode="echo")
    async for event in session.events:
        if isinstance(event, TurnEvent) and event.state is TurnState.SPEAKING:
            return


async def test_a_session_that_ended_meanwhile_cannot_be_given_another_avatar(small_bundle: AvatarBundle) -> None:
    """It is told so, whatever closed it."""
    engine = Engine()
    await engine.start()
    try:
        session = await engine.open_session("one", small_bundle, MEASURED)
        await engine.close_session(session)
        with pytest.raises(SessionClosed):
            await engine.change(session, bundle=small_bundle)
    finally:
        await engine.aclose()


async def test_libraries_compute_in_the_thread_that_calls_them() -> None:
    """Once an engine has started, OpenBLAS and OpenCV have no threads that would contend with its pool."""
    controller = ThreadpoolController().select(internal_api="openblas")
    with controller.limit(limits=2):
        engine = Engine()
        await engine.start()
        assert controller.info()
        assert [library["num_threads"] for library in controller.info()] == [1] * len(controller)
        assert cv2.getNumThreads() == 1
        await engine.aclose()
