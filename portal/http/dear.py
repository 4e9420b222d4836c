"""What is dear to read is made for few people at a time, so that live sessions have their turn in between."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.clock import Clock
from portal.http.errors import error_response
from portal.http.limits import Turns
from portal.http.origins import HARMLESS
from portal.http.proxies import address_of, path_below

__all__ = ["DEAR", "DEAR_AT_A_TIME", "DEAR_WAITING", "DEAR_WAITING_EACH", "DearReads", "is_dear"]

DEAR: Final = frozenset(
    ("/", "/healthz", "/metrics", "/openapi.json", "/choices.json", "/watch", "/config", "/gradio_api/info")
)
"""What takes 5 ms of a processor or more to read, growing with the lists. A page asks for five of these as it opens,
and for the jobs once a second while one is under way and somebody looks. So is all of the API that tells of lists."""
API: Final = "/api/"
OF_ONE: Final = ("/api/sessions/", "/api/watch/", "/api/jobs/", "/api/avatar/task/", "/api/backends/tts/")
"""Of the API, what tells of one thing that is held in memory or found by its id; it is asked for often. Voices
are spoken first for one at a time (`voice_previews.py`)."""
SMALL: Final = ("/api/me", "/api/admin/config")
DEAR_AT_A_TIME = 2
"""Over all addresses, and one beside them that a monitor asks for. They are made in a thread, and many threads would
leave the event loop a small part of a core."""
LONGEST_REST_S = 0.03
MONITORED: Final = ("/healthz", "/metrics")
DEAR_WAITING, DEAR_WAITING_EACH = 600, 150
"Further ones are refused. A class of thirty behind one address may open its pages at the same moment."


def is_dear(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] not in HARMLESS:
        return False
    path = path_below(scope)
    return path in DEAR or (path.startswith(API) and not path.startswith(OF_ONE) and not _is_small(path))


def _is_small(path: str) -> bool:
    """A picture, a clip or another file of the API is sent from the disk as it is."""
    return path in SMALL or "." in path.rpartition("/")[2]


class _Line:
    """Who waits for answers of a kind."""

    def __init__(self, at_a_time: int) -> None:
        self.places = asyncio.Semaphore(at_a_time)
        self.turns = Turns()


class DearReads:
    """ASGI middleware behind BehindProxies: makes DEAR_AT_A_TIME dear answers at a time, and one for each address.

    So somebody who asks for hundreds at once waits for himself, and others for one of these at most. While somebody
    waits, each answer is held back for as long as it took to make, so that half of the event loop's time is left to
    those who talk. The busier the machine, the longer answers take, and the longer the rests.
    """

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._line = _Line(DEAR_AT_A_TIME)
        self._line_of_monitors = _Line(1)
        "apart, because a monitor must have its answer also while hundreds wait for the lists"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_dear(scope):
            await self._app(scope, receive, send)
            return
        address = address_of(scope)
        line = self._line_of_monitors if path_below(scope) in MONITORED else self._line
        if len(line.turns) >= DEAR_WAITING or line.turns.wanted(address) >= DEAR_WAITING_EACH:
            await _too_many()(scope, receive, send)
            return
        async with AsyncExitStack() as held:
            await held.enter_async_context(line.turns.of(address))
            await held.enter_async_context(line.places)
            began_s, made = self._clock.now_s(), False

            async def sending(message: Message) -> None:
                nonlocal made
                if not made:
                    made = True
                    if len(line.turns) > 1:
                        now_s = self._clock.now_s()
                        await self._clock.sleep_until(now_s + min(now_s - began_s, LONGEST_REST_S))
                    await held.aclose()  # somebody who reads it slowly holds up nobody
                await send(message)

            await self._app(scope, receive, sending)


def _too_many() -> ASGIApp:
    return error_response(
        "too_often",
        "Too many ask for this at once.",
        "Wait a second, then try again.",
        status=429,
        headers={"Retry-After": "1", "Connection": "close"},
    )
