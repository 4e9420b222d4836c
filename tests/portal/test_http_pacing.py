"""Requests begin one after another, with a turn of the event loop for everybody else in between."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from portal.http.pacing import OneByOne, OwnShare


class Desk:
    """Answers at once, without waiting for anything, as most of the portal's addresses do."""

    def __init__(self) -> None:
        self.answered: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.answered.append(scope["client"][0])
        if scope["type"] == "http":
            await PlainTextResponse("done")(scope, receive, send)


def asking(app: OneByOne, address: str, kind: str = "http") -> asyncio.Task[None]:
    async def nothing() -> Message:
        return {"type": "http.request"}

    async def take(_message: Message) -> None: ...

    scope = {"type": kind, "method": "GET", "path": "/", "headers": [], "client": (address, 1)}
    return asyncio.create_task(app(scope, nothing, take))


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_live_sessions_have_their_turn_between_two_answers(kind: str) -> None:
    """However many connections ask at the same moment, also from as many addresses."""
    desk = Desk()
    app = OneByOne(desk)
    asked = [asking(app, f"203.0.113.{n % 20}", kind) for n in range(80)]
    made_in_a_turn = []
    while len(desk.answered) < len(asked):
        before = len(desk.answered)
        await asyncio.sleep(0)
        made_in_a_turn.append(len(desk.answered) - before)
    assert max(made_in_a_turn) == 1
    await asyncio.gather(*asked)


async def test_addresses_take_turns() -> None:
    """Who comes behind a hundred requests of another address waits for one or two of them."""
    desk = Desk()
    app = OneByOne(desk)
    many = [asking(app, "203.0.113.1") for _ in range(100)]
    await asyncio.sleep(0)
    one = asking(app, "203.0.113.2")
    await one
    assert desk.answered.index("203.0.113.2") <= 2
    await asyncio.gather(*many)
    assert len(desk.answered) == 101


async def test_who_gives_up_leaves_its_turn_to_the_next() -> None:
    """A connection that is lost while it waits holds nobody up."""
    desk = Desk()
    app = OneByOne(desk)
    asked = [asking(app, "203.0.113.1") for _ in range(10)]
    await asyncio.sleep(0)
    for task in asked[:5]:
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30)
    assert len(desk.answered) == 5


async def test_an_address_leaves_connections_for_others() -> None:
    """Of 80 it may have as many as it likes while half of them are free, sockets as well; then no more than ten."""
    go_on = asyncio.Event()
    statuses: list[int] = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        statuses.append(200)

    async def nothing() -> Message:
        return {"type": "http.request"}

    async def sending(message: Message) -> None:
        if "status" in message:
            statuses.append(message["status"])

    app = OwnShare(slow, 80)

    def ask(address: str, times: int) -> list[asyncio.Task[None]]:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": (address, 1)}
        return [asyncio.create_task(app(scope, nothing, sending)) for _ in range(times)]

    tasks = ask("203.0.113.1", 45)
    await asyncio.sleep(0.0)
    assert statuses == [429] * 5
    tasks += ask("203.0.113.2", 12)
    await asyncio.sleep(0.0)
    assert statuses == [429] * 7
    tasks += [task for n in range(100) for task in ask(f"2001:db8:1:{n:x}::1", 1)]
    await asyncio.sleep(0.0)
    assert statuses == [429] * 67
    go_on.set()
    await asyncio.gather(*tasks)
    assert statuses[67:] == [200] * 90
    go_on.clear()
    tasks = ask("203.0.113.1", 12)
    go_on.set()
    await asyncio.gather(*tasks)
    assert statuses[-12:] == [200] * 12
