import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from avatars.errors import AvatarNotFound
from pipeline.errors import AtCapacity, BackendUnavailable, UnknownBackend
from pipeline.session import Session
from portal.admission import Admission
from portal.errors import AddressFull, AvatarBeingPrepared
from portal.http.people import LoginNeeded, LoginState, Person, Role
from portal.sessions import DEPARTED_LOOK_S, SessionManager
from tests.backend_rows import replace_backend
from tests.portal.grey_manager import IDLE_S, NeedsParts, pass_time, write_grey_avatar


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
    manager: SessionManager, queued: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for a backend that the avatar is not prepared for is told of the job that does it; no place is taken."""
    replace_backend(monkeypatch, "lipsync", "wav2lip256", f"{NeedsParts.__module__}:NeedsParts")
    with pytest.raises(AvatarBeingPrepared) as refused:
        await manager.open(lipsync="wav2lip256", address="192.0.2.1")
    assert queued == [("grey", "wav2lip256", "192.0.2.1")]
    assert (refused.value.code, refused.value.job) == ("avatar_not_prepared", "job-1")
    assert manager.admission.taken == 0


async def test_a_backend_without_weights_is_refused_with_the_command_that_fetches_them(
    manager: SessionManager, queued: list[tuple[str, str, str]]
) -> None:
    """Nothing is prepared for a backend that cannot run here anyway."""
    with pytest.raises(BackendUnavailable) as refused:
        await manager.open(lipsync="wav2lip256")
    assert "launch.py fetch wav2lip256" in refused.value.hint
    assert (queued, manager.admission.taken) == ([], 0)


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
