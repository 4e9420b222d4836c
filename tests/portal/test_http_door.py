"""The whole portal as a stranger sees it from outside: what it answers, and what it says about every answer."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse
from starlette.testclient import WebSocketDenialResponse
from starlette.types import Message, Receive, Scope, Send

from pipeline.clock import ManualClock
from pipeline.engine import Engine
from portal.app import Portal, create_app
from portal.http.door import (
    CHANGES_BURST,
    COSTLY_BURST,
    COSTLY_PER_S,
    READS_BURST,
    READS_PER_S,
    HeadAsGet,
    HumanPace,
    front_door,
)
from portal.http.errors import answer_errors
from portal.http.headers import inline_scripts, page_policy
from portal.http.packing import Packing
from portal.http.proxies import BehindProxies
from portal.settings import Settings

FRIEND = "https://friend.example"
GRADIO = (
    "/gradio_api/file=http://127.0.0.1:1/x",
    "/gradio_api/file=/etc/hostname",
    "/gradio_api/file/etc/hostname",
    "/gradio_api/proxy=http://127.0.0.1:1/x",
    "/gradio_api/upload",
    "/gradio_api/upload_progress?upload_id=x",
    "/gradio_api/queue/join",
    "/gradio_api/queue/data?session_hash=x",
    "/gradio_api/component_server",
    "/gradio_api/heartbeat/x",
    "/gradio_api/info",
    "/gradio_api/startup-events",
    "/gradio_api/deep_link",
    "/gradio_api/runs",
    "/gradio_api/run/lambda",
    "/gradio_api/call/lambda",
    "/gradio_api/reset",
    "/gradio_api/dev/reload",
    "/gradio_api/vibe-code",
    "/gradio_api/stream/a/b/c/playlist.m3u8",
    "/gradio_api/custom_component/a/client/component/x.js",
    "/config",
    "/login",
    "/monitoring",
    "/monitoring/summary",
    "/svelte/svelte.js",
    "/pwa_icon",
    "/manifest.json",
    "/robots.txt",
    "/user",
    "/token",
    "/app_id",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("door")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    """Not started: nothing here needs a session or a worker."""
    settings = Settings(data_dir=folder, worker=False, allowed_origins=(f"{FRIEND.upper()}:443/page",))
    portal = Portal.build(settings)
    yield TestClient(create_app(settings, portal), base_url="http://127.0.0.1:7860", follow_redirects=False)
    portal.desk.queue.close()
    portal.talk.engine.executor.shutdown()


def error_of(answer: Any) -> dict[str, str]:
    error: dict[str, str] = answer.json()["error"]
    assert error["code"] and error["message"] and error["hint"]
    return error


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_of_gradio_answers_but_its_page(client: TestClient, method: str) -> None:
    """No way to fetch addresses, upload, join queues or ask about it; each is told as our own errors are."""
    for address in GRADIO:
        answer = client.request(method, address)
        assert answer.status_code == 404, address
        assert error_of(answer)["code"] == "not_found"
    assert client.get("/?deep_link=x&__theme=dark").status_code == 200
    for address in ("/assets/../../config", "/assets/..%2f..%2fgradio.js", "/theme.css/", "/theme.cssx"):
        assert client.get(address).status_code == 404, address


def test_the_page_asks_for_nothing_that_is_not_there(client: TestClient) -> None:
    """Each script, style and icon of the page is served; the events of Gradio's queue are not among them."""
    page = client.get("/").text
    page = page.replace('\\"', '"')  # Gradio adds some of them itself, from its settings
    addresses = re.findall(r'(?:src|href)="(?:\./)?((?:assets|static)/[^"]+|theme\.css[^"]*)"', page)
    assert len(addresses) > 8
    for address in addresses:
        assert client.get(f"/{address}").status_code == 200, address
    assert '"dependencies":[]' in page.replace(" ", "")
    assert client.get("/favicon.ico").headers["content-type"].startswith("image/")
    assert client.get("/choices.json").json()["defaults"]["tts"] == "auto"


def test_a_shared_link_shows_the_portal(client: TestClient) -> None:
    """The preview is ours, with a picture by its whole address; nothing of Gradio's own is left."""
    page = client.get("/").text
    told = dict(re.findall(r'<meta property="og:(\w+)" content="([^"]*)"', page))
    assert told["title"] == "Vivavoce" and told["url"] == "http://127.0.0.1:7860/"
    assert told["image"] == "http://127.0.0.1:7860/api/avatars/mira/poster.jpg"
    assert "Click to try out" not in page and "iframeResizer.contentWindow" not in page and "manifest.json" not in page


def test_the_page_has_an_icon_for_every_place(client: TestClient) -> None:
    """A tab in three sizes, a screen of any size, and the home screen of a phone."""
    icons = re.findall(r'<link rel="(icon|apple-touch-icon)" href="([^"]+)"', client.get("/").text)
    assert sorted(place for place, _address in icons) == ["apple-touch-icon", "icon", "icon"]
    answers = {address.rpartition(".")[2]: client.get(f"/{address}") for _place, address in icons}
    assert {kind: answer.headers["content-type"].startswith("image/") for kind, answer in answers.items()} == {
        "ico": True,
        "svg": True,
        "png": True,
    }
    sizes = answers["ico"].content
    assert [sizes[6 + 16 * place] for place in range(sizes[4])] == [16, 32, 48]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/static/talk.js", 200),
        ("GET", "/static/none.js", 404),
        ("GET", "/api/avatars", 200),
        ("GET", "/api/avatars/none", 404),
        ("GET", "/api/avatars/", 307),
        ("GET", "/none", 404),
        ("PUT", "/healthz", 405),
        ("POST", "/", 405),
        ("GET", "/metrics", 200),
        ("OPTIONS", "/api/avatars", 405),
    ],
)
def test_every_answer_says_what_may_run_and_who_may_frame_it(
    client: TestClient, method: str, path: str, status: int
) -> None:
    """Pages, the API, files, redirects and errors alike."""
    answer = client.request(method, path)
    assert answer.status_code == status
    policy = answer.headers["content-security-policy"]
    assert f"frame-ancestors 'self' {FRIEND}" in policy and "default-src" in policy
    assert "script-src *" not in policy and "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    if status >= 400:
        error_of(answer)


def test_only_the_inline_scripts_of_the_page_itself_may_run() -> None:
    """They are named by their hashes: one more, put in by whatever means, is not among them."""
    page = "<script>one()</script><script type=module src='x.js'></script><script data-x>two()</script>"
    assert inline_scripts(page) == ["one()", "two()"]
    scripts = page_policy(page).partition("script-src")[2].partition(";")[0]
    assert scripts.count("'sha256-") == 2 and "unsafe" not in scripts


def test_a_fault_that_nobody_foresaw_is_told_as_others_are() -> None:
    """Outside the routes too: in our form, with the same headers, and no word of what it was."""
    app = FastAPI()
    answer_errors(app)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("secret")

    async def bare(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("secret")

    for inner in (app, bare):
        client = TestClient(front_door(inner, Settings()), base_url="http://localhost")
        answer = client.get("/broken")
        assert answer.status_code == 500 and error_of(answer)["code"] == "internal" and "secret" not in answer.text
        assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    "path", ["/", "/stage", "/docs", "/docs/", "/static", "/static/", "/api/avatars/", "/api/sessions/", "/api/x/"]
)
def test_no_answer_repeats_a_long_address(client: TestClient, path: str) -> None:
    """A proxy takes 4 kB of headers. A longer head counts as a failure of this portal, for all its viewers."""
    answer = client.get(path, params={"x": "a" * 5000})
    assert sum(len(name) + len(value) + 4 for name, value in answer.headers.items()) < 3000
    if path in ("/docs/", "/api/avatars/"):  # a shorter one is led to the address without the slash
        assert answer.status_code == 414 and error_of(answer)["code"] == "address_too_long"
        assert client.get(path, params={"x": "a"}).headers["location"].endswith(f"{path[:-1]}?x=a")


@pytest.mark.parametrize("passed", ["/avatar/api/avatars", "/api/avatars"])
def test_what_the_api_answers_is_private_below_a_path_too(passed: str) -> None:
    """Whether the proxy cuts that path off or not."""
    inner = FastAPI()
    inner.get("/api/avatars")(list)
    for settings, headers in ((Settings(root_path="/avatar"), {}), (Settings(), {"x-forwarded-prefix": "/avatar"})):
        client = TestClient(front_door(inner, settings), base_url="http://localhost", client=("127.0.0.1", 1))
        assert client.get(passed, headers=headers).headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    "path", ["/api/avatars", "/api/avatars/none", "/api/none", "/static/player.js", "/static/none"]
)
def test_an_allowed_website_may_read_what_it_asks_for(client: TestClient, path: str) -> None:
    """Also errors; others may not read anything, and nobody may read the page itself."""
    for origin, allowed in ((FRIEND, FRIEND), ("https://evil.example", None), ("http://localhost:7860", None)):
        answer = client.get(path, headers={"origin": origin, "sec-fetch-site": "cross-site"})
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert "origin" in answer.headers["vary"].lower()
    assert "access-control-allow-origin" not in client.get("/", headers={"origin": FRIEND}).headers


def test_preflights_are_answered_here(client: TestClient) -> None:
    """Leave for an allowed website; none for others, whatever header they would like to send."""
    asked = {"access-control-request-method": "DELETE", "access-control-request-headers": "x-forwarded-host"}
    leave = client.options("/api/avatars/mira", headers={"origin": FRIEND, **asked})
    assert leave.status_code == 204 and leave.headers["access-control-allow-origin"] == FRIEND
    assert "DELETE" in leave.headers["access-control-allow-methods"]
    assert "x-forwarded" not in leave.headers["access-control-allow-headers"].lower()
    for origin in ("https://evil.example", "null", "http://localhost:7860", "http://127.0.0.1:9999"):
        refused = client.options("/api/avatars/mira", headers={"origin": origin, **asked})
        assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers


def test_answers_travel_packed_and_media_as_they_are(client: TestClient) -> None:
    """Scripts, styles and JSON by gzip, which browsers take without TLS too; a picture gains nothing by it."""
    for path in ("/", "/static/talk.js", "/static/styles.css", "/choices.json"):
        assert client.get(path, headers={"accept-encoding": "gzip"}).headers["content-encoding"] == "gzip", path
    icon = client.get("/static/icons/apple-touch-icon.png", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in icon.headers


async def test_mattes_are_not_packed_for_each_reader() -> None:
    """They are pictures, and large: packing them again and again would hold up everybody's pictures."""

    async def mattes(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"100000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(100_000)})

    transport = httpx.ASGITransport(app=Packing(mattes))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as asking:
        answer = await asking.get("/api/avatars/mira/mattes.bin", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers and len(answer.content) == 100_000


def test_a_file_of_the_page_is_packed_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked for; who does not take gzip has it as it is."""
    path = "/static/player.js"
    first = client.get(path, headers={"accept-encoding": "gzip"})
    monkeypatch.setattr("portal.http.packing.gzip.compress", lambda *_given: pytest.fail("packed again"))
    again = client.get(path, headers={"accept-encoding": "gzip"})
    plain = client.get(path, headers={"accept-encoding": "identity"})
    assert first.content == again.content == plain.content
    assert again.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert "accept-encoding" in again.headers["vary"].lower()
    known = client.get(path, headers={"accept-encoding": "gzip", "if-none-match": again.headers["etag"]})
    assert known.status_code == 304 and known.content == b""


def test_below_a_path_the_page_knows_where_it_is(folder: Path) -> None:
    """Told by a proxy of ours; the page without its slash is led to the one with it."""
    settings = Settings(data_dir=folder, worker=False)
    portal = Portal.build(settings)
    below = {"x-forwarded-prefix": "/face", "x-forwarded-proto": "https"}
    client = TestClient(
        create_app(settings, portal), base_url="http://localhost", client=("127.0.0.1", 1), follow_redirects=False
    )
    page = client.get("/", headers=below)
    assert '"root":"https://localhost/face"' in page.text.replace(" ", "")
    assert client.get("/api/avatars", headers=below).json() == []
    assert client.get("/static/talk.js", headers=below).status_code == 200
    assert client.get("/face/static/talk.js", headers=below).status_code == 200
    assert client.get("/face", headers=below).headers["location"] == "/face/"
    portal.desk.queue.close()
    portal.talk.engine.executor.shutdown()


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/avatars", "/api/jobs", "/static/talk.js", "/docs"])
def test_head_is_answered_as_get_is(client: TestClient, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same status and headers, and no body; also of what is not there."""
    # What /metrics counts changes from one request to the next, and its length with it. Here it stands still.
    monkeypatch.setattr(Engine, "exposition", lambda _engine: b"vivavoce_turns 1\n" * 100)
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers["content-length"] == got.headers["content-length"]
    assert client.head("/api/none").status_code == 404


def test_the_description_of_the_api_needs_no_other_host(client: TestClient) -> None:
    """Every address of /docs is relative and served here; its one inline script is named by the policy."""
    answer = client.get("/docs")
    addresses = re.findall(r'(?:src|href)="([^"]+)"|url: \'([^\']+)\'', answer.text)
    assert len(addresses) >= 4
    for address in map("".join, addresses):
        assert "//" not in address and client.get(f"/{address}").status_code == 200, address
    assert "'sha256-" in answer.headers["content-security-policy"]
    assert client.get("/redoc").headers["location"] == "docs"


def test_uploads_are_described(client: TestClient) -> None:
    """What a form takes is in /openapi.json, so that clients can be made from it."""
    paths = client.get("/openapi.json").json()["paths"]
    photo = paths["/api/avatars"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert photo["properties"]["file"]["format"] == "binary" and set(photo["required"]) == {"file", "consent"}
    assert {"name", "framing", "cutout"} <= photo["properties"].keys()
    clip = paths["/api/clips"]["post"]["requestBody"]["content"]
    assert clip["application/json"]["schema"]["required"] == ["avatar", "text"]
    assert clip["multipart/form-data"]["schema"]["properties"]["audio"]["format"] == "binary"


def test_the_page_and_its_scripts_are_small_on_the_wire(client: TestClient) -> None:
    """HTML and our own scripts and styles: 120 kB at most for who takes gzip."""
    static = Path(__file__).parents[2] / "portal" / "static"
    own = [file for file in static.rglob("*") if file.suffix in (".js", ".css") and "vendor" not in file.parts]
    total_bytes = 0
    for path in ("/", *(f"/static/{file.relative_to(static).as_posix()}" for file in own)):
        with client.stream("GET", path, headers={"accept-encoding": "gzip"}) as answer:
            total_bytes += sum(len(piece) for piece in answer.iter_raw())
    assert 20_000 < total_bytes <= 120_000


async def test_changes_come_at_a_human_pace() -> None:
    """From one address so many at once, then a few a second, with the time to wait; others and readers are free."""
    clock = ManualClock()

    async def done(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("done")(scope, receive, send)

    app = HumanPace(done, clock)
    here, there = (TestClient(app, client=(address, 1)) for address in ("203.0.113.1", "203.0.113.2"))
    assert {here.post("/api/clips").status_code for _ in range(CHANGES_BURST)} == {200}
    refused = here.delete("/api/jobs/x")
    assert refused.status_code == 429 and error_of(refused)["code"] == "too_often"
    assert refused.headers["retry-after"] == "1"
    assert here.get("/api/jobs").status_code == there.post("/api/clips").status_code == 200
    await clock.advance(0.5)
    assert here.post("/api/clips").status_code == 200


async def test_what_is_dear_to_read_is_read_at_a_human_pace() -> None:
    """The lists of one address so many at once, then some a second; small things have a pace of their own."""
    clock = ManualClock()

    async def done(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("done")(scope, receive, send)

    app = BehindProxies(HumanPace(done, clock), (), "/avatar")
    here, there = (TestClient(app, client=(address, 1)) for address in ("203.0.113.1", "203.0.113.2"))
    lists = (
        "/",
        "/api/jobs?limit=500",
        "/api/avatars",
        "/avatar/api/backends",
        "/healthz",
        "/openapi.json",
        "/choices.json",
    )
    for place in range(COSTLY_BURST):
        assert here.request("HEAD" if place % 2 else "GET", lists[place % len(lists)]).status_code == 200
    for path in lists:
        refused = here.get(path)
        assert refused.status_code == 429 and error_of(refused)["code"] == "too_often"
    free = ("/static/talk.js", "/api/jobs/x", "/api/avatars/mira/poster.jpg")
    assert {here.get(path).status_code for path in free} == {200} == {there.get(path).status_code for path in lists}
    await clock.advance(1 / COSTLY_PER_S)
    assert (here.get("/api/jobs").status_code, here.get("/api/jobs").status_code) == (200, 429)


async def test_small_things_are_read_at_the_pace_of_many_people() -> None:
    """Also what does not exist: beyond the bound an address is refused, and its connection closed; others are not."""
    clock = ManualClock()

    async def missing(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("none", 404)(scope, receive, send)

    app = HumanPace(missing, clock)
    scope = {"type": "http", "method": "GET", "path": "/nothing", "headers": [], "client": ("203.0.113.1", 1)}
    assert not any(app._charge(scope) for _ in range(READS_BURST))
    refused = TestClient(app, client=("203.0.113.1", 1)).get("/nothing")
    assert refused.status_code == 429 and refused.headers["connection"] == "close"
    assert TestClient(app, client=("203.0.113.2", 1)).get("/nothing").status_code == 404
    await clock.advance(1 / READS_PER_S)
    assert TestClient(app, client=("203.0.113.1", 1)).get("/nothing").status_code == 404


@pytest.mark.parametrize(
    ("asked", "status"), [("junk", 400), ("lines=1-2", 400), ("bytes=", 400), ("bytes=99999999-", 416)]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_range_that_is_none_is_refused_in_our_form(client: TestClient, method: str, asked: str, status: int) -> None:
    """Files that are seeked in: what the framework says in plain text of its own is told like every other error."""
    answer = client.request(method, "/favicon.ico", headers={"Range": asked})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert (answer.headers.get("content-range", "").startswith("bytes */")) is (status == 416)
    if method == "GET":
        assert error_of(answer)["code"] == "bad_request"
    part = client.request(method, "/favicon.ico", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.headers["content-length"]) == (206, "3")


def test_many_ranges_of_a_file_are_the_whole_of_it(client: TestClient) -> None:
    """Each would be looked for and read by itself."""
    whole = client.get("/favicon.ico")
    many = client.get("/favicon.ico", headers={"Range": "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 200, 2))})
    assert (many.status_code, many.content) == (200, whole.content)


def test_a_socket_at_another_address_is_closed(client: TestClient) -> None:
    """There is one, /session. Why is told in our form, with our headers."""
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/none"):
        pass
    assert denied.value.status_code == 404 and error_of(denied.value)["code"] == "not_found"
    assert denied.value.headers["x-content-type-options"] == "nosniff"


async def test_head_of_a_stream_ends() -> None:
    """A stream of events has headers, too, and would never end by itself."""
    ended = asyncio.Event()

    async def endless(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-of", b"a stream")]})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"more", "more_body": True})
                await asyncio.sleep(0)
        finally:
            ended.set()

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    await HeadAsGet(endless)({"type": "http", "method": "HEAD"}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert not sent[1]["body"] and not sent[1].get("more_body") and ended.is_set()


@pytest.mark.parametrize("path", ["/healthz", "/api/avatars", "/static/talk.js"])
async def test_whoever_still_waits_when_the_portal_ends_is_told_so(path: str) -> None:
    """The server cancels what has no answer a second after it was told to end. By a 500 a balancer could take the
    portal for broken.
    """
    waiting = asyncio.Event()
    sent: list[Message] = []

    async def without_end(_scope: Scope, _receive: Receive, _send: Send) -> None:
        waiting.set()
        await asyncio.Event().wait()

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"localhost")], "scheme": "http"}
    door = front_door(without_end, Settings())
    asking = asyncio.ensure_future(door({**scope, "client": ("127.0.0.1", 1), "query_string": b""}, receive, send))
    await waiting.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert sent[0]["status"] == 503 and (b"connection", b"close") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["error"]["code"] == "portal_stops"
