"""The HTTP server: uvicorn, with an end to its patience and to the number of connections.

uvicorn waits for ever for a request that does not come, or comes a byte a minute, and for a reader that does not read.
A thousand such connections took every file descriptor of the portal. So here a connection has to ask for something
within HEAD_S, has to take what it is sent, and makes room for the next one when there are too many. Written for 0.54.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from models.errors import VivavoceError
from portal.http.errors import error_response
from portal.http.headers import SafeHeaders
from portal.http.websockets import PING_EVERY_S, PONG_WITHIN_S, PromptWebSocket

__all__ = ["ACCEPTED_AT_ONCE", "AddressTaken", "Connections", "PatientHttp", "Server", "bound_socket", "server_config"]

HEAD_S = 20.0
"From connecting, or from the last answer, to the end of the next request's headers. uvicorn ends idle ones after 5."
UNREAD_S = 300.0
"A video that is paused is not read either; its player comes back for the rest."
UNREAD_FULL_S = 5.0
"The same, when a newcomer finds all connections at work."
SOCKET_MESSAGE_BYTES = 1 << 20
SHUTDOWN_S = 1
ACCEPTED_AT_ONCE, KNOCKING = 16, 2048
"Connections that are taken in one turn of the event loop, 1 ms each; those that the system holds until it is theirs."
MOST_HEAD_BYTES, MOST_HEAD_LINES = 16 * 1024, 100
"Of a request without its body. Browsers send some 20 lines, proxies add 10; each costs everybody's time to read."
_HEAD_END = re.compile(rb"\n\r?\n")
_LENGTHS = re.compile(rb"^content-length[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)
CRUMBS, CRUMB_BYTES = 256, 512
"""Beyond so many chunks of a body they must be of so many bytes on average. Programs send 8 KiB and more in each."""


class AddressTaken(VivavoceError, code="address_taken"):
    """The portal cannot listen where it was told to."""


def bound_socket(host: str, port: int) -> socket.socket:
    """The address of the portal, held before the work of starting begins; the server listens there later.

    Raises AddressTaken: another program has it, or it is none of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio sends at once (TCP_NODELAY) only on sockets that say that they are TCP. On others the kernel holds the
        # second part of every answer, and every second message of a session, back for 40 ms.
        holder = _Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise AddressTaken(f"There is no address {host!r}: {error.strerror}.", "Correct --host.") from error
    try:
        if os.name == "posix":  # else a portal could not be started again for a minute
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, port))
        holder.listen()  # only this shows whether another program does
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            cause = f"Port {port} of {host} is taken: another program, maybe another Vivavoce, listens there."
            raise AddressTaken(cause, "End it, or choose another port: --port 7861") from error
        raise AddressTaken(
            f"The portal cannot listen at {host}:{port}: {error.strerror}.", "Correct --host and --port."
        ) from error
    return holder


class _Listener(socket.socket):
    """Holds KNOCKING connections, although asyncio asks for no more than it takes in one turn."""

    def listen(self, _backlog: int = KNOCKING) -> None:
        super().listen(KNOCKING)


def server_config(app: ASGIApp, *, most_connections: int, framed_by: Collection[str] = ()) -> uvicorn.Config:
    """framed_by: as of SafeHeaders, for what is answered here because the application never sees it."""
    malformed = error_response(
        "bad_request",
        "What came is no HTTP request that can be read.",
        "Open the portal's address in a browser; /docs describes the API.",
        status=400,
        headers={"Connection": "close"},
    )
    SafeHeaders(app, framed_by).complete(malformed.headers)
    register = Connections(most_connections)
    return uvicorn.Config(
        app,
        http=partial(PatientHttp, register=register, malformed=malformed),  # type: ignore[arg-type]
        log_config=None,  # its lines go where ours go
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # BehindProxies reads them
        server_header=False,
        ws=partial(PromptWebSocket, malformed=malformed),  # type: ignore[arg-type]
        ws_ping_interval=PING_EVERY_S,
        ws_ping_timeout=PONG_WITHIN_S,
        ws_per_message_deflate=False,  # pictures and sound are compressed already
        ws_max_size=SOCKET_MESSAGE_BYTES,
        backlog=ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


class Server(uvicorn.Server):
    """Told to stop by SIGTERM, it does what it was given first. The second SIGTERM, and Ctrl-C, end it at once.

    drain: begins that; return at once. end() when it is done.
    """

    def __init__(self, config: uvicorn.Config, drain: Callable[[], object]) -> None:
        super().__init__(config)
        self._drain = drain
        self._loop = asyncio.get_running_loop()
        self._was_told = False

    def end(self) -> None:
        super().handle_exit(signal.SIGTERM, None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and not self._was_told:
            self._was_told = True
            self._loop.call_soon_threadsafe(self._drain)
        else:
            super().handle_exit(sig, frame)


class Connections:
    """Which connections have nothing to do, the longest waiting first; at most `most` are open, sockets counted in.

    And whose turn it is to be read: one per turn of the event loop. Reading a request takes 0.3 ms or more. When
    hundreds came at once, nobody else had a turn until the last of them was read.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._waiting: dict[PatientHttp, None] = {}
        self._unread: deque[PatientHttp] = deque()
        self._held_up: dict[PatientHttp, float] = {}
        "whose answers are not read, the longest first, and since when by the clock of their loop"
        self._one_is_read = False
        "in this turn of the event loop"

    def wait(self, connection: PatientHttp) -> None:
        self._waiting[connection] = None

    def leave(self, connection: PatientHttp) -> None:
        self._waiting.pop(connection, None)

    def hold_up(self, connection: PatientHttp) -> None:
        """What it is sent is not read from now on."""
        self._held_up[connection] = connection.loop.time()

    def flow_on(self, connection: PatientHttp) -> None:
        """It is read again, or the connection has ended."""
        self._held_up.pop(connection, None)

    def make_room(self) -> bool:
        """End the connection that has waited longest for a request, or else the one whose answer has been unread
        longest; False if all are at work.
        """
        longest = next(iter(self._waiting), None) or self._longest_held_up()
        if longest is None:
            return False
        longest.give_up()
        return True

    def _longest_held_up(self) -> PatientHttp | None:
        longest = next(iter(self._held_up), None)
        if longest is None or longest.loop.time() - self._held_up[longest] < UNREAD_FULL_S:
            return None
        return longest

    def may_read(self, connection: PatientHttp) -> bool:
        """Whether it may read what has come now. If not, its read_on() is called when its turn has come."""
        if self._one_is_read:
            self._unread.append(connection)
            return False
        self._one_is_read = True
        connection.loop.call_soon(self._next_turn)
        return True

    def _next_turn(self) -> None:
        self._one_is_read = bool(self._unread)
        if self._unread:
            connection = self._unread.popleft()
            connection.loop.call_soon(self._next_turn)
            connection.read_on()


class _SoundRequests(h11.Connection):
    """Refuses a head of very many lines before it is read, and a body in crumbs: parsing a chunk takes 20 us of
    everybody's time, even if it brings a single byte.

    And a body whose end is told twice, also in the same way: a proxy that believes another one than we do sees other
    requests than we do.
    """

    _is_chunked = False
    _chunks = 0
    _bytes = 0

    def next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        if self.their_state is h11.IDLE:
            _measure_head(self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = {name for name, _value in event.headers}
            if {b"transfer-encoding", b"content-length"} <= names:
                raise h11.RemoteProtocolError("a body with two ends")
            self._is_chunked = b"transfer-encoding" in names
            self._chunks = self._bytes = 0
        elif isinstance(event, h11.Data) and self._is_chunked:
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > CRUMBS and self._bytes < self._chunks * CRUMB_BYTES:
                raise h11.RemoteProtocolError("a body in crumbs")
        return event


def _measure_head(coming: bytes) -> None:
    """Of a request that has come, or is still coming. h11 takes a length that is told twice for one."""
    end = _HEAD_END.search(coming)
    length = end.start() if end else len(coming)
    if length > MOST_HEAD_BYTES or coming.count(b"\n", 0, length) > MOST_HEAD_LINES:
        raise h11.RemoteProtocolError("a head that is too long")
    lengths = _LENGTHS.findall(coming, 0, length)
    if len(lengths) > 1 or any(b"," in told for told in lengths):
        raise h11.RemoteProtocolError("a body with two lengths")


class PatientHttp(H11Protocol):
    """One HTTP connection that ends when nothing comes of it. malformed: the answer to what is no request."""

    def __init__(self, *args: Any, register: Connections, malformed: Response, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = _SoundRequests(h11.SERVER, MOST_HEAD_BYTES)
        self._register = register
        self._malformed = malformed
        self._until: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._handed_over = False
        "to the protocol of a WebSocket, or closed"
        self._come = b""
        "and not read yet"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._register.most and not self._register.make_room():
            self.give_up()
        else:
            self._look()

    def data_received(self, data: bytes) -> None:
        if self._come or not self._register.may_read(self):
            self._come += data
            self.transport.pause_reading()
        else:
            self._read(data)

    def read_on(self) -> None:
        """Read what has come; for the register, when it is this connection's turn."""
        come, self._come = self._come, b""
        if self.transport.is_closing():
            return
        if not self.flow.read_paused:  # first, because reading it may pause again
            self.transport.resume_reading()
        self._read(come)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._let_go()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """As other errors are told; uvicorn's is a plain text without our headers."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # the answer has begun: it cannot be taken back
            self.give_up()
            return
        answer = self._malformed
        head = h11.Response(status_code=answer.status_code, headers=answer.raw_headers, reason=b"Bad Request")
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_S, self.give_up)
            self._register.hold_up(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._flow_on()

    def give_up(self) -> None:
        """End it at once: closing in order would wait for the other end to read."""
        self._let_go()
        self.connections.discard(self)
        self.transport.abort()

    def _read(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def _look(self) -> None:
        """Wait for a request, or stop waiting because there is one. What arrives meanwhile gains no time."""
        if self._handed_over:
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._until is None:
            self._until = self.loop.call_later(HEAD_S, self.give_up)
            self._register.wait(self)

    def _stop_waiting(self) -> None:
        if self._until is not None:
            self._until.cancel()
            self._until = None
        self._register.leave(self)

    def _let_go(self) -> None:
        self._handed_over = True
        self._stop_waiting()
        self._flow_on()

    def _flow_on(self) -> None:
        self._register.flow_on(self)
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
