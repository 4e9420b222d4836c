"""Lets requests begin one after another, so that live sessions get a turn between any two of them.

And while free connections are few, it limits how many of them one address may use.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from portal.http.errors import error_response_for
from portal.http.limits import AddressShares, TooMany, Turns
from portal.http.proxies import address_of

__all__ = ["OneByOne", "OwnShare"]

SHARE, PLENTY = 1 / 8, 1 / 2
"""Once the fraction PLENTY of all connections is in use, an address may use the fraction SHARE of them at most. Before
that it may use more: a class of thirty behind one address opens its pages with 200."""


class OneByOne:
    """ASGI middleware behind BehindProxies: at most one request or handshake begins per turn of the event loop.

    Most answers wait for nothing, so each is made without a pause, in 1 to 2 ms. Without this class, 80 requests that
    came at once were answered in the same turn of the loop, and no viewer got a picture meanwhile. Addresses take
    turns, so an address that asks for much waits only for itself. The line is never longer than the number of
    connections, because each has one request at a time.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turns = Turns()
        self._one = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            async with self._turns.of(address_of(scope)), self._one:
                await asyncio.sleep(0)  # lets all other tasks run once
        await self._app(scope, receive, send)


class OwnShare:
    """ASGI middleware behind BehindProxies: keeps one address from using up all connections by reading slowly.

    max_connections: limit on the server's connections. WebSockets are counted too.
    """

    def __init__(self, app: ASGIApp, max_connections: int) -> None:
        self._app = app
        self._plenty = max_connections * PLENTY
        self._shares = AddressShares(max(1, int(max_connections * SHARE)))
        self._at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        address = address_of(scope)
        if self._at_work >= self._plenty and self._shares.has_all(address):
            await _refusal()(scope, receive, send)
            return
        self._shares.add(address)
        self._at_work += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._at_work -= 1
            self._shares.give(address)


def _refusal() -> ASGIApp:
    error = TooMany("Your address has many connections at work already.", "Wait until some of them have ended.")
    return error_response_for(error, {"Connection": "close"})
