"""What stands in front of the application, from the outside inwards, for every request and socket."""

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
from portal.http.dear import DearReads, is_dear
from portal.http.errors import error_response, internal_error, told
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
DEAR_BURST = 420
DEAR_PER_S = 30.0
"""A class of thirty may reload its pages twice at the same moment, and look at its jobs all the time."""
READS_BURST = 4000
READS_PER_S = 80.0
"""Of everything else that is read, small files of the page and what does not exist among them: each takes 2 to 7 ms. A
page asks for about a hundred as it opens for the first time; forty may do so at the same moment."""
DENIAL = "websocket.http.response"
"Key of the extensions of a scope: the server can answer the handshake of a socket as it answers a request."


def front_door(app: ASGIApp, settings: Settings) -> ASGIApp:
    """The application as it is served: who asks is known, strangers are refused, every answer is safe to show."""
    clock = SystemClock()
    app = PrintablePaths(app)
    app = Gate.of(app, settings, clock)
    if settings.audit:
        app = Audited(app, AuditLog(settings.data_dir))
    app = Packing(Bodies(app))
    app = HumanPace(DearReads(SocketsAnswered(HeadAsGet(RangesAnswered(app))), clock), clock)
    app = OriginGuard(app, allowed_origins=settings.allowed_origins, trusted_hosts=settings.trusted_hosts)
    app = OwnShare(OneByOne(app), settings.max_connections)
    app = BehindProxies(OwnersOnly(ShortRedirects(app)), settings.trusted_proxies, settings.root_path)
    return SafeHeaders(LastResort(app), framed_by=settings.allowed_origins)


class LastResort:
    """ASGI middleware: a fault that nothing else answered is logged and told as our errors are. So is the end of the
    portal to a request that still waits then.
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
        except asyncio.CancelledError:  # by the server, which ends
            if scope["type"] == "http" and not begun:
                await told(PortalStops(), {"Connection": "close"})(scope, receive, send)
            raise
        except Exception:  # the border of the server
            if scope["type"] != "http":
                raise
            logger.exception("%s %s could not be served", scope["method"], scope["path"])
            if not begun:  # else the server ends the connection, where the answer is not complete
                await internal_error()(scope, receive, send)


class PrintablePaths:
    """ASGI middleware: nothing lies at an address with a NUL or another control character in it. File systems and
    databases refuse such names each in a way of its own.
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
    """ASGI middleware: a socket that is closed before it was taken is told why, in the form of our errors."""

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
    """ASGI middleware: a Range that cannot be served is refused in the form of our errors, and several of them at once
    are answered with the whole file: each would be read by itself.

    Starlette's FileResponse answers a plain text of its own, past every exception handler.
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
    """ASGI middleware: HEAD is answered as GET is, without the body.

    What would make the body is ended as soon as the headers are known: a stream of events would never end by itself.
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
    """ASGI middleware behind BehindProxies: one address changes things, and reads what is dear, at the pace of people.

    Several people with several tabs do not notice; a script that fills the queue of jobs does, and one that has the
    lists made again and again. Refused with 429, and the connection is closed:
    a refusal costs as much as a small file.
    """

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._changes = AddressAllowance(clock, burst=CHANGES_BURST, per_s=CHANGES_PER_S)
        self._dear = AddressAllowance(clock, burst=DEAR_BURST, per_s=DEAR_PER_S)
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
        """Seconds to wait for what is asked for; 0.0 if it is granted."""
        if scope["method"] not in HARMLESS:
            return self._changes.take(address_of(scope))
        return (self._dear if is_dear(scope) else self._reads).take(address_of(scope))
