"""Lane: serves a viewer's slow commands one after another, while messages continue to be read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipeline.channel import Channel
from portal.api.messages import ClientMessage
from portal.http.limits import TooOften

__all__ = ["LANE_BOUND", "Lane"]

Kind = TypeVar("Kind")

LANE_BOUND = 80
"""Most commands that may wait. There must be room for all ICE candidates of a browser, and a few more."""


class Lane:
    """A queue of commands with a task that serves them in order. At most LANE_BOUND may wait; more are refused.

    obey: serves one command, and reports errors itself.
    """

    def __init__(self, obey: Callable[[ClientMessage], Awaitable[None]]) -> None:
        self._obey = obey
        self._waiting: Channel[ClientMessage] = Channel(LANE_BOUND)
        self._work: asyncio.Task[None] | None = None

    def put(self, command: ClientMessage) -> None:
        """Queue a command. It is served after those before it. Raises TooOften if LANE_BOUND commands wait."""
        if not self._waiting.offer(command):
            raise TooOften("Too many commands wait for the ones before them.", "Wait until those are done.", 1.0)
        if self._work is None:
            self._work = asyncio.create_task(self._obey_all(), name="commands of a viewer")

    def take_back(self, kinds: type[Kind] | tuple[type[Kind], ...]) -> list[Kind]:
        """Remove the waiting commands of these kinds and return them in order."""
        taken: list[Kind] = []
        for command in self._waiting.clear():
            if isinstance(command, kinds):
                taken.append(command)
            else:
                self._waiting.offer(command)
        return taken

    async def clear(self) -> None:
        """Cancel the current command and drop those that wait."""
        self._waiting.clear()
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.wait((work,))

    async def _obey_all(self) -> None:
        while (command := self._waiting.receive_nowait()) is not None:
            await self._obey(command)
        self._work = None
