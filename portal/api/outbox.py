"""Outbox: holds messages for a viewer who may be slow or absent, so that no session has to wait for its viewer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pipeline.channel import Channel
from portal.api.event_messages import ServerMessage

__all__ = ["OUTBOX_BOUND", "Outbox"]

OUTBOX_BOUND = 512
"""Most messages that may wait for a slow or absent viewer. When it is full, the oldest is dropped."""


class Outbox:
    """Messages for a viewer, in order. post() never waits."""

    def __init__(self) -> None:
        self._messages: Channel[ServerMessage] = Channel(OUTBOX_BOUND)

    def __len__(self) -> int:
        return len(self._messages)

    def post(self, message: ServerMessage) -> None:
        self._messages.push(message)

    async def deliver(self, send: Callable[[ServerMessage], Awaitable[bool]]) -> None:
        """Send all messages, those that wait and those that come, until send() returns False because nobody is there.

        A message stays in the outbox until it is sent. So one whose sending fails or is cancelled goes to the next
        socket of the viewer.
        """
        while await self._messages.ready():
            message = self._messages.peek()
            if message is None or not await send(message):
                return
            if self._messages.peek() is message:  # unless a full outbox dropped it while it was being sent
                self._messages.receive_nowait()
