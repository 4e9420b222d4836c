"""A viewer of the session socket: the browser's end, which talks to the application directly."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, cast

from fastapi import FastAPI
from pydantic import Field, TypeAdapter

from portal.api.server_messages import ServerSays
from portal.http.people import ANYBODY, PERSON, Person

__all__ = ["SERVER_GRAMMAR", "Viewer"]

SERVER_GRAMMAR: TypeAdapter[ServerSays] = TypeAdapter(Annotated[ServerSays, Field(discriminator="type")])


class Viewer:
    """The browser's end of one socket. It calls the ASGI app in the same event loop: no threads, no ports."""

    def __init__(self, app: FastAPI, address: str = "test", person: Person = ANYBODY) -> None:
        self._app = app
        self._person = person
        self._address = address
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.stuck = asyncio.Event()
        self.stuck.set()
        self.fault: Exception | None = None
        "exception that a send of the app raises"
        self.aborted = False

    async def connect(self) -> Viewer:
        assert (await self.knock())["type"] == "websocket.accept"
        return self

    async def knock(self) -> dict[str, Any]:
        """Open the socket, and return the answer to the handshake."""
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "path": "/session",
            "raw_path": b"/session",
            "query_string": b"",
            "headers": [],
            "subprotocols": [],
            "scheme": "ws",
            "root_path": "",
            "client": (self._address, 1),
            PERSON: self._person,
            "server": ("test", 80),
            "extensions": {"vivavoce.abort": {"abort": self._abort}, "websocket.http.response": {}},
        }
        self._task = asyncio.create_task(self._app(scope, self._to_app.get, self._send))
        self._to_app.put_nowait({"type": "websocket.connect"})
        return await self._from_app.get()

    async def _send(self, message: Any) -> None:
        await self.stuck.wait()
        if self.fault is not None:
            raise self.fault
        if message["type"] == "websocket.close":  # as uvicorn does
            self._to_app.put_nowait({"type": "websocket.disconnect", "code": message["code"]})
        self._from_app.put_nowait(message)

    def _abort(self) -> None:
        """Abort as uvicorn's transport does: pending sends fail, and the application is told."""
        self.aborted, self.fault = True, OSError("aborted")
        self.stuck.set()
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": 1006})

    @property
    def unread(self) -> int:
        """Number of messages that the server has not read yet."""
        return self._to_app.qsize()

    async def all_read(self) -> None:
        """Wait until the server has read everything, without any time passing."""
        async with asyncio.timeout(30):
            while self.unread:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0)

    def all_heard(self) -> list[dict[str, Any]]:
        """Return the messages from the server that were not received yet."""
        return [self._from_app.get_nowait() for _ in range(self._from_app.qsize())]

    def tell(self, type_: str, **fields: Any) -> None:
        self.tell_raw(json.dumps({"type": type_, **fields}))

    def tell_raw(self, text: str) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", "text": text})

    def tell_bytes(self, data: bytes) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", "bytes": data})

    async def hear_raw(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            return await self._from_app.get()

    async def hear(self, type_: str) -> dict[str, Any]:
        """Return the next message, which must be of this type."""
        message = await self.hear_any()
        assert message["type"] == type_, message
        return message

    async def hear_any(self) -> dict[str, Any]:
        """Return the next message, after checking it against the protocol's description."""
        text = (await self.hear_raw())["text"]
        SERVER_GRAMMAR.validate_json(text, strict=True, extra="forbid")
        return cast(dict[str, Any], json.loads(text))

    async def hello(self, **fields: Any) -> dict[str, Any]:
        self.tell("hello", **fields)
        return await self.hear("welcome")

    async def ask(self, type_: str, **fields: Any) -> None:
        """Send a message, and wait until the server has handled it."""
        self.tell(type_, **fields)
        await self.caught_up()

    async def caught_up(self) -> None:
        self.tell("ping", t=0)
        await self.hear("pong")
        for _ in range(20):  # commands that may take long run in a task of their own; give it time
            await asyncio.sleep(0)

    @property
    def over(self) -> bool:
        """Whether the server is done with this socket."""
        return self._task is None or self._task.done()

    async def break_off(self, code: int = 1006) -> None:
        """Break the connection; return when the server has noticed."""
        assert self._task is not None
        self.fault = OSError("the peer is gone")
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": code})
        async with asyncio.timeout(30):
            await self._task
