"""AvatarMemory: gives back what the portal keeps in memory of avatars that were deleted."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path

from pipeline.engine import Engine
from pipeline.transports.loops import LoopCache

__all__ = ["LOOK_S", "AvatarMemory"]

logger = logging.getLogger(__name__)

LOOK_S = 5.0


class AvatarMemory:
    """What is kept of avatars for sessions to come. start() before use, aclose() after.

    It looks every few seconds for avatars that are gone, because anybody may delete one: this portal, another process
    with the same folder, or a person by hand. Sessions that show one hold it by themselves until they end.
    """

    def __init__(self, engine: Engine, loops: LoopCache) -> None:
        self._engine = engine
        self._loops = loops
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._looking = self._looking or asyncio.create_task(self._look(), name="avatar-memory")

    def forget(self, avatar: Path) -> None:
        """Give up everything of an avatar that was deleted. avatar: where it was."""
        self._engine.forget(avatar)
        self._loops.forget(avatar)

    async def aclose(self) -> None:
        """Idempotent."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        clock = self._engine.clock
        while True:
            await clock.sleep_until(clock.now_s() + LOOK_S)
            kept = self._engine.avatars | self._loops.avatars
            gone = await asyncio.to_thread(_gone, kept)
            for avatar in gone:
                logger.info("nothing is kept of the deleted avatar %s", avatar.name)
                self.forget(avatar)
            if gone:
                # A session that has ended is a circle of objects, and holds its avatar's files open. It takes 2 ms:
                # what was there when the portal started is not looked at (portal/process.py).
                gc.collect()


def _gone(avatars: set[Path]) -> list[Path]:
    return [avatar for avatar in avatars if not avatar.exists()]
