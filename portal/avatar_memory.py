"""AvatarMemory: frees what the portal holds in memory for avatars that were deleted."""

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
"How often deleted avatars are looked for."


class AvatarMemory:
    """Frees the memory of deleted avatars that was held for later sessions. Call start() before use, aclose() after.

    It looks every few seconds for avatars that are gone, because anybody may delete one: this portal, another process
    with the same folder, or a person by hand. A session that shows a deleted avatar holds it itself until it ends.
    """

    def __init__(self, engine: Engine, loops: LoopCache) -> None:
        self._engine = engine
        self._loops = loops
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look. Idempotent."""
        self._looking = self._looking or asyncio.create_task(self._look(), name="avatar-memory")

    def forget(self, avatar: Path) -> None:
        """Free everything held for an avatar that was deleted. avatar: the folder it was in."""
        self._engine.forget(avatar)
        self._loops.forget(avatar)

    async def aclose(self) -> None:
        """Stop looking. Idempotent."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        clock = self._engine.clock
        while True:
            await clock.sleep_until(clock.now_s() + LOOK_S)
            kept = self._engine.avatars | self._loops.avatars
            gone = await asyncio.to_thread(_deleted, kept)
            for avatar in gone:
                logger.info("nothing is kept of the deleted avatar %s", avatar.name)
                self.forget(avatar)
            if gone:
                # An ended session is a reference cycle that keeps its avatar's files open until it is collected.
                # Collecting takes 2 ms, because objects from before the start are frozen (portal/process.py).
                gc.collect()


def _deleted(avatars: set[Path]) -> list[Path]:
    return [avatar for avatar in avatars if not avatar.exists()]
