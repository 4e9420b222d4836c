"""Watchers: who sees and hears a session without taking part, each over WebRTC; its frames are encoded once for all."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, Protocol

from pipeline.interfaces import Output
from pipeline.transports.frame_coding import FrameCoding
from pipeline.types import FloatArray
from portal.api.transports import PeerTransport, Transports
from portal.errors import PeerNotFound
from portal.http.limits import TooMany

__all__ = ["MOST_GUESTS", "MOST_WATCHERS", "Watched", "Watchers"]

MOST_WATCHERS: Final = 16
"""Of one session."""
MOST_GUESTS: Final = 12
"""Of these, such as have only the link. Whoever has opened the session finds a place, whatever others do with it."""


class Watched(Protocol):
    """What is needed here of pipeline.session.Session."""

    def greet(self) -> None: ...
    def add_output(self, output: Output, hear: Callable[[FloatArray], None] | None = None) -> None: ...
    def remove_output(self, output: Output) -> None: ...


class Watchers:
    """Those of one session."""

    def __init__(self, session: Watched, transports: Transports) -> None:
        self.token = secrets.token_urlsafe(24)
        "secret: for those who may watch the session and nothing else"
        self._session = session
        self._transports = transports
        self._coding: FrameCoding | None = None
        self._peers: dict[str, PeerTransport] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._joining = 0

    def __len__(self) -> int:
        return len(self._peers)

    async def join(self, offer_sdp: str, *, local: bool, is_guest: bool = False) -> tuple[str, str]:
        """The id of a new connection, and the answer to its offer.

        local: the watcher is on this machine. is_guest: they have only the link.

        Raises TooMany, BadSignalling, SessionClosed.
        """
        most = MOST_GUESTS if is_guest else MOST_WATCHERS
        if len(self._peers) + self._joining >= most:
            raise TooMany(f"{most} watch this session already.", "Try again when one of them has left.")
        self._coding = self._coding or self._transports.shared_coding()
        peer = self._transports.webrtc(local=local, hear=None, coding=self._coding)
        self._joining += 1
        try:
            answer = await peer.answer(offer_sdp)
            self._session.add_output(peer)
        except BaseException:  # a watcher who hangs up too: nobody else knows of this peer
            await peer.aclose()
            raise
        finally:
            self._joining -= 1
        peer_id = secrets.token_hex(8)
        self._peers[peer_id] = peer
        self._leaving[peer_id] = asyncio.create_task(self._follow(peer_id, peer), name=f"watcher-{peer_id}")
        return peer_id, answer

    def leave(self, peer_id: str) -> None:
        """End a connection. Raises PeerNotFound."""
        peer = self._peers.get(peer_id)
        if peer is None:
            raise PeerNotFound("There is no such connection.", "It has ended already.")
        self._forget(peer_id, peer)
        self._leaving.pop(peer_id).cancel()

    async def aclose(self) -> None:
        """End all connections. Idempotent."""
        tasks = tuple(self._leaving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._leaving.clear()
        for peer_id, peer in tuple(self._peers.items()):
            self._forget(peer_id, peer)
            await peer.aclose()
        if self._coding is not None:
            self._coding.close()

    async def _follow(self, peer_id: str, peer: PeerTransport) -> None:
        """Greet when it is connected, and forget it when it has closed."""
        connected = asyncio.ensure_future(peer.connected.wait())
        closed = asyncio.ensure_future(peer.closed.wait())
        try:
            await asyncio.wait((connected, closed), return_when=asyncio.FIRST_COMPLETED)
            if not peer.closed.is_set():
                self._session.greet()
            await closed
        finally:
            connected.cancel()
            closed.cancel()
        self._forget(peer_id, peer)
        del self._leaving[peer_id]

    def _forget(self, peer_id: str, peer: PeerTransport) -> None:
        del self._peers[peer_id]
        self._session.remove_output(peer)
