"""Watchers: they see and hear a session over WebRTC without taking part. Its frames are encoded once for all."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from pipeline.outputs import TakesOutputs
from pipeline.transports.frame_coding import FrameCoding
from pipeline.transports.whereabouts import Whereabouts
from portal.api.transports import PeerTransport, Transports
from portal.errors import PeerNotFound
from portal.http.limits import AddressShares, TooMany
from portal.http.proxies import network_of

__all__ = ["MAX_OF_ADDRESS", "MAX_WATCHERS", "MAX_WATCHERS_FOR_GUESTS", "Watched", "WatcherPlaces", "Watchers"]

logger = logging.getLogger(__name__)

MAX_WATCHERS: Final = 16
"""Most watchers of one session."""
MAX_WATCHERS_FOR_GUESTS: Final = 12
"""With this many watchers, a guest, who has only the link, is accepted only in the place of another. The other places
stay free for whoever opened the session, however many people use the link."""

MAX_OF_ADDRESS: Final = 16
"""Most watchers from one address, in all sessions together."""
MAX_PER_CORE: Final = 12
"""Most watchers in all sessions together, per core of this machine. Each takes about 2 % of a core, so watchers take a
quarter of the machine at most, and those who talk have the rest."""


def _owner(address: str) -> str:
    """Return the /48 network of an IPv6 address, or another address itself. Whoever has a /48 has 65,536 addresses."""
    return network_of(address) or address


class WatcherPlaces:
    """Counts the watchers of all sessions that are connected, so that they leave most of the machine to those who talk.

    Those who are not connected yet cost next to nothing, and do not count. When all places are taken, the address that
    has most of them gives one up for an address that has fewer.
    """

    def __init__(self, cores: int | None = None) -> None:
        self._max = max(MAX_WATCHERS, MAX_PER_CORE * (cores or os.cpu_count() or 1))
        self._addresses = AddressShares(MAX_OF_ADDRESS)
        self._held: dict[str, tuple[str, Callable[[], None]]] = {}
        "address of each watcher and what ends it, by the watcher's id; the oldest first"

    def check(self, address: str) -> None:
        """Raises TooMany if there is no place for a watcher from this address."""
        if self._addresses.has_all(address):
            message = f"{MAX_OF_ADDRESS} people from your network watch sessions here already."
            raise TooMany(message, "Try again when one of them has left.")
        if len(self._held) >= self._max and self._replaceable(address) is None:
            raise TooMany(f"{self._max} people watch sessions here already.", "Try again when one of them has left.")

    def take(self, watcher_id: str, address: str, end: Callable[[], None]) -> None:
        """Take a place for a watcher from this address; give() gives it back. Raises TooMany.

        end: ends the watcher and gives the place back. It is called when the place goes to somebody else.
        """
        self.check(address)
        if len(self._held) >= self._max and (replaced := self._replaceable(address)) is not None:
            _address, end_replaced = self._held[replaced]
            end_replaced()
        self._addresses.add(address)
        self._held[watcher_id] = (address, end)

    def give(self, watcher_id: str) -> None:
        """Give a watcher's place back, if it has one."""
        if held := self._held.pop(watcher_id, None):
            self._addresses.give(held[0])

    def _replaceable(self, address: str) -> str | None:
        """Return the newest watcher of the address with most, if that has more than this address will have."""
        whose = {name: _owner(held) for name, (held, _end) in self._held.items()}
        counts = Counter(whose.values())
        most, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
        if count <= counts[_owner(address)] + 1:
            return None
        return next(name for name, owner in reversed(whose.items()) if owner == most)


class Watched(Protocol):
    """The part of pipeline.session.Session that is used here."""

    def greet(self) -> None: ...
    @property
    def outputs(self) -> TakesOutputs: ...


@dataclass(frozen=True, slots=True)
class _Watcher:
    peer: PeerTransport
    address: str
    "The client's address, which limits count by. An empty address counts as one like any other."
    is_guest: bool
    "True: the watcher has only the link, not the session's token."


class Watchers:
    """The watchers of one session.

    When all places are taken, a newcomer replaces a watcher who has sent an offer and not connected yet. If all are
    connected, the newcomer replaces a guest from the address that holds the most places.

    places: those of all sessions together. One watcher of whoever opened the session needs none of them: the session of
    a program is seen in no other way, and it has a place among the sessions.
    """

    def __init__(self, session: Watched, transports: Transports, places: WatcherPlaces) -> None:
        self.token = secrets.token_urlsafe(24)
        "Secret token for people who may watch the session and do nothing else."
        self._session = session
        self._transports = transports
        self._places = places
        self._coding: FrameCoding | None = None
        self._watchers: dict[str, _Watcher] = {}  # the oldest first
        self._own: str | None = None
        "id of the connected watcher that needs none of the places of all sessions"
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._joining = 0  # newcomers whose offer is being answered; they count as well, so that the limit holds

    def __len__(self) -> int:
        return len(self._watchers)

    async def join(self, offer_sdp: str, *, local: bool, is_guest: bool = False, address: str = "") -> tuple[str, str]:
        """Connect one more watcher. Return the id of the connection and the SDP answer to the offer.

        local: whether the watcher is on this machine. is_guest: whether they have only the link. address: the client's
        address, which limits count by.

        Raises TooMany, BadSignalling, SessionClosed.
        """
        if is_guest or self._own is not None:
            self._places.check(address)
        most = MAX_WATCHERS_FOR_GUESTS if is_guest else MAX_WATCHERS
        if len(self._watchers) + self._joining >= most and not self._made_room(address):
            raise TooMany(f"{most} watch this session already.", "Try again when one of them has left.")
        self._coding = self._coding or self._transports.shared_coding()
        peer = self._transports.webrtc(at=Whereabouts(address, local), hear=None, coding=self._coding)
        self._joining += 1
        try:
            answer = await peer.answer(offer_sdp)
            self._session.outputs.add(peer)
        except BaseException:  # cancellation too, when the watcher hangs up: nobody else would close this peer
            await peer.aclose()
            raise
        finally:
            self._joining -= 1
        peer_id = secrets.token_hex(8)
        self._watchers[peer_id] = _Watcher(peer, address, is_guest)
        self._leaving[peer_id] = asyncio.create_task(self._follow(peer_id, peer), name=f"watcher-{peer_id}")
        return peer_id, answer

    def leave(self, peer_id: str) -> None:
        """End a connection. Raises PeerNotFound."""
        watcher = self._watchers.get(peer_id)
        if watcher is None:
            raise PeerNotFound("There is no such connection.", "It has ended already.")
        self._forget(peer_id, watcher.peer)
        if following := self._leaving.pop(peer_id, None):
            following.cancel()

    async def aclose(self) -> None:
        """End all connections. Idempotent."""
        tasks = tuple(self._leaving.values())
        self._leaving.clear()
        for task in tasks:
            task.cancel()
        # All are forgotten before the first await: in one, somebody else might be given the place of a watcher.
        peers = [watcher.peer for watcher in self._watchers.values()]
        for peer_id, watcher in tuple(self._watchers.items()):
            self._forget(peer_id, watcher.peer)
        await asyncio.gather(*tasks, return_exceptions=True)
        for peer in peers:
            await peer.aclose()
        if self._coding is not None:
            self._coding.close()

    async def _follow(self, peer_id: str, peer: PeerTransport) -> None:
        """Once the peer is connected, give it a place and have the session greet. Forget it when it has closed.

        While it was connecting, others may have taken the last place. Then it ends here.
        """
        connected = asyncio.ensure_future(peer.connected.wait())
        closed = asyncio.ensure_future(peer.closed.wait())
        try:
            await asyncio.wait((connected, closed), return_when=asyncio.FIRST_COMPLETED)
            if not peer.closed.is_set() and self._seats(peer_id):
                self._session.greet()
                await closed
        finally:
            connected.cancel()
            closed.cancel()
        self._forget(peer_id, peer)
        self._leaving.pop(peer_id, None)

    def _seats(self, peer_id: str) -> bool:
        """Take a place for a watcher who has connected, if it needs one. Return False if none is left."""
        watcher = self._watchers[peer_id]
        if self._own is None and not watcher.is_guest:
            self._own = peer_id
            return True
        try:
            self._places.take(peer_id, watcher.address, partial(self.leave, peer_id))
        except TooMany as error:
            logger.info("A watcher who had connected was turned away: %s", error)
            return False
        return True

    def _made_room(self, address: str) -> bool:
        """Remove a watcher to make room for a newcomer from this address. Return whether one was removed.

        Among watchers who have not connected yet, it removes the oldest one of the address that has most of those. If
        all are connected, it removes the newest guest of the address that has most guests, provided that this address
        has more of them than the newcomer's address will have.
        """
        idle = {name: _owner(one.address) for name, one in self._watchers.items() if not one.peer.connected.is_set()}
        if idle:
            ((most, _count),) = Counter(idle.values()).most_common(1)
            self.leave(next(name for name, whose in idle.items() if whose == most))
            return True
        guests = {name: _owner(one.address) for name, one in self._watchers.items() if one.is_guest}
        counts = Counter(guests.values())
        most, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
        if count <= counts[_owner(address)] + 1:
            return False
        self.leave(next(name for name, whose in reversed(guests.items()) if whose == most))
        return True

    def _forget(self, peer_id: str, peer: PeerTransport) -> None:
        del self._watchers[peer_id]
        self._places.give(peer_id)
        if self._own == peer_id:
            self._own = None
        self._session.outputs.remove(peer)
