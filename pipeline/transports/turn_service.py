"""TURN servers of companies that lend them by token: Cloudflare and Twilio.

The operator's token stays here. Viewers get user names and passwords that the company makes for us, and that expire by
themselves. They are requested ahead of time, so that no viewer waits for them, and handed out until half their lifetime
is over. So whoever gets them has at least the other half for a session.

Sources: developers.cloudflare.com/realtime/turn/generate-credentials, twilio.com/docs/stun-turn/api.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from pipeline.clock import Clock
from pipeline.http_service import HttpService
from pipeline.transports.ice import IceServer

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["Lease", "LentServers", "TurnLender", "TurnService", "TurnServiceError"]

logger = logging.getLogger(__name__)

ANSWERS_WITHIN_S: Final = 5.0
RETRY_AFTER_S: Final = 60.0
FIRST_WITHIN_S: Final = 3.0
"""Longest wait for them at the portal's start; without them the first viewers do without."""
CREATED, NOT_FOUND = 201, 404
_MAX_BYTES: Final = 64 * 1024
_MAX_SERVERS: Final = 16
_MAX_URLS: Final = 32
_SCHEMES: Final = ("stun:", "stuns:", "turn:", "turns:")
_BLOCKED_PORT: Final = ":53"
"""The port of DNS. Browsers do not connect to it, and would waste time on it."""


class TurnServiceError(Exception):
    """No servers were lent. The text is plain, for the operator, and without the token."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Servers on loan."""

    servers: tuple[IceServer, ...]
    lifetime_s: int
    "time for which the credentials are valid"


class TurnLender(Protocol):
    """A source of TURN servers."""

    async def lend(self, lifetime_s: int) -> Lease:
        """Return servers with credentials that are valid for that time, or for the longest that the company allows.

        Raises TurnServiceError.
        """
        ...

    async def aclose(self) -> None: ...


Order = tuple[str, dict[str, str], bytes]
"""The path, the headers and the body of a POST request."""


def _cloudflare(key: str, token: str, lifetime_s: int) -> Order:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return f"/v1/turn/keys/{key}/credentials/generate-ice-servers", headers, json.dumps({"ttl": lifetime_s}).encode()


def _twilio(key: str, token: str, lifetime_s: int) -> Order:
    login = base64.b64encode(f"{key}:{token}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/x-www-form-urlencoded"}
    return f"/2010-04-01/Accounts/{key}/Tokens.json", headers, f"Ttl={lifetime_s}".encode()


@dataclass(frozen=True, slots=True)
class Wire:
    """How to ask one company."""

    origin: str
    order: Callable[[str, str, int], Order]
    "makes the request from key, token and lifetime in seconds"
    longest_s: int
    "longest allowed lifetime of credentials"
    servers: str
    "field of the answer with the servers"


WIRES: Final = {
    "cloudflare": Wire("https://rtc.live.cloudflare.com", _cloudflare, 172_800, "iceServers"),
    "twilio": Wire("https://api.twilio.com", _twilio, 86_400, "ice_servers"),
}


class TurnService:
    """Asks one company. aclose() ends its connections; idempotent."""

    def __init__(self, name: str, key: str, token: str, within_s: float = ANSWERS_WITHIN_S) -> None:
        """name: a key of WIRES. key: id of a TURN key (Cloudflare) or SID of an account (Twilio).

        within_s: longest time from a request to the end of its answer.
        """
        self.name = name
        self._wire = WIRES[name]
        self._key = key
        self._token = token
        self._within_s = within_s
        self._http = HttpService("turn_service", token, within_s)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def lend(self, lifetime_s: int) -> Lease:
        """See TurnLender.lend()."""
        import httpx2 as httpx

        lifetime_s = min(lifetime_s, self._wire.longest_s)
        path, headers, body = self._wire.order(self._key, self._token, lifetime_s)
        try:
            async with (
                asyncio.timeout(self._within_s),
                self._http.client().stream("POST", self._wire.origin + path, headers=headers, content=body) as answer,
            ):
                said = await _read(answer)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise TurnServiceError(f"{self._host} does not answer within {self._within_s:g} s") from error
        except httpx.HTTPError as error:
            raise TurnServiceError(f"{self._host} cannot be reached ({type(error).__name__})") from error
        if answer.status_code != CREATED:
            self._http.log(f"answered {answer.status_code}", said)
            raise TurnServiceError(self._refusal(answer.status_code))
        return Lease(self._servers_in(said), lifetime_s)

    @property
    def _host(self) -> str:
        return str(urlsplit(self._wire.origin).hostname)

    def _refusal(self, status: int) -> str:
        if status in (401, 403):
            return f"{self._host} refuses turn_service_token ({status})"
        if status == NOT_FOUND:
            return f"{self._host} knows no turn_service_key like this ({status})"
        return f"{self._host} lends nothing now ({status})"

    def _servers_in(self, said: bytes) -> tuple[IceServer, ...]:
        """Return the servers in an answer. Raises TurnServiceError if it has no list of servers, or no TURN server."""
        try:
            answer = json.loads(said)
            found = answer[self._wire.servers]
            entries = found if isinstance(found, list) else [found]
            servers = tuple(filter(None, map(_server, entries[:_MAX_SERVERS])))
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise TurnServiceError(f"{self._host} answers with something else than a list of servers") from error
        if not any(server.credential for server in servers):
            raise TurnServiceError(f"{self._host} answers without a TURN server")
        return servers


async def _read(answer: httpx.Response) -> bytes:
    """Read the answer, up to _MAX_BYTES."""
    said = b""
    async for piece in answer.aiter_raw():
        said += piece
        if len(said) > _MAX_BYTES:
            break
    return said[:_MAX_BYTES]


def _server(entry: Mapping[str, object]) -> IceServer | None:
    """Return a server; None if browsers cannot use it. Raises LookupError, TypeError if the entry is malformed."""
    urls, name, password = entry["urls"], entry.get("username"), entry.get("credential")
    texts = [urls] if isinstance(urls, str) else urls
    if not isinstance(texts, list):
        raise TypeError("urls")
    usable = tuple(text for text in texts[:_MAX_URLS] if isinstance(text, str) and _is_usable(text))
    if not usable:
        return None
    return IceServer(usable, str(name), str(password)) if name and password else IceServer(usable)


def _is_usable(url: str) -> bool:
    return url.startswith(_SCHEMES) and not url.partition("?")[0].endswith(_BLOCKED_PORT)


class LentServers:
    """Keeps borrowed servers ready. Call start() first; aclose() is idempotent."""

    def __init__(self, lender: TurnLender, lifetime_s: int, clock: Clock) -> None:
        """lifetime_s: least time for which credentials stay valid after a viewer gets them."""
        self._lender = lender
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._servers: tuple[IceServer, ...] = ()
        self._until_s = 0.0
        self._told = ""
        self._asked = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    def servers(self) -> tuple[IceServer, ...]:
        """Return the servers whose credentials are valid now; none while the company lends none."""
        return self._servers if self._clock.now_s() < self._until_s else ()

    async def start(self) -> None:
        """Start borrowing. Returns when the first servers have come, or after a short wait without."""
        self._keeping = asyncio.create_task(self._keep(), name="turn service")
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WITHIN_S):
                await self._asked.wait()

    async def aclose(self) -> None:
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        await self._lender.aclose()

    async def _keep(self) -> None:
        while True:
            asked_s = self._clock.now_s()
            pause_s = await self._ask(asked_s)
            self._asked.set()
            await self._clock.sleep_until(asked_s + pause_s)

    async def _ask(self, asked_s: float) -> float:
        """Borrow servers. Returns the seconds until the next request."""
        try:
            # Ask for twice the lifetime, because the servers are handed out until half of it is over.
            lease = await self._lender.lend(2 * self._lifetime_s)
        except TurnServiceError as error:
            if str(error) != self._told:  # log a long outage once, not every minute
                logger.warning("No TURN servers are lent: %s. Other ICE servers and the WebSocket go on.", error)
            self._told = str(error)
            return RETRY_AFTER_S
        self._told = ""
        self._servers, self._until_s = lease.servers, asked_s + lease.lifetime_s
        return lease.lifetime_s / 2
