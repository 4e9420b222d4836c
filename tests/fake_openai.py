"""A small service on 127.0.0.1 that speaks OpenAI's chat protocol, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class FakeOpenAI:
    """What the service answers, and what it was asked."""

    pieces: tuple[str, ...] = ("Hello", " there", ".")
    events: tuple[object, ...] | None = None
    "sent instead of pieces: each as JSON, or unchanged if it is bytes"
    pause_s: float = 0.0
    "pause before each piece or event"
    error: object = field(default_factory=lambda: {"error": {"message": "no"}})
    "body of an answer with a status other than 200"
    status: int = 200
    after: str = "done"
    """what follows the pieces: done, hang (until the client leaves), die (connection cut), stop (no [DONE]) or
    garbage"""
    models: tuple[str, ...] = ("first-model", "second-model")
    requests: list[dict[str, Any]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    "set when a client closes the connection of a hanging answer"
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    base_url: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeOpenAI]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        try:
            yield self
        finally:
            server.close()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            path = head.split(" ")[1]
            length = next((int(line[15:]) for line in head.lower().split("\r\n") if line[:15] == "content-length:"), 0)
            body = await reader.readexactly(length)
            if path.endswith("/models"):
                await _reply(writer, 200, {"data": [{"id": name, "object": "model"} for name in self.models]})
                continue
            self.requests.append({**json.loads(body), "head": head})
            if self.status != 200:
                await _reply(writer, self.status, self.error)
                continue
            if not await self._stream(reader, writer):
                return

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send an answer; return whether the connection can be used again."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for event in map(chunk_of, self.pieces) if self.events is None else self.events:
            await asyncio.sleep(self.pause_s)
            _chunk(writer, event if isinstance(event, bytes) else f"data: {json.dumps(event)}\n\n".encode())
            await writer.drain()
        match self.after:
            case "hang":
                await reader.read()
                self.left.set()
                return False
            case "die":
                return False
            case "stop":
                writer.write(b"0\r\n\r\n")
                return True
            case "garbage":
                _chunk(writer, b"data: {not json\n\n")
        _chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def chunk_of(content: object, **choice: object) -> dict[str, Any]:
    """Return an event of a streamed answer."""
    choices = [{"index": 0, "delta": {"content": content}, **choice}]
    return {"id": "1", "object": "chat.completion.chunk", "choices": choices}


async def _head(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return ""


async def _reply(writer: asyncio.StreamWriter, status: int, body: object) -> None:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Fine\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    await writer.drain()


def _chunk(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
