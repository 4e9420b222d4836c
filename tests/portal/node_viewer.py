"""A viewer who talks over the session socket and comes back with the token, as the page does; for tests with nodes."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

__all__ = ["NodeViewer"]

RETRY_S = 0.25
"The same as the page's first retry."
PATIENCE_S = 60.0


class NodeViewer:
    """Use it with `async with`. context: for an address with wss."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._context = context
        self._socket: ClientConnection | None = None
        self.token = ""
        self.lost_s = 0.0
        "when the socket last broke, by the monotonic clock"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def hello(self, **wishes: Any) -> dict[str, Any]:
        return await self._greet({"type": "hello", **wishes})

    async def come_back(self) -> dict[str, Any]:
        """After the socket broke, greet with the token until a node answers."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await self._greet({"type": "hello", "token": self.token, "wait": True})
                except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                    await asyncio.sleep(RETRY_S)

    async def say(self, text: str) -> None:
        await self._tell({"type": "say", "text": text})

    async def until(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Return the next message of this type with these fields."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = await self._hear()
                if message["type"] == type_ and all(message[name] == value for name, value in fields.items()):
                    return message

    async def until_lost(self) -> int:
        """Wait until the socket breaks. Return the close code, or 1006 if none was sent."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await self._hear()
        except ConnectionClosed as closed:
            self.lost_s = time.monotonic()
            return 1006 if closed.rcvd is None else closed.rcvd.code

    async def _greet(self, hello: dict[str, Any]) -> dict[str, Any]:
        self._socket = await connect(self._url, ssl=self._context, max_size=None, open_timeout=PATIENCE_S, proxy=None)
        await self._tell(hello)
        while (message := await self._hear())["type"] != "welcome":
            assert message["type"] == "waiting", message
        self.token = message["token"]
        await self._tell({"type": "media", "use": "websocket"})
        return message

    async def _tell(self, message: dict[str, Any]) -> None:
        assert self._socket is not None
        await self._socket.send(json.dumps(message))

    async def _hear(self) -> dict[str, Any]:
        """Return the next message that is not media."""
        assert self._socket is not None
        while isinstance(raw := await self._socket.recv(), bytes):
            continue
        message: dict[str, Any] = json.loads(raw)
        return message
