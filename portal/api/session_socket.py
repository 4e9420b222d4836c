"""The session socket: one WebSocket a viewer for signalling, control, events and, when WebRTC fails, the media.

docs/protocol.md is its reference. A message that is not understood gets an `error`; the session lives on.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import APIRouter, WebSocket

from avatars.bundle import AvatarBundle
from models.errors import VivavoceError
from pipeline import registry
from pipeline.clock import Clock
from pipeline.errors import BadRequest
from pipeline.interfaces import Transport
from pipeline.transports.ice import IceServer
from pipeline.types import FPS, PLAYOUT_RATE_HZ, Message
from portal.api import messages
from portal.api.lane import Lane
from portal.api.seats import LiveSession, PeerTransport, Seat, Seats, Transports
from portal.api.viewer_socket import ViewerSocket
from portal.http.errors import told
from portal.http.limits import Allowance, Shares, TooMany, TooOften
from portal.http.proxies import address_of, is_local

__all__ = ["GRACE_S", "OFFERS_EACH", "BackendTransports", "SessionSocket"]

logger = logging.getLogger(__name__)

GRACE_S = 30.0
"""How long a session outlives its broken socket."""
GREETED_WITHIN_S = 15.0
"""So long a new socket may be without a hello."""
EXPIRES_S = 600.0
"""So long a socket may be without a session after a hello that was refused, or a bye."""
GREETINGS, GREETINGS_PER_S = 120.0, 4.0
"""New sockets and new sessions of one address: a class of thirty may reload its pages twice at the same moment."""
REFUSALS, REFUSALS_PER_S = 30.0, 1.0
"""Of these, sockets beyond that are told so in words, which the page shows; further ones are not taken at all (429)."""
OFFERS, OFFERS_PER_S = 3.0, 0.2
"""WebRTC offers of one session. The page sends one as it starts, and one on each network that it changes to."""
OFFERS_EACH = 12
OFFERS_REFILL_S = 10.0
"""An offer keeps the event loop busy for some 10 ms, in which no other viewer gets a picture."""
ALL = "all"
SUPERSEDED = 4000
"""Close code of a socket whose session was resumed on another one."""


class Sessions(Protocol):
    """What is needed here of portal.sessions.SessionManager."""

    async def open(
        self,
        *,
        avatar: str | None,
        voice: str | None,
        lipsync: str | None,
        tts: str | None,
        address: str,
        report: Callable[[int], Awaitable[None]] | None,
    ) -> LiveSession: ...
    async def swap_avatar(self, session: Any, avatar: str) -> None: ...
    async def close(self, session: Any) -> None: ...


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

    def webrtc(self, *, local: bool) -> PeerTransport:
        peer: PeerTransport = registry.create(
            "transport",
            "webrtc",
            loops=self.loops,
            executor=self.executor,
            ice_servers=self.ice_servers,
            bitrate_bps=self.bitrate_bps,
            local=local,
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
    sockets, sockets_each: most of them at one time, and most from one address. offers_each: most WebRTC offers from
    one address at once; as many more come in every OFFERS_REFILL_S.
    """

    def __init__(
        self,
        sessions: Sessions,
        transports: Transports,
        clock: Clock,
        ice_servers: Sequence[IceServer] = (),
        grace_s: float = GRACE_S,
        *,
        sockets: int = 512,
        sockets_each: int = 64,
        offers_each: int = OFFERS_EACH,
    ) -> None:
        self.sessions = sessions
        self.transports = transports
        self.ice_servers = [_browser_ice_server(server) for server in ice_servers]
        self.clock = clock
        self.seats = Seats(sessions.close, clock, grace_s)
        self.greetings = Allowance(clock, burst=GREETINGS, per_s=GREETINGS_PER_S)
        self.refusals = Allowance(clock, burst=REFUSALS, per_s=REFUSALS_PER_S)
        self._offers = Allowance(clock, burst=OFFERS, per_s=OFFERS_PER_S)
        self._offers_each = Allowance(clock, burst=offers_each, per_s=offers_each / OFFERS_REFILL_S)
        self._sockets = Shares(sockets)
        self._sockets_each = Shares(sockets_each)
        self.router = APIRouter()
        self.router.add_api_websocket_route("/session", self._serve)

    async def aclose(self) -> None:
        await self.seats.aclose()

    async def _serve(self, socket: WebSocket) -> None:
        viewer = ViewerSocket(socket, self.clock)
        address = address_of(socket.scope)
        try:
            self.charge(address)
        except TooOften as error:
            if self.refusals.take(address):  # it was told often enough; taking a socket costs more than the answer
                await viewer.deny(told(error))
            elif await viewer.accept():
                await viewer.refuse(messages.error_message(error))
            return
        if await viewer.accept():
            try:
                with self._one_of(self._sockets, ALL), self._one_of(self._sockets_each, address):
                    conversation = _Conversation(self, viewer, address, local=is_local(socket.scope))
                    await conversation.run()
            except TooMany as error:
                await viewer.refuse(messages.error_message(error))

    def charge(self, address: str) -> None:
        """Count a new socket, or a new session, of an address. Raises TooOften."""
        retry_s = self.greetings.take(address) if address else 0.0
        if retry_s:
            raise TooOften("This address connects too often.", "Wait a minute, then try again.", retry_s)

    def charge_offer(self, session_id: str, address: str) -> None:
        """Count a WebRTC offer of a session and its address. Raises TooOften."""
        retry_s = self._offers.take(session_id)
        if not retry_s and address:
            retry_s = self._offers_each.take(address)
        if retry_s:
            raise TooOften(
                "WebRTC connections are offered too often.", f"Wait {math.ceil(retry_s)} s, then offer again.", retry_s
            )

    def _one_of(self, sockets: Shares, whose: str) -> AbstractContextManager[None]:
        if not whose:
            return nullcontext()
        return sockets.held(whose, TooMany("Too many pages are connected.", "Close another, or try again in a minute."))


class _Conversation:
    """What is said on one socket, from its first message to its last.

    What may take long (loading a network, finding a peer) is obeyed in a lane, so that a ping is answered and an
    interrupt heard meanwhile; media has a lane of its own, or a viewer would be without pictures as long as an avatar
    loads. Within a lane commands keep their order.
    """

    def __init__(self, home: SessionSocket, socket: ViewerSocket, address: str, *, local: bool) -> None:
        self._home = home
        self._socket = socket
        self._address = address
        self._local = local
        self._seat: Seat | None = None
        self._greeting = False  # a hello is being answered
        self._in_line = False  # it waits for a place
        self._delivery: asyncio.Task[None] | None = None
        self._lane = Lane(self._obey)
        self._media_lane = Lane(self._obey)
        self._expect_hello(GREETED_WITHIN_S)

    async def run(self) -> None:
        deadlines = asyncio.create_task(self._socket.keep_deadlines(), name="deadlines of a session socket")
        try:
            async for message in self._socket.messages():
                await self._take(message)
        finally:
            deadlines.cancel()
            await self._break_off()
            if self._seat is not None:
                await self._home.seats.vacate(self._seat, self, for_good=self._socket.for_good)

    async def give_up_seat(self) -> None:
        """Another socket speaks for the session now. The other end of this one may be dead."""
        self._socket.abandon(SUPERSEDED, "The session goes on elsewhere.")
        await self._break_off()

    async def _break_off(self) -> None:
        self._stop_delivery()
        await self._media_lane.clear()
        await self._lane.clear()

    async def _take(self, raw: str | bytes) -> None:
        message: messages.ClientMessage | None = None
        async with self._faults_told():
            message = messages.parse(raw)
        await self._socket.pay(messages.cost_of(raw, message))
        if message is not None:
            async with self._faults_told():
                await self._route(message)

    @asynccontextmanager
    async def _faults_told(self) -> AsyncIterator[None]:
        try:
            yield
        except VivavoceError as error:
            await self._socket.send_json(messages.error_message(error))
        except Exception:  # a fault in one message must not end the session
            logger.exception("session socket: a message could not be served")
            fault = VivavoceError("Something went wrong in the server.", "The server's log has the details.")
            await self._socket.send_json(messages.error_message(fault))

    async def _route(self, message: messages.ClientMessage) -> None:
        """Serve what is quick; put what may take long into its lane."""
        match message:
            case messages.Ping(t=t):
                await self._socket.send_json({"type": "pong", "t": t, "media": self._media_s()})
            case messages.Hello():
                if self._seat is not None or self._greeting:
                    raise BadRequest("This socket has a session already.", "Open another socket for another session.")
                self._lane.put(message)
                self._greeting = True
                self._socket.expires_s = None
            case messages.Interrupt():
                await self._interrupt()
            case messages.Bye():
                await self._leave()
            case messages.Stats():
                logger.debug("session %s sees %s", self._seated().session.id, message.model_dump(exclude={"type"}))
            case _ if self._in_line:
                self._seated()
            case messages.Offer() | messages.Candidate() | messages.MediaUse() if not self._greeting:
                self._media_lane.put(message)
            case _:
                self._lane.put(message)

    async def _obey(self, message: messages.ClientMessage) -> None:
        async with self._faults_told():
            if isinstance(message, messages.Hello):
                await self._greet(message)
            else:
                await self._serve(self._seated(), message)

    def _seated(self) -> Seat:
        if self._seat is None or self._seat.occupant is not self:
            raise BadRequest("There is no session on this socket yet.", "Send hello first.")
        return self._seat

    async def _serve(self, seat: Seat, message: messages.ClientMessage) -> None:
        match message:
            case messages.Offer(sdp=sdp):
                self._home.charge_offer(seat.session.id, self._address)
                await self._socket.send_json({"type": "answer", "sdp": await seat.answer(sdp, self._local)})
            case messages.Candidate(candidate=candidate, sdpMid=mid, sdpMLineIndex=index):
                await seat.add_candidate(candidate, mid, index)
            case messages.MediaUse(use=use, reason=reason):
                # Quoted, so that nobody writes lines of their own into the log.
                logger.info("session %s: media over %s%s", seat.session.id, use, f" ({reason!r})" if reason else "")
                if use == "websocket":
                    await seat.use_websocket(self._socket.send_bytes)
                else:
                    await seat.leave_websocket()
            case messages.Say(text=text, mode=mode):
                seat.session.say(text, mode)
            case messages.SwapAvatar(id=avatar_id):
                await self._home.sessions.swap_avatar(seat.session, avatar_id)
                await self._socket.send_json({"type": "avatar", **_picture_facts(seat.session.bundle)})

    async def _interrupt(self) -> None:
        """At once, also for what was said before it and still waits behind a slow command."""
        said = self._lane.take_back(messages.Say)
        if self._greeting:
            return
        seat = self._seated()
        for say in said:  # so that the viewer is told of each of these turns: queued, interrupted
            async with self._faults_told():
                seat.session.say(say.text, say.mode)
        seat.session.interrupt()

    async def _leave(self) -> None:
        if not self._greeting:
            self._seated()
        await self._break_off()
        seat, self._seat = self._seat, None
        if seat is not None and seat.occupant is self:
            await self._home.seats.close(seat)
        self._expect_hello(EXPIRES_S)

    def _expect_hello(self, within_s: float) -> None:
        self._socket.expires_s = self._home.clock.now_s() + within_s

    def _stop_delivery(self) -> None:
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None

    async def _greet(self, hello: messages.Hello) -> None:
        try:
            if hello.token is not None:
                await self._sit(await self._resume(hello.token), resumed=True)
            else:
                await self._sit(await self._new_seat(hello), resumed=False)
        finally:
            self._greeting = False
            if self._seat is None:
                self._expect_hello(EXPIRES_S)

    async def _new_seat(self, hello: messages.Hello) -> Seat:
        """A seat with a new session. Raises TooOften, and what Sessions.open() raises."""
        self._home.charge(self._address)
        try:
            session = await self._home.sessions.open(
                avatar=hello.avatar,
                voice=hello.voice,
                lipsync=hello.lipsync,
                tts=hello.tts,
                address=self._address,
                report=self._wait_in_line if hello.wait else None,
            )
        finally:
            self._in_line = False
        seat = Seat(session, self._home.transports)
        self._home.seats.add(seat)
        try:
            session.recall(Message(remark.role, remark.content) for remark in hello.history)
        except BaseException:  # nobody would have the session, and its place would be taken until it is idle
            await self._home.seats.close(seat)
            raise
        return seat

    async def _wait_in_line(self, position: int) -> None:
        self._in_line = True
        await self._socket.send_json({"type": "waiting", "place": position})

    async def _sit(self, seat: Seat, *, resumed: bool) -> None:
        seat.occupant = self
        self._seat = seat
        welcome = self._welcome(seat, resumed=resumed)
        if await self._socket.send_json(welcome):
            self._delivery = asyncio.create_task(
                seat.outbox.deliver(self._socket.send_json), name=f"deliver-{seat.session.id}"
            )
        else:  # nobody holds the token, so nobody can come back
            await self._home.seats.close(seat)

    async def _resume(self, token: str) -> Seat:
        seat = self._seat = self._home.seats.redeem(token)
        stale, seat.occupant = seat.occupant, self
        if isinstance(stale, _Conversation):  # the other end of it is dead, that is only not known here yet
            await stale.give_up_seat()
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
