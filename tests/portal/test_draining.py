"""A portal that is told to stop: answers are heard to their end, then viewers are sent to where they go on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from avatars.library import AvatarLibrary
from pipeline.clock import ManualClock
from pipeline.errors import AtCapacity
from pipeline.types import Message, TurnEvent, TurnState
from portal.admission import Admission, Wish
from portal.api.draining import LOOK_S, RESTART
from portal.api.health import health_router, stopping_router
from portal.api.seats import SUPERSEDED
from portal.http.people import ANYBODY, PERSON, Person, Role
from portal.http.server import Server
from portal.jobs.queue import JobQueue
from portal.session_keeper import BEAT_S, PAUSE_S, SessionKeeper
from portal.session_table import SessionTable
from portal.stopping import Stopping
from tests.portal.session_house import House, open_house
from tests.portal.socket_viewer import Viewer
from tests.portal.test_session_keeper import FakeTable

WITHIN_S = 30.0


class Stop:
    """A house that is draining, and how far it is."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._task = asyncio.create_task(house.socket.drain(WITHIN_S))

    @property
    def is_over(self) -> bool:
        return self._task.done()

    async def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK_S)):
            await self._house.clock.advance(LOOK_S)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Threads write in their own time."""
        async with asyncio.timeout(30):
            while not reached():
                await self.passes(LOOK_S)
                await asyncio.sleep(0.001)


async def until(reached: Callable[[], bool]) -> None:
    """Threads write in their own time. No time passes on the clock."""
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.001)


async def closed(viewer: Viewer) -> int:
    """With which code; what was told before is heard."""
    while (message := await viewer.hear_raw())["type"] != "websocket.close":
        continue
    return int(message["code"])


async def test_an_answer_is_heard_before_its_viewer_is_sent_away(house: House) -> None:
    """And nobody is sent away before, where there is no other node: everybody waits for the portal together."""
    idle, talking = await house.viewer(), await house.viewer()
    await idle.hello()
    await talking.hello()
    house.session.is_mid_turn = True
    stop = Stop(house)
    await stop.passes(5)
    assert not stop.is_over and not idle.over and not talking.over
    house.session.events.offer(TurnEvent(1, TurnState.DONE))
    assert (await talking.hear("turn"))["state"] == "done"
    house.session.is_mid_turn = False
    await stop.passes(2 * LOOK_S)
    assert stop.is_over
    assert (await closed(idle), await closed(talking)) == (RESTART, RESTART)
    assert all(session.closed for session in house.sessions.opened)


async def test_nobody_is_waited_for_longer_than_that(house: House) -> None:
    viewer = await house.viewer()
    await viewer.hello()
    house.session.is_mid_turn = True
    stop = Stop(house)
    await stop.passes(WITHIN_S - 1)
    assert not stop.is_over
    await stop.passes(1 + 2 * LOOK_S)
    assert stop.is_over and await closed(viewer) == RESTART


async def test_whoever_comes_now_is_sent_elsewhere(house: House) -> None:
    """In the handshake, by a status that tells a proxy to try another node; who has come already, by a close code."""
    coming, waiting = await house.viewer(), await house.viewer()
    for _ in range(house.sessions.admission.capacity):
        await (await house.viewer()).hello()
    waiting.tell("hello", wait=True)
    await waiting.hear("waiting")
    house.session.is_mid_turn = True
    stop = Stop(house)
    assert (await closed(coming), await closed(waiting)) == (RESTART, RESTART)
    late = Viewer(house.app)
    assert (await late.knock())["status"] == 503
    assert not stop.is_over


def test_a_portal_that_stops_gives_no_places() -> None:
    """Also to programs, which open sessions by requests."""
    admission = Admission(2, 2)
    admission.is_closed = True
    for wait in (True, False):
        with pytest.raises(AtCapacity) as refused:
            admission.ask(Wish("viseme", frozenset()), wait=wait)
        assert refused.value.code == "portal_stops"


@pytest.fixture
async def table() -> FakeTable:
    return FakeTable()


@pytest.fixture
async def node(table: FakeTable) -> AsyncIterator[House]:
    """One of several."""
    clock = ManualClock()
    keeper = SessionKeeper(cast(SessionTable, table), clock, 600.0, name="node", count=table.count)
    await keeper.start()
    async with open_house(keeper=keeper, clock=clock) as opened:
        yield opened


async def test_where_there_are_other_nodes_whoever_is_silent_goes_at_once(node: House, table: FakeTable) -> None:
    """With all that was said; who talks follows when that is over. Nothing that is kept is erased."""
    talking, idle = await node.viewer(), await node.viewer()
    await talking.hello()
    first = node.session
    await idle.hello()
    second = node.session
    first.is_mid_turn = True
    stop = Stop(node)
    assert await closed(idle) == RESTART
    assert not stop.is_over and not talking.over
    talking.tell("say", text="The last word.")
    await talking.hear("turn")
    first.is_mid_turn = False
    await stop.until(lambda: stop.is_over)
    assert await closed(talking) == RESTART
    assert table.rows.keys() == {first.id, second.id}
    assert "The last word." in table.rows[first.id].state


async def test_what_was_said_last_is_kept_when_a_socket_is_lost(node: House, table: FakeTable) -> None:
    """Also of a session of which very much is kept, and which is written less often for that."""
    viewer = await node.viewer()
    await viewer.hello(identity={f"told {number}": "x" * 4000 for number in range(10)})
    session = node.session
    await until(lambda: table.counts["written"] > 0)
    session.recall([Message("user", "The last word.")])
    await viewer.break_off()
    await node.clock.advance(PAUSE_S)
    await until(lambda: "The last word." in table.rows[session.id].state)
    assert not session.closed


async def test_a_database_that_is_away_keeps_no_portal_from_stopping(node: House, table: FakeTable) -> None:
    viewer = await node.viewer()
    await viewer.hello()
    table.is_away = True
    stop = Stop(node)
    await stop.until(lambda: stop.is_over)
    assert await closed(viewer) == RESTART


async def test_a_socket_whose_session_goes_on_elsewhere_is_told(node: House, table: FakeTable) -> None:
    """And closed: nothing that it sends would be heard."""
    viewer = await node.viewer()
    session = (await viewer.hello())["session"]
    table.gone = {session}
    async with asyncio.timeout(30):
        while not node.session.closed:
            await node.clock.advance(BEAT_S)
            await asyncio.sleep(0.001)
    assert (await viewer.hear("error"))["code"] == "session_closed"
    assert await closed(viewer) == SUPERSEDED


async def test_stopping_begins_once_and_is_over_whatever_happens() -> None:
    begun: list[str] = []

    async def leave() -> None:
        begun.append("leave")
        raise ZeroDivisionError

    stopping = Stopping(leave)
    assert not stopping.has_begun
    stopping.begin()
    stopping.begin()
    async with asyncio.timeout(30):
        await stopping.over.wait()
    assert begun == ["leave"] and stopping.has_begun
    await stopping.aclose()
    await stopping.aclose()


@pytest.mark.parametrize("then", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_sigterm_lets_answers_end_and_the_second_does_not(then: signal.Signals) -> None:
    """Ctrl-C does not, either."""
    begun: list[str] = []
    server = Server(uvicorn.Config(FastAPI()), lambda: begun.append("drain"))
    server.handle_exit(signal.SIGTERM, None)
    await asyncio.sleep(0)
    assert begun == ["drain"] and not server.should_exit
    server.handle_exit(then, None)
    assert server.should_exit and begun == ["drain"]


async def test_a_server_ends_when_that_is_done() -> None:
    server = Server(uvicorn.Config(FastAPI()), lambda: None)
    server.end()
    assert server.should_exit


def test_health_says_that_a_portal_stops(queue: JobQueue, library: AvatarLibrary) -> None:
    """With a status by which whatever is in front of it sends nobody here any more."""
    choice = SimpleNamespace(llm="guide", tts="auto", lipsync="viseme")
    sessions: Any = SimpleNamespace(admission=SimpleNamespace(taken=1, capacity=8), choice=choice)
    app = FastAPI()
    app.include_router(health_router(sessions, library, queue, version="1", is_stopping=lambda: True))
    answer = TestClient(app).get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")


@pytest.mark.parametrize(
    ("address", "person", "status"),
    [
        ("127.0.0.1", ANYBODY, 202),
        ("203.0.113.5", ANYBODY, 403),
        ("203.0.113.5", Person("ada", Role.ADMIN), 202),
    ],
)
def test_no_stranger_stops_a_portal(address: str, person: Person, status: int) -> None:
    """Where nobody logs in, that is whoever is not on its machine; else the gate asks for an admin."""
    stopped: list[bool] = []
    app = FastAPI()
    app.include_router(stopping_router(lambda: stopped.append(True)))

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, PERSON: person}, receive, send)

    answer = TestClient(asked, client=(address, 1)).post("/api/admin/stop")
    assert answer.status_code == status and stopped == [True] * (status == 202)


def test_the_service_waits_for_answers_and_leaves_the_worker_to_the_portal() -> None:
    """systemd would end both at once, and kill them before the default of drain_s has passed."""
    deploy = Path(__file__).resolve().parents[2] / "deploy"
    unit = (deploy / "vivavoce.service").read_text(encoding="utf-8")
    assert "KillMode=mixed" in unit and "TimeoutStopSec=45" in unit
    assert "stop_grace_period: 45s" in (deploy / "compose.yaml").read_text(encoding="utf-8")
