"""Security headers of every answer: where its scripts may come from, who may frame it, who may cache it."""

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
# img-src, media-src and style-src are needed because a browser shows a picture, a clip or JSON that is opened on its
# own inside a small document that it makes.
CLOSED = {
    "default-src": "'none'",
    "img-src": "'self' data:",
    "media-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "base-uri": "'none'",
    "form-action": "'none'",
}
"Policy for every answer that is not a page: nothing in it may run, whatever it turns out to be."
INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)


OF_SOMEBODY = "private, no-cache"
"""Cache-Control of things that have owners: clips, recordings, pictures. A cache on the way must not give them to
others. A browser has to ask each time, because its user may have logged out, and a new avatar may have the same id."""


LONGEST_REDIRECT = 2000
"""Most characters of an address to which an answer redirects."""


class SafeHeaders:
    """The outermost ASGI middleware: adds the security headers that an answer lacks.

    framed_by: origins whose pages may show ours in a frame, besides our own. An answer with a policy of its own keeps
    it, with the rule for frames added.
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
        """Add the missing headers. Public for answers that do not come from the application."""
        headers[POLICY] = f"{headers.get(POLICY) or _policy(CLOSED)}; {self._framing}"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(self), payment=(), usb=()"
        if self._alone:  # for browsers that do not know frame-ancestors; this header cannot name other origins
            headers["X-Frame-Options"] = "SAMEORIGIN"


class OwnersOnly:
    """ASGI middleware behind BehindProxies: marks all answers of the API as private."""

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
    """ASGI middleware: refuses redirects to very long addresses.

    Proxies accept only a few kilobytes of headers. They take a longer head for a failure of the portal, and may then
    stop sending it any requests.
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
    """Return the policy of one of our pages: everything comes from here only, and inline scripts are named by hashes.

    connect, script: further sources. Inline styles are allowed, because Gradio and Swagger UI write them as attributes.
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
    """Return the texts of a page's inline scripts."""
    return INLINE_SCRIPT.findall(html)


def _source_of(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _policy(directives: dict[str, str]) -> str:
    return "; ".join(f"{name} {sources}" for name, sources in directives.items())
