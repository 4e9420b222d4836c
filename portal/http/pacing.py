"""Requests begin one after another, so that live sessions have their turn between any two of them."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from portal.http.limits import Turns
from portal.http.proxies import address_of

__all__ = ["OneByOne"]


class OneByOne:
    """ASGI middleware behind BehindProxies: at most one request or handshake begins per turn of the event loop.

    Most answers wait for nothing, so each is made in one go, in 1 to 2 ms. Without this, 80 connections that asked at
    once were answered in the same turn of the loop, and no viewer got a picture meanwhile. Addresses take turns, so an
    address that asks for much waits for itself. The line is no longer than there are connections, because each of them
    has one request at a time.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turns = Turns()
        self._one = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            async with self._turns.of(address_of(scope)), self._one:
                await asyncio.sleep(0)  # everybody else's turn
        await self._app(scope, receive, send)
