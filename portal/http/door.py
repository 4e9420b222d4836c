"""What stands in front of the application, from the outside inwards, for every request and socket."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.api.errors import internal_error
from portal.http.bodies import Bodies
from portal.http.headers import SafeHeaders
from portal.http.origins import OriginGuard
from portal.http.proxies import BehindProxies

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["front_door"]

logger = logging.getLogger(__name__)

WORTH_PACKING_BYTES = 1000
PACKING = 6
"Of gzip's 1 to 9: what is above costs time and hardly saves."


def front_door(app: ASGIApp, settings: Settings) -> ASGIApp:
    """The application as it is served: who asks is known, strangers are refused, every answer is safe to show."""
    app = GZipMiddleware(Bodies(app), minimum_size=WORTH_PACKING_BYTES, compresslevel=PACKING)
    app = OriginGuard(HeadAsGet(app), allowed_origins=settings.allowed_origins, trusted_hosts=settings.trusted_hosts)
    app = BehindProxies(app, settings.trusted_proxies, settings.root_path)
    return SafeHeaders(LastResort(app), framed_by=settings.allowed_origins)


class LastResort:
    """ASGI middleware: a fault that nothing else answered is logged and told as our errors are."""

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
        except Exception:  # the border of the server
            if scope["type"] != "http":
                raise
            logger.exception("%s %s could not be served", scope["method"], scope["path"])
            if not begun:  # else the server ends the connection, where the answer is not complete
                await internal_error()(scope, receive, send)


class HeadAsGet:
    """ASGI middleware: HEAD is answered as GET is, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, without_body)
