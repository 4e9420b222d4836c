"""Webhooks: addresses of the operator that are told what happens here, by POST requests of JSON.

Each address has a line of its own, in order. Nothing that happens waits for one: beyond the bound the oldest is dropped
and counted. What is not taken is sent again, later and under the same id. Requests are signed as Standard Webhooks
(standardwebhooks.com) has it, for which there are libraries in many languages.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pipeline.channel import Channel
from pipeline.clock import Clock
from pipeline.errors import BadRequest
from pipeline.http_service import RETRYABLE
from portal.http.addresses import is_below_web, parse_web_address
from portal.http.outgoing import NotPosted, Poster

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["LAST_S", "PAUSES_S", "WAITING_BOUND", "Tell", "Webhooks", "signature_of", "tell_nobody"]

logger = logging.getLogger(__name__)

Tell = Callable[[str, Mapping[str, object]], None]
"""The type of an event, and its facts. Never waits."""
WAITING_BOUND: Final = 1000
"""Requests that may wait for one address. Of more, the oldest is dropped."""
PAUSES_S: Final = (1.0, 5.0, 20.0)
"""Before what was not taken is sent again; then it is given up."""
LAST_S: Final = 2.0
"""How long what waits may take when the portal ends."""


def tell_nobody(_event: str, _facts: Mapping[str, object]) -> None:
    """A Tell for where nobody wants to know."""


class Webhooks:
    """All webhooks of this portal. Used on one event loop.

    count: called with what has become of a request: delivered, failed or dropped.
    wall_s: seconds since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        count: Callable[[str], None],
        *,
        wall_s: Callable[[], float] = time.time,
        timeout_s: float = 5.0,
        last_s: float = LAST_S,
    ) -> None:
        self._poster = Poster(settings.webhook_networks, timeout_s)
        self._wall_s = wall_s
        self._last_s = last_s
        sender = _Sender(self._poster, settings.webhook_secret.get_secret_value(), clock, count, wall_s)
        self._told = {address: _Line(sender) for address in settings.webhook}
        self._allowed = {address: _Line(sender) for address in settings.livetalking_notify}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def has_listeners(self) -> bool:
        """Whether anybody wants to know anything."""
        return bool(self._told or self._allowed)

    async def start(self) -> None:
        if not self._tasks:
            lines = (*self._told.values(), *self._allowed.values())
            self._tasks = [asyncio.create_task(line.run(), name="webhook") for line in lines]

    def tell(self, event: str, facts: Mapping[str, object]) -> None:
        """Tell all webhooks of an event. Never waits."""
        if not self._told:
            return
        at = datetime.fromtimestamp(self._wall_s(), UTC).isoformat(timespec="milliseconds")
        body = json.dumps({"type": event, "timestamp": at, "data": dict(facts)}, default=str).encode()
        request_id = f"msg_{secrets.token_hex(12)}"
        for address, line in self._told.items():
            line.put(_Request(request_id, event, address, body))

    def check_notifiable(self, address: str) -> None:
        """Raises BadRequest: a caller may not have anything sent there."""
        self._line_to(address)

    def notify(self, address: str, event: str, facts: Mapping[str, object]) -> None:
        """Send facts as they are to an address that a caller has named. Never waits. Raises BadRequest."""
        body = json.dumps(dict(facts), default=str).encode()
        self._line_to(address).put(_Request(f"msg_{secrets.token_hex(12)}", event, address, body))

    async def aclose(self) -> None:
        """Send what waits, for a moment; then drop it. Idempotent."""
        for line in (*self._told.values(), *self._allowed.values()):
            line.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._last_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._poster.aclose()

    def _line_to(self, address: str) -> _Line:
        try:
            found = next((line for base, line in self._allowed.items() if is_below_web(address, base)), None)
        except ValueError as error:
            raise BadRequest("This is no address that can be notified.", "Write it like https://host/path.") from error
        if found is None:
            raise BadRequest(
                "This server does not call that address.", "The operator can allow it with livetalking_notify."
            )
        return found


def signature_of(secret: str, request_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. secret: any text, or `whsec_` and the key in base64."""
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signed = f"{request_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


@dataclass(frozen=True, slots=True)
class _Request:
    id: str
    event: str
    address: str
    body: bytes


@dataclass(frozen=True, slots=True)
class _Sender:
    """Sends one request, several times if need be."""

    poster: Poster
    secret: str
    clock: Clock
    count: Callable[[str], None]
    wall_s: Callable[[], float]

    async def send(self, request: _Request) -> None:
        for pause_s in (*PAUSES_S, None):
            fault, passes = await self._try(request)
            if not fault:
                self.count("delivered")
                return
            if pause_s is None or not passes:
                break
            await self.clock.sleep_until(self.clock.now_s() + pause_s)
        # Not the whole address: its path may be a secret.
        host = parse_web_address(request.address).hostname
        logger.warning("the webhook at %s has not taken %s: %s", host, request.event, fault)
        self.count("failed")

    async def _try(self, request: _Request) -> tuple[str, bool]:
        """What went wrong, nothing if it went well; and whether another try may help."""
        timestamp = int(self.wall_s())
        headers = {"webhook-id": request.id, "webhook-timestamp": str(timestamp)}
        if self.secret:
            headers["webhook-signature"] = signature_of(self.secret, request.id, timestamp, request.body)
        try:
            status = await self.poster.post(request.address, request.body, headers)
        except NotPosted as error:
            return str(error), True
        if 200 <= status < 300:
            return "", True
        return f"it answered {status}", status in RETRYABLE


class _Line:
    """What waits for one address."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self._waiting: Channel[_Request] = Channel(WAITING_BOUND)

    def put(self, request: _Request) -> None:
        for _dropped in self._waiting.push(request):
            self._sender.count("dropped")

    async def run(self) -> None:
        async for request in self._waiting:
            await self._sender.send(request)

    def close(self) -> None:
        self._waiting.close()
