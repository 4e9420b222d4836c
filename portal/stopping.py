"""Stopping: ends the portal after a signal or an admin's request, once the current answers have been heard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

__all__ = ["Stopping"]

logger = logging.getLogger(__name__)


class Stopping:
    """Ends the portal in order. leave: makes all sessions leave, within its own time limit."""

    def __init__(self, leave: Callable[[], Awaitable[None]]) -> None:
        self.over = asyncio.Event()
        "set when the server may end"
        self._leave = leave
        self._leaving: asyncio.Task[None] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the portal is stopping."""
        return self._leaving is not None

    def begin(self) -> None:
        """Begin to stop. Call on the event loop. Idempotent."""
        if self._leaving is None:
            logger.warning("The portal stops: it takes no new sessions, and ends when answers have been heard.")
            self._leaving = asyncio.create_task(self._run(), name="stopping")

    async def aclose(self) -> None:
        """Stop waiting for the sessions to leave. Idempotent."""
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.gather(self._leaving, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._leave()
        except Exception:  # whatever went wrong, a portal that was told to stop has to stop
            logger.exception("sessions could not leave in order")
        finally:
            self.over.set()
