"""The HTTP server: uvicorn, with timeouts for slow clients and a limit on connections.

uvicorn itself waits for ever for a request that never comes or comes at a byte a minute, and for a client that does not
read its answer. A thousand such connections used up all file descriptors of the portal. So here a connection has to
send a request within HEAD_S and has to read what it is sent. If there are too many connections, an idle one is closed
for a new one. Written for uvicorn 0.54.
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

import h11
import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from models.errors import VivavoceError
from portal.http.errors import error_response
from portal.http.headers import SafeHeaders
from portal.http.websockets import PING_EVERY_S, PONG_WITHIN_S, PromptWebSocket

__all__ = ["ACCEPTED_AT_ONCE", "AddressTaken", "Connections", "PatientHttp", "Server", "bound_socket", "server_config"]

HEAD_S = 20.0
"""Time from connecting, or from the last answer, to the end of the next request's headers. After an answer, uvicorn
closes a connection that sends nothing at all after 5 s."""
UNREAD_S = 300.0
"""How long a client may leave its answer unread. A paused video is not read for a while either; if it takes longer, its
player asks for the rest again."""
UNREAD_FULL_S = 5.0
"The same while all connections are in use and another client wants one."
SOCKET_MESSAGE_BYTES = 1 << 20
"Largest message of a WebSocket."
SHUTDOWN_S = 1
"How long requests may still be answered when the server ends."
ACCEPTED_AT_ONCE, KNOCKING = 16, 2048
"Connections accepted in one turn of the event loop, 1 ms each; connections that the system holds until then."
MAX_HEAD_BYTES, MAX_HEAD_LINES = 16 * 1024, 100
"Limits on the head of a request. Browsers send about 20 lines and proxies add 10; reading each takes loop time."
_HEAD_END = re.compile(rb"\n\r?\n")
_LENGTHS = re.compile(rb"^content-length[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)
CRUMBS, CRUMB_BYTES = 256, 512
"""A body of over CRUMBS chunks must have at least CRUMB_BYTES per chunk on average. Programs send 8 KiB or more."""


class AddressTaken(VivavoceError, code="address_taken"):
    """The portal cannot listen at the address it was given."""


def bound_socket(host: str, port: int) -> socket.socket:
    """Reserve the portal's address before the slow work of starting begins. The server listens on the socket later.

    Raises AddressTaken: another program uses the address, or it is not one of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio sets TCP_NODELAY only on sockets made with IPPROTO_TCP. Without it, the kernel delays the second part
        # of every answer, and every second message of a session, by 40 ms.
        holder = _Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise AddressTaken(f"There is no address {host!r}: {error.strerror}.", "Correct --host.") from error
    try:
        if os.name == "posix":  # otherwise a portal could not be restarted for a minute
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, port))
        holder.listen()  # because of SO_REUSEADDR, bind() may succeed although another program has the port
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
    """A socket with a backlog of KNOCKING connections.

    asyncio uses one number both for the backlog and for the connections it accepts in one turn. Here the first is
    large and the second small (ACCEPTED_AT_ONCE).
    """

    def listen(self, _backlog: int = KNOCKING) -> None:
        super().listen(KNOCKING)


def server_config(app: ASGIApp, *, max_connections: int, framed_by: Collection[str] = ()) -> uvicorn.Config:
    """Return uvicorn's configuration for the portal.

    max_connections: limit on open connections. framed_by: see SafeHeaders; used for the answers that the server gives
    itself, because the application never sees those requests.
    """
    malformed = error_response(
        "bad_request",
        "What came is no HTTP request that can be read.",
        "Open the portal's address in a browser; /docs describes the API.",
        status=400,
        headers={"Connection": "close"},
    )
    SafeHeaders(app, framed_by).complete(malformed.headers)
    register = Connections(max_connections)
    return uvicorn.Config(
        app,
        http=partial(PatientHttp, register=register, malformed=malformed),  # type: ignore[arg-type]
        log_config=None,  # its lines go to our own log
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
    """A server that drains before it stops: on the first SIGTERM it calls `drain` and goes on serving.

    A second SIGTERM, or Ctrl-C, ends it at once. drain: begins to send viewers away and returns at once; whoever does
    so calls end() when it is done.
    """

    def __init__(self, config: uvicorn.Config, drain: Callable[[], object]) -> None:
        super().__init__(config)
        self._drain = drain
        self._loop = asyncio.get_running_loop()
        self._was_told = False

    def end(self) -> None:
        """Stop the server, in order."""
        super().handle_exit(signal.SIGTERM, None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and not self._was_told:
            self._was_told = True
            self._loop.call_soon_threadsafe(self._drain)
        else:
            super().handle_exit(sig, frame)


class Connections:
    """Keeps track of all connections: which are idle, which do not read their answers, and whose turn it is to be read.

    At most `most` connections are open, WebSockets included. Only one connection is read in each turn of the event
    loop. Reading a request takes 0.3 ms or more, so when hundreds came at once, nothing else ran until the last of them
    was read.
    """

    def __init__(self, max_open: int) -> None:
        self.max_open = max_open
        self._waiting: dict[PatientHttp, None] = {}
        self._unread: deque[PatientHttp] = deque()
        self._held_up: dict[PatientHttp, float] = {}
        "connections whose answers are not read, the longest first -> since when, by the event loop's clock"
        self._one_is_read = False
        "whether one was read already in this turn of the event loop"

    def wait(self, connection: PatientHttp) -> None:
        """Note that a connection waits for a request."""
        self._waiting[connection] = None

    def leave(self, connection: PatientHttp) -> None:
        """Note that a connection no longer waits for a request."""
        self._waiting.pop(connection, None)

    def hold_up(self, connection: PatientHttp) -> None:
        """Note that a connection's client has stopped reading."""
        self._held_up[connection] = connection.loop.time()

    def flow_on(self, connection: PatientHttp) -> None:
        """Note that a connection's client reads again, or that the connection has ended."""
        self._held_up.pop(connection, None)

    def make_room(self) -> bool:
        """End a connection to make room for another one. Return False if all are in use.

        It ends the one that has waited longest for a request, or else the one whose answer has been unread longest.
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
        """Whether a connection may read its data now. If not, its read_on() is called when it is its turn."""
        if self._one_is_read:
            self._unread.append(connection)
            return False
        self._one_is_read = True
        connection.loop.call_soon(self._next_turn)
        return True

    def _next_turn(self) -> None:
        """Let the next waiting connection read, if there is one. Runs once per turn of the event loop."""
        self._one_is_read = bool(self._unread)
        if self._unread:
            connection = self._unread.popleft()
            connection.loop.call_soon(self._next_turn)
            connection.read_on()


class _SoundRequests(h11.Connection):
    """An HTTP/1.1 parser that refuses requests which cost much time or can be read in two ways.

    It refuses a head with very many lines before parsing it, and a body in tiny chunks: parsing a chunk takes 20 us of
    the event loop, even for a single byte.

    It also refuses a body whose length is given twice, even with the same value. A proxy that goes by the other value
    would see other requests than we do (request smuggling).
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
    """Refuse the head of a request, complete or not, that is too long or gives the body's length twice.

    h11 itself accepts a length that is given twice with the same value. Raises h11.RemoteProtocolError.
    """
    end = _HEAD_END.search(coming)
    length = end.start() if end else len(coming)
    if length > MAX_HEAD_BYTES or coming.count(b"\n", 0, length) > MAX_HEAD_LINES:
        raise h11.RemoteProtocolError("a head that is too long")
    lengths = _LENGTHS.findall(coming, 0, length)
    if len(lengths) > 1 or any(b"," in told for told in lengths):
        raise h11.RemoteProtocolError("a body with two lengths")


class PatientHttp(H11Protocol):
    """An HTTP connection that is closed if its client is too slow.

    register: shared by all connections. malformed: the answer to data that is no HTTP request.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        register: Connections,
        malformed: Response,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _SoundRequests(h11.SERVER, MAX_HEAD_BYTES)
        self._register = register
        self._malformed = malformed
        self._until: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._handed_over = False
        "whether a WebSocket's protocol has taken over, or the connection is closed"
        self._come = b""
        "data that has arrived and is not parsed yet"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._register.max_open and not self._register.make_room():
            self.give_up()
        else:
            self._look()

    def data_received(self, data: bytes) -> None:
        """Parse data, or keep it until it is this connection's turn; see Connections."""
        if self._come or not self._register.may_read(self):
            self._come += data
            self.transport.pause_reading()
        else:
            self._read(data)

    def read_on(self) -> None:
        """Parse the data that has arrived. The register calls this when it is this connection's turn."""
        come, self._come = self._come, b""
        if self.transport.is_closing():
            return
        if not self.flow.read_paused:  # before parsing, because that may pause reading again
            self.transport.resume_reading()
        self._read(come)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._let_go()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Answer 400 in the form of our other errors; uvicorn's answer is plain text without our headers."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # an answer has begun and cannot be taken back
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
        """Start the timeout for a client that does not read; asyncio calls this when its buffer is full."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_S, self.give_up)
            self._register.hold_up(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._flow_on()

    def give_up(self) -> None:
        """End the connection at once. An orderly close would wait for the client to read."""
        self._let_go()
        self.connections.discard(self)
        self.transport.abort()

    def _read(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def _look(self) -> None:
        """Start the timeout for the next request, or stop it if a request is being answered.

        Partial data does not restart the timeout.
        """
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
