import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from avatars.bundle import BundleContents, encode_jpeg, write_bundle
from avatars.errors import AvatarNotFound
from avatars.library import AvatarLibrary
from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.errors import AtCapacity, UnknownBackend
from pipeline.turn import Choice
from portal.sessions import SessionManager

IDLE_S = 60.0


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[SessionManager]:
    """Two places, one avatar, a manual clock."""
    write_bundle(
        BundleContents(
            id="grey",
            name="Grey",
            kind="still",
            frames=[encode_jpeg(np.full((64, 64, 3), 128, np.uint8))],
            width=64,
            height=64,
            boxes=np.array([[16, 16, 48, 48]], np.int32),
            masks=np.full((1, 32, 32), 255, np.uint8),
            landmarks=np.zeros((1, 478, 3), np.float32),
            loop=np.zeros(1, np.int32),
        ),
        tmp_path / "avatars" / "grey",
    )
    engine = Engine(clock=ManualClock())
    await engine.start()
    manager = SessionManager(
        engine,
        AvatarLibrary(tmp_path / "avatars"),
        default_avatar="grey",
        choice=Choice(llm="echo", tts="beep", lipsync="flash"),
        capacity=2,
        idle_timeout_s=IDLE_S,
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
    assert len(sessions) == manager.live == 2
    assert all(isinstance(refusal, AtCapacity) for refusal in came if isinstance(refusal, BaseException))
    await asyncio.gather(manager.close(sessions[0]), manager.close(sessions[0]))
    assert manager.live == 1
    await manager.open()


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
    assert manager.live == 0
    await asyncio.gather(manager.open(), manager.open())


async def test_a_forgotten_session_ends_and_one_that_is_used_does_not(manager: SessionManager) -> None:
    """Who said nothing for the idle time makes room; who did, or is being spoken to, stays."""
    forgotten, used = await manager.open(), await manager.open()
    await pass_time(manager, IDLE_S * 0.75)
    used.say("still here")
    await pass_time(manager, IDLE_S * 0.5)
    assert (forgotten.closed, used.closed) == (True, False)
    assert manager.live == 1
