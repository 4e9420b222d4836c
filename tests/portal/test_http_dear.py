"""What is dear to read is made for two at a time, and for an address one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from portal.http import dear
from portal.http.dear import DEAR_AT_A_TIME, LONGEST_REST_S, DearReads

GREEDY, MODEST, QUIET = "203.0.113.1", "203.0.113.2", "203.0.113.3"


class Kitchen:
    """Makes an answer when it is told to."""

    def __init__(self) -> None:
        self.making: list[str] = []
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.making.append(scope["client"][0])
        await self.go_on.wait()
        await PlainTextResponse("made")(scope, receive, send)


def scope_of(address: str, path: str = "/api/avatars") -> Scope:
    return {"type": "http", "method": "GET", "path": path, "headers": [], "client": (address, 1)}


async def nothing() -> Message:
    return {"type": "http.request"}


def asking(app: DearReads, address: str, path: str = "/api/avatars") -> tuple[asyncio.Task[None], list[Message]]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    return asyncio.create_task(app(scope_of(address, path), nothing, send)), sent


async def settle() -> None:
    """Whatever can go on has done so."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_somebody_else_waits_for_one_of_many() -> None:
    """Of an address that asks for forty lists at once one is made at a time; others are served beside it."""
    kitchen = Kitchen()
    app = DearReads(kitchen)
    many = [asking(app, GREEDY)[0] for _ in range(40)]
    few = [asking(app, MODEST)[0], asking(app, QUIET)[0]]
    cheap = asking(app, GREEDY, "/static/talk.js")[0]
    await settle()
    assert len(kitchen.making) == DEAR_AT_A_TIME + 1
    assert sorted(kitchen.making) == [GREEDY, GREEDY, MODEST]  # one of them is the cheap one
    kitchen.go_on.set()
    await asyncio.gather(*many, *few, cheap)
    assert kitchen.making.index(QUIET) <= DEAR_AT_A_TIME + 1 and len(kitchen.making) == 43


async def test_who_reads_slowly_holds_up_nobody() -> None:
    """The place is free as soon as the answer is made."""
    kitchen = Kitchen()
    kitchen.go_on.set()
    app, unread = DearReads(kitchen), asyncio.Event()

    async def slow(message: Message) -> None:
        await unread.wait()

    slow_ones = [asyncio.create_task(app(scope_of(f"198.51.100.{n + 1}"), nothing, slow)) for n in range(5)]
    await settle()
    assert len(kitchen.making) == 5
    task, sent = asking(app, QUIET)
    await asyncio.wait_for(task, 10)
    assert sent[0]["status"] == 200
    unread.set()
    await asyncio.gather(*slow_ones)


async def test_beyond_the_bound_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a remedy and the time to wait; another address still has its place in the line."""
    monkeypatch.setattr(dear, "DEAR_WAITING_EACH", 3)
    kitchen = Kitchen()
    app = DearReads(kitchen)
    waiting = [asking(app, GREEDY)[0] for _ in range(3)]
    await settle()
    assert len(kitchen.making) == 1
    task, sent = asking(app, GREEDY)
    await task
    assert sent[0]["status"] == 429 and (b"retry-after", b"1") in sent[0]["headers"]
    other, answer = asking(app, MODEST)
    kitchen.go_on.set()
    await asyncio.gather(*waiting, other)
    assert answer[0]["status"] == 200


async def test_a_monitor_does_not_wait_for_the_lists() -> None:
    """While many addresses wait for lists, somebody who asks for the health is next, one at a time."""
    kitchen = Kitchen()
    app = DearReads(kitchen)
    lists = [asking(app, f"203.0.113.{n + 1}")[0] for n in range(20)]
    monitors = [asking(app, f"198.51.100.{n + 1}", "/healthz")[0] for n in range(3)]
    await settle()
    assert len(kitchen.making) == DEAR_AT_A_TIME + 1 and "198.51.100.1" in kitchen.making
    kitchen.go_on.set()
    await asyncio.gather(*lists, *monitors)


@pytest.mark.parametrize("path", ["/api/avatars", "/healthz", "/metrics"])
async def test_a_place_rests_for_as_long_as_an_answer_took(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """So what is dear takes half of the time at most; the rest has a bound, so that one slow answer costs little."""
    rests: list[float] = []

    def call_later(rest_s: float, give_back: Callable[[], None]) -> None:
        rests.append(rest_s)
        give_back()

    loop = asyncio.get_running_loop()
    now_s = loop.time()
    monkeypatch.setattr(loop, "call_later", call_later)

    async def taking(seconds: float) -> None:
        kitchen = Kitchen()
        app = DearReads(kitchen)
        monkeypatch.setattr(loop, "time", lambda: now_s)
        task, _sent = asking(app, QUIET, path)
        await settle()
        monkeypatch.setattr(loop, "time", lambda: now_s + seconds)
        kitchen.go_on.set()
        await task

    await taking(0.03125)
    await taking(5.0)
    assert rests == [pytest.approx(0.03125, abs=1e-6), LONGEST_REST_S]
