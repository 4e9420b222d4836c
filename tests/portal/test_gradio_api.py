"""Gradio's client against a portal: four endpoints, with the limits and rights of our own API."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from avatars.bundle import AvatarBundle
from avatars.library import presets
from pipeline.clock import ManualClock
from pipeline.errors import BadRequest
from portal.api.schemas import ClipRequest, JobView
from portal.app import Portal, create_app
from portal.errors import JobNotFound, JobUnfinished
from portal.http.bodies import Bodies
from portal.http.limits import WIDER, TooMany
from portal.http.people import PERSON, Person, Role, UsersFile
from portal.intake.parked import PARKED, PARKED_EACH, PARKED_S, ParkedUploads
from portal.jobs.records import Job, JobFailure
from portal.settings import Settings
from portal.ui.gradio_api import CALLS, CALLS_EACH, GradioCalls
from portal.ui.mcp_api import _Bounded
from tests.portal.test_http_door import GRADIO

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("quick_passwords")]

OPEN = {
    ("GET", "/config"),
    ("GET", "/gradio_api/info"),
    ("POST", "/gradio_api/upload"),
    ("POST", "/gradio_api/queue/join"),
    ("GET", "/gradio_api/queue/data?session_hash=x"),
}
SCOPE = {"type": "http", "client": ("192.0.2.7", 1), "headers": [], "path": "/", "root_path": "", "scheme": "http"}
HASH = "0123456789abcdef"


@pytest.fixture
def portal(tmp_path: Path, make_bundle: Callable[..., AvatarBundle]) -> Iterator[Portal]:
    make_bundle("ada")
    portal = Portal.build(Settings(data_dir=tmp_path, worker=False, gradio_api=True))
    yield portal
    portal.desk.queue.close()
    portal.talk.engine.executor.shutdown()


@pytest.fixture
def client(portal: Portal) -> TestClient:
    """Not started: nothing here needs a session or a worker."""
    return TestClient(create_app(portal.settings, portal), base_url="http://127.0.0.1:7860", follow_redirects=False)


def started(portal: Portal, **told: object) -> TestClient:
    settings = portal.settings.model_copy(update=told)
    return TestClient(create_app(settings, portal), base_url="http://127.0.0.1:7860", follow_redirects=False)


def test_nothing_else_of_gradio_answers(client: TestClient) -> None:
    """The addresses that the client needs, and no other; a file is a clip of ours or nothing."""
    for method in ("GET", "POST"):
        for address in GRADIO:
            answer = client.request(method, address)
            if (method, address) not in OPEN:
                assert answer.status_code in (404, 405), address
                assert answer.json()["error"]["code"] in ("not_found", "method_not_allowed")
    for path in ("/etc/passwd", "api/clips/../../config", "http://127.0.0.1/api/clips/x.mp4", "api/avatars"):
        answer = client.get(f"/gradio_api/file={path}")
        assert answer.status_code == 404, path
    for name in ("x.mp4", "x.webm"):
        assert client.get(f"/gradio_api/file=api/clips/{name}").headers["location"] == f"/api/clips/{name}"


def test_exactly_four_endpoints_are_described(client: TestClient) -> None:
    """Each with what it does; each argument with what it means. Consent has no default."""
    told = client.get("/gradio_api/info").json()
    assert list(told["named_endpoints"]) == ["/list_avatars", "/prepare_avatar", "/render_clip", "/list_jobs"]
    assert told["unnamed_endpoints"] == {}
    for endpoint in told["named_endpoints"].values():
        assert len(endpoint["description"]) > 20
        assert all(len(parameter["label"]) > 10 for parameter in endpoint["parameters"])
    consent = told["named_endpoints"]["/prepare_avatar"]["parameters"][1]
    assert consent["parameter_name"] == "consent" and not consent["parameter_has_default"]
    assert client.get("/config").json()["root"] == "http://127.0.0.1:7860"


@pytest.mark.parametrize("told", [{"gradio_api": False}, {"kiosk": True}])
def test_the_endpoints_are_closed_unless_the_operator_opens_them(portal: Portal, told: dict[str, object]) -> None:
    """By default; and in a kiosk, whatever else is set."""
    client = started(portal, **told)
    assert client.get("/config").status_code == 404
    assert client.post("/gradio_api/upload", files={"files": b"x"}).status_code == 404


def call(client: TestClient, name: str, *data: object, auth: Any = None) -> dict[str, Any]:
    """What the last message of a call says."""
    names = {one["api_name"]: one["id"] for one in client.get("/config", auth=auth).json()["dependencies"]}
    wish = {"fn_index": names[name], "data": data, "session_hash": HASH}
    begun = client.post("/gradio_api/queue/join", json=wish, auth=auth)
    assert begun.status_code == 200, begun.text
    told = client.get(f"/gradio_api/queue/data?session_hash={HASH}", auth=auth).text
    messages = [json.loads(line.removeprefix("data: ")) for line in told.split("\n\n") if line]
    assert messages[-1]["msg"] == "close_stream"
    ended: dict[str, Any] = messages[-2]
    assert ended["msg"] == "process_completed" and ended["event_id"] == begun.json()["event_id"]
    return ended


def made_in(portal: Portal) -> list[Job]:
    """Jobs that somebody asked for; those of our own characters are queued at the start."""
    return [job for job in portal.desk.queue.list() if job.uploaded or job.kind == "clip"]


def test_a_viewer_may_look_and_not_make(portal: Portal, tmp_path: Path) -> None:
    """Each tool asks for the role that our own API asks for."""
    users = UsersFile(tmp_path / "users.json")
    users.set("vera", "vera", Role.VIEWER)
    users.set("max", "max", Role.MAKER)
    vera, max_ = ("vera", "vera"), ("max", "max")
    file = {"path": "x", "meta": {"_type": "gradio.FileData"}}
    with started(portal, users_file=tmp_path / "users.json") as client:
        assert client.get("/config").status_code == 401
        assert client.get("/gradio_api/queue/data?session_hash=x").status_code == 401
        assert call(client, "list_avatars", auth=vera)["output"]["data"][0][0]["id"] == "ada"
        assert call(client, "list_jobs", 10, auth=vera)["success"]
        assert client.post("/gradio_api/upload", files={"files": b"x"}, auth=vera).status_code == 403
        clip = call(client, "render_clip", "ada", "Hello.", "", "", auth=vera)
        avatar = call(client, "prepare_avatar", file, True, "", "", auth=vera)
        for refused in (clip, avatar):
            assert not refused["success"] and "needs the role maker" in refused["output"]["error"]
        assert made_in(portal) == []
        assert "no such upload" in call(client, "prepare_avatar", file, True, "", "", auth=max_)["output"]["error"]


def test_what_is_wrong_is_told_with_its_remedy(portal: Portal) -> None:
    """An avatar that is not there, an address instead of a file, no consent, a call that does not fit."""
    with started(portal) as client:
        assert "avatar" in call(client, "render_clip", "nobody", "Hello.", "", "")["output"]["error"]
        address = {"path": "http://127.0.0.1:1/x.png", "url": None, "meta": {"_type": "gradio.FileData"}}
        refused = call(client, "prepare_avatar", address, True, "", "")["output"]
        assert "Upload the file itself" in refused["error"] and refused["title"] == "bad_request"
        (handle,) = client.post("/gradio_api/upload", files={"files": presets()[0].picture.read_bytes()}).json()
        file = {"path": handle, "meta": {"_type": "gradio.FileData"}}
        assert "consent" in call(client, "prepare_avatar", file, False, "", "")["output"]["error"]
        assert "no such upload" in call(client, "prepare_avatar", file, True, "", "")["output"]["error"]  # it is gone
        assert "malformed" in call(client, "render_clip", "ada")["output"]["error"]
        assert "malformed" in call(client, "render_clip", "ada", ["Hello."], "", "")["output"]["error"]
        assert "1 to 500" in call(client, "list_jobs", 0)["output"]["error"]
        wish = {"fn_index": 99, "data": [], "session_hash": HASH}
        assert client.post("/gradio_api/queue/join", json=wish).status_code == 400
        assert client.get("/gradio_api/queue/data?session_hash=nobody-called").status_code == 404
        assert made_in(portal) == [] and list((portal.settings.data_dir / "uploads").iterdir()) == []


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "removed"])
async def test_a_job_without_a_result_ends_the_call(portal: Portal, outcome: str) -> None:
    """With the job's own message and hint; how far it was has been told."""
    clock, queue, told_of = ManualClock(), portal.desk.queue, asyncio.Event()
    steps: list[tuple[float, str]] = []

    async def report(progress: float, step: str) -> None:
        steps.append((progress, step))
        told_of.set()

    wish = ClipRequest(avatar="ada", text="Hello.")
    waiting = asyncio.create_task(portal.desk.tools(clock).render_clip(SCOPE, wish, report))
    await told_of.wait()
    (job,) = queue.list()
    if outcome == "failed":
        queue.give_up(job.id, JobFailure("job_stuck", "It hung.", "Try again."))
    elif outcome == "cancelled":
        queue.cancel(job.id)
    else:
        queue.delete(job.id)
    told = {"failed": "It hung. Try again.", "cancelled": "was cancelled", "removed": "no job"}[outcome]
    await clock.advance(1)
    with pytest.raises(Exception, match=told) as ended:
        await waiting
    assert isinstance(ended.value, JobUnfinished) == (outcome != "removed")
    assert steps[0] == (0.0, "")


async def test_calls_of_one_address_have_a_bound(portal: Portal) -> None:
    """Those whose result nobody reads are forgotten after a while, and their places are free again."""
    calls = GradioCalls(portal.desk.tools(ManualClock()), unread_s=0)
    async with calls.running():
        for _ in range(CALLS_EACH):
            calls.begin(SCOPE, HASH, "render_clip", ["ada", "Hello.", "", ""])
        with pytest.raises(TooMany):
            calls.begin(SCOPE, HASH, "list_avatars", [])
        calls.begin({**SCOPE, "client": ("192.0.2.8", 1)}, "another-client", "list_avatars", [])
    again = GradioCalls(portal.desk.tools(ManualClock()), unread_s=0)
    async with again.running():
        for _ in range(2 * CALLS_EACH):
            again.begin(SCOPE, HASH, "list_jobs", [0])  # refused at once, and never read
            await asyncio.gather(*again._tasks)
    assert not again._lines


async def test_a_person_has_as_many_calls_as_an_address(portal: Portal) -> None:
    """From however many addresses."""
    calls = GradioCalls(portal.desk.tools(ManualClock()))
    vic = {**SCOPE, PERSON: Person("vic", Role.VIEWER)}
    async with calls.running():
        for number in range(CALLS_EACH):
            calls.begin({**vic, "client": (f"192.0.2.{number}", 1)}, HASH, "list_avatars", [])
        with pytest.raises(TooMany):
            calls.begin({**vic, "client": ("192.0.2.99", 1)}, HASH, "list_avatars", [])


async def test_nobody_follows_the_calls_of_somebody_else(portal: Portal) -> None:
    """The hash that names them is chosen by the client, and may be a poor choice."""
    calls = GradioCalls(portal.desk.tools(ManualClock()))
    mia, max_ = ({**SCOPE, PERSON: Person(name, Role.MAKER)} for name in ("mia", "max"))
    async with calls.running():
        calls.begin(mia, HASH, "list_avatars", [])
        with pytest.raises(JobNotFound):
            calls.follow(max_, HASH)
        told = [event async for event in calls.follow(mia, HASH)]
        assert any("process_completed" in event for event in told)


async def test_results_that_nobody_reads_make_room_for_a_newcomer(portal: Portal) -> None:
    """Where all places are taken. Calls that have no result yet keep theirs."""
    calls = GradioCalls(portal.desk.tools(ManualClock()))
    async with calls.running():
        for number in range(CALLS):
            scope = {**SCOPE, "client": (f"192.0.2.{number}", 1)}
            calls.begin(scope, f"client-{number}", "list_jobs", [0])  # refused at once, and never read
        with pytest.raises(TooMany):
            calls.begin({**SCOPE, "client": ("192.0.2.250", 1)}, "newcomer", "list_jobs", [0])
        while any(line.working for line in calls._lines.values()):  # noqa: ASYNC110 - threads look at the jobs
            await asyncio.sleep(0.001)
        calls.begin({**SCOPE, "client": ("192.0.2.250", 1)}, "newcomer", "list_jobs", [0])
        assert ("", "newcomer") in calls._lines and ("", "client-0") not in calls._lines
        with pytest.raises(JobNotFound):
            calls.follow(SCOPE, "client-0")


async def test_an_assistant_with_too_many_calls_is_told() -> None:
    """As every other limit tells it, and a place that was given back is free again."""
    ended, answers = asyncio.Event(), list[Message]()

    async def tool(scope: Scope, receive: Receive, send: Send) -> None:
        await ended.wait()

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        answers.append(message)

    bounded, asked = Bodies(_Bounded(tool)), {**SCOPE, "method": "POST"}
    calls = [asyncio.create_task(bounded(asked, receive, send)) for _ in range(CALLS_EACH)]
    await asyncio.sleep(0)
    await bounded(asked, receive, send)
    assert answers[0]["status"] == 429
    assert json.loads(answers[1]["body"])["error"]["code"] == TooMany.code
    ended.set()
    await asyncio.gather(*calls)
    await bounded(asked, receive, send)
    assert len(answers) == 2


async def test_calls_whose_bodies_come_slowly_keep_no_assistant_out() -> None:
    """Their places are taken once they have come as a whole, and the tool then reads them as they were sent."""
    bodies, answers, gone = list[bytes](), list[Message](), asyncio.Event()

    async def tool(scope: Scope, receive: Receive, _send: Send) -> None:
        bodies.append(await Request(scope, receive).body())

    parts = [(b'{"id', True), (b'": 1}', False)]

    async def receive() -> Message:
        body, more = parts.pop(0)
        return {"type": "http.request", "body": body, "more_body": more}

    async def stopped() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answers.append(message)

    bounded = Bodies(_Bounded(tool))
    scopes = [{**SCOPE, "method": "POST", "client": (f"192.0.2.{n % 10}", 1)} for n in range(CALLS)]
    waiting = [asyncio.create_task(bounded(scope, stopped, send)) for scope in scopes]
    await asyncio.sleep(0)
    await bounded(scopes[0], receive, send)
    assert (bodies, answers) == ([b'{"id": 1}'], [])
    gone.set()  # they hang up
    await asyncio.gather(*waiting)
    assert len(bodies) == 1


async def test_parked_uploads_have_bounds(tmp_path: Path) -> None:
    """Of an address and of all; each is used once, and removed when its time is over or the portal ends."""
    names = itertools.count()

    def stored() -> Path:
        path = tmp_path / str(next(names))
        path.write_bytes(b"x")
        return path

    def left() -> list[Path]:
        return list(tmp_path.iterdir())

    clock = ManualClock()
    parked = ParkedUploads(clock)
    first = parked.put(stored(), "a.png", "192.0.2.1")
    handles = [parked.put(stored(), "b.png", "192.0.2.1") for _ in range(PARKED_EACH)]
    with pytest.raises(BadRequest):
        parked.take(first)  # the oldest went
    path, name = parked.take(handles[0])
    assert path.exists() and name == "b.png"
    with pytest.raises(BadRequest):
        parked.take(handles[0])
    await clock.advance(PARKED_S)
    assert left() == [path]
    for number in range(PARKED):
        parked.put(stored(), "c.png", f"198.51.100.{number}")
    with pytest.raises(TooMany):
        parked.put(stored(), "c.png", "192.0.2.2")
    assert len(left()) == PARKED + 1
    await parked.aclose()
    await parked.aclose()
    assert left() == [path]


async def test_one_network_does_not_park_all_uploads(tmp_path: Path) -> None:
    """Whoever has a /48 network of IPv6 has 65,536 addresses. Beyond its share, its own oldest upload is removed."""
    parked = ParkedUploads(ManualClock())
    numbers = itertools.count()

    def put(address: str) -> str:
        path = tmp_path / str(next(numbers))
        path.write_bytes(b"x")
        return parked.put(path, "a.png", address)

    def left() -> list[Path]:
        return list(tmp_path.iterdir())

    handles = [put(f"2001:db8:7:{number:x}::") for number in range(PARKED)]
    assert len(left()) == WIDER * PARKED_EACH < PARKED
    with pytest.raises(BadRequest):
        parked.take(handles[0])
    assert parked.take(handles[-1])[0].exists()
    put("192.0.2.1")
    await parked.aclose()


async def test_lists_are_made_two_at_a_time_and_one_for_an_address(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the API's own lists are: threads that make them take from those who talk."""
    at_work, peaks, two_work, may_end = Counter[str](), Counter[str](), threading.Event(), threading.Event()

    def listed(_person: Person, _library: object, _queue: object, limit: int) -> list[JobView]:
        address = str(limit)
        at_work.update((address, "all"))
        peaks.update({key: max(0, at_work[key] - peaks[key]) for key in (address, "all")})
        if at_work["all"] == 2:
            two_work.set()
        may_end.wait(20)
        at_work.subtract((address, "all"))
        return []

    monkeypatch.setattr("portal.api.tools.job_views", listed)
    tools = portal.desk.tools(ManualClock())
    scopes = {n: {**SCOPE, "client": (f"192.0.2.{n}", 1)} for n in (1, 2, 3)}
    calls = [asyncio.create_task(tools.list_jobs(scopes[n], n)) for n in (1, 1, 2, 2, 3, 3)]
    assert await asyncio.to_thread(two_work.wait, 20)
    may_end.set()
    assert await asyncio.gather(*calls) == [[]] * 6
    assert peaks == {"all": 2, "1": 1, "2": 1, "3": 1}
