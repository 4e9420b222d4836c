"""The line of requests that wait to be sent to one webhook address, with retries and a limit on the backlog."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from pipeline.clock import Clock
from pipeline.http_service import RETRYABLE
from portal.http.addresses import parse_web_address
from portal.http.outgoing import NotPosted, Poster

__all__ = [
    "PAUSES_S",
    "WAITING_BOUND",
    "WAITING_BYTES",
    "WebhookLine",
    "WebhookRequest",
    "WebhookSender",
    "signature_of",
]

logger = logging.getLogger(__name__)

WAITING_BOUND: Final = 1000
WAITING_BYTES: Final = 8_000_000
"""Limits on the number and the total size of requests that wait for one address. Beyond them, the oldest request of the
subject with most is dropped."""
KEPT_LONGEST: Final = ("recording.", "job.")
"""Events that are dropped last. Otherwise, news of many conversations would push out the news that a recording or a job
is complete."""
PAUSES_S: Final = (1.0, 5.0, 20.0)
"""Pauses before each new try; after the last one fails, the request is given up."""
ITS_OWN_FAULT: Final = frozenset({500})
"""HTTP statuses that mean: the receiver is up, but cannot take this request. Other requests need not wait for it."""


def signature_of(secret: str, request_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `webhook-signature`, as Standard Webhooks defines it.

    secret: any text, or `whsec_` and the key in base64. timestamp: seconds since the epoch.
    """
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signed = f"{request_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A request that waits to be sent."""

    id: str
    event: str
    subject: str
    "the session, job or task it is about; requests about one subject keep their order"
    address: str
    body: bytes

    @property
    def weight(self) -> float:
        """Its size in bytes, counted against WAITING_BYTES.

        A small request counts for at least WAITING_BYTES / WAITING_BOUND, so the one limit also keeps the number of
        requests within WAITING_BOUND.
        """
        return max(WAITING_BYTES // WAITING_BOUND, len(self.body))

    @property
    def may_go(self) -> bool:
        """Whether it is among the events that are dropped first."""
        return not self.event.startswith(KEPT_LONGEST)


class _Outcome(Enum):
    ENDED = auto()
    "the request was delivered, or given up"
    WAITS = auto()
    "the request is to be sent again, and only others about its subject wait for it"
    ALL_WAIT = auto()
    "the receiver is away, so the whole line waits"


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """Tries to send requests, and counts the results.

    secret: signs requests; "" for no signature. count: called with "delivered", "failed" or "dropped".
    wall_s: returns seconds since the epoch.
    """

    poster: Poster
    secret: str
    clock: Clock
    count: Callable[[str], None]
    wall_s: Callable[[], float]

    async def send(self, request: WebhookRequest, tries: int) -> _Outcome:
        """Try once to send a request. tries: how many were made before."""
        fault, outcome = await self._try(request)
        if not fault:
            self.count("delivered")
            return _Outcome.ENDED
        if outcome is not _Outcome.ENDED and tries < len(PAUSES_S):
            return outcome
        # Only the host is logged, because the path may be a secret.
        host = parse_web_address(request.address).hostname
        logger.warning("the webhook at %s has not taken %s: %s", host, request.event, fault)
        self.count("failed")
        return _Outcome.ENDED

    async def _try(self, request: WebhookRequest) -> tuple[str, _Outcome]:
        """Try once. Return what went wrong ("" for nothing), and the outcome provided that another try is allowed."""
        timestamp = int(self.wall_s())
        headers = {"webhook-id": request.id, "webhook-timestamp": str(timestamp)}
        if self.secret:
            headers["webhook-signature"] = signature_of(self.secret, request.id, timestamp, request.body)
        try:
            status = await self.poster.post(request.address, request.body, headers)
        except NotPosted as error:
            return str(error), _Outcome.ALL_WAIT
        if 200 <= status < 300:
            return "", _Outcome.ENDED
        fault = f"it answered {status}"
        if status in ITS_OWN_FAULT:
            return fault, _Outcome.WAITS
        return fault, _Outcome.ALL_WAIT if status in RETRYABLE else _Outcome.ENDED


@dataclass(slots=True)
class _Waiting:
    request: WebhookRequest
    tries: int = 0


@dataclass(slots=True)
class _Subject:
    """Requests about one session, job or task, in the order in which they are sent."""

    waiting: deque[_Waiting] = field(default_factory=deque)
    due_s: float = 0.0
    is_in_hand: bool = False
    "whether one of its requests is being sent now, and so is not in `waiting`"

    def weight(self, *, may_go: bool = False) -> float:
        """Return the total weight of its waiting requests. may_go: count only those that are dropped first."""
        return sum(one.request.weight for one in self.waiting if one.request.may_go or not may_go)

    def drop_oldest(self) -> float:
        """Drop the oldest request that may go, or else the oldest of all. Return its weight."""
        place = next((place for place, one in enumerate(self.waiting) if one.request.may_go), 0)
        dropped = self.waiting[place].request
        del self.waiting[place]
        return dropped.weight


class WebhookLine:
    """Sends requests to one address, one after another. Subjects take turns.

    So a session with many turns does not delay news of others; beyond the limit, its own news is dropped.

    A request that the receiver cannot take waits for its next try, with later ones about the same subject behind it.
    So a request that is refused again and again does not delay other subjects either.
    """

    def __init__(self, sender: WebhookSender) -> None:
        self._sender = sender
        self._clock = sender.clock
        self._subjects: dict[str, _Subject] = {}  # by name; the one served last is at the end
        self._held = 0.0
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, request: WebhookRequest) -> None:
        """Add a request to the line. Never waits; drops older ones beyond the limit."""
        if self._closed:
            self._sender.count("dropped")
            return
        while self._held >= WAITING_BYTES:
            self._drop_one()
        self._subjects.setdefault(request.subject, _Subject()).waiting.append(_Waiting(request))
        self._held += request.weight
        self._changed.set()

    async def run(self) -> None:
        """Send requests until close(). Then try the remaining ones once more, without waiting until they are due."""
        # After close(), the first loop ends as soon as nothing is due. The second one sends requests that wait for
        # their next try, without waiting for it.
        while (name := self._next()) is not None or not self._closed:
            if name is None:
                await self._pause()
            else:
                await self._send_one(name)
        for subject in self._subjects.values():
            subject.due_s = self._clock.now_s()
        while (name := self._next()) is not None:
            await self._send_one(name)

    def close(self) -> None:
        """Accept no more requests, and let run() end once it has sent the rest."""
        self._closed = True
        self._changed.set()

    def _next(self) -> str | None:
        """Return the subject whose turn it is, or None if nothing is due."""
        now_s = self._clock.now_s()
        return next((name for name, one in self._subjects.items() if one.waiting and one.due_s <= now_s), None)

    async def _pause(self) -> None:
        """Wait until a request is due, or a new one has come."""
        self._changed.clear()
        due_s = min((one.due_s for one in self._subjects.values()), default=None)
        waits: list[asyncio.Task[object]] = [asyncio.ensure_future(self._changed.wait())]
        if due_s is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep_until(due_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _send_one(self, name: str) -> None:
        """Send the first request of a subject. While the receiver is away, keep trying this one; all others wait."""
        subject = self._subjects[name] = self._subjects.pop(name)  # moves it to the end: others come first next time
        one, subject.is_in_hand = subject.waiting.popleft(), True
        self._held -= one.request.weight
        while (outcome := await self._sender.send(one.request, one.tries)) is not _Outcome.ENDED:
            due_s = self._clock.now_s() + PAUSES_S[one.tries]
            one.tries += 1
            if outcome is _Outcome.WAITS:
                subject.due_s = due_s
                subject.waiting.appendleft(one)
                self._held += one.request.weight
                break
            await self._clock.sleep_until(due_s)
        subject.is_in_hand = False
        if not subject.waiting:
            del self._subjects[name]

    def _drop_one(self) -> None:
        """Drop a request of the subject with most requests that may go; if none may, of the subject with most."""
        full = ((name, one) for name, one in self._subjects.items() if one.waiting)
        name, most = max(full, key=lambda found: (found[1].weight(may_go=True), found[1].weight()))
        self._held -= most.drop_oldest()
        if not most.waiting and not most.is_in_hand:
            del self._subjects[name]
        self._sender.count("dropped")
