"""Finds out who sent a request, and by which host, scheme and path, from what trusted proxies say.

A proxy hides the visitor, because the connection comes from the proxy. So it says in headers who asked it, and by which
host, scheme and path (`X-Forwarded-*`, or `Forwarded`, RFC 7239). Anybody can write such headers, so they count only
from the addresses of `trusted_proxies`. By default that is this machine, where nginx or Caddy usually runs. A page of
another website that is open on this machine cannot forge them: the browser first asks whether it may send them (CORS
preflight), and `origins.py` refuses. A program on this machine can forge them, but it could just as well stop the
portal.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from portal.http.addresses import is_path, parse_address, parse_networks, split_target
from portal.http.errors import error_response

__all__ = [
    "ASKED_HOSTS",
    "BehindProxies",
    "address_of",
    "asked_hosts",
    "is_local",
    "network_of",
    "path_below",
    "was_passed_on",
]

ASKED_HOSTS = "vivavoce.asked_hosts"
"Key in an ASGI scope: the host names that the request asked for, unchanged; see asked_hosts()."
PASSED_ON = "vivavoce.passed_on"
"Key in an ASGI scope: whether a trusted proxy sent the request; see was_passed_on()."
FORWARDED_HERE = "vivavoce.forwarded_here"
"Key in an ASGI scope: whether the request had headers that proxies write, whoever wrote them; see is_local()."
MAX_PROXIES = 20
"Most addresses read of a chain, from its near end. Real chains have two or three; a header has room for thousands."
FORWARDED_PART = re.compile(r'(?<![a-z])([a-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,\s"]*))', re.IGNORECASE)
FORWARDED = frozenset(
    (b"forwarded", *(b"x-forwarded-" + name for name in (b"for", b"host", b"proto", b"prefix", b"port", b"server")))
)
WRITTEN_BY_PROXIES = FORWARDED | {b"via", b"x-real-ip", b"x-client-ip"}
SECURE = {"http": "https", "https": "https", "ws": "wss", "wss": "wss"}
PLAIN = {"http": "http", "https": "http", "ws": "ws", "wss": "ws"}
SITES_NET = 48
VISITORS_NET = 64
"""Lengths of the IPv6 networks that count as one: VISITORS_NET for one visitor, because a household or a server has a
whole /64; SITES_NET for the network around it, see network_of()."""


def address_of(scope: Scope) -> str:
    """Return the key for limits: an IPv4 address, or the /64 network of an IPv6 address; '' if it is not known."""
    client = scope.get("client")
    address = parse_address(client[0]) if client else None
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, VISITORS_NET), strict=False))
    return "" if address is None else str(address)


def network_of(address: str) -> str:
    """Return the /48 network around an IPv6 visitor's address_of(); '' for all others.

    Many providers give a customer, or a rented server, a whole /48 network: 65,536 keys for limits.
    """
    return str(IPv6Network(address).supernet(new_prefix=SITES_NET)) if ":" in address else ""


def path_below(scope: Scope) -> str:
    """Return the path that the application's routes see, without the prefix that a proxy puts in front.

    Guards use this function and routes use Starlette's, so both have to remove the same: whole segments only.
    """
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "")
    return path.removeprefix(root_path) if path == root_path or path.startswith(f"{root_path}/") else path


def is_local(scope: Scope) -> bool:
    """Whether the request comes from this machine, and not through a proxy.

    A proxy's headers cannot make a request local: visitors can write such headers, and some proxies write none.
    """
    if scope.get(FORWARDED_HERE):
        return False
    client = scope.get("client")
    address = parse_address(client[0]) if client else None
    return address is not None and address.is_loopback


def asked_hosts(scope: Scope) -> tuple[str, ...]:
    """Return the Host that we received and, if a trusted proxy named it, the one the proxy received. May be empty."""
    hosts: tuple[str, ...] | None = scope.get(ASKED_HOSTS)
    return hosts if hosts is not None else tuple(filter(None, Headers(scope=scope).getlist("host")))


def was_passed_on(scope: Scope) -> bool:
    """Whether a trusted proxy sent the request, so that its headers about the visitor can be believed."""
    return bool(scope.get(PASSED_ON, False))


class BehindProxies:
    """ASGI middleware: puts the visitor's address, host, scheme and path into the scope instead of the proxy's.

    trusted: addresses or networks of proxies. root_path: the path below which the portal is seen, if no proxy names
    one. In the scope, as ASGI defines it, `path` begins with `root_path`, whether a proxy removes that or not.
    """

    def __init__(self, app: ASGIApp, trusted: Collection[str], root_path: str = "") -> None:
        self._app = app
        self._trusted = parse_networks(trusted)
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = _with_a_path(scope)
            if not scope["path"].startswith(
                "/"
            ):  # with a root path in front, it would become another path than the one asked for
                message = "The address of the request has no path that begins with a slash."
                await error_response("bad_request", message, "Ask for a path, such as /.", status=400)(
                    scope, receive, send
                )
                return
            scope = self._as_asked(scope)
        await self._app(scope, receive, send)

    def _as_asked(self, scope: Scope) -> Scope:
        headers = Headers(scope=scope)
        root_path = self._root_path
        asked = {**scope, ASKED_HOSTS: tuple(filter(None, headers.getlist("host")))}
        # The headers of proxies are read here only. Without them, nothing further in can believe them by mistake.
        asked["headers"] = [header for header in scope["headers"] if header[0] not in FORWARDED]
        asked[FORWARDED_HERE] = any(name in WRITTEN_BY_PROXIES for name, _ in scope["headers"])
        client = scope.get("client")
        if client and self._trusts(client[0]):
            told = _Forwarded.from_headers(headers)
            asked[PASSED_ON] = True
            asked["client"] = (self._visitor(client[0], told.addresses), 0) if told.addresses else client
            if told.scheme:
                asked["scheme"] = (SECURE if told.scheme in ("https", "wss") else PLAIN)[scope["scheme"]]
            if told.host:
                asked[ASKED_HOSTS] = (*asked[ASKED_HOSTS], told.host)
                others = [header for header in asked["headers"] if header[0] != b"host"]
                asked["headers"] = [*others, (b"host", told.host.encode("latin-1"))]
            root_path = told.prefix or root_path
        if root_path:
            path = scope["path"]
            below = path == root_path or path.startswith(f"{root_path}/")
            asked |= {"root_path": root_path, "path": path if below else root_path + path}
        return asked

    def _trusts(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(network.holds(address) for network in self._trusted)

    def _visitor(self, peer: str, addresses: tuple[str, ...]) -> str:
        """Return the visitor's address from a chain of addresses, to which each proxy appended whom it saw.

        That is the last address in the chain that is not a trusted proxy; the visitor may have written everything
        before it. If the last MAX_PROXIES addresses of a longer chain are all trusted, the chain is made up, and the
        peer's own address is returned.
        """
        nearest = peer
        for text in reversed(addresses[-MAX_PROXIES:]):
            address = parse_address(text)
            if address is None:
                return nearest
            if not self._trusts(text):
                return str(address)
            nearest = str(address)
        return nearest if len(addresses) <= MAX_PROXIES else peer


def _with_a_path(scope: Scope) -> Scope:
    """Split a target that is a whole address, as sent to a proxy. Its host overrides `Host` (RFC 9112, 3.2.2)."""
    found = split_target(scope["path"])
    if found is None:
        return scope
    host, path = found
    others = [header for header in scope["headers"] if header[0] != b"host"]
    named = [*others, (b"host", host.encode("latin-1", "replace"))]
    return {**scope, "path": path, "raw_path": quote(path).encode(), "headers": named}


@dataclass(frozen=True, slots=True)
class _Forwarded:
    """What a proxy's headers say; a field is empty if they say nothing usable."""

    addresses: tuple[str, ...] = ()
    host: str = ""
    scheme: str = ""
    prefix: str = ""

    @classmethod
    def from_headers(cls, headers: Headers) -> _Forwarded:
        """Read X-Forwarded-* or, only if there is none, Forwarded.

        A proxy that writes the one kind passes the other on unchanged, so that one may come from the visitor.
        """
        prefix = headers.get("x-forwarded-prefix", "").strip().rstrip("/")
        prefix = prefix if is_path(prefix) else ""
        names = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
        if any(name in headers for name in names):
            addresses, hosts, schemes = ([_listed(headers, name)] for name in names)
            return cls(tuple(addresses[0]), _first(hosts[0]), _first(schemes[0]).lower(), prefix)
        elements = ",".join(headers.getlist("forwarded"))
        found: dict[str, list[str]] = {"for": [], "host": [], "proto": []}
        for name, quoted, bare in FORWARDED_PART.findall(elements):
            found.setdefault(name.lower(), []).append(quoted or bare)
        return cls(tuple(found["for"]), _first(found["host"]), _first(found["proto"]).lower(), prefix)


def _listed(headers: Headers, name: str) -> list[str]:
    return [part.strip() for value in headers.getlist(name) for part in value.split(",") if part.strip()]


def _first(values: list[str]) -> str:
    return values[0] if values else ""
