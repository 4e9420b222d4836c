"""What waits for one address that is told of events, and what becomes of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from pipeline.channel import Channel
from pipeline.clock import Clock
from pipeline.http_service import RETRYABLE
from pipeline.streams import items_and_pauses
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
"""Requests that may wait for one address, and how much. Of more, the oldest is dropped. What a file depends on is
dropped last: whoever makes many turns would otherwise keep others' recordings and jobs from being told of."""
KEPT_LONGEST: Final = ("recording.", "job.")
PAUSES_S: Final = (1.0, 5.0, 20.0)
"""Before what was not taken is sent again; then it is given up."""
ITS_OWN_FAULT: Final = frozenset({500})
"""Answers of a receiver that is there, and cannot take this one request. Others need not wait for it."""


def signature_of(secret: str, request_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. secret: any text, or `whsec_` and the key in base64."""
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signed = f"{request_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    id: str
    event: str
    subject: str
    "the session, job or task that it is about: requests about one subject keep their order"
    address: str
    body: bytes

    @property
    def weight(self) -> float:
        """Bytes, of which a small one counts for as many as keep the number within its bound."""
        return max(WAITING_BYTES // WAITING_BOUND, len(self.body))

    @property
    def may_go(self) -> bool:
        return not self.event.startswith(KEPT_LONGEST)


class _Outcome(Enum):
    ENDED = auto()
    "taken, or given up"
    WAITS = auto()
    "it is to be sent again, and others about its subject wait for it"
    ALL_WAIT = auto()
    "the receiver is away"


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """Tries to send requests, and counts what became of them."""

    poster: Poster
    secret: str
    clock: Clock
    count: Callable[[str], None]
    wall_s: Callable[[], float]

    async def send(self, request: WebhookRequest, tries: int) -> _Outcome:
        """tries: that were made before."""
        fault, outcome = await self._try(request)
        if not fault:
            self.count("delivered")
            return _Outcome.ENDED
        if outcome is not _Outcome.ENDED and tries < len(PAUSES_S):
            return outcome
        # Not the whole address: its path may be a secret.
        host = parse_web_address(request.address).hostname
        logger.warning("the webhook at %s has not taken %s: %s", host, request.event, fault)
        self.count("failed")
        return _Outcome.ENDED

    async def _try(self, request: WebhookRequest) -> tuple[str, _Outcome]:
        """What went wrong, nothing if it went well; and what to do then, if there is another try."""
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
class _Subject:
    """Requests about one session, job or task, the first of which is sent next."""

    requests: deque[WebhookRequest] = field(default_factory=deque)
    tries: int = 0
    "of the first one"
    due_s: float = 0.0


class WebhookLine:
    """Sends requests to one address, one after another.

    A request that the receiver cannot take waits beside the line, and later ones about the same subject behind it. So
    somebody whose request is refused again and again delays news of nobody else.
    """

    def __init__(self, sender: WebhookSender) -> None:
        self._sender = sender
        self._clock = sender.clock
        self._waiting: Channel[WebhookRequest] = Channel(WAITING_BYTES, lambda request: request.weight)
        self._beside: dict[str, _Subject] = {}

    def put(self, request: WebhookRequest) -> None:
        for _dropped in self._waiting.push(request, first=lambda waiting: waiting.may_go):
            self._sender.count("dropped")

    async def run(self) -> None:
        """Until close(); then what waits beside the line is tried once more."""
        async for request in items_and_pauses(self._waiting, self._patience_s, self._clock):
            if request is not None:
                await self._take(request)
            for name, subject in list(self._beside.items()):
                if subject.due_s <= self._clock.now_s():
                    await self._go_on(name, subject)
        for name, subject in list(self._beside.items()):
            await self._go_on(name, subject)

    def close(self) -> None:
        self._waiting.close()

    def _patience_s(self) -> float | None:
        if not self._beside:
            return None
        return max(0.0, min(subject.due_s for subject in self._beside.values()) - self._clock.now_s())

    async def _take(self, request: WebhookRequest) -> None:
        subject = self._beside.get(request.subject)
        if subject is None:
            await self._go_on(request.subject, _Subject(deque([request])))
        elif self._held_beside + request.weight > WAITING_BYTES:
            self._sender.count("dropped")
        else:
            subject.requests.append(request)

    async def _go_on(self, name: str, subject: _Subject) -> None:
        """Send what waits of a subject, until a request has to wait."""
        self._beside.pop(name, None)
        while subject.requests:
            outcome = await self._sender.send(subject.requests[0], subject.tries)
            if outcome is _Outcome.ENDED:
                subject.requests.popleft()
                subject.tries = 0
                continue
            subject.due_s = self._clock.now_s() + PAUSES_S[subject.tries]
            subject.tries += 1
            if outcome is _Outcome.WAITS:
                self._beside[name] = subject
                return
            await self._clock.sleep_until(subject.due_s)

    @property
    def _held_beside(self) -> float:
        return sum(request.weight for subject in self._beside.values() for request in subject.requests)
