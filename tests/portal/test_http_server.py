"""Connections of which nothing comes: they end, and make room for those of which something does."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from portal.app import serve
from portal.http.server import (
    ACCEPTED_AT_ONCE,
    CRUMBS,
    HEAD_S,
    MAX_HEAD_LINES,
    UNREAD_S,
    AddressTaken,
    Connections,
    PatientHttp,
    bound_socket,
    server_config,
)
from portal.settings import Settings

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n"


class Timer:
    def __init__(self, delay_s: float, action: Callable[[], object]) -> None:
        self.delay_s, self.action, self.cancelled = delay_s, action, False

    def cancel(self) -> None:
        self.cancelled = True


class Wire(asyncio.Transport):
    """A connection that ends only by what the server does."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = ""
        self.paused = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.ended = "aborted"

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def is_closing(self) -> bool:
        return bool(self.ended)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Line:
    """One connection and the timers that it has set."""

    def __init__(self, register: Connections, state: ServerState, app: ASGIApp | None = None) -> None:
        config = server_config(app or _hello, max_connections=3)
        config.load()
        malformed = PlainTextResponse("no request", 400)
        self.protocol = PatientHttp(config, state, {}, register=register, malformed=malformed)
        self.timers: list[Timer] = []
        self.now_s = 0.0
        real = self.protocol.loop
        self.protocol.loop = self  # type: ignore[assignment]
        self.create_task, self.call_soon = real.create_task, real.call_soon
        self.wire = Wire()
        self.protocol.connection_made(self.wire)

    def call_later(self, delay_s: float, action: Callable[[], object]) -> Timer:
        self.timers.append(Timer(delay_s, action))
        return self.timers[-1]

    def time(self) -> float:
        return self.now_s

    def running(self, delay_s: float) -> list[Timer]:
        return [timer for timer in self.timers if timer.delay_s == delay_s and not timer.cancelled]

    async def answered(self) -> None:
        await asyncio.gather(*self.protocol.tasks)


async def _hello(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_a_connection_has_to_ask_for_something() -> None:
    """Silent, or with headers that come a byte at a time: what arrives gains it no time, and then it is cut."""
    line = Line(Connections(3), ServerState())
    for byte in REQUEST:
        line.protocol.data_received(bytes([byte]))
    (timer,) = line.running(HEAD_S)
    timer.action()
    assert line.wire.ended == "aborted" and line.protocol not in line.protocol.connections


async def test_a_connection_that_asks_is_left_alone_until_it_is_answered() -> None:
    """Then the next request has to come in the same time; a body that goes on after the answer is no request."""
    line = Line(Connections(3), ServerState())
    line.protocol.data_received(REQUEST + b"\r\n")
    assert not line.running(HEAD_S)
    await line.answered()
    assert line.wire.written.endswith(b"hello") and len(line.running(HEAD_S)) == 1

    line.protocol.data_received(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n\r\nxx")
    assert not line.running(HEAD_S)
    await line.answered()
    (timer,) = line.running(HEAD_S)
    line.protocol.data_received(b"x" * 10)
    assert line.running(HEAD_S) == [timer]


async def test_a_reader_that_does_not_read_is_cut() -> None:
    """However politely: closing would wait for it. Whoever reads on is left alone."""
    line = Line(Connections(3), ServerState())
    line.protocol.pause_writing()
    line.protocol.resume_writing()
    assert not line.running(UNREAD_S)
    line.protocol.pause_writing()
    line.running(UNREAD_S)[0].action()
    assert line.wire.ended == "aborted"


async def test_who_has_waited_longest_makes_room() -> None:
    """At the limit the oldest connection without a request ends; one at work never does, and then nobody is let in."""
    register, state, go_on = Connections(3), ServerState(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await _hello(scope, receive, send)

    at_work, idle, other = (Line(register, state, slow) for _ in range(3))
    at_work.protocol.data_received(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n")
    newcomer = Line(register, state, slow)
    assert (idle.wire.ended, other.wire.ended, newcomer.wire.ended) == ("aborted", "", "")
    for line in (other, newcomer):
        await asyncio.sleep(0)  # one is read per turn of the loop
        line.protocol.data_received(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n")
    late = Line(register, state)
    assert late.wire.ended == "aborted" and len(state.connections) == 3
    go_on.set()
    for line in (at_work, other, newcomer):
        await line.answered()
        line.protocol.connection_lost(None)
    assert not state.connections and not register.make_room()


async def test_who_reads_nothing_makes_room_when_all_are_at_work() -> None:
    """The one that has not read for longest, after five seconds; one that reads again is left alone."""
    register, state, go_on = Connections(3), ServerState(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()

    lines = [Line(register, state, slow) for _ in range(3)]
    for line in lines:
        await asyncio.sleep(0)  # one is read per turn of the loop
        line.protocol.data_received(REQUEST + b"\r\n")
        line.protocol.pause_writing()
    lines[0].protocol.resume_writing()
    for line in lines:
        line.now_s = 4.0
    assert Line(register, state).wire.ended == "aborted"
    for line in lines:
        line.now_s = 5.0
    newcomer = Line(register, state)
    assert [line.wire.ended for line in (*lines, newcomer)] == ["", "aborted", "", ""]
    for line in (*lines, newcomer):
        line.protocol.connection_lost(None)
    assert not register.make_room()
    go_on.set()
    for line in lines:
        await line.answered()


async def test_connections_are_read_one_per_turn_of_the_loop() -> None:
    """Of many that ask at once. Who waits is not read from, has lost nothing, and may be gone when its turn comes."""
    register, state = Connections(9), ServerState()
    lines = [Line(register, state) for _ in range(4)]
    for line in lines:
        line.protocol.data_received(REQUEST)
    for line in lines:
        line.protocol.data_received(b"\r\n")
    lines[2].wire.abort()
    asked = []
    for _ in lines:
        asked.append([bool(line.protocol.tasks) for line in lines])
        await asyncio.sleep(0)
        await asyncio.gather(*(line.answered() for line in lines))
    assert [line.wire.written.endswith(b"hello") for line in lines] == [True, True, False, True]
    assert all(sum(now) <= 1 for now in asked)
    assert not any(line.wire.paused for line in lines if not line.wire.ended)


async def test_many_may_knock_at_once() -> None:
    """The system holds far more connections than are taken in one turn, so nobody has to try again."""
    with bound_socket("127.0.0.1", 0) as listener, ExitStack() as opened:
        listener.listen(ACCEPTED_AT_ONCE)  # as asyncio does
        for _ in range(10 * ACCEPTED_AT_ONCE):
            opened.enter_context(socket.create_connection(listener.getsockname(), timeout=60))


@asynccontextmanager
async def served(max_connections: int) -> AsyncIterator[int]:
    config = server_config(_hello, max_connections=max_connections)
    config.lifespan = "off"
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    listener = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await running


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost:"])
async def test_many_half_open_connections_keep_nobody_out(said: bytes) -> None:
    """Five times as many as are admitted, none of which asks for anything: who does is served all the same."""
    async with served(max_connections=20) as port, AsyncExitStack() as stack:
        for _ in range(100):
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(said)
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/")
        assert answer.text == "hello" and "server" not in answer.headers


HANDSHAKE = b"GET /session HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
UPLOAD = b"POST /api/clips HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nno header\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" * 8,
        b"GET / HTTP/1.1\r\nHost: here\r\n" + b"a:b\r\n" * (MAX_HEAD_LINES + 1),
        b"GET / HTTP/1.1\r\nHost: here\r\nCookie: " + b"a" * 20_000 + b"\r\n\r\n",
        UPLOAD + b"zz\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 0, 0\r\n\r\nGET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\ncontent-length : 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\nCONTENT-LENGTH: 0\r\n\r\n",
        UPLOAD.replace(b"here", b"here\r\nContent-Length: 4") + b"0\r\n\r\nGET / HTTP/1.1\r\nHost: here\r\n\r\n",
        UPLOAD + b"1\r\n \r\n" * (CRUMBS + 1),
        HANDSHAKE + b"Sec-WebSocket-Version: 13\r\n\r\n",
        HANDSHAKE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 7\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_told_as_other_errors_are(said: bytes) -> None:
    """Our form and our headers, also where the application never sees it; and then the connection ends."""
    async with served(max_connections=3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        async with asyncio.timeout(30):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    lines = head.decode().lower().split("\r\n")
    assert lines[0].startswith("http/1.1 400")
    assert "content-security-policy" in head.decode().lower() and "x-content-type-options: nosniff" in lines
    error = json.loads(body)["error"]
    assert error["code"] == "bad_request" and error["message"] and error["hint"]


async def test_the_lines_of_a_body_are_no_lines_of_a_head() -> None:
    """A text of many lines that comes at once with its head is taken."""
    body = b"line\n" * 1000
    line = Line(Connections(3), ServerState())
    line.protocol.data_received(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5000\r\n\r\n" + body)
    await line.answered()
    assert b"200 OK" in line.wire.written and not line.wire.ended


async def test_a_body_in_pieces_of_a_sensible_size_is_taken() -> None:
    """However many: only crumbs are refused."""
    line = Line(Connections(3), ServerState())
    line.protocol.data_received(UPLOAD + b"200\r\n" + bytes(512) + b"\r\n")
    for _ in range(2 * CRUMBS):
        line.protocol.data_received(b"200\r\n" + bytes(512) + b"\r\n")
    line.protocol.data_received(b"0\r\n\r\n")
    await line.answered()
    assert b"200 OK" in line.wire.written and not line.wire.ended


def test_an_address_that_cannot_be_had_is_told_before_anything_is_made(tmp_path: Path) -> None:
    """A port that is taken, and a host that is none of ours: with the remedy, and never as a portal that is ready."""
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AddressTaken, match=f"Port {port} .* is taken") as taken:
            serve(Settings(data_dir=tmp_path / "data", port=port), lines.append)
        assert "--port" in taken.value.hint and lines == [] and not (tmp_path / "data").exists()
    for host in ("192.0.2.1", "no.such.host.invalid"):
        with pytest.raises(AddressTaken) as wrong:
            bound_socket(host, port)
        assert "--host" in wrong.value.hint
    with bound_socket("127.0.0.1", port) as mine:
        assert mine.getsockname()[1] == port


async def test_what_is_sent_leaves_at_once() -> None:
    """The kernel keeps no part of an answer or of a session back until the one before it has been acknowledged."""
    delays: list[int] = []

    def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        delays.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with bound_socket("127.0.0.1", 0) as listener:
        server = await asyncio.start_server(note, sock=listener)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        await reader.read()
        writer.close()
        server.close()
    assert delays == [1]
