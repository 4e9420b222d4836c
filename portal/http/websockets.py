"""PromptWebSocket: uvicorn's WebSocket protocol, with connections that end in time and parsing in small pieces.

It uses internals of uvicorn, as `server.py` does. Written for uvicorn 0.54; tests/portal/test_http_websockets.py fails
on an upgrade that breaks it. uvicorn itself closes a connection only when everything queued has been sent, which never
happens if the client stops reading. And it parses everything received at once: 256 kB may be 40,000 empty frames, which
take half a second of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from starlette.responses import Response as HttpResponse
from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.frames import Frame
from websockets.http11 import Request, Response

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
    from uvicorn.server import ServerState

__all__ = ["PING_EVERY_S", "PONG_WITHIN_S", "PromptWebSocket", "abort_of"]

logger = logging.getLogger(__name__)

PING_EVERY_S = 4.0
PONG_WITHIN_S = 8.0
"""How often pings are sent, and how soon each has to be answered. Only a client that reads a ping can answer it with
the ping's number, so a client that stops reading is noticed within 12 s."""
ABORT = "vivavoce.abort"
"Key in the extensions of an ASGI scope; see abort_of()."
CLOSE_S = 5.0
"How long a connection may take to close in order."
PIECE_BYTES = 2048
"How much is parsed in one turn of the event loop."
FRAMES_BURST = 600
FRAMES_PER_S = 60.0
"Limits on the frames of one connection that are not messages: at once, and per second after that."
FLOODED = 1008
"Close code for a client that exceeds them: policy violation (RFC 6455, 7.4.1)."


def abort_of(scope: Scope) -> Callable[[], None] | None:
    """Return a function that ends a WebSocket's connection at once, dropping what waits to be sent.

    None if the server has no such function.
    """
    abort: Callable[[], None] | None = scope.get("extensions", {}).get(ABORT, {}).get("abort")
    return abort


class PromptWebSocket(WebSocketsSansIOProtocol):
    """Aborts a connection that does not close within CLOSE_S or does not answer pings, and parses in small pieces.

    After each piece, other tasks of the event loop get a turn. Frames that are not messages (pings, pongs,
    continuations) are counted here, because the application never sees them and so cannot limit them.
    """

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, object], *, malformed: HttpResponse
    ) -> None:
        """malformed: the answer to an invalid handshake."""
        super().__init__(config, server_state, app_state)
        self._malformed = malformed
        self._pieces: deque[bytes] = deque()
        self._ending: asyncio.TimerHandle | None = None
        self._frames_left = float(FRAMES_BURST)
        self._counted_s = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Parse a small amount of data at once. Cut a large one into pieces, and parse one in each turn of the loop."""
        if self.handshake_initiated and not self.handshake_complete:  # a proper client waits for the handshake's answer
            self.transport.abort()
            return
        if not self._pieces and len(data) <= PIECE_BYTES:
            super().data_received(data)
            return
        if not self._pieces:
            self.loop.call_soon(self._parse_piece)
        self._pieces.extend(data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES))
        self.transport.pause_reading()

    async def receive(self) -> ASGIReceiveEvent:
        """Give the application its next message. Like uvicorn's, but reading also waits until all pieces are parsed."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self._read_on()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.http.response.start":
            logger.info("A handshake at %s was refused with %d.", self.scope["path"], message["status"])
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # otherwise uvicorn would log each refusal as an error of the application

    def handle_connect(self, event: Request) -> None:
        if self.conn.accept(event).status_code != 101:
            self.handshake_initiated = self.handshake_complete = self.close_sent = True
            answer = self._malformed
            headers = Headers([(name.decode("latin-1"), text.decode("latin-1")) for name, text in answer.raw_headers])
            self.conn.send_response(Response(answer.status_code, "Bad Request", headers, bytes(answer.body)))
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()
            return
        super().handle_connect(event)
        if self.response.status_code == 101:
            # Adding to the scope works here, because the application has the same object and starts one turn later.
            cast(dict[str, object], self.scope["extensions"])[ABORT] = {"abort": self.transport.abort}

    def handle_ping(self) -> None:
        if self._may_have_a_frame():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._may_have_a_frame():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        if self._may_have_a_frame():
            super().handle_cont(event)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)  # the application has ended, so the connection should close soon
        self._ending = self.loop.call_later(CLOSE_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pieces.clear()
        super().connection_lost(exc)
        if self._ending is not None:
            self._ending.cancel()

    def _parse_piece(self) -> None:
        if not self._pieces:  # the connection was lost
            return
        super().data_received(self._pieces.popleft())
        if self._pieces:
            self.loop.call_soon(self._parse_piece)
        elif not self.read_paused:
            self._read_on()

    def _read_on(self) -> None:
        if not self._pieces and not self.transport.is_closing():
            self.transport.resume_reading()

    def _may_have_a_frame(self) -> bool:
        now_s = self.loop.time()
        earned = FRAMES_PER_S * (now_s - self._counted_s)
        self._frames_left = min(float(FRAMES_BURST), self._frames_left + earned) - 1
        self._counted_s = now_s
        if self._frames_left >= 0:
            return True
        if not self.transport.is_closing():
            self.conn.fail(FLOODED, "too many frames")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.abort()
        return False
