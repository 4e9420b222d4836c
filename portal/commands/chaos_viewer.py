"""A viewer of `launch.py chaos`, whose session is driven message by message."""

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
"""A JSON message of the portal."""


def stranger_address(number: int) -> str:
    """Return an address for X-Forwarded-For, another one for each number.

    Strangers need addresses of their own because the limits of one address are not what is tested.
    """
    return f"198.51.{100 + number // 250}.{1 + number % 250}"


class ChaosViewer:
    """A session over a socket. welcome: the portal's answer to its hello."""

    def __init__(self, socket: ClientConnection, welcome: Message) -> None:
        self.socket, self.welcome = socket, welcome

    async def tell(self, type_: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": type_, **fields}))

    async def until(self, wanted: Callable[[Message], bool], within_s: float) -> Message:
        """Return the first wanted JSON message, and drop earlier ones. Raises TimeoutError, ConnectionClosed."""
        async with asyncio.timeout(within_s):
            while True:
                said = await self.socket.recv()
                if isinstance(said, str) and wanted(message := json.loads(said)):
                    return dict(message)


@asynccontextmanager
async def chaos_viewer(
    url: str, number: int = 0, *, max_waiting: int | None = 1024, **hello: object
) -> AsyncIterator[ChaosViewer]:
    """Open a session that ends with the block.

    number: see stranger_address(). max_waiting: messages that may wait here unread; beyond that the socket is not read
    any more. Raises OSError, TimeoutError or RuntimeError if the session is not opened.
    """
    headers = {"X-Forwarded-For": stranger_address(number)}
    async with connect(
        url, max_size=None, max_queue=max_waiting, compression=None, additional_headers=headers, close_timeout=1
    ) as socket:
        async with asyncio.timeout(OPENS_WITHIN_S):
            await socket.send(json.dumps({"type": "hello", **hello}))
            welcome = json.loads(await socket.recv())
        if welcome["type"] != "welcome":
            raise RuntimeError(f"no session: {welcome.get('message', welcome)}")
        yield ChaosViewer(socket, welcome)
