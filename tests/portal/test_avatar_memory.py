"""AvatarMemory: of an avatar that was deleted nothing stays in memory, and none of its files stays open."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from transport_viewer import GatedExecutor

from avatars.bundle import AvatarBundle
from avatars.library import AvatarLibrary
from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.transports.loops import LoopCache, LoopCoding
from portal.avatar_memory import LOOK_S, AvatarMemory
from tests.session_room import MEASURED

JPEG = LoopCoding("JPEG", 75)
SPAN_S = 2 * LOOK_S


def is_open(avatar: Path) -> bool:
    """Whether this process has the frames of that avatar mapped."""
    return str(avatar / "frames.bin") in Path("/proc/self/maps").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells which files a process has open")
async def test_a_deleted_avatar_is_forgotten_once_no_session_shows_it(
    make_bundle: Callable[..., AvatarBundle], library: AvatarLibrary
) -> None:
    """Whoever deleted it: a look at the folder finds out. A session that shows it goes on to its end."""
    make_bundle("kept")
    make_bundle("gone")
    clock = ManualClock()
    engine = Engine(clock=clock, measure=False)
    await engine.start()
    loops = LoopCache(GatedExecutor())
    memory = AvatarMemory(engine, loops)
    await memory.start()
    kept = await engine.open_session("a", library.open("kept"), MEASURED)
    shown = await engine.open_session("b", library.open("gone"), MEASURED)
    for session in (kept, shown):
        await loops.wait(session.context.loop, JPEG)
    paths = {avatar: library.path_of(avatar) for avatar in ("kept", "gone")}
    assert engine.avatars == loops.avatars == set(paths.values())

    shutil.rmtree(paths["gone"])
    await clock.advance(SPAN_S)
    while loops.avatars != {paths["kept"]}:
        await clock.advance(LOOK_S)
    assert engine.avatars == {paths["kept"]}
    assert shown.context.loop.frame(0).any() and is_open(shown.bundle.path)

    await engine.close_session(shown)
    bundle = weakref.ref(shown.bundle)
    del shown, session
    await clock.advance(1.0)
    gc.collect()
    assert bundle() is None
    assert not is_open(paths["gone"]) and is_open(paths["kept"])
    for part in (memory, memory, loops, engine):
        await part.aclose()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells which files a process has open")
async def test_sessions_that_have_ended_hold_no_file_of_an_avatar_that_was_deleted(
    make_bundle: Callable[..., AvatarBundle], library: AvatarLibrary
) -> None:
    """Python would find them much later by itself."""
    make_bundle("gone")
    clock = ManualClock()
    engine = Engine(clock=clock, measure=False)
    await engine.start()
    loops = LoopCache(GatedExecutor())
    memory = AvatarMemory(engine, loops)
    await memory.start()
    gc.disable()
    try:
        session = await engine.open_session("a", library.open("gone"), MEASURED)
        await engine.close_session(session)
        del session
        shutil.rmtree(library.path_of("gone"))
        await clock.advance(1.0)
        assert is_open(library.path_of("gone"))
        while engine.avatars:
            await clock.advance(LOOK_S)
        await clock.advance(LOOK_S)
        assert not is_open(library.path_of("gone"))
    finally:
        gc.enable()
        for part in (memory, loops, engine):
            await part.aclose()
