"""ICE servers, as settings, session socket and WebRtcTransport all name them. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["IceServer"]


@dataclass(frozen=True, slots=True)
class IceServer:
    """One STUN or TURN server."""

    urls: tuple[str, ...]
    "stun:host:port, turn:host:port?transport=udp"
    username: str | None = None
    credential: str | None = None
