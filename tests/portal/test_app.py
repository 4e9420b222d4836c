"""The start of the portal: what is waited for, and what the operator is told."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotFound, FaceFinderMissing
from pipeline.clock import ManualClock
from pipeline.errors import BackendUnavailable
from pipeline.transports.loops import LoopCoding
from portal.app import FIRST_AVATAR_S, Portal, _announce, create_app, serve
from portal.jobs.orders import order_of_preset
from portal.jobs.records import JobFailure
from portal.settings import Settings

pytestmark = pytest.mark.thorough


class Interlude(ManualClock):
    """Time that passes as soon as somebody waits for it; something happens meanwhile."""

    def __init__(self, happens: Callable[[], object] = lambda: None, step_s: float = 0.0) -> None:
        super().__init__()
        self._happens = happens
        self._step_s = step_s

    async def sleep_until(self, when_s: float) -> None:
        self._now_s = max(when_s, self._now_s + self._step_s)
        await asyncio.to_thread(self._happens)


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    portal = Portal.build(Settings(data_dir=tmp_path, worker=False, open_browser=False, port=7999))
    yield portal
    portal.desk.queue.close()
    portal.talk.engine.executor.shutdown()


async def told_by(portal: Portal) -> list[str]:
    """What the operator reads once the portal has warmed up."""
    lines: list[str] = []
    async with asyncio.timeout(60):
        await portal._warm_up()
    await _announce(portal.settings, portal, lines.append)
    return lines


async def test_an_avatar_that_does_not_exist_is_told_at_once(
    portal: Portal, make_bundle: Callable[..., AvatarBundle], caplog: pytest.LogCaptureFixture
) -> None:
    """A typo of --avatar: which one it was, which there are, and no word of being ready."""
    make_bundle("ada")
    portal.talk.sessions.default_avatar = "typo"
    portal.talk.engine.clock = Interlude(lambda: pytest.fail("it was waited for"))
    wrong, address = await told_by(portal)
    assert "There is no avatar 'typo'" in wrong and "--avatar: ada, amara, mira, pip, theo, wen" in wrong
    assert "typo" not in caplog.text  # it is said once
    assert "http://127.0.0.1:7999" in address and "ready" not in address


async def test_an_avatar_that_is_being_made_is_waited_for(
    portal: Portal, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Our own character on a fresh machine: it is there as soon as its job has made it."""
    portal.desk.queue.submit(order_of_preset("mira", "Mira"))
    portal.talk.engine.clock = Interlude(lambda: make_bundle("mira"))
    assert (await portal._first_avatar()).id == "mira"


@pytest.mark.parametrize(("outcome", "told"), [("failed", "no avatar 'mira'"), ("endless", "still not made")])
async def test_an_avatar_that_will_not_be_made_is_told(portal: Portal, outcome: str, told: str) -> None:
    """Its job has ended without it, or takes very long: the portal does not wait for ever."""
    job = portal.desk.queue.submit(order_of_preset("mira", "Mira"))
    ended = Interlude(lambda: portal.desk.queue.cancel(job.id))
    portal.talk.engine.clock = ended if outcome == "failed" else Interlude(step_s=FIRST_AVATAR_S)
    with pytest.raises(AvatarNotFound, match=told):
        await portal._first_avatar()


async def test_an_avatar_that_could_not_be_made_is_told_with_the_reason(portal: Portal) -> None:
    """The default avatar of a fresh server: what its job failed of, and not which other avatars there might be."""
    job = portal.desk.queue.submit(order_of_preset("mira", "Mira"))
    lacking = FaceFinderMissing("libGLESv2.so.2 is not there")
    portal.desk.queue.store.fail(job.id, JobFailure(lacking.code, lacking.message, lacking.hint))
    with pytest.raises(AvatarNotFound) as told:
        await portal._first_avatar()
    assert "could not be made" in told.value.message and "libGLESv2.so.2" in told.value.message
    assert "apt install" in told.value.hint and "--avatar" not in str(told.value)


async def test_whatever_goes_wrong_at_the_start_is_said(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what nobody has thought of."""

    def surprised(*_given: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("portal.app.ensure_presets", surprised)
    wrong, address = await told_by(portal)
    assert "by nought" in wrong and "ready" not in address


def test_ctrl_c_in_the_first_seconds_ends_it_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """While the page is still being built: the command line makes status 130 of it, and nothing is printed."""

    def interrupted(*given: Any) -> FastAPI:
        signal.raise_signal(signal.SIGINT)
        return create_app(*given)

    monkeypatch.setattr("portal.app.create_app", interrupted)
    for of_the_process in ("give_pictures_back", "let_the_loop_in"):
        monkeypatch.setattr(f"portal.app.{of_the_process}", lambda: None)
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            serve(Settings(data_dir=tmp_path, worker=False, open_browser=False, port=7999), print)
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr() == ("", "")


async def test_nothing_of_the_start_is_left_to_the_first_turn(
    portal: Portal, make_bundle: Callable[..., AvatarBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading, and encoding the avatar's loops, take both cores of a small machine: ready is said afterwards."""
    make_bundle("ada")
    portal.talk.sessions.default_avatar = "ada"
    done: list[tuple[str, bool]] = []

    async def warm_up(*_given: Any) -> None:
        done.append(("backends", portal.warmed.is_set()))

    async def wait(_bundle: AvatarBundle, coding: LoopCoding) -> None:
        done.append((coding.codec, portal.warmed.is_set()))

    monkeypatch.setattr(portal.talk.engine, "warm_up", warm_up)
    monkeypatch.setattr(portal.talk.loops, "wait", wait)
    assert "ready" in (await told_by(portal))[0]
    assert done == [("backends", False), ("H264", False), ("JPEG", False)]


async def test_ears_are_loaded_at_the_start_where_the_operator_wants_it(
    portal: Portal, make_bundle: Callable[..., AvatarBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is said that the portal is ready. If they are missing, the operator reads how to bring them."""
    make_bundle("ada")
    portal.talk.sessions.default_avatar = "ada"
    done: list[str] = []

    async def nothing(*_given: Any) -> None: ...

    async def loaded() -> None:
        done.append(f"ears, {portal.warmed.is_set()}")
        raise BackendUnavailable("faster-whisper", "the package is missing", "python launch.py fetch ears")

    monkeypatch.setattr(portal.talk.engine, "warm_up", nothing)
    monkeypatch.setattr(portal.talk.loops, "wait", nothing)
    monkeypatch.setattr(portal.talk.engine.hearing, "loaded", loaded)
    await told_by(portal)
    assert done == []
    portal.warmed.clear()
    wanting = replace(portal, settings=portal.settings.model_copy(update={"ears_preload": True}))
    lines = await told_by(wanting)
    assert done == ["ears, False"]
    assert any("fetch ears" in line for line in lines)


async def test_a_portal_that_has_warmed_up_says_that_it_is_ready(portal: Portal) -> None:
    """One line, with the address."""
    portal.warmed.set()
    lines: list[str] = []
    await _announce(portal.settings, portal, lines.append)
    assert lines == ["Vivavoce is ready: http://127.0.0.1:7999"]
