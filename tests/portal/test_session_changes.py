"""A session is changed while it runs."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI

from avatars.bundle import AvatarBundle
from avatars.persona import Persona
from pipeline.errors import SessionClosed, SpeechError
from pipeline.lipsync.flash import FlashLipSync
from pipeline.tts.beep import BeepSynthesizer
from portal.api.session_socket import SessionSocket
from portal.errors import AvatarBeingPrepared
from portal.sessions import SessionManager
from tests.backend_rows import replace_backend
from tests.portal.grey_manager import NeedsParts, write_grey_avatar
from tests.portal.session_house import FakeRecordings, FakeStreams, FakeTransports
from tests.portal.socket_viewer import Viewer


class ServiceVoice(BeepSynthesizer):
    """Two voices, one of which a service on the network speaks."""

    voices = ("here", "there")
    online_voices = frozenset({"there"})


async def test_a_running_session_is_changed(manager: SessionManager) -> None:
    """What is given changes, what is left out stays, None takes a wish back; another synthesizer has its own voice."""
    session = await manager.open(voice="beep", speed=1.5, persona=Persona(prompt="A cat.", greeting="Miaow."))
    await manager.change(session, {"prompt": "A dog."})
    assert session.choice.persona == Persona(prompt="A dog.", greeting="Miaow.", voice="beep")
    await manager.change(session, {"speed": None, "voice": None, "prompt": None})
    assert session.choice == replace(manager.choice, persona=Persona(greeting="Miaow."))
    await manager.change(session, {"voice": "beep"})
    await manager.change(session, {"tts": "beep"})
    assert session.choice.persona.voice is None


@pytest.fixture
def service_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_backend(monkeypatch, "tts", "pico", f"{__name__}:ServiceVoice")


async def test_a_voice_of_a_service_is_tried_before_a_session_depends_on_it(
    manager: SessionManager, service_voice: None
) -> None:
    """If it gives nothing the session keeps its voice, and the error says so. Voices of this machine are not tried."""
    tried: list[tuple[str, str]] = []

    async def try_voice(tts: str, voice: str, session: str) -> None:
        tried.append((tts, voice))
        raise SpeechError("The service does not answer.", "Try again.")

    manager.try_voice = try_voice
    session = await manager.open()
    await manager.change(session, {"tts": "pico", "voice": "here"})
    assert tried == []
    before = session.in_force
    with pytest.raises(SpeechError, match="does not answer") as refusal:
        await manager.change(session, {"voice": "there", "prompt": "A cat."})
    assert (tried, refusal.value.cause, session.in_force) == ([("pico", "there")], "kept", before)
    await manager.change(session, {"prompt": "A cat."})
    assert len(tried) == 1, "what does not change is not tried"


async def test_two_changes_at_once_both_hold(manager: SessionManager, service_voice: None) -> None:
    """The second begins with what the first has made of the session."""
    session = await manager.open()
    await asyncio.gather(
        manager.change(session, {"tts": "pico", "voice": "here"}), manager.change(session, {"prompt": "A cat."})
    )
    assert (session.in_force["voice"], session.in_force["persona"]) == ("here", "session")


async def test_a_change_prepares_the_avatar_for_a_lip_sync_that_lacks_something(
    manager: SessionManager, queued: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As opening a session does; the session stays as it was until somebody asks again."""
    replace_backend(monkeypatch, "lipsync", "wav2lip256", f"{NeedsParts.__module__}:NeedsParts")
    session = await manager.open(address="192.0.2.1")
    with pytest.raises(AvatarBeingPrepared):
        await manager.change(session, {"lipsync": "wav2lip256"})
    assert queued == [("grey", "wav2lip256", "192.0.2.1")] and session.in_force["lipsync"] == "flash"


async def test_who_leaves_a_device_lets_in_who_was_refused_there(manager: SessionManager) -> None:
    """Though it keeps its place; also when it ends, wherever it began."""
    made: list[object] = []
    room_made = manager.admission.room_made
    manager.admission.room_made = lambda devices: (made.append(devices), room_made(devices))[1]  # type: ignore[method-assign]
    session = await manager.open()
    here, there = (
        frozenset(manager.engine.devices_for(replace(manager.choice, lipsync=name))) for name in ("flash", "null")
    )
    await manager.change(session, {"lipsync": "null"})
    assert made == [here]
    await manager.close(session)
    assert there in made


async def test_a_session_that_has_ended_is_not_changed(manager: SessionManager) -> None:
    session = await manager.open()
    await manager.close(session)
    with pytest.raises(SessionClosed):
        await manager.change(session, {"speed": 1.0})


async def test_an_interrupt_stops_a_session_while_another_avatar_loads(
    manager: SessionManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the socket, with the whole engine: before the media clock moves by a picture, the turn is interrupted and a
    ping answered. The avatar is shown once it has loaded.
    """
    loading, loaded = threading.Event(), threading.Event()

    class LoadsSlowly(FlashLipSync):
        def prepare(self, bundle: AvatarBundle) -> AvatarBundle:
            if bundle.id == "slow":
                loading.set()
                assert loaded.wait(30)
            return super().prepare(bundle)

    monkeypatch.setitem(globals(), "LoadsSlowly", LoadsSlowly)
    replace_backend(monkeypatch, "lipsync", "flash", f"{__name__}:LoadsSlowly")
    write_grey_avatar(tmp_path / "avatars" / "slow")
    clock = manager.engine.clock
    socket = SessionSocket(manager, cast(Any, FakeTransports()), cast(Any, FakeRecordings()), clock, FakeStreams())
    app = FastAPI()
    app.include_router(socket.router)
    viewer = await Viewer(app).connect()
    try:
        await viewer.hello()
        viewer.tell("avatar", id="slow")
        assert await asyncio.to_thread(loading.wait, 30)
        viewer.tell("say", text="One.", mode="echo")
        viewer.tell("interrupt")
        viewer.tell("ping", t=1)
        asked_s = clock.now_s()
        answers = [await viewer.hear_any() for _ in range(3)]
        assert clock.now_s() == asked_s and not loaded.is_set()
        assert sorted(answer.get("state", answer["type"]) for answer in answers) == ["interrupted", "pong", "queued"]
        loaded.set()
        assert (await viewer.hear("avatar"))["avatar"]["id"] == "slow"
    finally:
        loaded.set()
        await viewer.break_off(1000)
        await socket.aclose()
