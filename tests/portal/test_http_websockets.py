"""PromptWebSocket under a real uvicorn, attacked by clients that speak raw frames."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from portal.http import websockets
from portal.http.websockets import FRAMES_BURST, PromptWebSocket, abort_of

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
MALFORMED = PlainTextResponse("no handshake", 400)
TEXT, BINARY, PING, CONTINUATION = 1, 2, 9, 0


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, data: bytes, final: bool = True) -> bytes:
    """One masked frame of up to 125 bytes; the mask is 0."""
    return struct.pack("!BB4x", 0x80 * final | opcode, 0x80 | len(data)) + data


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ended(self) -> None:
        """Until the server has ended the connection, whatever it had sent before."""
        async with asyncio.timeout(30):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass


@asynccontextmanager
async def listening(app: App, **options: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The application under uvicorn, and a connection to it."""
    config = uvicorn.Config(
        app, port=0, log_level="critical", lifespan="off", ws=partial(PromptWebSocket, malformed=MALFORMED), **options
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = server.force_exit = True
        await running


@asynccontextmanager
async def serving(app: App, **options: Any) -> AsyncIterator[Client]:
    """The same, with the handshake done."""
    async with listening(app, **options) as (reader, writer):
        writer.write(HANDSHAKE)
        while (await reader.readline()).strip():
            pass
        yield Client(reader, writer)


class Talk:
    """An application that notes what it is told, and sends without end if it is to."""

    def __init__(self, *, sends: bool = False) -> None:
        self.heard: list[Any] = []
        self.over = asyncio.Event()
        self.got = asyncio.Event()
        self.stuck = asyncio.Event()
        self.scope: Any = None
        self._sends = sends

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.scope = scope
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        sending = asyncio.create_task(self._send_without_end(send)) if self._sends else None
        while (message := await receive())["type"] != "websocket.disconnect":
            self.heard.append(message.get("text", message.get("bytes")))
            self.got.set()
        if sending is not None:
            await asyncio.gather(sending, return_exceptions=True)
        self.over.set()

    async def _send_without_end(self, send: Send) -> None:
        while True:
            try:
                async with asyncio.timeout(0.5):
                    await send({"type": "websocket.send", "bytes": bytes(65536)})
            except TimeoutError:
                self.stuck.set()
                await send({"type": "websocket.send", "bytes": b""})


async def over(talk: Talk) -> None:
    async with asyncio.timeout(30):
        await talk.over.wait()


async def test_a_connection_that_nothing_leaves_can_be_aborted() -> None:
    """The client stops reading: abort ends the send that hangs, and the application is told at once."""
    talk = Talk(sends=True)
    async with serving(talk):
        async with asyncio.timeout(30):
            await talk.stuck.wait()
        abort = abort_of(talk.scope)
        assert abort is not None
        abort()
        await over(talk)


async def test_who_answers_no_pings_is_aborted() -> None:
    """uvicorn only asks such a connection to close, which waits for all that is to be sent."""
    talk = Talk(sends=True)
    async with serving(talk, ws_ping_interval=0.1, ws_ping_timeout=0.1):
        await over(talk)


async def test_a_connection_ends_when_the_application_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be sent to a client that reads nothing does not keep the connection."""
    monkeypatch.setattr(websockets, "CLOSE_S", 0.1)
    filled = asyncio.Event()

    async def fill_and_go(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": bytes(32 * 2**20)})
        filled.set()

    async with serving(fill_and_go, ws_max_size=2**26) as client:
        async with asyncio.timeout(30):
            await filled.wait()
            while True:  # the other end is gone once writing to it fails
                try:
                    client.writer.write(frame(PING, b""))
                    await client.writer.drain()
                except ConnectionError:
                    break
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("opcode", [PING, CONTINUATION])
async def test_a_flood_of_frames_that_are_no_messages_ends_the_connection(opcode: int) -> None:
    """The application sees none of them; they are counted below it."""
    talk = Talk()
    async with serving(talk) as client:
        client.writer.write(frame(TEXT, b"part", final=opcode == PING))
        client.writer.write(frame(opcode, b"", final=opcode == PING) * (3 * FRAMES_BURST))
        await over(talk)
        await client.ended()


async def test_what_comes_at_once_is_parsed_in_pieces_and_arrives_whole() -> None:
    """Messages keep their order and their content, and others have a turn while they are parsed."""
    talk, turns = Talk(), 0
    texts = [f"message {number}" for number in range(3000)]

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serving(talk) as client:
        other = asyncio.create_task(others())
        client.writer.write(b"".join(frame(TEXT, text.encode()) for text in texts))
        large = os.urandom(100_000)
        client.writer.write(struct.pack("!BBQ4x", 0x80 | BINARY, 0x80 | 127, len(large)) + large)
        async with asyncio.timeout(30):
            while len(talk.heard) <= len(texts):
                talk.got.clear()
                await talk.got.wait()
        other.cancel()
        assert talk.heard == [*texts, large]
        assert turns > 50


async def test_who_sends_faster_than_is_read_is_held_back() -> None:
    """An application that does not read lets no more in than one reading of the connection."""
    entered, read_on = asyncio.Event(), asyncio.Event()
    seen: list[Any] = []

    async def dozing(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        entered.set()
        await read_on.wait()
        while (message := await receive())["type"] != "websocket.disconnect":
            seen.append(message)

    async with serving(dozing) as client:
        await entered.wait()
        flood = frame(TEXT, b"x" * 100) * 200_000  # 21 MB
        client.writer.write(flood)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.writer.drain()
        read_on.set()


async def test_who_speaks_before_the_handshake_is_answered_is_aborted() -> None:
    """Else frames could be sent that are parsed although the socket is not taken."""
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def app(_scope: Any, receive: Receive, _send: Send) -> None:
        await receive()
        waiting.set()
        assert (await receive())["type"] == "websocket.disconnect"
        ended.set()

    async with listening(app) as (reader, writer):
        writer.write(HANDSHAKE)
        await waiting.wait()
        writer.write(frame(TEXT, b"hello"))
        async with asyncio.timeout(30):
            await ended.wait()
            await Client(reader, writer).ended()


async def test_a_refused_handshake_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """The application's answer is sent, one line says so, and nothing is logged as an error."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await PlainTextResponse("not here", 404)(scope, receive, send)

    with caplog.at_level("INFO"):
        async with listening(app) as (reader, writer):
            writer.write(HANDSHAKE)
            async with asyncio.timeout(30):
                answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 404") and answer.endswith(b"not here")
    assert [(line.levelname, "404" in line.getMessage()) for line in caplog.records] == [("INFO", True)]
