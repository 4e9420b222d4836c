"""What every answer says about itself: where its scripts may come from, who may frame it, what it may tell others."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.http.errors import error_response
from portal.http.proxies import path_below

__all__ = ["OwnersOnly", "SafeHeaders", "ShortRedirects", "inline_scripts", "page_policy"]

POLICY = "Content-Security-Policy"
# A browser shows a picture, a clip or a JSON text that is opened by itself in a small document of its own.
CLOSED = {
    "default-src": "'none'",
    "img-src": "'self' data:",
    "media-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "base-uri": "'none'",
    "form-action": "'none'",
}
"For everything that is not a page: nothing in it may run, whatever it turns out to be."
INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)


OF_SOMEBODY = "private, no-cache"
"""Clips, recordings and pictures have owners. A cache on the way must not hand them to others, and a browser asks each
time: whoever has logged out has them no longer, and an avatar's id can come back with another face."""


LONGEST_REDIRECT = 2000
"""Characters of an address that an answer leads to."""


class SafeHeaders:
    """ASGI middleware, the outermost. framed_by: origins whose pages may show ours in a frame, besides our own.

    An answer that has a policy of its own keeps it, and is told who may frame it.
    """

    def __init__(self, app: ASGIApp, framed_by: Collection[str] = ()) -> None:
        self._app = app
        self._framing = _policy({"frame-ancestors": " ".join(("'self'", *sorted(framed_by)))})
        self._alone = not framed_by

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def safe_send(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                self.complete(headers)
            await send(message)

        await self._app(scope, receive, safe_send)

    def complete(self, headers: MutableHeaders) -> None:
        """Add what is missing; for answers that the application does not give."""
        headers[POLICY] = f"{headers.get(POLICY) or _policy(CLOSED)}; {self._framing}"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(self), payment=(), usb=()"
        if self._alone:  # of browsers that do not know frame-ancestors; it cannot name others
            headers["X-Frame-Options"] = "SAMEORIGIN"


class OwnersOnly:
    """ASGI middleware, behind what tells the path below which the portal is seen: what the API answers is private."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def private_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("Cache-Control", OF_SOMEBODY)
            await send(message)

        is_owned = scope["type"] == "http" and path_below(scope).startswith("/api/")
        await self._app(scope, receive, private_send if is_owned else send)


class ShortRedirects:
    """ASGI middleware: no answer repeats a long address.

    Proxies take a few kilobytes of headers. A longer head counts as a failure of this portal, for all its viewers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = False

        async def short_send(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                refused = len(MutableHeaders(scope=message).get("Location", "")) > LONGEST_REDIRECT
                if refused:
                    too_long = error_response(
                        "address_too_long", "The address is too long.", "Ask for less.", status=414
                    )
                    await too_long(scope, receive, send)
            if not refused:
                await send(message)

        await self._app(scope, receive, short_send if scope["type"] == "http" else send)


def page_policy(html: str, *, connect: Iterable[str] = (), script: Iterable[str] = (), worker: str = "'self'") -> str:
    """The policy of a page of ours: scripts and everything else from here only, its inline scripts by their hashes.

    connect, script: further sources. Styles may be inline: Gradio and Swagger UI write them as attributes.
    """
    hashes = (_source_of(text) for text in inline_scripts(html))
    return _policy(
        {
            "default-src": "'self'",
            "script-src": " ".join(("'self'", *script, *hashes)),
            "style-src": "'self' 'unsafe-inline'",
            "img-src": "'self' data: blob:",
            "media-src": "'self' data: blob:",
            "font-src": "'self' data:",
            "connect-src": " ".join(("'self'", *connect)),
            "worker-src": worker,
            "object-src": "'none'",
            "base-uri": "'self'",
            "form-action": "'none'",
        }
    )


def inline_scripts(html: str) -> list[str]:
    return INLINE_SCRIPT.findall(html)


def _source_of(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _policy(directives: dict[str, str]) -> str:
    return "; ".join(f"{name} {sources}" for name, sources in directives.items())
