"""Kiosk mode: visitors talk to the portal's avatars and can change nothing."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from portal.http.errors import error_response
from portal.http.origins import HARMLESS
from portal.http.proxies import path_below

__all__ = ["KioskGuard"]

OPEN = re.compile(
    r"""/api/ (?:
        avatars (?: /[^/]+ (?: /persona | /poster\.jpg | /preview\.mp4 | /mattes\.bin | /cutout\.webp
            | /gestures (?: /[^/]+ (?: /poster\.jpg | /preview\.mp4 ) )?
        )? )?
        | backends (?: /tts/[^/]+/preview )?
        | recordings/[^/]+
    ) /?""",
    re.VERBOSE,
)
"""Addresses that the stage view reads. All others are closed, so that a new address is closed too. An avatar's export,
its face report and its voice sample, jobs and clips are private. A recording's id is known only to its viewer."""


class KioskGuard:
    """ASGI middleware: answers only those addresses of the API that the stage view reads. Sockets and pages pass."""

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
        return scope["method"] in HARMLESS and OPEN.fullmatch(path) is not None
