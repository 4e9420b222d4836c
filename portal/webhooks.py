"""Webhooks: the operator's addresses that are told about events here, by POST requests with JSON.

Each address has a line of its own (webhook_line.py). Telling never waits: beyond the line's limit, old requests are
dropped and counted. A request that fails is sent again later, under the same id. Requests are signed as defined by
Standard Webhooks (standardwebhooks.com), for which there are libraries in many languages.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pipeline.clock import Clock
from pipeline.errors import BadRequest
from portal.http.addresses import is_below_web
from portal.http.outgoing import Poster
from portal.webhook_line import WebhookLine, WebhookRequest, WebhookSender

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["LAST_S", "Tell", "Webhooks", "tell_nobody"]

Tell = Callable[[str, Mapping[str, object]], None]
"""A callable that tells webhooks about an event: its type and its facts. Never waits."""
LAST_S: Final = 2.0
"""How long the sending of waiting requests may take when the portal ends."""


def tell_nobody(_event: str, _facts: Mapping[str, object]) -> None:
    """A Tell that does nothing."""


class Webhooks:
    """All webhooks of this portal. Used on one event loop.

    count: called with the result of each request: delivered, failed or dropped.
    wall_s: returns seconds since the epoch.
    timeout_s: limit for one request.
    last_s: see LAST_S.
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
        sender = WebhookSender(self._poster, settings.webhook_secret.get_secret_value(), clock, count, wall_s)
        self._told = {address: WebhookLine(sender) for address in settings.webhook}
        self._allowed = {address: WebhookLine(sender) for address in settings.livetalking_notify}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def has_listeners(self) -> bool:
        """Whether any address is to be told of anything."""
        return bool(self._told or self._allowed)

    async def start(self) -> None:
        """Begin to send. Idempotent."""
        if not self._tasks:
            lines = (*self._told.values(), *self._allowed.values())
            self._tasks = [asyncio.create_task(line.run(), name="webhook") for line in lines]

    def tell(self, event: str, facts: Mapping[str, object]) -> None:
        """Tell all webhooks of an event. Never waits."""
        if not self._told:
            return
        at = datetime.fromtimestamp(self._wall_s(), UTC).isoformat(timespec="milliseconds")
        body = _as_json({"type": event, "timestamp": at, "data": dict(facts)})
        request_id = f"msg_{secrets.token_hex(12)}"
        for address, line in self._told.items():
            line.put(WebhookRequest(request_id, event, _subject_of(facts), address, body))

    def check_notifiable(self, address: str) -> None:
        """Raise BadRequest if callers may not have anything sent to this address."""
        self._line_to(address)

    def notify(self, address: str, event: str, facts: Mapping[str, object]) -> None:
        """Send facts, without an envelope, to an address that a caller has named. Never waits. Raises BadRequest."""
        body = _as_json(dict(facts))
        request_id = f"msg_{secrets.token_hex(12)}"
        self._line_to(address).put(WebhookRequest(request_id, event, _subject_of(facts), address, body))

    async def aclose(self) -> None:
        """Send what waits, for at most `last_s`, then drop the rest. Idempotent."""
        for line in (*self._told.values(), *self._allowed.values()):
            line.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._last_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._poster.aclose()

    def _line_to(self, address: str) -> WebhookLine:
        try:
            found = next((line for base, line in self._allowed.items() if is_below_web(address, base)), None)
        except ValueError as error:
            raise BadRequest("This is no address that can be notified.", "Write it like https://host/path.") from error
        if found is None:
            raise BadRequest(
                "This server does not call that address.", "The operator can allow it with livetalking_notify."
            )
        return found


def _subject_of(facts: Mapping[str, object]) -> str:
    """Return the id of the session, job or task that facts are about; "" for anything else."""
    return str(next((facts[key] for key in ("session", "id", "task_id") if key in facts), ""))


def _as_json(facts: Mapping[str, object]) -> bytes:
    """Return facts as JSON in UTF-8: as an ASCII escape, an emoji would take three times the bytes."""
    return json.dumps(facts, default=str, ensure_ascii=False).encode(errors="replace")
