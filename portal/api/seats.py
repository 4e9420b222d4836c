"""Seats: one viewer's session stays in its seat while sockets come and go.

A broken socket leaves its seat empty for a grace time. Within that time the token of the last welcome brings the viewer
back, once, to the same session and its turn. Events of the meantime wait in the seat's outbox.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from pipeline.clock import Clock
from pipeline.errors import BadRequest, SessionClosed
from pipeline.interfaces import Transport
from pipeline.push import Push
from pipeline.transports.whereabouts import Whereabouts
from pipeline.types import SubtitleEvent, TurnEvent
from portal.api.event_messages import ServerMessage, error_message, event_message
from portal.api.event_points import EventPoints
from portal.api.live_session import LiveSession
from portal.api.loop_places import LoopPlaces
from portal.api.outbox import Outbox
from portal.api.restoring import state_of
from portal.api.spoken_sounds import SpokenSounds
from portal.api.transports import PeerTransport, Transports
from portal.api.turn_news import TurnNews
from portal.api.watchers import Watchers
from portal.session_keeper import Keeper, KeptState, NoKeeper
from portal.webhooks import Tell, tell_nobody

__all__ = ["SUPERSEDED", "Seat", "Seats", "UnknownToken", "unknown_token"]

logger = logging.getLogger(__name__)

SUPERSEDED = 4000
"""Close code of a socket whose session goes on without it."""


class UnknownToken(BadRequest, code="unknown_token"): ...


def unknown_token() -> UnknownToken:
    return UnknownToken(
        "This token does not lead to a session (any more).", "Send hello without a token for a new session."
    )


class Occupant(Protocol):
    """The socket that speaks for a seat."""

    async def dismiss(self, code: int, reason: str, error: ServerMessage | None = None) -> None:
        """Close, with nothing more to do with the session. error: is told first."""
        ...


class Seat:
    """One viewer's session, its events on their way to the viewer, and the transport of its frames.

    tell: tells webhooks of its turns. owner: the name of who has logged in, "" for nobody; nobody else can come back
    to it. identity: what the viewer's hello said of who this is. keeper: is told when there is something new to keep.
    """

    def __init__(
        self,
        session: LiveSession,
        transports: Transports,
        tell: Tell = tell_nobody,
        *,
        owner: str = "",
        identity: Mapping[str, str] = MappingProxyType({}),
        keeper: Keeper = NoKeeper(),  # noqa: B008 - it has no state
    ) -> None:
        self.session = session
        self.owner = owner
        self._identity = identity
        self._keeper = keeper
        self.outbox = Outbox()
        self.token = ""
        self.points = EventPoints()
        self.sounds = SpokenSounds(session.speak)
        self.occupant: Occupant | None = None
        "the socket that speaks for this seat now"
        self.watchers = Watchers(session, transports)
        self.push: Push | None = None
        "to a streaming server"
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

    def speak(self, rate_hz: int, event: object = None) -> int:
        """Have the sound spoken that `sounds` takes from now on, after what is being said. event: as for say().

        Returns the turn's id. Raises what Session.speak() raises.
        """
        turn = self.sounds.begin(rate_hz)
        self.points.expect(turn, event)
        return turn

    async def answer(self, offer_sdp: str, at: Whereabouts) -> str:
        """Answer a WebRTC offer. Frames go to the new peer once it is connected; what carries them until then goes on.

        at: where the viewer is. Raises BadRequest.
        """
        await self._forget_peer()
        peer = self._transports.webrtc(at=at, hear=self.session.hear)
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

    def kept(self) -> KeptState:
        """What another node would need to go on with the session."""
        return KeptState(self.token, self.owner, self.session.bundle.id, state_of(self.session, self._identity))

    def report_places(self, on: bool) -> None:
        """Report which place of the loop each frame shows, beginning with the next one; or no longer."""
        if self._places is not None:
            self.session.outputs.remove(self._places)
        self._places = LoopPlaces(self.outbox.post) if on else None
        if self._places is not None:
            self.session.outputs.add(self._places)

    def start_push(self, new: Callable[[Callable[[], None]], Push]) -> Push:
        """Send the session to a streaming server, in the place of another; `push` messages tell how that goes.

        new: makes it, of what is to be called when its state has changed. Raises BadRequest, SessionClosed.
        """
        if self.session.closed:  # before anything is made for it
            raise SessionClosed("The session has ended.", "Open a new one.")
        push = new(lambda: self._tell_of(push))
        self.end_push()
        self.session.outputs.add(push)
        self.push = push
        self._tell_of(push)
        return push

    def end_push(self) -> None:
        """Idempotent."""
        push, self.push = self.push, None
        if push is not None:
            self.session.outputs.remove(push)
            self.outbox.post({**_push_facts(push), "state": "closed"})

    def _tell_of(self, push: Push) -> None:
        if push is self.push:
            self.outbox.post(_push_facts(push))

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
            self.sounds.note(event)
            self.outbox.post(event_message(event))
            for told in self.points.of(event):
                self.outbox.post(told)
            if isinstance(event, TurnEvent | SubtitleEvent):  # a sentence, or a turn, has ended or begun
                self._keeper.changed(self.session.id)
        self._keeper.forget(self.session.id)
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
        self.session.outputs.detach()
        self._transport = None
        await transport.aclose()


def _push_facts(push: Push) -> ServerMessage:
    return {
        "type": "push",
        "state": push.state,
        "host": push.host,
        "connections": push.connections,
        "framesDropped": push.frames_dropped,
        "trouble": push.trouble,
        "code": push.trouble_code,
    }


class Seats:
    """All seats of this process, and the tokens that lead back to them.

    close: ends a session. grace_s: how long a seat without a socket waits for its viewer; then its session ends.
    keeper: keeps what sessions need to go on at another node.
    """

    def __init__(self, close: Callable[[Any], Awaitable[None]], clock: Clock, grace_s: float, keeper: Keeper) -> None:
        self.keeper = keeper
        self._close_session = close
        self._clock = clock
        self._grace_s = grace_s
        self._seats: set[Seat] = set()
        self._by_token: dict[str, Seat] = {}
        self._empty: dict[Seat, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._seats)

    def __iter__(self) -> Iterator[Seat]:
        """Those of now, whatever becomes of them meanwhile."""
        return iter(tuple(self._seats))

    def add(self, seat: Seat) -> None:
        self._seats.add(seat)

    def issue_token(self, seat: Seat) -> str:
        """A fresh token that leads back to the seat once; the one before is void."""
        self._by_token.pop(seat.token, None)
        seat.token = secrets.token_urlsafe(24)
        self._by_token[seat.token] = seat
        self.keeper.keep(seat.session.id, seat.kept, lambda: self._part_soon(seat))
        return seat.token

    def redeem(self, token: str, owner: str) -> Seat:
        """The seat that the token leads to. owner: the name of who asks.

        Raises UnknownToken: it was used before, its seat is gone or another person's, or it never was one.
        """
        seat = self._by_token.get(token)
        if seat is not None and seat.owner == owner:
            del self._by_token[token]
        else:
            raise unknown_token()
        waiting = self._empty.pop(seat, None)
        if waiting is not None:
            waiting.cancel()
        return seat

    def watched(self, watch_token: str) -> Seat | None:
        """The seat whose session may be watched with this token; None: there is none, or it has ended."""
        asked = watch_token.encode()
        return next((one for one in self._seats if secrets.compare_digest(one.watchers.token.encode(), asked)), None)

    async def vacate(self, seat: Seat, occupant: Occupant, *, for_good: bool) -> None:
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
        self.keeper.forget(seat.session.id)
        await seat.aclose()
        await self._close_session(seat.session)

    async def part(self, seat: Seat, code: int, reason: str, error: ServerMessage | None = None) -> None:
        """End the seat's session here, leave what is kept of it to other nodes, and dismiss its socket. Idempotent."""
        self.keeper.let_go(seat.session.id)
        occupant, seat.occupant = seat.occupant, None
        dismissing = [] if occupant is None else [occupant.dismiss(code, reason, error)]
        await asyncio.gather(self.close(seat), *dismissing)

    async def aclose(self) -> None:
        """End all sessions here; what is kept of them is left to other nodes."""
        await self.keeper.aclose()
        for seat in tuple(self._seats):
            await self.close(seat)
        await asyncio.gather(*self._leaving)

    def _part_soon(self, seat: Seat) -> None:
        """The session goes on elsewhere, or must not go on."""
        error = error_message(
            SessionClosed("The session goes on elsewhere, or its avatar was deleted.", "Press Start.")
        )
        parting = asyncio.create_task(
            self.part(seat, SUPERSEDED, "The session does not go on here.", error), name=f"part-{seat.session.id}"
        )
        self._leaving.add(parting)
        parting.add_done_callback(self._leaving.discard)

    async def _wait_and_close(self, seat: Seat) -> None:
        await self._clock.sleep_until(self._clock.now_s() + self._grace_s)
        logger.info("session %s: nobody came back within %g s", seat.session.id, self._grace_s)
        await self.close(seat)
