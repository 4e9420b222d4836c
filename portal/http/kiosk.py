"""A portal as a kiosk: visitors talk to its avatars, and can change nothing of what it has."""

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
"""What the stage view reads. What is not named is closed, so that a new address is closed too: an avatar's export, its
face report and voice sample, jobs and clips are nobody's business. Recordings are found by those who know their ids."""


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
        return scope["method"] in HARMLESS and OPEN.fullmatch(path) is not None
