"""ViewerSocket: a viewer's WebSocket, which is read at a limited rate and written with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from fastapi import WebSocket, WebSocketDisconnect
from starlette.responses import Response

from pipeline.clock import Clock
from portal.api.event_messages import ServerMessage
from portal.http.limits import Allowance
from portal.http.websockets import abort_of

__all__ = [
    "ALLOWANCE",
    "ALLOWANCE_PER_S",
    "FLOODED",
    "PATIENCE_S",
    "SEND_WITHIN_S",
    "TRY_AGAIN_LATER",
    "ViewerSocket",
]

SEND_WITHIN_S = 8.0
"""A send that hangs for this long means that nobody is there any more: the connection is aborted."""
ALLOWANCE = 200.0
ALLOWANCE_PER_S = 20.0
"""What a viewer may spend on messages at once, and how much comes back per second. messages.py has the costs. The page
spends one every two seconds, and about 80 when it connects."""
PATIENCE_S = 5.0
"""A viewer who has spent the allowance is made to wait. After waits of this length in total the socket is closed. The
count starts anew after the same time without a wait."""
FLOODED = 1008
TRY_AGAIN_LATER = 1013
REFUSED_WITHIN_S = 2.0
LEFT = (1000, 1001)
"""Close codes of a viewer who left: browsers send 1001 for a tab that is closed, reloaded or has crashed."""
CLOSED_ERRORS = (WebSocketDisconnect, OSError, RuntimeError)
"""Errors that a send raises when either end has closed. RuntimeError comes from Starlette or uvicorn, when ours has."""
SHORTEST_S = 0.01
LOOK_S = 1.0


class ViewerSocket:
    """A viewer's WebSocket. Sending to a viewer who is gone is no error: send_json() returns False.

    `expires_s` is the clock time by which the socket must have a session. It is None while there is one, or while one
    is being opened. `expires_because` is what the client is told then.
    """

    def __init__(self, socket: WebSocket, clock: Clock) -> None:
        self.expires_s: float | None = None
        self.expires_because = ""
        self.for_good = False
        "True if the viewer has left on purpose, or must not come back: the session then ends without a grace time."
        self._socket = socket
        self._clock = clock
        self._allowance = Allowance(clock, burst=ALLOWANCE, per_s=ALLOWANCE_PER_S)
        self._put_off_s = 0.0
        self._put_off_at_s = 0.0
        self._sending = asyncio.Lock()  # one send at a time, so that keep_deadlines() can tell how long it hangs
        self._sending_since_s: float | None = None
        self._closing_since_s: float | None = None
        self._open = True
        self._closing: asyncio.Task[None] | None = None

    async def accept(self) -> bool:
        """Accept the handshake. Return whether the viewer is still there."""
        try:
            await self._socket.accept()
        except CLOSED_ERRORS:
            self._open = False
        return self._open

    async def deny(self, answer: Response) -> None:
        """Refuse the handshake with an HTTP response."""
        self._open = False
        with suppress(*CLOSED_ERRORS):
            await self._socket.send_denial_response(answer)

    async def refuse(self, error: ServerMessage) -> None:
        """Send the reason, then close. Give up after REFUSED_WITHIN_S."""
        with suppress(TimeoutError, *CLOSED_ERRORS):
            async with asyncio.timeout(REFUSED_WITHIN_S):
                await self._socket.send_json(error)
                await self._socket.close(TRY_AGAIN_LATER, str(error["message"]))

    async def messages(self) -> AsyncIterator[str | bytes]:
        """Yield the messages that the viewer sends, until either side closes."""
        while self._closing is None:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                self._open = False
                self.for_good |= message.get("code") in LEFT
                return
            text = message.get("text")
            yield text if text is not None else message["bytes"]

    async def pay(self, cost: float) -> None:
        """Charge a message to the viewer's allowance. Wait while that is spent, and close the socket if it goes on."""
        now_s = self._clock.now_s()
        if now_s - self._put_off_at_s > PATIENCE_S:
            self._put_off_s = 0.0
        while wait_s := self._allowance.take("", cost):
            wait_s = max(wait_s, SHORTEST_S)
            self._put_off_s += wait_s
            if self._put_off_s > PATIENCE_S:
                self.for_good = True
                self.abandon(FLOODED, "Too many messages.")
                return
            await self._clock.sleep_until(self._clock.now_s() + wait_s)
            self._put_off_at_s = self._clock.now_s()
        # Messages that have already arrived are read without waiting, so other tasks would get no turn without this.
        await asyncio.sleep(0)

    async def send_json(self, message: ServerMessage) -> bool:
        return await self._send(lambda: self._socket.send_json(message))

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes. Raises ConnectionError if nobody is there, so that the sender of media stops."""
        if not await self._send(lambda: self._socket.send_bytes(data)):
            raise ConnectionError("the session socket is gone")

    def abandon(self, code: int, reason: str) -> None:
        """Start closing, and do not wait for it: a send may hang in a connection whose other end is dead."""
        self._open = False
        if self._closing is None:
            self._closing_since_s = self._clock.now_s()
            self._closing = asyncio.create_task(self._close(code, reason), name="closing a session socket")

    async def closed(self) -> None:
        """Wait until the close that abandon() started is done."""
        if self._closing is not None:
            await self._closing

    async def keep_deadlines(self) -> None:
        """Watch the deadlines until cancelled: end a connection in which a send hangs, or which asks for no session."""
        while True:
            await self._clock.sleep_until(self._clock.now_s() + LOOK_S)
            now_s = self._clock.now_s()
            since_s = self._closing_since_s if self._sending_since_s is None else self._sending_since_s
            if since_s is not None and now_s - since_s >= SEND_WITHIN_S:
                self._abort()
            elif self.expires_s is not None and now_s >= self.expires_s:
                self.abandon(FLOODED, self.expires_because)

    async def _send(self, send: Callable[[], Awaitable[None]]) -> bool:
        async with self._sending:
            if not self._open:  # it may have closed while this send waited for the lock
                return False
            self._sending_since_s = self._clock.now_s()
            try:
                await send()
            except CLOSED_ERRORS:
                self._open = False
                return False
            finally:
                self._sending_since_s = None
            return True

    async def _close(self, code: int, reason: str) -> None:
        with suppress(*CLOSED_ERRORS):
            await self._socket.close(code, reason)

    def _abort(self) -> None:
        self._open = False
        abort = abort_of(self._socket.scope)
        if abort is not None:
            abort()
        else:
            self.abandon(1011, "Nobody reads.")
