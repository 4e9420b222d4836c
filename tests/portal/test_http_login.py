"""Login: who gets in by which way, what each role may do, and that nothing gets past it."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import httpx
import jwt
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp, Message

from pipeline.clock import ManualClock
from portal.app import Portal, create_app
from portal.http import login
from portal.http.door import front_door
from portal.http.login import COOKIE, LONGEST_FORM_BYTES, TRIES_BURST, Gate
from portal.http.login_line import LoginLine
from portal.http.people import Role, UsersError, UsersFile
from portal.http.proxies import BehindProxies
from tests.portal.login_gate import HTML, PASSWORD, PRODUCT, Opened, echo, log_in, settings_with

pytestmark = pytest.mark.usefixtures("quick_passwords")

PAGES = ("/", "/stage", "/docs")
PRIVATE = (
    "/",
    "/api/me",
    "/api/avatars",
    "/api/jobs",
    "/api/backends",
    "/api/recordings/x.mp4",
    "/openapi.json",
    "/docs",
    "/metrics",
    "/choices.json",
    "/stage",
    "/theme.css",
    "/assets/x.js",
    "/config",
    "/nothing",
)


def test_without_a_login_everybody_may_do_everything(tmp_path: Path) -> None:
    """The gate stands open, no key is made, and who asks is anybody."""
    settings = settings_with(tmp_path, {})
    client = TestClient(front_door(Starlette(routes=[Route("/x", echo)]), settings), base_url="http://127.0.0.1")
    assert not settings.needs_login
    assert client.get("/x").json() == {"name": "", "role": "ADMIN"}
    assert not (tmp_path / "login.key").exists()


def test_the_gate_closes_with_the_first_person_who_is_added(opened: Opened, users: UsersFile, tmp_path: Path) -> None:
    """A portal that is running already, too; it stays closed when the file is gone."""
    people = tmp_path / "users.json"
    kept = people.read_bytes()
    people.unlink()
    client = opened()
    assert client.get("/api/me").json()["role"] == "ADMIN"
    people.write_bytes(kept)
    assert client.get("/api/me").status_code == 401
    assert client.get("/api/me", auth=("max", "max")).json() == {"name": "max", "role": "MAKER"}
    people.unlink()
    assert client.get("/api/me").status_code == 401


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """The real application with a password, at rest."""
    settings = settings_with(tmp_path_factory.mktemp("portal"), {"password": PASSWORD, "worker": False})
    return TestClient(create_app(settings, Portal.build(settings)), base_url="http://127.0.0.1", follow_redirects=False)


@pytest.mark.parametrize("path", PRIVATE)
def test_a_stranger_gets_nothing_of_the_portal_but_the_login(portal: TestClient, path: str) -> None:
    """API, page, Gradio's files, metrics, and addresses that are not there: all the same answer."""
    answer = portal.get(path)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "login_needed"
    assert answer.headers["www-authenticate"] == "Bearer"
    page = portal.get(path, headers=HTML)
    assert page.status_code == 401 and 'action="/login"' in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]


def test_a_stranger_opens_no_session_and_uploads_nothing(portal: TestClient) -> None:
    """The socket is refused in its handshake; a file is refused too."""
    with pytest.raises(WebSocketDenialResponse) as refused, portal.websocket_connect("/session"):
        pass
    assert refused.value.status_code == 401
    assert refused.value.json()["error"]["code"] == "login_needed"
    answer = portal.post("/api/avatars", files={"file": b"x"}, data={"consent": "true"})
    assert answer.status_code == 401


def test_health_and_files_of_the_page_stay_open(portal: TestClient) -> None:
    """A load balancer has no password, and the login page has a logo."""
    assert portal.get("/healthz").status_code in (200, 503)
    assert portal.get("/static/logo.svg").status_code == 200


def test_whoever_knows_the_password_is_let_in_and_out_again(opened: Opened) -> None:
    """By the form; the cookie is for this portal, not for scripts; logging out ends it."""
    client = opened(password=PASSWORD)
    assert client.get("/api/me").status_code == 401
    answer = client.post("/login", data={"password": PASSWORD, "next": "/stage?view=stage"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/stage?view=stage")
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Secure", "Path=/"))
    assert client.get("/api/me").json() == {"name": "", "role": "ADMIN"}
    assert client.get("/login").headers["location"] == "/"
    assert client.post("/logout").status_code == 303
    assert client.get("/api/me").status_code == 401


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", ""])
def test_a_login_leads_to_no_other_website(opened: Opened, wanted: str) -> None:
    """What the form says about where to go next may have been written by anybody."""
    answer = opened(password=PASSWORD).post("/login", data={"password": PASSWORD, "next": wanted})
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize(("language", "words"), [("zh-CN,zh;q=0.9", "用户名或密码不正确"), ("de", "password is wrong")])
def test_a_wrong_password_is_told_in_the_viewers_language(
    opened: Opened, users: UsersFile, language: str, words: str
) -> None:
    """On the login page, whether the name exists or not; where it came from is kept."""
    client = opened()
    for name in ("ada", "nobody"):
        fields = {"name": name, "password": "no", "next": '/x?"<b>'}
        answer = client.post("/login", data=fields, headers={"Accept-Language": language})
        assert answer.status_code == 401 and words in answer.text
        assert "/x?&quot;&lt;b&gt;" in answer.text and "<b>" not in answer.text


def test_passwords_cannot_be_tried_without_end(opened: Opened, users: UsersFile, clock: ManualClock) -> None:
    """After some from one address, not even the right one is looked at, until time has passed."""
    client = opened(password=PASSWORD)
    assert {log_in(client, "wrong") for _ in range(TRIES_BURST)} == {401}
    assert log_in(client) == 429
    assert client.get("/api/me", auth=("ada", "ada")).status_code == 429
    asyncio.run(clock.advance(60.0))
    assert log_in(client) == 303


def test_a_form_that_is_no_login_is_refused(opened: Opened) -> None:
    """Nobody's password has thousands of letters."""
    client = opened(password=PASSWORD)
    answer = client.post("/login", data={"password": "x" * LONGEST_FORM_BYTES})
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "wrong_password"


def test_a_changed_password_ends_every_login(opened: Opened, users: UsersFile) -> None:
    """The shared one at the next start, somebody's own at once. Who is removed is out at once, too."""
    client = opened(password=PASSWORD)
    log_in(client)
    again = opened(password="another")
    again.cookies = client.cookies
    assert again.get("/api/me").status_code == 401
    assert log_in(again, "max", name="max") == 303
    assert again.get("/api/me").json() == {"name": "max", "role": "MAKER"}
    users.set("max", "other", Role.VIEWER)
    assert again.get("/api/me").status_code == 401
    assert log_in(again, "other", name="max") == 303
    assert again.get("/api/me").json()["role"] == "VIEWER"
    users.remove("max")
    assert again.get("/api/me").status_code == 401


@pytest.mark.parametrize("other", ["a@b=c", 'x={"a":1, "b":2}', "a b=1", "expires=1", "(x)=1", "a,b=c"])
def test_cookies_of_other_websites_are_in_nobodys_way(opened: Opened, other: str) -> None:
    """Browsers send those of all ports of a host name, whatever is in them."""
    client = opened(password=PASSWORD)
    log_in(client)
    ours = f"{COOKIE}={client.cookies[COOKIE]}"
    client.cookies.clear()
    for cookies in (f"{other}; {ours}", f"{ours}; {other}"):
        assert client.get("/api/me", headers={"Cookie": cookies}).json()["role"] == "ADMIN"
    assert client.get("/api/me", headers={"Cookie": other}).status_code == 401


def test_a_restart_logs_nobody_out(opened: Opened) -> None:
    """The key that cookies are signed with is kept, for the owner of the data folder alone."""
    client, again = opened(password=PASSWORD), opened(password=PASSWORD)
    log_in(client)
    again.cookies = client.cookies
    assert again.get("/api/me").status_code == 200


@pytest.mark.parametrize("cookie", ["", "x.y.z", jwt.encode({"name": "ada", "exp": 2**40}, "0" * 32, "HS256")])
def test_a_forged_cookie_is_nobodys(opened: Opened, users: UsersFile, cookie: str) -> None:
    """Also one that says `alg: none`."""
    client = opened(token_secret=PRODUCT)
    for value in (cookie, jwt.encode({"name": "ada", "exp": 2**40}, "", "none")):
        client.cookies.set(COOKIE, value)
        assert client.get("/api/me").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/api/avatars", Role.VIEWER),
        ("POST", "/offer", Role.VIEWER),
        ("POST", "/human", Role.VIEWER),
        ("POST", "/api/sessions", Role.VIEWER),
        ("POST", "/api/sessionsx", Role.MAKER),
        ("POST", "/api/avatars", Role.MAKER),
        ("DELETE", "/api/avatars/x", Role.MAKER),
        ("PATCH", "/api/avatars/x", Role.MAKER),
        ("POST", "/api/clips", Role.MAKER),
        ("DELETE", "/api/jobs/x", Role.MAKER),
        ("POST", "/gradio_api/queue/join", Role.VIEWER),
        ("POST", "/gradio_api/mcp", Role.VIEWER),
        ("POST", "/gradio_api/upload", Role.MAKER),
        ("POST", "/something/new", Role.MAKER),
        ("GET", "/metrics", Role.ADMIN),
        ("GET", "/api/admin/sessions", Role.ADMIN),
    ],
)
def test_each_role_may_do_what_those_before_it_may(
    opened: Opened, users: UsersFile, method: str, path: str, role: Role
) -> None:
    """Viewers talk, makers change, admins see everybody. What is new and changes something is for makers."""
    client = opened()
    for name, has in (("vera", Role.VIEWER), ("max", Role.MAKER), ("ada", Role.ADMIN)):
        answer = client.request(method, path, auth=(name, name))
        assert answer.status_code == (200 if has >= role else 403), name
        if has < role:
            assert answer.json()["error"]["code"] == "not_allowed"


class Hashing:
    """Instead of hashing: passwords wait to be tried until the test lets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_go_on = threading.Event()
        self.tried: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        monkeypatch.setattr(login, "is_password", self._is_password)

    def _is_password(self, password: str, _wanted: str) -> bool:
        self._loop.call_soon_threadsafe(self.tried.put_nowait, password)
        return self.may_go_on.wait(60) and password == "right"


def form_from(app: ASGIApp, address: str, password: str) -> asyncio.Task[httpx.Response]:
    transport = httpx.ASGITransport(app, client=(address, 1))

    async def post() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="https://portal") as client:
            return await client.post("/login", data={"name": "max", "password": password})

    return asyncio.ensure_future(post())


async def test_whoever_tries_many_passwords_holds_up_nobody_else(
    tmp_path: Path, users: UsersFile, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each address one is tried and one waits; the others are refused at once. Another address has its turn."""
    hashing = Hashing(monkeypatch)
    gate = BehindProxies(Gate.of(Starlette(), settings_with(tmp_path, {}), clock), [])
    many = [form_from(gate, "203.0.113.5", f"wrong {number}") for number in range(6)]
    assert await hashing.tried.get() == "wrong 0"
    refused: list[int] = []
    waiting = set(many)
    while len(refused) < 4:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused += [task.result().status_code for task in done]
    assert refused == [429] * 4
    theirs = form_from(gate, "203.0.113.6", "right")
    assert await hashing.tried.get() == "right"
    hashing.may_go_on.set()
    assert (await theirs).status_code == 303
    assert sorted([(await task).status_code for task in many]) == [401, 401, 429, 429, 429, 429]


async def test_nothing_is_hashed_for_whoever_has_hung_up(
    tmp_path: Path, users: UsersFile, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the answer any more."""
    hashing = Hashing(monkeypatch)
    gate = Gate.of(Starlette(), settings_with(tmp_path, {}), clock)
    coming: list[Message] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"name=max&password=right", "more_body": False},
    ]

    async def receive() -> Message:
        return coming.pop()

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    noted: list[str] = []
    monkeypatch.setattr(LoginLine, "note_wrong", lambda _line, address: noted.append(address))
    scope = {"type": "http", "method": "POST", "path": "/login", "headers": [], "client": ("203.0.113.5", 1)}
    await gate(scope, receive, send)
    assert hashing.tried.empty() and sent[0]["status"] == 401
    assert noted == [], "it was not wrong, as far as anybody knows"


def test_the_file_of_users_keeps_no_password_and_only_its_owner_reads_it(tmp_path: Path, users: UsersFile) -> None:
    """Two people with one password have nothing in common in it."""
    users.set("twin", "max", Role.MAKER)
    path = tmp_path / "users.json"
    kept = json.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept["max"]["password"] != kept["twin"]["password"] and "max" not in kept["max"]["password"]
    with pytest.raises(UsersError, match="Nobody is called"):
        users.remove("nobody")
    for name in ("a:b", "ma\u3164x", "max\u200b"):
        with pytest.raises(UsersError, match="cannot be a name"):
            users.set(name, "x", Role.VIEWER)


def test_a_file_of_users_that_is_damaged_later_is_told_to_the_log_only(
    tmp_path: Path, opened: Opened, users: UsersFile, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger does not learn where it lies."""
    client = opened()
    (tmp_path / "users.json").write_text("no JSON")
    answer = client.get("/api/me", auth=("max", "max"))
    assert answer.status_code == 500 and "users.json" not in answer.text
    assert "users.json" in caplog.text


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"a": {}}', '{"a": {"password": "x", "role": "king"}}'])
def test_a_file_of_users_that_cannot_be_used_keeps_everybody_out(tmp_path: Path, opened: Opened, text: str) -> None:
    """The portal does not start with it, rather than start without a login."""
    (tmp_path / "users.json").write_text(text)
    assert settings_with(tmp_path, {}).needs_login
    with pytest.raises(UsersError, match="cannot be used"):
        opened()
