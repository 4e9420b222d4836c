"""Seats: one viewer's session stays in its seat while sockets come and go.

A broken socket leaves its seat empty for a grace time. Within that time the token of the last welcome brings the viewer
back, once, to the same session and its turn. Events of the meantime wait in the seat's outbox.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Protocol

from avatars.bundle import AvatarBundle
from pipeline.channel import Channel
from pipeline.clock import Clock
from pipeline.errors import BadRequest, SessionClosed
from pipeline.interfaces import Output, Transport
from pipeline.types import AudioChunk, FloatArray, ListenMode, Message, SessionEvent
from portal.api.event_points import EventPoints
from portal.api.loop_places import LoopPlaces
from portal.api.messages import ServerMessage, error_message, event_message
from portal.api.transports import PeerTransport, Transports
from portal.api.turn_news import TurnNews
from portal.api.watchers import Watchers
from portal.webhooks import Tell, tell_nobody

__all__ = ["OUTBOX_BOUND", "LiveSession", "Outbox", "Seat", "Seats", "UnknownToken"]

logger = logging.getLogger(__name__)

OUTBOX_BOUND = 512
"""Messages that may wait for a slow or absent viewer. When it is full the oldest is dropped; no session waits."""


class UnknownToken(BadRequest):
    code = "unknown_token"


class LiveSession(Protocol):
    """What is needed here of pipeline.session.Session."""

    id: str
    avatars_shown: set[str]
    events: Channel[SessionEvent]

    @property
    def bundle(self) -> AvatarBundle: ...
    @property
    def in_force(self) -> dict[str, object]: ...
    @property
    def closed(self) -> bool: ...
    def recall(self, told: Iterable[Message]) -> None: ...
    def say(self, text: str, mode: str = "chat", *, interrupts: bool = True) -> int: ...
    def speak(self, speech: AsyncIterator[AudioChunk]) -> int: ...
    def interrupt(self) -> None: ...
    def begin_gesture(self, name: str) -> None: ...
    def end_gesture(self) -> None: ...
    def note_reached(self, media_s: float) -> None: ...
    def note_seen(self, turn_id: int, delay_s: float) -> None: ...
    def note_delay(self, delay_s: float) -> None: ...
    def listen(self, mode: ListenMode, language: str | None = None) -> None: ...
    def hear(self, samples: FloatArray) -> None: ...
    async def attach(self, transport: Transport) -> None: ...
    def detach(self) -> None: ...
    def greet(self) -> None: ...
    def add_output(self, output: Output, hear: Callable[[FloatArray], None] | None = None) -> None: ...
    def remove_output(self, output: Output) -> None: ...
    def stats(self) -> dict[str, Any]: ...


class Outbox:
    """Messages on their way to a viewer, in order. post() never waits."""

    def __init__(self) -> None:
        self._messages: Channel[ServerMessage] = Channel(OUTBOX_BOUND)

    def __len__(self) -> int:
        return len(self._messages)

    def post(self, message: ServerMessage) -> None:
        self._messages.push(message)

    async def deliver(self, send: Callable[[ServerMessage], Awaitable[bool]]) -> None:
        """Send what waits and what comes, until send() returns False because nobody is there.

        The message that could not be sent stays for the next viewer; so does one whose sending is cancelled.
        """
        while await self._messages.ready():
            message = self._messages.peek()
            if message is None or not await send(message):
                return
            if self._messages.peek() is message:
                self._messages.receive_nowait()


class Seat:
    """One viewer's session, its events on their way to the viewer, and the transport of its frames.

    tell: tells webhooks of its turns.
    """

    def __init__(self, session: LiveSession, transports: Transports, tell: Tell = tell_nobody) -> None:
        self.session = session
        self.outbox = Outbox()
        self.token = ""
        self.points = EventPoints()
        self.occupant: object | None = None
        "the socket that speaks for this seat now"
        self.watchers = Watchers(session, transports)
        self._transports = transports
        self._transport: Transport | None = None
        self._peer: PeerTransport | None = None
        self._following: asyncio.Task[None] | None = None
        self._places: LoopPlaces | None = None
        self._news = TurnNews(session.id, tell)
        self._posting = asyncio.create_task(self._post_events(), name=f"events-{session.id}")

    def say(self, text: str, mode: str, event: object = None, *, interrupts: bool = True) -> int:
        """Have it spoken or answered. event: comes back when the speech begins and ends; None: nothing does.

        Returns the turn's id. Raises what Session.say() raises.
        """
        turn = self.session.say(text, mode, interrupts=interrupts)
        self.points.expect(turn, event)
        return turn

    async def answer(self, offer_sdp: str, local: bool) -> str:
        """Answer a WebRTC offer. Frames go to the new peer once it is connected; what carries them until then goes on.

        local: the viewer is on this machine. Raises BadRequest.
        """
        await self._forget_peer()
        peer = self._transports.webrtc(local=local, hear=self.session.hear)
        try:
            answer = await peer.answer(offer_sdp)
        except BaseException:  # a socket that closes meanwhile, too: nobody else knows of this peer
            await peer.aclose()
            raise
        self._peer = peer
        self._following = asyncio.create_task(self._follow(peer), name=f"peer-{self.session.id}")
        return answer

    async def until_peer_is_gone(self) -> None:
        """Return when the last peer has closed, whether it was ever connected or not."""
        if self._following is not None:
            await asyncio.wait((self._following,))

    async def add_candidate(self, candidate: str, sdp_mid: str | None, sdp_mline_index: int | None) -> None:
        """Raises BadRequest: no offer came before, or the candidate is malformed."""
        if self._peer is None:
            raise BadRequest("A candidate came without an offer.", "Send offer first.")
        await self._peer.add_candidate(candidate, sdp_mid, sdp_mline_index)

    async def use_websocket(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """From the next picture on, frames go out through send(); the turn goes on."""
        await self._forget_peer()
        await self._attach(self._transports.websocket(send))

    async def leave_websocket(self) -> None:
        """Stop sending frames over the socket. A peer goes on."""
        transport = self._transport
        if transport is not None and transport is not self._peer:
            await self._let_go(transport)

    def report_places(self, on: bool) -> None:
        """Report which place of the loop each frame shows, beginning with the next one; or no longer."""
        if self._places is not None:
            self.session.remove_output(self._places)
        self._places = LoopPlaces(self.outbox.post) if on else None
        if self._places is not None:
            self.session.add_output(self._places)

    async def aclose(self) -> None:
        """Close everything but the session itself."""
        self._posting.cancel()
        await self.watchers.aclose()
        await self._forget_peer()
        if self._transport is not None:
            await self._let_go(self._transport)

    async def _post_events(self) -> None:
        async for event in self.session.events:
            self._news.take(event)
            self.outbox.post(event_message(event))
            for told in self.points.of(event):
                self.outbox.post(told)
        self.outbox.post(error_message(SessionClosed("The session has ended.", "Press Start for a new one.")))

    async def _follow(self, peer: PeerTransport) -> None:
        connected = asyncio.ensure_future(peer.connected.wait())
        closed = asyncio.ensure_future(peer.closed.wait())
        try:
            await asyncio.wait((connected, closed), return_when=asyncio.FIRST_COMPLETED)
            if peer.closed.is_set():
                return
            await self._attach(peer)
            await closed
            if self._transport is peer:
                await self._let_go(peer)
        except SessionClosed:
            logger.debug("session %s ended before its peer was attached", self.session.id)
        finally:
            connected.cancel()
            closed.cancel()

    async def _attach(self, transport: Transport) -> None:
        self._transport = transport  # first, so that a peer that attach() closes does not take the new one for itself
        try:
            await self.session.attach(transport)
        except BaseException:  # a socket that closes meanwhile, too: no session has this transport
            await transport.aclose()
            raise

    async def _forget_peer(self) -> None:
        """Stop waiting for the last peer, and close it unless it carries the pictures now."""
        peer, following = self._peer, self._following
        self._peer = self._following = None
        if following is not None:
            following.cancel()
            await asyncio.wait((following,))
        if peer is not None and peer is not self._transport:
            await peer.aclose()

    async def _let_go(self, transport: Transport) -> None:
        self.session.detach()
        self._transport = None
        await transport.aclose()


class Seats:
    """All seats of this process, and the tokens that lead back to them.

    close: ends a session. grace_s: how long a seat without a socket waits for its viewer; then its session ends.
    """

    def __init__(self, close: Callable[[Any], Awaitable[None]], clock: Clock, grace_s: float) -> None:
        self._close_session = close
        self._clock = clock
        self._grace_s = grace_s
        self._seats: set[Seat] = set()
        self._by_token: dict[str, Seat] = {}
        self._empty: dict[Seat, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._seats)

    def add(self, seat: Seat) -> None:
        self._seats.add(seat)

    def issue_token(self, seat: Seat) -> str:
        """A fresh token that leads back to the seat once; the one before is void."""
        self._by_token.pop(seat.token, None)
        seat.token = secrets.token_urlsafe(24)
        self._by_token[seat.token] = seat
        return seat.token

    def redeem(self, token: str) -> Seat:
        """The seat that the token leads to.

        Raises UnknownToken: it was used before, its seat is gone, or it never was one.
        """
        seat = self._by_token.pop(token, None)
        if seat is None:
            raise UnknownToken(
                "This token does not lead to a session (any more).", "Send hello without a token for a new session."
            )
        waiting = self._empty.pop(seat, None)
        if waiting is not None:
            waiting.cancel()
        return seat

    def watched(self, watch_token: str) -> Seat | None:
        """The seat whose session may be watched with this token; None: there is none, or it has ended."""
        asked = watch_token.encode()
        return next((one for one in self._seats if secrets.compare_digest(one.watchers.token.encode(), asked)), None)

    async def vacate(self, seat: Seat, occupant: object, *, for_good: bool) -> None:
        """The occupant is gone. for_good: end the session now; otherwise keep the seat for the grace time.

        No effect if another socket has taken over.
        """
        if seat.occupant is not occupant or seat not in self._seats:
            return
        if for_good:
            await self.close(seat)
            return
        seat.occupant = None
        await seat.leave_websocket()
        self._empty[seat] = asyncio.create_task(self._wait_and_close(seat), name=f"grace-{seat.session.id}")

    async def close(self, seat: Seat) -> None:
        """End the seat's session now. Idempotent."""
        if seat not in self._seats:
            return
        self._seats.discard(seat)
        self._by_token.pop(seat.token, None)
        waiting = self._empty.pop(seat, None)
        if waiting is not None and waiting is not asyncio.current_task():
            waiting.cancel()
        await seat.aclose()
        await self._close_session(seat.session)

    async def aclose(self) -> None:
        for seat in tuple(self._seats):
            await self.close(seat)

    async def _wait_and_close(self, seat: Seat) -> None:
        await self._clock.sleep_until(self._clock.now_s() + self._grace_s)
        logger.info("session %s: nobody came back within %g s", seat.session.id, self._grace_s)
        await self.close(seat)
