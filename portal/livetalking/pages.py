"""Serves a folder of pages that were written for LiveTalking, unchanged and beside the portal's own pages."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import get_route_path  # type: ignore[attr-defined]  # it is missing in __all__
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Pages"]

POLICY: Final = (
    "default-src 'self' http: https: data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "connect-src 'self' http: https: ws: wss: blob:; object-src 'none'; base-uri 'self'"
)
"""The Content-Security-Policy of these pages. They have inline scripts, and use libraries and streaming servers on
other hosts, by plain HTTP as well. (In a page that came by HTTPS, browsers refuse plain HTTP themselves.) Such a wide
policy is acceptable because the operator has chosen the pages."""
LONGEST_PATH = 500


class Pages:
    """An ASGI application that serves the files in `folder`. All other requests, and the address `/`, go to `other`.

    A request for a subfolder is answered with its index.html. Links that lead out of the folder are not followed, and
    names that begin with a dot are not found.
    """

    def __init__(self, folder: Path, other: ASGIApp) -> None:
        self._files = StaticFiles(directory=folder)
        self._other = other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = await self._page(scope) if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else None
        await (page or self._other)(scope, receive, send)

    async def _page(self, scope: Scope) -> Response | None:
        asked = get_route_path(scope)
        parts = [part for part in asked.split("/") if part]
        if not parts or len(asked) > LONGEST_PATH or any(part.startswith(".") or "\0" in part for part in parts):
            return None
        if asked.endswith("/"):
            parts.append("index.html")
        try:
            response = await self._files.get_response("/".join(parts), scope)
        except HTTPException:  # there is no such file, or it may not be read
            return None
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-cache"
        return response
