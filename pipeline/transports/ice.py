"""ICE servers, in the form shared by settings, session socket and WebRtcTransport. Imports nothing heavy."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["IceServer", "IceServers", "Reach", "turn_with_secret"]


@dataclass(frozen=True, slots=True)
class IceServer:
    """One STUN or TURN server."""

    urls: tuple[str, ...]
    "stun:host:port, turn:host:port?transport=udp"
    username: str | None = None
    credential: str | None = None


IceServers = Callable[[], tuple[IceServer, ...]]
"""Called once per connection, because credentials may be valid for a short time only."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where viewers reach this machine, if it is not at its own addresses and any port."""

    address: str = ""
    "IPv4 or IPv6 address that a router maps to one of this machine's; offered in addition to those"
    ports: range | None = None
    "UDP ports for viewers' sockets; None: any; an empty range: relays only"


def turn_with_secret(urls: tuple[str, ...], secret: str, name: str, expires_unix_s: int) -> IceServer:
    """Return a TURN server with credentials that expire by themselves.

    secret: shared by the portal and the TURN server (coturn: `static-auth-secret`); viewers never see it.
    name: appears in the TURN server's log. Source: draft-uberti-behave-turn-rest-00, section 2.2.
    """
    username = f"{expires_unix_s}:{name}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return IceServer(urls, username, base64.b64encode(digest).decode())
