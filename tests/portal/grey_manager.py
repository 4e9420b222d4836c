"""A SessionManager with a real engine, and an avatar that is one grey picture."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from avatars.bundle import AvatarBundle, encode_jpeg
from avatars.bundle_writing import BundleContents, write_bundle
from avatars.errors import AvatarNotPrepared
from avatars.library import AvatarLibrary
from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.lipsync.flash import FlashLipSync
from pipeline.turn_context import Choice
from portal.admission import Admission
from portal.sessions import SessionManager

__all__ = ["IDLE_S", "NeedsParts", "grey_manager", "pass_time", "write_grey_avatar"]

IDLE_S = 60.0


class NeedsParts(FlashLipSync):
    """A lip-sync backend for which no avatar is ever prepared."""

    def __init__(self, weights: Path) -> None:
        super().__init__()

    def prepared_from(self, bundle: AvatarBundle) -> None:
        raise AvatarNotPrepared(bundle.id, "wav2lip256")


def write_grey_avatar(folder: Path) -> None:
    """Write an avatar of one grey picture; its id is the folder's name."""
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


@asynccontextmanager
async def grey_manager(
    folder: Path, queued: list[tuple[str, str, str]], told: list[tuple[str, Mapping[str, object]]]
) -> AsyncIterator[SessionManager]:
    """Open a manager with two places, one avatar and a manual clock.

    queued: collects the preparations that are asked for. told: collects the events for webhooks.
    """

    def prepare_for(avatar: str, backend: str, address: str) -> Any:
        queued.append((avatar, backend, address))
        return SimpleNamespace(id=f"job-{len(queued)}")

    write_grey_avatar(folder / "avatars" / "grey")
    engine = Engine({("lipsync", "wav2lip256"): {"weights": folder / "weights"}}, clock=ManualClock())
    await engine.start()
    manager = SessionManager(
        engine,
        AvatarLibrary(folder / "avatars"),
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
