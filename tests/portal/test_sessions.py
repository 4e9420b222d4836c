import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from backend_rows import replace_backend
from fastapi import FastAPI

from avatars.bundle import AvatarBundle, encode_jpeg
from avatars.bundle_writing import BundleContents, write_bundle
from avatars.errors import AvatarNotFound, AvatarNotPrepared
from avatars.library import AvatarLibrary
from avatars.persona import Persona
from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.errors import AtCapacity, BackendUnavailable, SessionClosed, SpeechError, UnknownBackend
from pipeline.lipsync.flash import FlashLipSync
from pipeline.session import Session
from pipeline.tts.beep import BeepSynthesizer
from pipeline.turn_context import Choice
from portal.admission import Admission
from portal.api.session_socket import SessionSocket
from portal.errors import AddressFull, AvatarBeingPrepared
from portal.http.people import LoginNeeded, LoginState, Person, Role
from portal.sessions import DEPARTED_LOOK_S, SessionManager
from tests.portal.session_house import FakeRecordings, FakeStreams, FakeTransports, Viewer

IDLE_S = 60.0


class NeedsParts(FlashLipSync):
    """A lip-sync for which no avatar is ever prepared."""

    def __init__(self, weights: Path) -> None:
        super().__init__()

    def prepared_from(self, bundle: AvatarBundle) -> None:
        raise AvatarNotPrepared(bundle.id, "wav2lip256")


@pytest.fixture
def queued() -> list[tuple[str, str]]:
    """Avatars and backends for which a preparation was asked for."""
    return []


def write_grey_avatar(folder: Path) -> None:
    """An avatar of one grey picture, with the folder's name for its id."""
    contents = BundleContents(
        id=folder.name,
        name=folder.name.title(),
        kind="still",
        frames=[encode_jpeg(np.full((64, 64, 3), 128, np.uint8))],
        width=64,
        height=64,
        boxes=np.array([[16, 16, 48, 48]], np.int32),
        masks=np.full((1, 32, 32), 255, np.uint8),
        landmarks=np.zeros((1, 478, 3), np.float32),
        loop=np.zeros(1, np.int32),
    )
    write_bundle(contents, folder)


@pytest.fixture
def told() -> list[tuple[str, Mapping[str, object]]]:
    """What webhooks are told."""
    return []


@pytest.fixture
async def manager(
    tmp_path: Path, queued: list[tuple[str, str]], told: list[tuple[str, Mapping[str, object]]]
) -> AsyncIterator[SessionManager]:
    """Two places, one avatar, a manual clock."""

    def prepare_for(avatar: str, backend: str) -> Any:
        queued.append((avatar, backend))
        return SimpleNamespace(id=f"job-{len(queued)}")

    write_grey_avatar(tmp_path / "avatars" / "grey")
    engine = Engine({("lipsync", "wav2lip256"): {"weights": tmp_path / "weights"}}, clock=ManualClock())
    await engine.start()
    manager = SessionManager(
        engine,
        AvatarLibrary(tmp_path / "avatars"),
        Admission(capacity=2, places_each=2),
        default_avatar="grey",
        choice=Choice(llm="echo", tts="beep", lipsync="flash"),
        idle_timeout_s=IDLE_S,
        prepare_for=prepare_for,
        tell=lambda event, facts: told.append((event, facts)),
    )
    await manager.start()
    yield manager
    await manager.aclose()
    await engine.aclose()


async def pass_time(manager: SessionManager, seconds: float) -> None:
    clock = manager.engine.clock
    assert isinstance(clock, ManualClock)
    await clock.advance(seconds)


async def test_no_more_get_in_than_there_are_places(manager: SessionManager) -> None:
    """Of five who come at once two get in; a place that is left is free at once."""
    came = await asyncio.gather(*(manager.open() for _ in range(5)), return_exceptions=True)
    sessions = [session for session in came if not isinstance(session, BaseException)]
    assert len(sessions) == manager.admission.taken == 2
    assert all(isinstance(refusal, AtCapacity) for refusal in came if isinstance(refusal, BaseException))
    await asyncio.gather(manager.close(sessions[0]), manager.close(sessions[0]))
    assert manager.admission.taken == 1
    await manager.open()


async def test_webhooks_are_told_of_sessions(
    manager: SessionManager, told: list[tuple[str, Mapping[str, object]]]
) -> None:
    """Of each once as it opens and once as it closes, whatever closes it; nothing of one that never was."""
    session = await manager.open(identity={"user": "u7"})
    facts = {"session": session.id, "avatar": "grey", "identity": {"user": "u7"}}
    assert told == [("session.opened", facts)]
    await asyncio.gather(manager.close(session), manager.close(session))
    assert told == [("session.opened", facts), ("session.closed", facts)]
    told.clear()
    with pytest.raises(AvatarNotFound):
        await manager.open(avatar="nobody")
    assert told == []
    other = await manager.open()
    await pass_time(manager, 2 * IDLE_S)
    assert [(event, facts["session"]) for event, facts in told] == [
        ("session.opened", other.id),
        ("session.closed", other.id),
    ]


async def test_who_could_not_be_served_takes_no_place(manager: SessionManager) -> None:
    """An unknown avatar, an unknown backend and a viewer who left while waiting give their places back."""
    for _ in range(3):
        with pytest.raises(AvatarNotFound):
            await manager.open(avatar="nobody")
        with pytest.raises(UnknownBackend):
            await manager.open(tts="nothing")
        leaving = asyncio.create_task(manager.open())
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    assert manager.admission.taken == 0
    await asyncio.gather(manager.open(), manager.open())


async def test_an_open_session_is_found_by_its_id(manager: SessionManager) -> None:
    """With what its viewer said of who this is; once it has ended, neither is kept."""
    session, other = await manager.open(identity={"user": "mira"}), await manager.open()
    assert manager.get(session.id) is session and manager.get(other.id) is other
    assert (manager.identity_of(session), manager.identity_of(other)) == ({"user": "mira"}, {})
    await manager.close(session)
    assert manager.get(session.id) is None and manager.identity_of(session) == {}
    assert manager.get("nobody") is None


async def test_a_forgotten_session_ends_and_one_that_is_used_does_not(manager: SessionManager) -> None:
    """Who said nothing for the idle time makes room; who did, or is being spoken to, stays."""
    forgotten, used = await manager.open(), await manager.open()
    await pass_time(manager, IDLE_S * 0.75)
    used.say("still here")
    await pass_time(manager, IDLE_S * 0.5)
    assert (forgotten.closed, used.closed) == (True, False)
    assert manager.admission.taken == 1


async def in_line(manager: SessionManager) -> asyncio.Task[Session]:
    """A viewer who waits for a place; returns once the position was reported."""
    reported = asyncio.Event()

    async def report(position: int) -> None:
        reported.set()

    waiting = asyncio.create_task(manager.open(report=report))
    await reported.wait()
    return waiting


async def test_a_place_that_a_full_device_leaves_free_goes_to_who_waits_for_it(
    manager: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a place is let in when a device refuses the session that had it. If the device refuses the waiting
    viewer too, it is not tried again until a session has ended.
    """
    refusals = 0
    full = asyncio.Event()

    async def refuse(*_arguments: object) -> Any:
        nonlocal refusals
        await full.wait()
        refusals += 1
        raise AtCapacity("The device is full.")

    session = await manager.open()
    with monkeypatch.context() as patched:
        patched.setattr(manager.engine, "open_session", refuse)
        opening = asyncio.create_task(manager.open())
        while manager.admission.taken < 2:  # noqa: ASYNC110 - it takes its place a few steps of the loop later
            await asyncio.sleep(0)
        with pytest.raises(AtCapacity, match="places"):
            await manager.open()
        waiting = await in_line(manager)
        full.set()
        with pytest.raises(AtCapacity, match="device"):
            await opening
        with pytest.raises(AtCapacity, match="Others wait"):
            await manager.open()
        while refusals < 2:  # noqa: ASYNC110 - the bundle is opened in a thread
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert (refusals, manager.admission.taken) == (2, 1)
    await manager.close(session)
    await waiting


async def test_a_place_that_becomes_free_goes_to_who_waits(manager: SessionManager) -> None:
    """A viewer in line gets the place of a session that ended, and of one that could not be opened."""
    first, second = await manager.open(), await manager.open()
    waiting = await in_line(manager)
    await manager.close(first)
    assert not (await waiting).closed
    await manager.close(second)
    opening = asyncio.create_task(manager.open(avatar="nobody"))
    await asyncio.sleep(0)
    waiting = await in_line(manager)
    with pytest.raises(AvatarNotFound):
        await opening
    assert not (await waiting).closed


async def test_an_avatar_that_lacks_what_the_lip_sync_needs_is_prepared(
    manager: SessionManager, queued: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for a backend that the avatar is not prepared for is told of the job that does it; no place is taken."""
    replace_backend(monkeypatch, "lipsync", "wav2lip256", f"{__name__}:NeedsParts")
    with pytest.raises(AvatarBeingPrepared) as refused:
        await manager.open(lipsync="wav2lip256")
    assert queued == [("grey", "wav2lip256")]
    assert (refused.value.code, refused.value.job) == ("avatar_not_prepared", "job-1")
    assert manager.admission.taken == 0


async def test_a_backend_without_weights_is_refused_with_the_command_that_fetches_them(
    manager: SessionManager, queued: list[tuple[str, str]]
) -> None:
    """Nothing is prepared for a backend that cannot run here anyway."""
    with pytest.raises(BackendUnavailable) as refused:
        await manager.open(lipsync="wav2lip256")
    assert "launch.py fetch wav2lip256" in refused.value.hint
    assert (queued, manager.admission.taken) == ([], 0)


async def test_an_interrupt_stops_a_session_while_another_avatar_loads(
    manager: SessionManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the socket, with the whole engine: before the media clock moves by a picture, the turn is interrupted and a
    ping answered. The avatar is shown once it has loaded.
    """
    loading, loaded = threading.Event(), threading.Event()

    class LoadsSlowly(FlashLipSync):
        def prepare(self, bundle: AvatarBundle) -> object:
            if bundle.id == "slow":
                loading.set()
                assert loaded.wait(30)
            return super().prepare(bundle)

    monkeypatch.setitem(globals(), "LoadsSlowly", LoadsSlowly)
    replace_backend(monkeypatch, "lipsync", "flash", f"{__name__}:LoadsSlowly")
    write_grey_avatar(tmp_path / "avatars" / "slow")
    clock = manager.engine.clock
    socket = SessionSocket(manager, FakeTransports(), cast(Any, FakeRecordings()), clock, FakeStreams())
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


async def test_an_address_has_no_more_than_its_share(manager: SessionManager) -> None:
    """Closing a session, or failing to open one, gives its place back; an address that is not known is not limited."""
    manager.admission.capacity, manager.admission.places_each = 10, 1
    session = await manager.open(address="203.0.113.7")
    with pytest.raises(AddressFull):
        await manager.open(address="203.0.113.7")
    await manager.open(address="198.51.100.9")
    await asyncio.gather(*(manager.open() for _ in range(3)))
    await manager.close(session)
    await manager.close(session)
    with pytest.raises(AvatarNotFound):
        await manager.open(avatar="nobody", address="203.0.113.7")
    await manager.open(address="203.0.113.7")


async def test_without_an_idle_timeout_nobody_is_sent_away(manager: SessionManager) -> None:
    """0 means never, for a page that nobody attends to."""
    unattended = SessionManager(
        manager.engine,
        manager.library,
        manager.admission,
        default_avatar="grey",
        choice=manager.choice,
        idle_timeout_s=0,
        prepare_for=manager.prepare_for,
    )
    await manager.aclose()
    await unattended.start()
    session = await unattended.open()
    await pass_time(unattended, IDLE_S)
    assert not session.closed
    await unattended.aclose()


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
    manager: SessionManager, queued: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As opening a session does; the session stays as it was until somebody asks again."""
    replace_backend(monkeypatch, "lipsync", "wav2lip256", f"{__name__}:NeedsParts")
    session = await manager.open()
    with pytest.raises(AvatarBeingPrepared):
        await manager.change(session, {"lipsync": "wav2lip256"})
    assert queued == [("grey", "wav2lip256")] and session.in_force["lipsync"] == "flash"


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


async def test_sessions_end_with_the_login_of_their_viewer(manager: SessionManager) -> None:
    """Those of others go on, also of people whose token has expired."""
    states = {"eve": LoginState.VALID, "max": LoginState.VALID, "guest": LoginState.EXPIRED}

    def person(name: str) -> Person:
        return Person(name, Role.VIEWER, login_state=lambda: states[name])

    guarded = SessionManager(
        manager.engine,
        manager.library,
        Admission(capacity=3, places_each=3),
        default_avatar="grey",
        choice=manager.choice,
        idle_timeout_s=0,
        prepare_for=manager.prepare_for,
    )
    await guarded.start()
    eves, maxs, guests = [await guarded.open(person=person(name)) for name in states]
    await pass_time(guarded, 3 * DEPARTED_LOOK_S)
    assert not any(session.closed for session in (eves, maxs, guests))
    states["eve"] = LoginState.REVOKED
    await pass_time(guarded, DEPARTED_LOOK_S)
    assert eves.closed and not maxs.closed and not guests.closed
    with pytest.raises(LoginNeeded):
        await guarded.open(person=person("eve"))
    assert guarded.admission.taken == 2
    await guarded.aclose()


async def test_an_avatar_that_is_erased_while_it_loads_is_not_shown(
    manager: SessionManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever erases it ends the sessions that show it then. One that was about to change to it goes on as it was, and
    one that was about to begin with it ends by itself.
    """
    write_grey_avatar(tmp_path / "avatars" / "alices")
    session = await manager.open()
    engine, change, open_session = manager.engine, manager.engine.change, manager.engine.open_session

    async def erased_meanwhile(*given: Any, then: Any) -> Any:
        manager.library.delete("alices")
        assert await manager.close_all_of("alices") == 0
        return await then(*given)

    monkeypatch.setattr(engine, "change", partial(erased_meanwhile, then=change))
    with pytest.raises(AvatarNotFound):
        await manager.change(session, {"avatar": "alices"})
    assert manager.get(session.id) is session and (session.bundle.id, session.avatars_shown) == ("grey", {"grey"})
    write_grey_avatar(tmp_path / "avatars" / "alices")
    monkeypatch.setattr(engine, "open_session", partial(erased_meanwhile, then=open_session))
    with pytest.raises(AvatarNotFound):
        await manager.open(avatar="alices")
    assert manager.admission.taken == 1


async def test_a_viewer_who_leaves_before_the_welcome_leaves_no_session(
    manager: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would have it, and its place would be taken until it was idle for long."""
    looking = asyncio.Event()

    async def looks_for_ever(_session: Session) -> None:
        looking.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(manager, "_end_if_erased", looks_for_ever)
    opening = asyncio.create_task(manager.open())
    await looking.wait()
    (session,) = manager.engine.sessions.values()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert session.closed and manager.admission.taken == 0 and manager.get(session.id) is None


async def test_an_avatar_whose_files_go_while_they_are_read_is_not_found(
    manager: SessionManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is missing though the avatar is there is another matter, and is not hidden."""
    write_grey_avatar(tmp_path / "avatars" / "alices")

    gone = False

    async def reads_what_is_gone(*_given: Any) -> Any:
        if gone:
            manager.library.delete("alices")
        raise FileNotFoundError("alices/frames.bin")

    monkeypatch.setattr(manager.engine, "open_session", reads_what_is_gone)
    with pytest.raises(FileNotFoundError):
        await manager.open(avatar="alices")
    gone = True
    with pytest.raises(AvatarNotFound):
        await manager.open(avatar="alices")
