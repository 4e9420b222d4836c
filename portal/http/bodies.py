"""Bodies of requests: none larger than its address takes, none that stops coming."""

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
from portal.http.errors import told
from portal.http.limits import AddressShares, Shares, TooMany
from portal.http.proxies import address_of

__all__ = ["FIELDS_BYTES", "Bodies", "UploadPlaces", "allow_body", "refuse_body_as"]

logger = logging.getLogger(__name__)

BODY = "vivavoce.body"
FIELDS_BYTES = 256 * 1024
"A request without a file: it is held in memory as a whole."
QUIET_S = 30.0
PROGRESS_BYTES = 4096
"Less than this in QUIET_S is silence. A slow phone sends more, and a whole upload may take as long as it likes."
PRESSED_BYTES, MOST_PRESSED_BYTES = 64 * 1024, 16 * 2**20
"""The same of an upload while others wait for its place: at first, doubled with each further QUIET_S, and at most."""
PRESSED_S = 120.0
"So long after somebody was refused it is taken that somebody waits."

UPLOADS_EACH = 4
UPLOADS = 16
FIRST_UPLOADS = 48
"Room for one upload of an address that has none, when a few addresses have taken all other places and never end."


class BodyStopped(VivavoceError, code="request_timeout", http_status=408):
    """Nothing more of a body came."""


def allow_body(
    scope: Scope, most_bytes: int, refusal: VivavoceError, floor_bytes: Callable[[], int] | None = None
) -> None:
    """Let the body of this request be larger than FIELDS_BYTES; to be called before it is read. Behind Bodies only.

    floor_bytes: how much has to come in QUIET_S by now; else PROGRESS_BYTES.
    """
    body: _Body = scope[BODY]
    body.most_bytes, body.too_large = most_bytes, refusal
    if floor_bytes is not None:
        body.floor_bytes = floor_bytes


def refuse_body_as(scope: Scope, answer: Callable[[VivavoceError], Response]) -> None:
    """Have the refusal of this request's body told in the form of another API. Does nothing where Bodies is not in
    front.
    """
    if BODY in scope:
        scope[BODY].answer = answer


class Bodies:
    """ASGI middleware: limits of size and of silence. What breaks one is refused, and reading it comes to an end.

    To the application it looks as if the visitor had left: it lets go of what it has, and its words are not sent.
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

        async def unless_refused(message: Message) -> None:
            nonlocal begun
            if begun or body.refusal is None:
                begun = True
                await send(message)

        try:
            await self._app({**scope, BODY: body}, body.receive, unless_refused)
        except ClientDisconnect:
            if body.refusal is None:
                raise
        if body.refusal is not None and not begun:
            logger.info("%s %s: %s", scope["method"], scope["path"], body.refusal.message)
            error = body.refusal
            answer = told(error) if body.answer is None else body.answer(error)
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)


class UploadPlaces:
    """Uploads that come in at one time: so many for each address, so many in all. Each may fill a disk for a while.

    While others wait for a place, those under way have to come faster and faster.
    """

    def __init__(
        self, clock: Clock, each: int = UPLOADS_EACH, most: int = UPLOADS, most_first: int = FIRST_UPLOADS
    ) -> None:
        self._clock = clock
        self._pressed_from_s = self._pressed_to_s = -math.inf
        self._each = AddressShares(each)
        self._first, self._further = Shares(most_first), Shares(most)

    @contextmanager
    def taken(self, scope: Scope) -> Iterator[None]:
        """Have a place while the block runs. Raises TooMany."""
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
        """How much of an upload has to come in QUIET_S by now."""
        now_s = self._clock.now_s()
        if now_s >= self._pressed_to_s:
            return PROGRESS_BYTES
        doublings = int((now_s - self._pressed_from_s) / QUIET_S)
        return min(MOST_PRESSED_BYTES, PRESSED_BYTES << min(doublings, 30))

    def _press(self) -> None:
        now_s = self._clock.now_s()
        if now_s >= self._pressed_to_s:
            self._pressed_from_s = now_s
        self._pressed_to_s = now_s + PRESSED_S


class _Body:
    """The body of one request, as far as it has come. `refusal`: why no more of it is read."""

    def __init__(self, receive: Receive, declared_bytes: str, quiet_s: float) -> None:
        self.most_bytes = FIELDS_BYTES
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
        self._bytes = 0
        self._progress_bytes = 0

    async def receive(self) -> Message:
        if self._is_complete:  # what is waited for now is that the visitor leaves
            return await self._receive()
        if self._declared_bytes > self.most_bytes:
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
        self._bytes += size
        self._progress_bytes += size
        if self._bytes > self.most_bytes:
            return self._refuse(self.too_large)
        self._is_complete = not message.get("more_body", False)
        if self._progress_bytes >= self.floor_bytes():
            self._progress_bytes, self._until_s = 0, loop.time() + self._quiet_s
        return message

    def _refuse(self, refusal: VivavoceError) -> Message:
        self.refusal = refusal
        return {"type": "http.disconnect"}
