"""Makes the transports that carry frames to a viewer: WebRTC, or the session socket itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from pipeline import registry
from pipeline.interfaces import Transport
from pipeline.transports.frame_coding import SHARED_KEY_GAP, FrameCoding
from pipeline.transports.ice import IceServers, Reach
from pipeline.transports.loops import LoopCache
from pipeline.transports.port_shares import PortShares
from pipeline.transports.whereabouts import Whereabouts
from pipeline.types import FloatArray

__all__ = ["BackendTransports", "PeerTransport", "Transports"]


class PeerTransport(Transport, Protocol):
    """A transport that must connect to its peer first (WebRTC)."""

    connected: asyncio.Event
    closed: asyncio.Event

    async def answer(self, offer_sdp: str) -> str: ...
    async def add_candidate(self, candidate: str, sdp_mid: str | None, sdp_mline_index: int | None) -> None: ...


class Transports(Protocol):
    """Factory of transports. The app decides which implementation is used."""

    def webrtc(
        self, *, at: Whereabouts, hear: Callable[[FloatArray], None] | None, coding: FrameCoding | None = None
    ) -> PeerTransport:
        """Make a WebRTC transport.

        at: where the viewer is. hear: takes the sound of the viewer's microphone; None: it is not listened to.
        coding: an encoding that is shared with other transports of the same session; None: one of its own.
        """
        ...

    def shared_coding(self) -> FrameCoding:
        """Make an encoding for several WebRTC transports of one session. The caller closes it after closing them."""
        ...

    def websocket(self, send: Callable[[bytes], Awaitable[None]]) -> Transport: ...


@dataclass(frozen=True)
class BackendTransports:
    """Makes the transports of the registry. Their modules are imported when the first one is made, not at start-up."""

    loops: LoopCache
    "Encoded idle loops, shared by all sessions."
    executor: Executor
    ice_servers: IceServers = tuple
    reach: Reach = field(default_factory=Reach)
    ports: PortShares[PeerTransport] | None = None
    "Shares of the UDP port range in `reach`; None if it has no range."
    bitrate_bps: int | None = None
    "Bitrate of WebRTC video; None for one that fits the picture's size."
    jpeg_quality: int = 75

    def webrtc(
        self, *, at: Whereabouts, hear: Callable[[FloatArray], None] | None, coding: FrameCoding | None = None
    ) -> PeerTransport:
        peer: PeerTransport = registry.create(
            "transport",
            "webrtc",
            loops=self.loops,
            executor=self.executor,
            ice_servers=self.ice_servers(),
            reach=self.reach,
            bitrate_bps=self.bitrate_bps,
            coding=coding,
            at=at,
            take_ports=None if self.ports is None else partial(self.ports.take, at.address),
            hear=hear,
        )
        return peer

    def shared_coding(self) -> FrameCoding:
        return FrameCoding(self.loops, self.executor, self.bitrate_bps, key_gap=SHARED_KEY_GAP)

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
