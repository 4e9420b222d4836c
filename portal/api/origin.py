"""Same-origin guard: another website's page must not drive a portal that its visitor can reach (CSRF).

Browsers tell where a request comes from by `Origin`. WebSockets and requests that change something are refused when it
is another host than the one asked; programs send no Origin and are served.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from portal.api.errors import error_response
from portal.http.proxies import asked_hosts

__all__ = ["SameOrigin"]

HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY_VIOLATION = 1008


class SameOrigin:
    """ASGI middleware. allowed: further origins, e.g. "https://example.org", whose pages may drive this portal."""

    def __init__(self, app: ASGIApp, allowed: Collection[str] = ()) -> None:
        self._app = app
        self._allowed = frozenset(origin.rstrip("/") for origin in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and self._is_foreign(scope):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "another origin"})
        elif scope["type"] == "http" and scope["method"] not in HARMLESS and self._is_foreign(scope):
            refusal = error_response(
                "foreign_origin",
                "A page of another website asked for this.",
                "Open the portal's own page; an operator can allow other pages with --allowed-origins.",
                status=403,
            )
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None or origin in self._allowed:
            return False
        return urlsplit(origin).netloc not in asked_hosts(scope)
