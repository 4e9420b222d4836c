"""Asks a TURN server for a relay, as a viewer's browser would, and says in words why it gives none."""

from __future__ import annotations

import asyncio
import socket

from aioice.stun import TransactionError, TransactionFailed
from aioice.turn import create_turn_endpoint
from aiortc.rtcicetransport import parse_stun_turn_uri

from pipeline.transports.ice import IceServer

__all__ = ["turn_trouble"]

UNAUTHORIZED = 401
"""STUN error code: the user name or the password is wrong, or has expired (RFC 8489, section 14.8)."""


class _Relay(asyncio.DatagramProtocol):
    """Waits until the server has released the relay."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()


async def turn_trouble(url: str, server: IceServer, timeout_s: float) -> str:
    """Return why `url` gives no relay for the credentials of `server`; empty if it gives one.

    A relay that was given is released again.
    """
    try:
        where = parse_stun_turn_uri(url)
    except ValueError:
        return "is no address of a TURN server"
    try:
        async with asyncio.timeout(timeout_s):
            transport, relay = await create_turn_endpoint(
                _Relay,
                (where["host"], where["port"]),
                server.username,
                server.credential,
                ssl=True if where["scheme"] == "turns" else None,
                transport=where["transport"],
            )
            transport.close()
            await relay.gone.wait()
    except TransactionFailed as error:
        return _refusal(error)
    except (TransactionError, TimeoutError):
        return "does not answer"
    except socket.gaierror:
        return "has a host name that nobody knows"
    except OSError as error:
        return f"cannot be reached: {error.strerror or error}"
    return ""


def _refusal(error: TransactionFailed) -> str:
    code, reason = error.response.attributes.get("ERROR-CODE", (0, ""))
    if code == UNAUTHORIZED:
        return "refuses the user name, the password or the secret"
    return f"gives no relay: {code} {reason}".rstrip()
