"""WHIP (RFC 9725): offers a stream to a server over HTTP. The stream itself goes by WebRTC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from urllib.parse import unquote

import httpx2 as httpx

from pipeline.stream_address import WHIP, parse_stream_address
from pipeline.transports.ice import IceServer
from pipeline.transports.outward import OutwardTransport
from pipeline.transports.whereabouts import LookUp, Whereabouts, look_up, whereabouts_of

__all__ = ["WhipError", "WhipServer", "endpoint_of", "http_to", "ice_servers_of", "outward_only"]

ANSWERED_WITHIN_S: Final = 8.0
ENDED_WITHIN_S: Final = 2.0
MAX_BYTES: Final = 64 * 1024
"""Most bytes of an answer."""
MAX_REDIRECTS: Final = 5
MAX_ICE_SERVERS: Final = 8
REDIRECTS: Final = frozenset({307, 308})
"""Other redirects would turn a POST into a GET."""
REFUSALS: Final = frozenset({401, 403})
LINK: Final = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"[^"]*"|[^\s";,]+))*)')
PARAMETER: Final = re.compile(r'([\w-]+)\s*=\s*(?:"([^"]*)"|([^\s";,]+))')
ICE_URL: Final = re.compile(r"(?:stun|turns?):[\w.-]{1,253}(?::\d{1,5})?(?:\?transport=(?:udp|tcp))?", re.ASCII)


class WhipError(Exception):
    """The server does not take the stream. The text is for people. code: one of TROUBLES (push_child.py)."""

    def __init__(self, words: str, code: str = "refused") -> None:
        super().__init__(words)
        self.code = code


def endpoint_of(address: str) -> tuple[str, str]:
    """Return the URL to which a stream is offered, and the token for it (empty: none). Raises BadRequest."""
    parts = parse_stream_address(address)
    token, _, server = parts.netloc.rpartition("@")
    return parts._replace(scheme=parts.scheme.removeprefix(WHIP), netloc=server, fragment="").geturl(), unquote(token)


def ice_servers_of(links: list[str]) -> tuple[IceServer, ...]:
    """Return the STUN and TURN servers in `Link` headers. Those that cannot be used are left out."""
    found: list[IceServer] = []
    for url, rest in LINK.findall(",".join(links)):
        parameters = {name.lower(): quoted or plain for name, quoted, plain in PARAMETER.findall(rest)}
        if parameters.get("rel") == "ice-server" and ICE_URL.fullmatch(url):
            found.append(IceServer((url,), parameters.get("username"), parameters.get("credential")))
    return tuple(found[:MAX_ICE_SERVERS])


async def outward_only(servers: Iterable[IceServer], look: LookUp = look_up) -> tuple[IceServer, ...]:
    """Return the public servers only.

    A public streaming server must not make us send requests into a private network.
    """
    hosts = {server: re.split("[:?]", server.urls[0])[1] for server in servers}
    return tuple([server for server, host in hosts.items() if (await whereabouts_of(host, look)).is_far])


def http_to(at: Whereabouts) -> httpx.AsyncClient:
    """Return a client for a server and for whatever it redirects to. at: where that server is."""
    if not at.is_far:
        return httpx.AsyncClient(trust_env=False)
    # No connection is reused: for two names with one address, each needs its own certificate checked.
    one_each = httpx.Limits(max_keepalive_connections=0)
    transport = httpx.AsyncHTTPTransport(trust_env=False, limits=one_each)
    return httpx.AsyncClient(trust_env=False, transport=OutwardTransport(transport))


class WhipServer:
    """One stream on a server. All calls but end() raise WhipError."""

    def __init__(self, http: httpx.AsyncClient, endpoint: str, token: str = "") -> None:
        self._http = http
        self._endpoint = endpoint
        self._headers = {"Accept-Encoding": "identity"}  # a small compressed answer could expand without bound
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._resource: str | None = None

    async def ice_servers(self) -> tuple[IceServer, ...]:
        """Return the ICE servers through which the server wants to be reached, if it names them before an offer.

        The answer to an offer names them, too, but that is too late for aiortc.
        """
        answer, _body = await self._ask("OPTIONS", self._endpoint, ANSWERED_WITHIN_S)
        return ice_servers_of(answer.headers.get_list("link"))

    async def publish(self, offer_sdp: str) -> str:
        """Offer the stream. Returns the answer (SDP)."""
        answer, body = await self._ask("POST", self._endpoint, ANSWERED_WITHIN_S, offer_sdp)
        if answer.status_code in REFUSALS:
            raise WhipError(f"the server refuses the token ({answer.status_code})")
        if answer.status_code != httpx.codes.CREATED:
            raise WhipError(f"the server answers {answer.status_code} {answer.reason_phrase}".strip())
        if "location" in answer.headers:
            self._resource = _next(answer)
        return body.decode("utf-8", "replace")

    async def end(self) -> None:
        """Tell the server that the stream has ended. Does not insist on an answer. Idempotent."""
        resource, self._resource = self._resource, None
        if resource is not None:
            with suppress(WhipError):
                await self._ask("DELETE", resource, ENDED_WITHIN_S)

    async def _ask(
        self, method: str, url: str, within_s: float, offer_sdp: str | None = None
    ) -> tuple[httpx.Response, bytes]:
        """Follow redirects. Returns the last answer and its body. The token is sent each time: the server knows it."""
        headers = self._headers if offer_sdp is None else {**self._headers, "Content-Type": "application/sdp"}
        for _ in range(MAX_REDIRECTS + 1):
            body = b""
            try:
                async with self._http.stream(
                    method, url, content=offer_sdp, headers=headers, timeout=within_s, follow_redirects=False
                ) as answer:
                    async for piece in answer.aiter_raw():
                        body += piece
                        if len(body) > MAX_BYTES:
                            raise WhipError("the server's answer is too long")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                words = str(error) or f"the server cannot be reached ({type(error).__name__})"
                raise WhipError(words, "unreachable") from error
            if answer.status_code not in REDIRECTS:
                return answer, body
            url = _next(answer)
        raise WhipError("the server redirects again and again")


def _next(answer: httpx.Response) -> str:
    """Return where `Location` leads: to the same server, or to one that proves its identity by TLS.

    So nobody can have an offer sent to servers in a network that only this computer reaches. See also http_to().
    """
    asked = answer.request.url
    try:
        url = asked.join(answer.headers.get("location", ""))
    except httpx.InvalidURL as error:
        raise WhipError("the server names an address that is none") from error
    if url.scheme != "https" and (url.scheme, url.host, url.port) != (asked.scheme, asked.host, asked.port):
        raise WhipError(f"the server leads to an address without TLS, at {url.host or 'no server'}")
    return str(url.copy_with(userinfo=b"", fragment=None))
