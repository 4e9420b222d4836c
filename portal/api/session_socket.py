"""The session socket: one WebSocket a viewer for signalling, control, events and, when WebRTC fails, the media.

docs/protocol.md is its reference. A message that is not understood gets an `error`; the session lives on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarError
from pipeline import registry
from pipeline.clock import Clock
from pipeline.errors import AtCapacity, BadRequest, VivavoceError
from pipeline.interfaces import Transport
from pipeline.transports.ice import IceServer
from pipeline.types import FPS, PLAYOUT_RATE_HZ
from portal.api import messages
from portal.api.seats import LiveSession, PeerTransport, Seat, Seats, Transports
from portal.api.waiting_line import WaitingLine

__all__ = ["GRACE_S", "BackendTransports", "SessionSocket"]

logger = logging.getLogger(__name__)

GRACE_S = 30.0
"""How long a session outlives its broken socket."""
LEFT = (1000, 1001)
"""Close codes of a viewer who left: browsers send 1001 for a tab that is closed, reloaded or has crashed."""
SUPERSEDED = 4000
"""Close code of a socket whose session was resumed on another one."""


class Sessions(Protocol):
    """What is needed here of portal.sessions.SessionManager."""

    async def open(
        self, *, avatar: str | None, voice: str | None, lipsync: str | None, tts: str | None
    ) -> LiveSession: ...
    async def swap_avatar(self, session: Any, avatar: str) -> None: ...
    def lipsync_of(self, wish: str | None) -> str: ...
    async def close(self, session: Any) -> None: ...
    def on_freed(self, listener: Callable[[], object]) -> None: ...


@dataclass(frozen=True)
class BackendTransports:
    """Makes the transports of the registry. They are imported when the first is made, not at start-up."""

    loops: Any
    "pipeline.transports.loops.LoopCache, shared by all sessions"
    executor: Executor
    ice_servers: Sequence[IceServer] = ()
    bitrate_bps: int | None = None
    "of WebRTC video; None for a fit to the picture's size"
    jpeg_quality: int = 75

    def webrtc(self) -> PeerTransport:
        peer: PeerTransport = registry.create(
            "transport",
            "webrtc",
            loops=self.loops,
            executor=self.executor,
            ice_servers=self.ice_servers,
            bitrate_bps=self.bitrate_bps,
        )
        return peer

    def websocket(self, send: Callable[[bytes], Awaitable[None]]) -> Transport:
        transport: Transport = registry.create(
            "transport",
            "websocket",
            send=send,
            loops=self.loops,
            executor=self.executor,
            jpeg_quality=self.jpeg_quality,
        )
        return transport


class SessionSocket:
    """Serves `/session` (mount `.router`). aclose() ends every session that was opened here.

    ice_servers: told to the browser as they are; the browser needs their credentials, so give short-lived ones.
    """

    def __init__(
        self,
        sessions: Sessions,
        transports: Transports,
        clock: Clock,
        ice_servers: Sequence[IceServer] = (),
        grace_s: float = GRACE_S,
    ) -> None:
        self.sessions = sessions
        self.transports = transports
        self.ice_servers = [_browser_ice_server(server) for server in ice_servers]
        self.seats = Seats(sessions.close, clock, grace_s)
        self.line = WaitingLine()
        sessions.on_freed(self.line.move)
        self.router = APIRouter()
        self.router.add_api_websocket_route("/session", self._serve)

    async def aclose(self) -> None:
        await self.seats.aclose()

    async def _serve(self, socket: WebSocket) -> None:
        await socket.accept()
        await _Conversation(self, _Line(socket)).run()


class _Line:
    """One WebSocket. Telling one that is gone is no error: send_json() says False."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._sending = asyncio.Lock()
        self._open = True
        self._closing: asyncio.Task[None] | None = None
        self.left = False
        "closed by a viewer who does not mean to come back"

    async def messages(self) -> AsyncIterator[str | bytes]:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                self._open = False
                self.left = message.get("code") in LEFT
                return
            text = message.get("text")
            yield text if text is not None else message["bytes"]

    async def send_json(self, message: dict[str, Any]) -> bool:
        return await self._send(lambda: self._socket.send_json(message))

    async def send_bytes(self, data: bytes) -> None:
        """Raises ConnectionError when nobody is there: whoever sends media should stop."""
        if not await self._send(lambda: self._socket.send_bytes(data)):
            raise ConnectionError("the session socket is gone")

    def abandon(self, code: int, reason: str) -> None:
        """Close without waiting: a send may hang in a connection whose other end is dead."""
        self._open = False
        self._closing = asyncio.create_task(self._socket.close(code, reason))

    async def _send(self, send: Callable[[], Awaitable[None]]) -> bool:
        async with self._sending:
            if not self._open:
                return False
            try:
                await send()
            except (WebSocketDisconnect, OSError):
                self._open = False
                return False
            return True


class _Conversation:
    """What is said on one socket, from its first message to its last."""

    def __init__(self, home: SessionSocket, line: _Line) -> None:
        self._home = home
        self._line = line
        self._seat: Seat | None = None
        self._delivery: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        try:
            async for message in self._line.messages():
                await self._take(message)
        finally:
            await self._leave_line()
            self._stop_delivery()
            if self._seat is not None:
                await self._home.seats.vacate(self._seat, self._line, for_good=self._line.left)

    async def _take(self, raw: str | bytes) -> None:
        async with self._faults_told():
            if isinstance(raw, bytes):
                raise BadRequest("Binary messages are not understood here.", "Send JSON objects as text.")
            await self._obey(messages.parse(raw))

    @asynccontextmanager
    async def _faults_told(self) -> AsyncIterator[None]:
        try:
            yield
        except (VivavoceError, AvatarError) as error:
            await self._line.send_json(messages.error_message(error))
        except Exception:  # a fault in one message must not end the session
            logger.exception("session socket: a message could not be served")
            fault = VivavoceError("Something went wrong in the server.", "The server's log has the details.")
            await self._line.send_json(messages.error_message(fault))

    async def _obey(self, message: messages.ClientMessage) -> None:
        match message:
            case messages.Ping(t=t):
                await self._line.send_json({"type": "pong", "t": t, "media": self._media_s()})
            case messages.Hello():
                await self._greet(message)
            case messages.Bye() if self._waiting is not None:
                await self._leave_line()
            case _ if self._seat is None or self._seat.occupant is not self._line:
                raise BadRequest("There is no session on this socket yet.", "Send hello first.")
            case _:
                await self._serve(self._seat, message)

    async def _serve(self, seat: Seat, message: messages.ClientMessage) -> None:
        match message:
            case messages.Offer(sdp=sdp):
                await self._line.send_json({"type": "answer", "sdp": await seat.answer(sdp)})
            case messages.Candidate(candidate=candidate, sdpMid=mid, sdpMLineIndex=index):
                await seat.add_candidate(candidate, mid, index)
            case messages.MediaUse(use=use, reason=reason):
                logger.info("session %s: media over %s%s", seat.session.id, use, f" ({reason})" if reason else "")
                if use == "websocket":
                    await seat.use_websocket(self._line.send_bytes)
                else:
                    await seat.leave_websocket()
            case messages.Say(text=text, mode=mode):
                seat.session.say(text, mode)
            case messages.Interrupt():
                seat.session.interrupt()
            case messages.SwapAvatar(id=avatar_id):
                await self._home.sessions.swap_avatar(seat.session, avatar_id)
                await self._line.send_json({"type": "avatar", **_picture_facts(seat.session.bundle)})
            case messages.Stats():
                logger.debug("session %s sees %s", seat.session.id, message.model_dump(exclude={"type"}))
            case messages.Bye():
                self._stop_delivery()
                self._seat = None
                await self._home.seats.close(seat)

    def _stop_delivery(self) -> None:
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None

    async def _greet(self, hello: messages.Hello) -> None:
        if self._seat is not None or self._waiting is not None:
            raise BadRequest("This socket has a session already.", "Open another socket for another session.")
        if hello.token is not None:
            await self._sit(await self._resume(hello.token), resumed=True)
        else:
            try:
                if self._home.line.holds(self._home.sessions.lipsync_of(hello.lipsync)):
                    raise AtCapacity("Others wait for this already.", "Say hello with wait: true to wait behind them.")
                session = await self._open(hello)
            except AtCapacity:
                if not hello.wait:
                    raise
                self._join_line(hello)
            else:
                await self._sit(self._new_seat(session), resumed=False)

    async def _open(self, hello: messages.Hello) -> LiveSession:
        return await self._home.sessions.open(
            avatar=hello.avatar, voice=hello.voice, lipsync=hello.lipsync, tts=hello.tts
        )

    def _new_seat(self, session: LiveSession) -> Seat:
        seat = Seat(session, self._home.transports)
        self._home.seats.add(seat)
        return seat

    def _join_line(self, hello: messages.Hello) -> None:
        """Wait beside the reading of messages, so that a viewer who leaves is noticed."""
        self._waiting = asyncio.create_task(self._wait_for_place(hello), name="waiting for a place")

    async def _leave_line(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait((waiting,))

    async def _wait_for_place(self, hello: messages.Hello) -> None:
        async with self._faults_told():
            try:
                seat = await self._first_in_line(hello)
            finally:
                self._waiting = None
            await self._sit(seat, resumed=False)

    async def _first_in_line(self, hello: messages.Hello) -> Seat:
        """Tells the place whenever it has changed."""
        told = 0
        with self._home.line.joined(self._home.sessions.lipsync_of(hello.lipsync)) as waiter:
            while True:
                waiter.moved.clear()
                if waiter.first:
                    with suppress(AtCapacity):
                        return self._new_seat(await self._open(hello))
                    waiter.pass_on()
                if waiter.place != told:
                    told = waiter.place
                    await self._line.send_json({"type": "waiting", "place": told})
                await waiter.moved.wait()

    async def _sit(self, seat: Seat, *, resumed: bool) -> None:
        seat.occupant = self._line
        self._seat = seat
        welcome = self._welcome(seat, resumed=resumed)
        if await self._line.send_json(welcome):
            self._delivery = asyncio.create_task(
                seat.outbox.deliver(self._line.send_json), name=f"deliver-{seat.session.id}"
            )
        else:  # nobody holds the token, so nobody can come back
            await self._home.seats.close(seat)

    async def _resume(self, token: str) -> Seat:
        seat = self._home.seats.redeem(token)
        if isinstance(seat.occupant, _Line):  # the other end of that socket is dead, it is only not known here yet
            stale, seat.occupant = seat.occupant, self._line
            stale.abandon(SUPERSEDED, "The session goes on elsewhere.")
            await seat.leave_websocket()
        return seat

    def _media_s(self) -> float | None:
        """Where the media clock is, in seconds: what is released now."""
        return None if self._seat is None else self._seat.session.stats()["pts"] / FPS

    def _welcome(self, seat: Seat, *, resumed: bool) -> dict[str, Any]:
        return {
            "type": "welcome",
            "session": seat.session.id,
            "resumed": resumed,
            "token": self._home.seats.issue_token(seat),
            "iceServers": self._home.ice_servers,
            "fps": FPS,
            "sampleRate": PLAYOUT_RATE_HZ,
            **_picture_facts(seat.session.bundle),
        }


def _picture_facts(bundle: AvatarBundle) -> dict[str, Any]:
    return {
        "width": bundle.width,
        "height": bundle.height,
        "avatar": {"id": bundle.id, "name": bundle.name},
    }


def _browser_ice_server(server: IceServer) -> dict[str, Any]:
    told: dict[str, Any] = {"urls": list(server.urls)}
    if server.username is not None:
        told |= {"username": server.username, "credential": server.credential}
    return told
