"""The middleware in front of the application, for every request and socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.clock import Clock, SystemClock
from portal.errors import PortalStops
from portal.http.audit import Audited, AuditLog
from portal.http.bodies import Bodies
from portal.http.costly_reads import CostlyReads, OwnThreads, is_costly
from portal.http.errors import error_response, error_response_for, internal_error
from portal.http.headers import OwnersOnly, SafeHeaders, ShortRedirects
from portal.http.limits import AddressAllowance
from portal.http.login import Gate
from portal.http.origins import HARMLESS, OriginGuard
from portal.http.pacing import OneByOne, OwnShare
from portal.http.packing import Packing
from portal.http.proxies import BehindProxies, address_of

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["front_door"]

logger = logging.getLogger(__name__)

CHANGES_BURST = 120
CHANGES_PER_S = 2.0
"""Limit on changes by one address: at once, and per second after that."""
COSTLY_BURST = 420
COSTLY_PER_S = 30.0
"""Limit on costly reads of one address. A class of thirty may reload its pages twice at the same moment, and look at
its jobs all the time."""
READS_BURST = 4000
READS_PER_S = 80.0
"""Limit on all other reads of one address, including small files of the page and addresses that do not exist. Each
takes 2 to 7 ms. A page makes about a hundred when it opens for the first time; forty may do so at the same moment."""
DENIAL = "websocket.http.response"
"Key in the extensions of an ASGI scope: the server can answer a WebSocket handshake with an ordinary response."


def front_door(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Return the application with all middleware around it; the last one put around it sees a request first."""
    clock = SystemClock()
    app = PrintablePaths(app)
    app = Gate.of(app, settings, clock)
    if settings.audit:
        app = Audited(app, AuditLog(settings.data_dir))
    app = Packing(Bodies(OwnThreads(app)))
    app = HumanPace(CostlyReads(SocketsAnswered(HeadAsGet(RangesAnswered(app))), clock), clock)
    app = OriginGuard(app, allowed_origins=settings.allowed_origins, trusted_hosts=settings.trusted_hosts)
    app = OwnShare(OneByOne(app), settings.max_connections)
    app = BehindProxies(OwnersOnly(ShortRedirects(app)), settings.trusted_proxies, settings.root_path)
    return SafeHeaders(LastResort(app), framed_by=settings.allowed_origins)


class LastResort:
    """ASGI middleware: logs an exception that nothing else has handled, and answers it in the form of our errors.

    A request that still waits when the portal ends is answered with PortalStops.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:  # the server is ending
            if scope["type"] == "http" and not begun:
                await error_response_for(PortalStops(), {"Connection": "close"})(scope, receive, send)
            raise
        except Exception:  # the outermost handler of the server
            if scope["type"] != "http":
                raise
            logger.exception("%s %s could not be served", scope["method"], scope["path"])
            if not begun:  # otherwise the server closes the connection, and the client sees an incomplete answer
                await internal_error()(scope, receive, send)


class PrintablePaths:
    """ASGI middleware: answers 404 to a path with a NUL or another control character.

    File systems and databases fail on such names, each in its own way.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and any(ord(one) < ord(" ") for one in scope["path"]):
            refusal = error_response("not_found", "There is nothing at this address.", "Check it.", status=404)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


class SocketsAnswered:
    """ASGI middleware: answers a WebSocket that is refused before it was accepted in the form of our errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" or DENIAL not in scope.get("extensions", {}):
            await self._app(scope, receive, send)
            return
        taken = False

        async def telling(message: Message) -> None:
            nonlocal taken
            if message["type"] == "websocket.close" and not taken:
                refusal = error_response(
                    "not_found", "There is no socket at this address.", "It is /session.", status=404
                )
                await refusal(scope, receive, send)
                return
            taken = taken or message["type"] != "websocket.close"
            await send(message)

        await self._app(scope, receive, telling)


class RangesAnswered:
    """ASGI middleware: refuses a Range that cannot be served in the form of our errors.

    Starlette's FileResponse answers such a Range with plain text, past every exception handler. A request for several
    ranges gets the whole file, because each range would be read from the disk separately.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = Headers(scope=scope).get("range", "") if scope["type"] == "http" else ""
        if "," in wanted:
            scope = {**scope, "headers": [header for header in scope["headers"] if header[0] != b"range"]}
        if not wanted or "," in wanted:
            await self._app(scope, receive, send)
            return
        refused = False

        async def telling(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                headers = Headers(raw=message["headers"])
                if headers.get("content-type", "").startswith("text/plain"):
                    refused = True
                    size = {"Content-Range": headers["content-range"]} if "content-range" in headers else None
                    await _no_such_range(message["status"], size)(scope, receive, send)
            if not refused:
                await send(message)

        await self._app(scope, receive, telling)


def _no_such_range(status: int, headers: Mapping[str, str] | None) -> Response:
    return error_response(
        "bad_request",
        "The file has no such range of bytes.",
        "Ask for bytes=FIRST-LAST, counted from 0, or for the whole file.",
        status=status,
        headers=headers,
    )


class HeadAsGet:
    """ASGI middleware: answers HEAD like GET, without the body.

    The task that answers is cancelled as soon as the headers are known, because a stream of events would never end.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        begun = asyncio.Event()

        async def only_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                begun.set()

        answering = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, only_headers))
        waiting = asyncio.ensure_future(begun.wait())
        try:
            await asyncio.wait((answering, waiting), return_when=asyncio.FIRST_COMPLETED)
            if begun.is_set():
                await send({"type": "http.response.body", "body": b""})
        finally:
            waiting.cancel()
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answering


class HumanPace:
    """ASGI middleware behind BehindProxies: limits how often one address may change or read things.

    Several people with several tabs do not notice it. A script does if it fills the queue of jobs, or asks for the
    lists again and again. A refused request is answered 429, and its connection is closed, because a refusal costs as
    much as a small file.
    """

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._changes = AddressAllowance(clock, burst=CHANGES_BURST, per_s=CHANGES_PER_S)
        self._costly = AddressAllowance(clock, burst=COSTLY_BURST, per_s=COSTLY_PER_S)
        self._reads = AddressAllowance(clock, burst=READS_BURST, per_s=READS_PER_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wait_s = self._charge(scope) if scope["type"] == "http" else 0.0
        if wait_s <= 0:
            await self._app(scope, receive, send)
            return
        refusal = error_response(
            "too_often",
            "That was more than one address may ask for at a time.",
            f"Wait {math.ceil(wait_s)} s, then try again.",
            status=429,
            headers={"Retry-After": str(math.ceil(wait_s)), "Connection": "close"},
        )
        await refusal(scope, receive, send)

    def _charge(self, scope: Scope) -> float:
        """Return 0.0 if the request is granted, else the seconds until it would be."""
        if scope["method"] not in HARMLESS:
            return self._changes.take(address_of(scope))
        return (self._costly if is_costly(scope) else self._reads).take(address_of(scope))
