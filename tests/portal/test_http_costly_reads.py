"""What is costly to read is made for two at a time, and for an address one after another."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from pipeline.clock import ManualClock
from pipeline.errors import BadRequest
from portal.http import costly_reads
from portal.http.bodies import Bodies, allow_body
from portal.http.costly_reads import (
    CHANGED_EACH,
    COSTLY_AT_A_TIME,
    ERASED_EACH,
    FOUND_EACH,
    FOUND_NEAR,
    LONGEST_REST_S,
    CostlyReads,
    OwnThreads,
    is_costly,
)
from portal.http.door import front_door
from portal.settings import Settings

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


def asking(
    app: CostlyReads | OwnThreads, address: str, path: str = "/api/avatars"
) -> tuple[asyncio.Task[None], list[Message]]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    return asyncio.create_task(app(scope_of(address, path), nothing, send)), sent


async def ignore(_message: Message) -> None:
    """Takes what is sent."""


async def settle() -> None:
    """Whatever can go on has done so."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_somebody_else_waits_for_one_of_many() -> None:
    """Of an address that asks for forty lists at once one is made at a time; others are served beside it."""
    kitchen = Kitchen()
    app = CostlyReads(kitchen, ManualClock())
    many = [asking(app, GREEDY)[0] for _ in range(40)]
    few = [asking(app, MODEST)[0], asking(app, QUIET)[0]]
    cheap = asking(app, GREEDY, "/static/talk.js")[0]
    await settle()
    assert len(kitchen.making) == COSTLY_AT_A_TIME + 1
    assert sorted(kitchen.making) == [GREEDY, GREEDY, MODEST]  # one of them is the cheap one
    kitchen.go_on.set()
    await asyncio.gather(*many, *few, cheap)
    assert kitchen.making.index(QUIET) <= COSTLY_AT_A_TIME + 1 and len(kitchen.making) == 43


async def test_who_reads_slowly_holds_up_nobody() -> None:
    """The place is free as soon as the answer is made."""
    kitchen = Kitchen()
    kitchen.go_on.set()
    app, unread = CostlyReads(kitchen, ManualClock()), asyncio.Event()

    async def slow(message: Message) -> None:
        await unread.wait()

    slow_ones = [asyncio.create_task(app(scope_of(f"198.51.100.{n + 1}"), nothing, slow)) for n in range(5)]
    await settle()
    assert len(kitchen.making) == 5
    task, sent = asking(app, QUIET)
    await asyncio.wait_for(task, 30)
    assert sent[0]["status"] == 200
    unread.set()
    await asyncio.gather(*slow_ones)


async def test_beyond_the_bound_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a remedy and the time to wait; another address still has its place in the line."""
    monkeypatch.setattr(costly_reads, "COSTLY_WAITING_EACH", 3)
    kitchen = Kitchen()
    app = CostlyReads(kitchen, ManualClock())
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
    app = CostlyReads(kitchen, ManualClock())
    lists = [asking(app, f"203.0.113.{n + 1}")[0] for n in range(20)]
    monitors = [asking(app, f"198.51.100.{n + 1}", "/healthz")[0] for n in range(3)]
    await settle()
    assert len(kitchen.making) == COSTLY_AT_A_TIME + 1 and "198.51.100.1" in kitchen.making
    kitchen.go_on.set()
    await asyncio.gather(*lists, *monitors)


async def test_an_address_holds_few_threads_with_what_it_looks_for() -> None:
    """However many pictures it asks for, and however slowly it reads them; an IPv6 network holds twice as many."""
    kitchen = Kitchen()
    app = OwnThreads(kitchen)
    path = "/api/avatars/mira/gestures/wave/poster.jpg"
    many = [asking(app, GREEDY, path)[0] for _ in range(40)]
    many += [asking(app, f"2001:db8:1:{n}::", path)[0] for n in range(40)]
    await settle()
    assert len(kitchen.making) == FOUND_EACH + FOUND_NEAR and kitchen.making.count(GREEDY) == FOUND_EACH
    others = [
        asking(app, address, path)[0] for address, path in ((MODEST, path), (GREEDY, "/"), (GREEDY, "/api/sessions/x"))
    ]
    await settle()
    assert kitchen.making[FOUND_EACH + FOUND_NEAR :] == [MODEST, GREEDY, GREEDY]
    kitchen.go_on.set()
    await asyncio.gather(*many, *others)
    unread = asyncio.Event()

    async def slow(_message: Message) -> None:
        await unread.wait()

    slow_ones = [asyncio.create_task(app(scope_of(GREEDY, path), nothing, slow)) for _ in range(2 * FOUND_EACH)]
    task, sent = asking(app, GREEDY, path)
    await asyncio.wait_for(task, 30)
    assert sent[0]["status"] == 200
    unread.set()
    await asyncio.gather(*slow_ones)


CHANGES = [
    ("PATCH", "/api/avatars/mira", ""),
    ("DELETE", "/api/jobs/7", ""),
    ("DELETE", "/api/avatars/everything", ""),
    ("POST", "/api/clips", "application/json"),
    ("POST", "/api/avatars/mira/test-clip", "multipart/form-data; boundary=x"),
]


@pytest.mark.parametrize(("method", "path", "content_type"), CHANGES)
async def test_an_address_holds_few_threads_with_what_it_changes(method: str, path: str, content_type: str) -> None:
    """Others change things meanwhile, and the sender can still read."""
    kitchen = Kitchen()
    app = OwnThreads(kitchen)

    def change(address: str) -> asyncio.Task[None]:
        headers = [(b"content-type", content_type.encode())]
        return asyncio.create_task(
            app({**scope_of(address, path), "method": method, "headers": headers}, nothing, ignore)
        )

    many = [change(GREEDY) for _ in range(120)]
    await settle()
    assert kitchen.making == [GREEDY] * CHANGED_EACH
    others = [change(MODEST), asking(app, GREEDY, "/api/avatars/mira/poster.jpg")[0]]
    await settle()
    assert kitchen.making[CHANGED_EACH:] == [MODEST, GREEDY]
    kitchen.go_on.set()
    await asyncio.gather(*many, *others)


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nothing comes")


def change_of(address: str, path: str, method: str = "PATCH") -> Scope:
    return {**scope_of(address, path), "method": method}


async def test_a_change_takes_its_turn_when_its_body_has_come() -> None:
    """Phones that lost their network in the middle of a change keep no turn from others behind their address."""
    heard: list[bytes] = []

    async def made(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(await Request(scope, receive).body())
        await PlainTextResponse("made")(scope, receive, send)

    app = Bodies(OwnThreads(made))
    slow = [
        asyncio.create_task(app(change_of(GREEDY, "/api/avatars/mira/persona"), never, ignore))
        for _ in range(2 * CHANGED_EACH)
    ]
    await settle()
    pieces = [b"a", b"bc", b"d"]

    async def whole() -> Message:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    await asyncio.wait_for(app(change_of(GREEDY, "/api/avatars/mira/persona"), whole, ignore), 30)
    assert heard == [b"abcd"]
    for task in slow:
        task.cancel()


@pytest.mark.parametrize(
    ("path", "most"), [("/api/admin/stop", 2 * CHANGED_EACH), ("/api/avatars/mira/everything", ERASED_EACH)]
)
async def test_what_may_last_or_must_not_wait_does_not_wait_for_changes(path: str, most: int) -> None:
    """An erasure may last for minutes, and the operator stops the portal whatever else goes on."""
    kitchen = Kitchen()
    app = OwnThreads(kitchen)
    changes = [change_of(GREEDY, "/api/avatars/mira")] * CHANGED_EACH + [change_of(GREEDY, path)] * 2 * CHANGED_EACH
    tasks = [asyncio.create_task(app(scope, nothing, ignore)) for scope in changes]
    await settle()
    assert len(kitchen.making) == CHANGED_EACH + most
    kitchen.go_on.set()
    await asyncio.gather(*tasks)


async def test_a_change_whose_body_is_refused_is_not_carried_out() -> None:
    """Also one that reads no body: the sender is told that it was refused, or has gone."""
    kitchen = Kitchen()
    kitchen.go_on.set()
    came: list[Message] = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}]

    async def refused() -> Message:
        return came.pop(0)

    await OwnThreads(kitchen)(change_of(GREEDY, "/api/jobs/7", "DELETE"), refused, ignore)
    assert not kitchen.making and not came


async def test_the_body_of_a_change_has_a_bound() -> None:
    """It is read before anything looks at it, so whoever sends without an end must be stopped there."""
    came, sent = 0, []

    async def endless() -> Message:
        nonlocal came
        came += 1
        assert came < 1000
        return {"type": "http.request", "body": b"x" * 4096, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()

    scope = {
        **change_of("127.0.0.1", "/api/jobs/7", "DELETE"),
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    await asyncio.wait_for(front_door(inner, Settings())(scope, endless, send), 30)
    assert sent[0]["status"] == 413


async def test_a_form_that_has_come_already_still_has_its_own_bound() -> None:
    """Forms without a file are small, and OwnThreads has read them before their route says so."""
    body, sent = b"x" * 2000, []

    async def whole() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(BadRequest, match="Too much"):
            allow_body(scope, 1000, BadRequest("Too much.", "Less."))
        await PlainTextResponse("refused")(scope, receive, send)

    await Bodies(OwnThreads(route))(change_of(GREEDY, "/api/clips", "POST"), whole, send)
    assert sent[0]["status"] == 200


async def test_uploads_have_places_of_their_own() -> None:
    """They arrive slowly, and must not hold up what else their sender changes."""
    kitchen = Kitchen()
    headers = [(b"content-type", b"Multipart/Form-Data; boundary=x")]
    scope = {**scope_of(GREEDY, "/api/avatars"), "method": "POST", "headers": headers}
    many = [asyncio.create_task(OwnThreads(kitchen)(scope, nothing, ignore)) for _ in range(2 * CHANGED_EACH)]
    await settle()
    assert len(kitchen.making) == 2 * CHANGED_EACH
    kitchen.go_on.set()
    await asyncio.gather(*many)


@pytest.mark.parametrize("path", ["/api/avatars", "/healthz"])
async def test_a_place_rests_for_as_long_as_an_answer_took(path: str) -> None:
    """While somebody waits, so what is costly takes half of the time at most. The rest has a bound, and a single reader
    has none.
    """
    clock, kitchen = ManualClock(), Kitchen()
    app = CostlyReads(kitchen, clock)
    for took_s, rest_s in ((0.02, 0.02), (5.0, LONGEST_REST_S)):
        kitchen.go_on.clear()
        first, sent = asking(app, QUIET, path)
        second, _answer = asking(app, QUIET, path)
        await settle()
        made = len(kitchen.making)
        await clock.advance(took_s)
        kitchen.go_on.set()
        await settle()
        await clock.advance(rest_s - 0.001)
        await settle()
        assert not sent and len(kitchen.making) == made
        await clock.advance(0.002)
        await asyncio.wait_for(asyncio.gather(first, second), 30)
        assert sent[0]["status"] == 200
    kitchen.go_on.clear()
    alone, sent = asking(app, QUIET, path)
    await settle()
    await clock.advance(5.0)
    kitchen.go_on.set()
    await asyncio.wait_for(alone, 30)
    assert sent[0]["status"] == 200


@pytest.mark.parametrize(
    ("path", "costly"),
    [
        ("/api/avatars", True),
        ("/api/avatars/mira", True),
        ("/api/avatars/mira/gestures", True),
        ("/api/avatars/mira/export", True),
        ("/api/avatar/tasks", True),
        ("/metrics", True),
        ("/api/anything-new", True),
        ("/api/avatars/mira/poster.jpg", False),
        ("/api/avatars/mira/cutout.webp", False),
        ("/api/clips/x.mp4", False),
        ("/api/jobs/x", False),
        ("/api/sessions/x/events", False),
        ("/api/me", False),
        ("/static/talk.js", False),
        ("/nothing", False),
    ],
)
def test_what_tells_of_lists_is_costly_and_files_are_not(path: str, costly: bool) -> None:
    """By its kind: an address of the API that is new counts as costly until somebody says otherwise."""
    assert is_costly(scope_of(QUIET, path)) is costly
    assert not is_costly({**scope_of(QUIET, path), "method": "POST"})
