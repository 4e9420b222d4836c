"""Limits how many costly answers are made at a time, so that live sessions get their turn in between."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from contextlib import AsyncExitStack
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.clock import Clock
from portal.http.errors import error_response
from portal.http.limits import Turns
from portal.http.origins import HARMLESS
from portal.http.proxies import address_of, network_of, path_below

__all__ = [
    "COSTLY",
    "COSTLY_AT_A_TIME",
    "COSTLY_WAITING",
    "COSTLY_WAITING_EACH",
    "CostlyReads",
    "OwnThreads",
    "is_costly",
]

COSTLY: Final = frozenset(
    ("/", "/healthz", "/metrics", "/openapi.json", "/choices.json", "/watch", "/config", "/gradio_api/info")
)
"""Addresses whose answers are costly: they take 5 ms of a processor or more, and longer with longer lists. A page asks
for five of these when it opens, and for the jobs once a second while one is under way and somebody looks. All other
addresses of the API that return lists are costly too; see is_costly()."""
API: Final = "/api/"
OF_ONE: Final = ("/api/sessions/", "/api/watch/", "/api/jobs/", "/api/avatar/task/", "/api/backends/tts/")
"""Beginnings of addresses of the API that are not costly: they are asked for often, and answer about one thing that is
in memory or is found by its id. Previews of voices have a limit of their own (`voice_previews.py`)."""
SMALL: Final = ("/api/me", "/api/admin/config")
"Further addresses of the API that are not costly."
COSTLY_AT_A_TIME = 2
"""Costly answers made at a time, for all addresses together; one for a monitor comes on top. They are made in threads,
and many threads would leave the event loop only a small part of a core."""
LONGEST_REST_S = 0.03
"Longest time that an answer is held back."
MONITORED: Final = ("/healthz", "/metrics")
"Addresses that monitors ask for."
COSTLY_WAITING, COSTLY_WAITING_EACH = 600, 150
"""Most costly requests that may wait, in all and for one address; further ones are refused. A class of thirty behind
one address may open its pages at the same moment."""


FOUND_EACH, FOUND_NEAR = 8, 16
"""Small answers about something that has to be found first, made at a time for one address, and for one /48 network of
IPv6 addresses. Each holds one of forty threads, and where several machines share a store it may wait for that."""
CHANGED_EACH, CHANGED_NEAR = 4, 8
"The same for changes. They take longer, because they write, and their line must not hold up what the sender reads."
WAITING: Final = ("/api/sessions", "/api/watch/", "/api/backends/tts/", "/api/admin/")
"""Beginnings of addresses whose answers may take long, and wait without a thread; and those of the operator, who must
not wait for anybody."""
ERASING: Final = re.compile("/api/avatars/[^/]+/everything")
"Addresses that erase. They may wait for minutes for the files of recordings, so other changes do not wait for them."
ERASED_EACH, ERASED_NEAR = 2, 4
"Erasures made at a time for one address, and for one /48 network."
UPLOADS: Final = ("/avatars", "/gestures", "/voice-sample", "/clips", "/avatar/task")
"Ends of the addresses that take forms with files. Elsewhere a request cannot pass for an upload by its content type."


def is_costly(scope: Scope) -> bool:
    """Whether a request's answer is costly to make."""
    if scope["type"] != "http" or scope["method"] not in HARMLESS:
        return False
    path = path_below(scope)
    return path in COSTLY or (path.startswith(API) and not path.startswith(OF_ONE) and not _is_small(path))


def _is_small(path: str) -> bool:
    """Whether an answer is cheap. Files of the API, such as pictures and clips, are: they are sent from the disk."""
    return path in SMALL or "." in path.rpartition("/")[2]


class OwnThreads:
    """ASGI middleware behind Bodies: what one address asks the API for, or changes, holds few threads at a time.

    All threads of the server may look for pictures, clips and jobs, and change them. If an address had all of them, the
    page and everything else would wait for what it asks. Its further requests wait without a thread. A change takes its
    turn when its body has come, because a phone with a bad connection must not hold up others of its address.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._reads = (Turns(FOUND_EACH), Turns(FOUND_NEAR))
        self._changes = (Turns(CHANGED_EACH), Turns(CHANGED_NEAR))
        self._erasures = (Turns(ERASED_EACH), Turns(ERASED_NEAR))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _holds_thread(scope):
            await self._app(scope, receive, send)
            return
        addresses, networks = self._reads
        if scope["method"] not in HARMLESS:
            addresses, networks = self._erasures if ERASING.fullmatch(path_below(scope)) else self._changes
            came = await _body(receive)
            if came[-1]["type"] == "http.disconnect":  # it was refused, and Bodies answers; or nobody waits any more
                return
            receive = _again(came, receive)
        address = address_of(scope)
        async with AsyncExitStack() as held:
            await held.enter_async_context(addresses.of(address))
            if network := network_of(address):
                await held.enter_async_context(networks.of(network))

            async def sending(message: Message) -> None:
                await held.aclose()  # it is done; a slow reader must not keep others waiting
                await send(message)

            await self._app(scope, receive, sending)


async def _body(receive: Receive) -> deque[Message]:
    """Return the messages of the whole body. Bodies bounds its size, and the wait."""
    came = deque([await receive()])
    while came[-1]["type"] == "http.request" and came[-1].get("more_body", False):
        came.append(await receive())
    return came


def _again(came: deque[Message], receive: Receive) -> Receive:
    """Return a `receive` that gives what came, and then what else comes."""

    async def receive_again() -> Message:
        return came.popleft() if came else await receive()

    return receive_again


def _holds_thread(scope: Scope) -> bool:
    """Whether a thread looks for something small, or changes something."""
    if scope["type"] != "http" or is_costly(scope):
        return False
    path = path_below(scope)
    if not path.startswith(API) or path.startswith(WAITING):
        return False
    return not _brings_file(scope, path)


def _brings_file(scope: Scope, path: str) -> bool:
    """Whether it is an upload. Uploads have places of their own (`portal/intake`), and may take minutes to arrive."""
    is_form = Headers(scope=scope).get("content-type", "").lower().startswith("multipart/")
    return is_form and scope["method"] == "POST" and path.endswith(UPLOADS)


class _Line:
    """A line of requests for one kind of answers."""

    def __init__(self, at_a_time: int) -> None:
        self.places = asyncio.Semaphore(at_a_time)
        self.turns = Turns()


class CostlyReads:
    """ASGI middleware behind BehindProxies: makes COSTLY_AT_A_TIME costly answers at a time, and one for each address.

    So somebody who asks for hundreds at once waits only for themselves, and others wait for one of these at most. While
    requests wait, each answer is held back for as long as it took to make (at most LONGEST_REST_S), so that half of the
    event loop's time is left to live sessions. The busier the machine, the longer answers take, and the longer the
    rests.
    """

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._line = _Line(COSTLY_AT_A_TIME)
        self._line_of_monitors = _Line(1)
        "a separate line, because a monitor must get its answer even while hundreds wait for the lists"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_costly(scope):
            await self._app(scope, receive, send)
            return
        address = address_of(scope)
        line = self._line_of_monitors if path_below(scope) in MONITORED else self._line
        if len(line.turns) >= COSTLY_WAITING or line.turns.wanted(address) >= COSTLY_WAITING_EACH:
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
                    await held.aclose()  # the answer is made; a slow reader must not keep others waiting
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
