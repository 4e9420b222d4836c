"""Limits on the bodies of requests: on their size, and on how slowly they may come."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import VivavoceError
from pipeline.clock import Clock
from portal.errors import UploadTooLarge
from portal.http.errors import error_response_for
from portal.http.limits import AddressShares, Shares, TooMany
from portal.http.proxies import address_of

__all__ = ["FIELDS_BYTES", "Bodies", "UploadPlaces", "allow_body", "refuse_body_as"]

logger = logging.getLogger(__name__)

BODY = "vivavoce.body"
"Key in an ASGI scope for the request's _Body."
FIELDS_BYTES = 256 * 1024
"Largest body of a request without a file. Such a body is held in memory as a whole."
QUIET_S = 30.0
"Period in which PROGRESS_BYTES of a body have to come."
PROGRESS_BYTES = 4096
"If less than this comes in QUIET_S, the body has stopped. A slow phone sends more. An upload as a whole has no limit."
PRESSED_BYTES, MAX_PRESSED_BYTES = 64 * 1024, 16 * 2**20
"""The same while others wait for an upload's place: the first value at first, doubled after each QUIET_S, up to the
second."""
PRESSED_S = 120.0
"How long after a refusal somebody is assumed to be waiting for a place."

UPLOADS_EACH = 4
"Most uploads of one address at a time."
UPLOADS = 16
"Most uploads at a time that began while their address had another one."
FIRST_UPLOADS = 48
"""Most uploads at a time that began while their address had no other one. They have places of their own, so that a few
addresses with endless uploads cannot keep everybody else out."""


class BodyStopped(VivavoceError, code="request_timeout", http_status=408):
    """A request's body stopped coming."""


def allow_body(
    scope: Scope, max_bytes: int, refusal: VivavoceError, floor_bytes: Callable[[], int] | None = None
) -> None:
    """Let the body of this request have another size than FIELDS_BYTES. Call before it is read, and only behind Bodies.

    refusal: raised for a larger body, here if it has come already (OwnThreads waits for the bodies of changes).
    floor_bytes: returns how much has to come in QUIET_S; default: PROGRESS_BYTES.
    """
    body: _Body = scope[BODY]
    if body.read_bytes > max_bytes:
        raise refusal
    body.max_bytes, body.too_large = max_bytes, refusal
    if floor_bytes is not None:
        body.floor_bytes = floor_bytes


def refuse_body_as(scope: Scope, answer: Callable[[VivavoceError], Response]) -> None:
    """Answer a refusal of this request's body in the form of another API. No effect without Bodies in front."""
    if BODY in scope:
        scope[BODY].answer = answer


class Bodies:
    """ASGI middleware: refuses bodies that are too large or stop coming, and ends reading them.

    To the application it looks as if the client had disconnected. So it releases what it has, and its own answer is
    not sent.
    """

    def __init__(self, app: ASGIApp, quiet_s: float = QUIET_S) -> None:
        self._app = app
        self._quiet_s = quiet_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, Headers(scope=scope).get("content-length", ""), self._quiet_s)
        begun = False

        async def send_unless_refused(message: Message) -> None:
            nonlocal begun
            if begun or body.refusal is None:
                begun = True
                await send(message)

        try:
            await self._app({**scope, BODY: body}, body.receive, send_unless_refused)
        except ClientDisconnect:
            if body.refusal is None:
                raise
        if body.refusal is not None and not begun:
            logger.info("%s %s: %s", scope["method"], scope["path"], body.refusal.message)
            error = body.refusal
            answer = error_response_for(error) if body.answer is None else body.answer(error)
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)


class UploadPlaces:
    """Limits the uploads that come in at one time, in all and for each address, because each takes space on the disk.

    While others wait for a place, the uploads under way have to come faster and faster.
    """

    def __init__(
        self, clock: Clock, each: int = UPLOADS_EACH, max_further: int = UPLOADS, max_first: int = FIRST_UPLOADS
    ) -> None:
        self._clock = clock
        self._pressed_from_s = self._pressed_to_s = -math.inf
        self._each = AddressShares(each)
        self._first, self._further = Shares(max_first), Shares(max_further)

    @contextmanager
    def taken(self, scope: Scope) -> Iterator[None]:
        """Hold a place while the block runs. Raises TooMany."""
        hint = "Wait until one of them has ended."
        address = address_of(scope)
        room = self._further if self._each.has(address) else self._first
        of_address = TooMany("There are several uploads from your address already.", hint, cause="uploads")
        with self._each.held(address, of_address):
            if room.has_all(""):
                self._press()
            with room.held("", TooMany("The portal takes several uploads already.", hint, cause="uploads")):
                yield

    def floor_bytes(self) -> int:
        """Return how many bytes of an upload have to come in QUIET_S at this time."""
        now_s = self._clock.now_s()
        if now_s >= self._pressed_to_s:
            return PROGRESS_BYTES
        doublings = int((now_s - self._pressed_from_s) / QUIET_S)
        return min(MAX_PRESSED_BYTES, PRESSED_BYTES << min(doublings, 30))

    def _press(self) -> None:
        now_s = self._clock.now_s()
        if now_s >= self._pressed_to_s:
            self._pressed_from_s = now_s
        self._pressed_to_s = now_s + PRESSED_S


class _Body:
    """The body of one request, as far as it has come. refusal: why it is not read further, if so."""

    def __init__(self, receive: Receive, declared_bytes: str, quiet_s: float) -> None:
        self.max_bytes = FIELDS_BYTES
        self.too_large: VivavoceError = UploadTooLarge(
            f"The request is larger than {FIELDS_BYTES // 1024} KiB.", "Send a file as multipart/form-data."
        )
        self.refusal: VivavoceError | None = None
        self.floor_bytes: Callable[[], int] = lambda: PROGRESS_BYTES
        self.answer: Callable[[VivavoceError], Response] | None = None
        self._receive = receive
        self._declared_bytes = int(declared_bytes) if declared_bytes.isdecimal() else 0
        self._quiet_s = quiet_s
        self._until_s: float | None = None
        self._is_complete = False
        self.read_bytes = 0
        self._progress_bytes = 0

    async def receive(self) -> Message:
        if self._is_complete:  # after the body, only the client's disconnect can come
            return await self._receive()
        if self._declared_bytes > self.max_bytes:
            return self._refuse(self.too_large)
        loop = asyncio.get_running_loop()
        if self._until_s is None:
            self._until_s = loop.time() + self._quiet_s
        try:
            async with asyncio.timeout_at(self._until_s):
                message = await self._receive()
        except TimeoutError:
            return self._refuse(
                BodyStopped(
                    f"Hardly anything more of the request came for {self._quiet_s:.0f} s.",
                    "Send it again over a better connection.",
                )
            )
        size = len(message.get("body", b""))
        self.read_bytes += size
        self._progress_bytes += size
        if self.read_bytes > self.max_bytes:
            return self._refuse(self.too_large)
        self._is_complete = not message.get("more_body", False)
        if self._progress_bytes >= self.floor_bytes():
            self._progress_bytes, self._until_s = 0, loop.time() + self._quiet_s
        return message

    def _refuse(self, refusal: VivavoceError) -> Message:
        self.refusal = refusal
        return {"type": "http.disconnect"}
