"""Fixtures for tests of the pipeline: a small avatar, a session on a manual clock, a transport with its viewer."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from session_room import MEASURED, Room
from transport_viewer import Pair

from avatars.bundle import AvatarBundle, encode_jpeg
from avatars.bundle_writing import BundleContents, write_bundle
from pipeline.clock import ManualClock
from pipeline.engine import Engine

FRAMES = 6


@pytest.fixture
def small_bundle(tmp_path: Path) -> AvatarBundle:
    """A grey avatar of 64x64 pixels, six frames, with its mouth box at 16..48."""
    return make_small_bundle(tmp_path / "small")


def make_small_bundle(path: Path, level: int = 128) -> AvatarBundle:
    return write_bundle(
        BundleContents(
            id=path.name,
            name=path.name,
            kind="still",
            frames=[encode_jpeg(np.full((64, 64, 3), level, np.uint8)) for _ in range(FRAMES)],
            width=64,
            height=64,
            boxes=np.tile(np.array([16, 16, 48, 48], np.int32), (FRAMES, 1)),
            masks=np.full((1, 32, 32), 255, np.uint8),
            landmarks=np.zeros((FRAMES, 478, 3), np.float32),
            loop=np.arange(FRAMES, dtype=np.int32),
        ),
        path,
    )


@pytest.fixture
async def room(small_bundle: AvatarBundle) -> AsyncIterator[Room]:
    """An engine on a manual clock, with one session of the small avatar."""
    clock = ManualClock()
    engine = Engine(clock=clock)
    await engine.start()
    session = await engine.open_session("test", small_bundle, MEASURED)
    room = Room(engine, session, clock)
    await session.attach(room.transport)
    yield room
    await engine.aclose()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A WebRTC transport and its viewer, not connected yet."""
    pair = Pair()
    yield pair
    await pair.aclose()
