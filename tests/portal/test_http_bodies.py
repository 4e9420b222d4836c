"""Bodies of requests: too large, and stopping in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from pydantic import BaseModel
from starlette.types import Message

from pipeline.clock import ManualClock
from pipeline.errors import BadRequest
from portal.http.bodies import FIELDS_BYTES, PROGRESS_BYTES, Bodies, UploadPlaces, allow_body
from portal.http.errors import answer_errors
from portal.http.limits import TooMany


class Wish(BaseModel):
    text: str


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    answer_errors(app)

    @app.post("/wish")
    def wish(_wish: Wish) -> str:
        return "done"

    @app.post("/large")
    async def large(request: Request) -> int:
        allow_body(request.scope, 4 * FIELDS_BYTES, BadRequest("Too much.", "Less."))
        return len(await request.body())

    return app


def pieces(size: int) -> Iterator[bytes]:
    """Without a length that is told before."""
    for _ in range(size // 1024):
        yield b"x" * 1024


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_body_is_no_larger_than_its_address_takes(app: FastAPI, is_declared: bool) -> None:
    """256 KiB where no file is expected, more where the route says so; refused with its reason, declared or not."""
    client = TestClient(Bodies(app))

    def body(size: int) -> Any:
        return b"x" * size if is_declared else pieces(size)

    refused = client.post("/wish", content=body(FIELDS_BYTES + 1024))
    assert refused.status_code == 413 and refused.json()["error"]["code"] == "upload_too_large"
    assert client.post("/large", content=body(2 * FIELDS_BYTES)).json() == 2 * FIELDS_BYTES
    assert client.post("/large", content=body(5 * FIELDS_BYTES)).json()["error"]["message"] == "Too much."
    assert client.post("/wish", json={"text": "hello"}).json() == "done"


async def answers_to(app: FastAPI, body: list[bytes], quiet_s: float) -> tuple[list[Message], int]:
    """What is sent when nothing comes after those pieces, and how many were read."""
    sent: list[Message] = []
    waiting = list(body)

    async def receive() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": True}
        await asyncio.Event().wait()
        raise AssertionError("nothing else comes")

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"5000")]
    scope = {"type": "http", "method": "POST", "path": "/wish", "headers": headers, "query_string": b""}
    async with asyncio.timeout(30):
        await Bodies(app, quiet_s)(scope, receive, send)
    return sent, len(body) - len(waiting)


@pytest.mark.parametrize("body", [[], [b"{"], [b"x" * PROGRESS_BYTES, b"x"]])
async def test_a_body_that_stops_coming_is_given_up(app: FastAPI, body: list[bytes]) -> None:
    """At once, in its middle or after much of it: the request ends with 408 and its connection with it."""
    sent, read = await answers_to(app, body, quiet_s=0.0 if not body else 0.05)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 408 and (b"connection", b"close") in sent[0]["headers"]
    assert b"request_timeout" in sent[1]["body"] and read == len(body)


@pytest.mark.parametrize("declared", [True, False])
async def test_of_300_mb_hardly_anything_is_read(app: FastAPI, declared: bool) -> None:
    """A JSON body that is too large is let go of as soon as that is known, not when it has come."""
    piece = b" " * 65536
    read_bytes = 0
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal read_bytes
        read_bytes += len(piece)
        return {"type": "http.request", "body": piece, "more_body": read_bytes < 300_000_000}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), *([(b"content-length", b"300000000")] if declared else [])]
    scope = {"type": "http", "method": "POST", "path": "/wish", "headers": headers, "query_string": b""}
    await Bodies(app)(scope, receive, send)
    assert sent[0]["status"] == 413 and read_bytes <= (0 if declared else FIELDS_BYTES + len(piece))


def test_only_so_many_uploads_come_in_at_one_time() -> None:
    """One address has its share, whatever others do; all together no more than the portal takes. Who has none yet finds
    a place longer than who has some.
    """
    places = UploadPlaces(ManualClock(), each=2, max_further=1, max_first=2)
    here, there, elsewhere = ({"client": (f"203.0.113.{number}", 1)} for number in (1, 2, 3))
    with places.taken(here), places.taken(here):
        with pytest.raises(TooMany, match="your address"), places.taken(here):
            pass
        with places.taken(there):
            with pytest.raises(TooMany, match="portal"), places.taken(there):
                pass
            with pytest.raises(TooMany, match="portal"), places.taken(elsewhere):
                pass
        with places.taken(elsewhere):
            pass
    with places.taken(here):
        pass


def test_a_network_leaves_places_for_others() -> None:
    """A /48 of IPv6 addresses has four times what an address has, however many addresses it has."""
    places = UploadPlaces(ManualClock())
    with ExitStack() as held:
        near = [{"client": (f"2001:db8:5:{n:x}::1", 1)} for n in range(48)]
        for scope in near[:16]:
            held.enter_context(places.taken(scope))
        with pytest.raises(TooMany, match="your address"), places.taken(near[16]):
            pass
        for n in range(32):
            held.enter_context(places.taken({"client": (f"203.0.113.{n}", 1)}))


async def test_uploads_have_to_come_faster_while_others_wait() -> None:
    """The floor doubles while somebody is refused again and again, up to a bound, and falls when nobody waits."""
    clock = ManualClock()
    places = UploadPlaces(clock, max_first=1)
    floors = [places.floor_bytes()]
    with places.taken({"client": ("203.0.113.1", 1)}):
        for _ in range(12):
            with pytest.raises(TooMany), places.taken({"client": ("203.0.113.2", 1)}):
                pass
            floors.append(places.floor_bytes())
            await clock.advance(30.0)
    assert floors == [4096, *(2**n for n in range(16, 25)), 2**24, 2**24, 2**24]
    await clock.advance(120.0)
    assert places.floor_bytes() == 4096


async def test_an_upload_below_the_floor_ends() -> None:
    """Although something comes all the time: progress is what the floor asks for."""
    sent: list[Message] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        allow_body(scope, 10**9, BadRequest("Too much.", "Less."), lambda: 10**6)
        while (await receive())["type"] == "http.request":
            pass

    async def receive() -> Message:
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": bytes(PROGRESS_BYTES), "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    async with asyncio.timeout(30):
        await Bodies(app, quiet_s=0.05)(scope, receive, send)
    assert sent[0]["status"] == 408
