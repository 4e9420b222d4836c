"""A portal as a kiosk: visitors talk to its avatars, and can change nothing of what it has."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from portal.http.errors import error_response
from portal.http.origins import HARMLESS
from portal.http.proxies import path_below

__all__ = ["KioskGuard"]

OPEN = ("/api/avatars", "/api/backends", "/api/recordings")
"What the stage view reads. Recordings are found by those who know their ids; jobs and clips are nobody's business."


class KioskGuard:
    """ASGI middleware: of the API, only what the stage view reads is answered. Sockets and pages pass."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        refusal = error_response(
            "kiosk", "This portal is a kiosk: there is only its avatar.", "Ask the operator.", status=403
        )
        await refusal(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path = path_below(scope)
        if not path.startswith("/api/"):
            return True
        return scope["method"] in HARMLESS and path.startswith(OPEN)
