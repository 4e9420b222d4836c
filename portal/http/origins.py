"""Decides which websites' pages may use the portal, and by which host names it may be asked, for requests and sockets.

A browser lets any page send requests to any address that its visitor can reach, even to a portal on their own machine.
But pages cannot forge two headers of the browser: `Origin`, and (at secure addresses) `Sec-Fetch-Site`. So a page of
another website may change nothing and may not read answers (CORS), unless the operator allows it. Programs send neither
header, and are served.

That leaves DNS rebinding: when the name evil.example suddenly resolves to 127.0.0.1, its page has the same origin as
the portal. It still asks by its own name. So a name that anybody on the internet can own is served only if the operator
has listed it, or if the request came over TLS, for which that name would need a certificate on this portal.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.http.addresses import is_local_name, parse_host, parse_host_pattern, parse_origin
from portal.http.errors import error_response
from portal.http.proxies import asked_hosts, path_below

__all__ = ["HARMLESS", "OriginGuard"]

HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
"Methods of requests that change nothing."
SHARED = ("/api", "/static", "/healthz")
"Addresses that pages of allowed websites may read."
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type, Range, If-None-Match, If-Modified-Since"
RESPONSE_HEADERS = "Accept-Ranges, Content-Length, Content-Range, ETag, Location, Retry-After"
REMEMBERED_S = 600
"How long browsers may remember our answer to a preflight."
NO_NAME = ""
"Stands for a Host header that is not even a valid name."


class OriginGuard:
    """ASGI middleware behind BehindProxies: refuses foreign pages and unknown host names. It answers CORS preflights.

    allowed_origins: websites whose pages may use this portal. trusted_hosts: names by which it may be asked, in
    addition to IP addresses and local names; "*.example.org" for all names below one, "*" for any.
    """

    def __init__(
        self, app: ASGIApp, *, allowed_origins: Collection[str] = (), trusted_hosts: Collection[str] = ()
    ) -> None:
        self._app = app
        self._allowed = frozenset(parse_origin(origin) for origin in allowed_origins)
        names = {parse_host_pattern(host) for host in trusted_hosts}
        # An allowed website is accepted as a host name too, because it is often the portal's own public name.
        names |= {parse_host(urlsplit(origin).netloc)[0] for origin in self._allowed}
        self._names = frozenset(names | {socket.gethostname().lower()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = _origin_of(headers)
        if scope["type"] == "websocket":
            refusal = self._refused_name(scope, headers)
            if refusal is None and self._is_foreign(scope, headers, origin):
                refusal = _foreign()
            await (refusal or self._app)(scope, receive, send)
            return
        if _is_shared(scope):
            send = _sharing(send, headers["origin"] if origin in self._allowed else None)
        await (self._answer(scope, headers, origin) or self._app)(scope, receive, send)

    def _answer(self, scope: Scope, headers: Headers, origin: str | None) -> Response | None:
        """Return the guard's own answer, or None to let the request pass."""
        refusal = self._refused_name(scope, headers)
        if refusal is not None:
            return refusal
        asks_leave = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if asks_leave and origin in self._allowed and _is_shared(scope):
            return Response(
                status_code=204,
                headers={
                    "Access-Control-Allow-Methods": METHODS,
                    "Access-Control-Allow-Headers": REQUEST_HEADERS,
                    "Access-Control-Max-Age": str(REMEMBERED_S),
                },
            )
        if (asks_leave or scope["method"] not in HARMLESS) and self._is_foreign(scope, headers, origin):
            return _foreign()
        return None

    def _refused_name(self, scope: Scope, headers: Headers) -> Response | None:
        name = self._unknown_name(scope, headers)
        if name is None:
            return None
        if name == NO_NAME:
            return error_response(
                "bad_request", "The request names no host.", "Open the portal by its address.", status=400
            )
        return error_response(
            "unknown_host",
            f"This portal is not known by the name {name!r}.",
            f"Open it by its address; an operator can add the name with --trusted-hosts {name}",
            status=403,
        )

    def _is_foreign(self, scope: Scope, headers: Headers, origin: str | None) -> bool:
        if origin in self._allowed:
            return False
        site = headers.get("sec-fetch-site", "none")
        if origin is None:
            return site not in ("none", "same-origin")
        return site == "cross-site" or not any(_is_at(origin, host) for host in asked_hosts(scope))

    def _unknown_name(self, scope: Scope, headers: Headers) -> str | None:
        """Return the first of the request's host names that anybody might own and that is not listed, or None.

        A request without a host name is served: it comes from a program that speaks HTTP/1.0.
        """
        if len(headers.getlist("host")) > 1:
            return NO_NAME  # it is not defined which of them counts
        for place, host in enumerate(asked_hosts(scope)):
            try:
                name, _port = parse_host(host)
            except ValueError:
                return NO_NAME
            # The second name is the one that a proxy tells. It must always be a known name, because what the browser
            # says about TLS vouches for the first name only.
            if not self._is_known(name) and not (place == 0 and _came_by_tls(scope, headers)):
                return name
        return None

    def _is_known(self, name: str) -> bool:
        if "*" in self._names or name in self._names or is_local_name(name) or _is_address(name):
            return True
        above = [name.split(".", place)[place] for place in range(1, name.count(".") + 1)]
        return any(f"*.{domain}" in self._names for domain in above)


def _foreign() -> Response:
    return error_response(
        "foreign_origin",
        "A page of another website asked for this.",
        "Open the portal's own page; an operator can allow other pages with --allowed-origins.",
        status=403,
    )


def _came_by_tls(scope: Scope, headers: Headers) -> bool:
    """Whether the request reached a trusted proxy over TLS, and the browser says so too.

    A page of a rebound name cannot pass this: there is no certificate for its name here. And to an address that is not
    secure, browsers send `Origin: http://...` and no `Sec-Fetch-Site`, which scripts cannot set.
    """
    origin = headers.get("origin", "")
    by_browser = origin.startswith("https://") or (not origin and "sec-fetch-site" in headers)
    return scope["scheme"] in ("https", "wss") and by_browser


def _origin_of(headers: Headers) -> str | None:
    """Return the Origin in the form in which it is compared; "null" if that is impossible, None if there is none."""
    origins = headers.getlist("origin")
    if not origins:
        return None
    try:
        return parse_origin(origins[0]) if len(origins) == 1 else "null"  # it is not defined which of two counts
    except ValueError:
        return "null"


def _is_at(origin: str, host: str) -> bool:
    """Whether an origin is at a host: the same name and, for the origin's scheme, the same port."""
    scheme = urlsplit(origin).scheme
    try:
        return bool(scheme) and parse_origin(f"{scheme}://{host}") == origin
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_shared(scope: Scope) -> bool:
    path = path_below(scope)
    return any(path == shared or path.startswith(f"{shared}/") for shared in SHARED)


def _sharing(send: Send, origin: str | None) -> Send:
    """Return a `send` that lets pages of the origin read the answer. None: only mark that answers depend on Origin."""

    async def sharing(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.add_vary_header("Origin")
            if origin is not None:
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = RESPONSE_HEADERS
        await send(message)

    return sharing
