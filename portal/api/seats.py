"""Seats: a viewer's session stays in its seat while sockets come and go.

When a socket breaks, its seat stays empty for a grace time. Within that time the token of the last welcome brings the
viewer back to the same session and its current turn. Each token works once. Events that happen meanwhile wait in the
seat's outbox.
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
from portal.api.watchers import WatcherPlaces, Watchers
from portal.session_keeper import Keeper, KeptState, NoKeeper
from portal.webhooks import Tell, tell_nobody

__all__ = ["SUPERSEDED", "Seat", "Seats", "UnknownToken", "unknown_token"]

logger = logging.getLogger(__name__)

SUPERSEDED = 4000
"""Close code of a socket whose session continues on another socket or node, or may not continue here."""


class UnknownToken(BadRequest, code="unknown_token"): ...


def unknown_token() -> UnknownToken:
    return UnknownToken(
        "This token does not lead to a session (any more).", "Send hello without a token for a new session."
    )


class Occupant(Protocol):
    """The socket that speaks for a seat."""

    async def dismiss(self, code: int, reason: str, error: ServerMessage | None = None) -> None:
        """Close the socket, which has nothing more to do with the session. error: sent first, if given."""
        ...


class Seat:
    """One viewer's session, its events on their way to the viewer, and the transport of its frames.

    tell: tells webhooks about its turns. owner: name of the person who has logged in, "" for nobody; only that person
    can come back to the seat. identity: who the viewer is, as their hello claims. keeper: is told when there is
    something new to keep. watcher_places: the places of the watchers of all seats; None: this seat has its own.
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
        watcher_places: WatcherPlaces | None = None,
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
        "The socket that currently speaks for this seat."
        self.watchers = Watchers(session, transports, watcher_places or WatcherPlaces())
        self.push: Push | None = None
        "Sends the session to a streaming server; None if nothing does."
        self._transports = transports
        self._transport: Transport | None = None
        self._peer: PeerTransport | None = None
        self._following: asyncio.Task[None] | None = None
        self._places: LoopPlaces | None = None
        self._news = TurnNews(session.id, tell)
        self._posting = asyncio.create_task(self._post_events(), name=f"events-{session.id}")

    def say(self, text: str, mode: str, event: object = None, *, interrupts: bool = True) -> int:
        """Have a text spoken or answered, and return the id of its turn.

        event: comes back when the speech begins and when it ends; None: nothing comes back.

        Raises the same errors as Session.say().
        """
        turn = self.session.say(text, mode, interrupts=interrupts)
        self.points.expect(turn, event)
        return turn

    def speak(self, rate_hz: int, event: object = None) -> int:
        """Queue a turn that speaks the sound which `sounds` takes from now on, and return the turn's id.

        event: as for say(). Raises the same errors as Session.speak().
        """
        turn = self.sounds.begin(rate_hz)
        self.points.expect(turn, event)
        return turn

    async def answer(self, offer_sdp: str, at: Whereabouts) -> str:
        """Answer a WebRTC offer. Frames go to the new peer once it is connected, and over the old transport until then.

        at: where the viewer is. Raises BadRequest.
        """
        await self._forget_peer()
        peer = self._transports.webrtc(at=at, hear=self.session.hear)
        try:
            answer = await peer.answer(offer_sdp)
        except BaseException:  # cancellation too, when the socket closes meanwhile: nobody else would close this peer
            await peer.aclose()
            raise
        self._peer = peer
        self._following = asyncio.create_task(self._follow(peer), name=f"peer-{self.session.id}")
        return answer

    async def until_peer_is_gone(self) -> None:
        """Wait until the latest peer has closed, whether it was ever connected or not."""
        if self._following is not None:
            await asyncio.wait((self._following,))

    async def add_candidate(self, candidate: str, sdp_mid: str | None, sdp_mline_index: int | None) -> None:
        """Add an ICE candidate of the viewer. Raises BadRequest if no offer came before, or if it is malformed."""
        if self._peer is None:
            raise BadRequest("A candidate came without an offer.", "Send offer first.")
        await self._peer.add_candidate(candidate, sdp_mid, sdp_mline_index)

    async def use_websocket(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send frames through send() from the next picture on. The current turn continues."""
        await self._forget_peer()
        await self._attach(self._transports.websocket(send))

    async def leave_websocket(self) -> None:
        """Stop sending frames over the socket. A WebRTC peer is left as it is."""
        transport = self._transport
        if transport is not None and transport is not self._peer:
            await self._let_go(transport)

    def kept(self) -> KeptState:
        """Return what another node needs to continue the session."""
        return KeptState(self.token, self.owner, self.session.bundle.id, state_of(self.session, self._identity))

    def report_places(self, on: bool) -> None:
        """Start or stop reporting which place of the loop each frame shows. It starts with the next frame."""
        if self._places is not None:
            self.session.outputs.remove(self._places)
        self._places = LoopPlaces(self.outbox.post) if on else None
        if self._places is not None:
            self.session.outputs.add(self._places)

    def start_push(self, new: Callable[[Callable[[], None]], Push]) -> Push:
        """Send the session to a streaming server, and to no other any more. `push` messages report its state.

        new: makes the push; it is given a callback to call whenever the push's state changes. Raises BadRequest,
        SessionClosed.
        """
        if self.session.closed:  # checked before a push, and so a process, is started
            raise SessionClosed("The session has ended.", "Open a new one.")
        push = new(lambda: self._tell_of(push))
        self.end_push()
        self.session.outputs.add(push)
        self.push = push
        self._tell_of(push)
        return push

    def end_push(self) -> None:
        """Stop sending the session to a streaming server. Idempotent."""
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
            if isinstance(event, TurnEvent | SubtitleEvent):  # a sentence or a turn has begun or ended
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
        # attach() closes the old transport. If that is a peer, _follow() then compares it with self._transport, and
        # must not find it still there: it would let go of the new one.
        self._transport = transport
        try:
            await self.session.attach(transport)
        except BaseException:  # cancellation too, when the socket closes meanwhile: nobody else would close it
            await transport.aclose()
            raise

    async def _forget_peer(self) -> None:
        """Stop waiting for the latest peer, and close it unless it is the current transport."""
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

    close: ends a session. grace_s: how long a seat without a socket waits for its viewer; after that its session ends.
    keeper: stores what another node needs to continue a session.
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
        """Iterate over a snapshot, so that seats may come and go meanwhile."""
        return iter(tuple(self._seats))

    def add(self, seat: Seat) -> None:
        self._seats.add(seat)

    def issue_token(self, seat: Seat) -> str:
        """Return a new token that leads back to the seat once. It replaces the seat's earlier token."""
        self._by_token.pop(seat.token, None)
        seat.token = secrets.token_urlsafe(24)
        self._by_token[seat.token] = seat
        self.keeper.keep(seat.session.id, seat.kept, lambda: self._part_soon(seat))
        return seat.token

    def redeem(self, token: str, owner: str) -> Seat:
        """Return the seat that the token leads to, and make the token invalid. owner: name of the person who asks.

        Raises UnknownToken if the token was used before or never issued, or if its seat is gone or another person's.
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
        """Return the seat whose session may be watched with this token; None if there is none (any more)."""
        asked = watch_token.encode()
        return next((one for one in self._seats if secrets.compare_digest(one.watchers.token.encode(), asked)), None)

    async def vacate(self, seat: Seat, occupant: Occupant, *, for_good: bool) -> None:
        """Note that the occupant is gone. for_good: end the session now, instead of after the grace time.

        This has no effect if another socket has taken over the seat.
        """
        if seat.occupant is not occupant or seat not in self._seats:
            return
        if for_good:
            await self.close(seat)
            return
        seat.occupant = None
        self.keeper.left(seat.session.id)
        await seat.leave_websocket()
        self._empty[seat] = asyncio.create_task(self._wait_and_close(seat), name=f"grace-{seat.session.id}")

    async def close(self, seat: Seat) -> None:
        """End the seat's session now. Idempotent."""
        if seat not in self._seats:
            return
        self._seats.discard(seat)
        self._by_token.pop(seat.token, None)
        waiting = self._empty.pop(seat, None)
        if waiting is not None and waiting is not asyncio.current_task():  # _wait_and_close() must not cancel itself
            waiting.cancel()
        self.keeper.forget(seat.session.id)
        await seat.aclose()
        await self._close_session(seat.session)

    async def part(self, seat: Seat, code: int, reason: str, error: ServerMessage | None = None) -> None:
        """End the seat's session on this node and dismiss its socket. Its stored state is left to other nodes.

        Idempotent.
        """
        self.keeper.let_go(seat.session.id)
        occupant, seat.occupant = seat.occupant, None
        dismissing = [] if occupant is None else [occupant.dismiss(code, reason, error)]
        await asyncio.gather(self.close(seat), *dismissing)

    async def aclose(self) -> None:
        """End all sessions of this node. Their stored state is left to other nodes."""
        await self.keeper.aclose()
        for seat in tuple(self._seats):
            await self.close(seat)
        await asyncio.gather(*self._leaving)

    def _part_soon(self, seat: Seat) -> None:
        """Part with a seat whose session continues on another node, or may not continue."""
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
