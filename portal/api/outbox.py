"""Outbox: messages on their way to a viewer who may be slow or absent, so that no session waits for one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pipeline.channel import Channel
from portal.api.event_messages import ServerMessage

__all__ = ["OUTBOX_BOUND", "Outbox"]

OUTBOX_BOUND = 512
"""Messages that may wait for a slow or absent viewer. When it is full the oldest is dropped; no session waits."""


class Outbox:
    """Messages on their way to a viewer, in order. post() never waits."""

    def __init__(self) -> None:
        self._messages: Channel[ServerMessage] = Channel(OUTBOX_BOUND)

    def __len__(self) -> int:
        return len(self._messages)

    def post(self, message: ServerMessage) -> None:
        self._messages.push(message)

    async def deliver(self, send: Callable[[ServerMessage], Awaitable[bool]]) -> None:
        """Send what waits and what comes, until send() returns False because nobody is there.

        The message that could not be sent stays for the next viewer; so does one whose sending is cancelled.
        """
        while await self._messages.ready():
            message = self._messages.peek()
            if message is None or not await send(message):
                return
            if self._messages.peek() is message:
                self._messages.receive_nowait()
