"""One session of `launch.py chaos`, spoken to message by message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

__all__ = ["ChaosViewer", "Message", "chaos_viewer", "stranger_address"]

OPENS_WITHIN_S = 30.0
Message = Mapping[str, Any]
"""What the portal said in JSON."""


def stranger_address(number: int) -> str:
    """An address of a person's own, as a proxy on this machine names it: limits by address are not what is tried."""
    return f"198.51.{100 + number // 250}.{1 + number % 250}"


class ChaosViewer:
    """welcome: what the session's hello was answered with."""

    def __init__(self, socket: ClientConnection, welcome: Message) -> None:
        self.socket, self.welcome = socket, welcome

    async def tell(self, type_: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": type_, **fields}))

    async def until(self, wanted: Callable[[Message], bool], within_s: float) -> Message:
        """The first message that is wanted. Raises TimeoutError, ConnectionClosed."""
        async with asyncio.timeout(within_s):
            while True:
                said = await self.socket.recv()
                if isinstance(said, str) and wanted(message := json.loads(said)):
                    return dict(message)


@asynccontextmanager
async def chaos_viewer(
    url: str, number: int = 0, *, most_waiting: int | None = 1024, **hello: object
) -> AsyncIterator[ChaosViewer]:
    """A session that ends with the block. most_waiting: messages that wait to be read here; beyond, none is taken.

    Raises OSError, TimeoutError, RuntimeError: it was not let in.
    """
    headers = {"X-Forwarded-For": stranger_address(number)}
    async with connect(
        url, max_size=None, max_queue=most_waiting, compression=None, additional_headers=headers, close_timeout=1
    ) as socket:
        async with asyncio.timeout(OPENS_WITHIN_S):
            await socket.send(json.dumps({"type": "hello", **hello}))
            welcome = json.loads(await socket.recv())
        if welcome["type"] != "welcome":
            raise RuntimeError(f"no session: {welcome.get('message', welcome)}")
        yield ChaosViewer(socket, welcome)
