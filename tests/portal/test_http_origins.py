from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from portal.http.addresses import parse_host_pattern, parse_origin
from portal.http.origins import OriginGuard
from portal.http.proxies import BehindProxies, asked_hosts


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.add_middleware(OriginGuard, allowed_origins=["https://friend.example/"], trusted_hosts=["*.hf.space"])
    app.add_middleware(BehindProxies, trusted=["10.0.0.0/8"])

    @app.get("/thing")
    @app.post("/thing")
    def thing() -> str:
        return "done"

    @app.websocket("/session")
    async def session(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("welcome")

    return TestClient(app, base_url="http://testserver", client=("10.0.0.2", 50000))


ALLOWED = [
    {},
    {"origin": "http://testserver"},
    {"origin": "http://testserver", "sec-fetch-site": "same-origin"},
    {"origin": "http://TestServer:80"},
    {"origin": "https://friend.example", "sec-fetch-site": "cross-site"},
    {"origin": "https://me-app.hf.space", "x-forwarded-host": "me-app.hf.space"},
    {"sec-fetch-site": "none"},
]
FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "http://testserver:9999"},
    {"origin": "null"},
    {"origin": "https://"},
    {"origin": "http://friend.example"},
    {"origin": "https://friend.example.evil.example"},
    {"origin": "https://friend.example@evil.example"},
    {"origin": "http://testserver", "sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]
UNKNOWN = [
    {"host": "evil.example"},
    {"host": "evil.example:7860", "origin": "http://evil.example:7860"},
    {"host": "evil.example", "x-forwarded-host": "testserver"},
    {"x-forwarded-host": "evil.example"},
    {"x-forwarded-host": "evil.example", "origin": "https://evil.example", "x-forwarded-proto": "https"},
    {"host": "evil.example", "x-forwarded-proto": "https"},
    {"host": "evil.example", "x-forwarded-proto": "https", "origin": "http://evil.example"},
    {"host": "evil.example", "sec-fetch-site": "same-origin"},
    {"host": "hf.space"},
    {"host": "x.hf.space.evil.example"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "hf.space."},
]
NAMELESS = [
    {"host": host}
    for host in (
        *("a b", "*.hf.space", "<script>", "localhost:999999", "localhost:0", "localhost:65536", "localhost:8x"),
        *(".localhost", "my..box", "localhost..", "..", ":7860", "[::1", "::1", "[::g]", "[1:2]", "[fe80::1%eth0]"),
        *("user@localhost", "localhost/path", "x" * 64, ".".join(["x" * 60] * 5)),
    )
]
KNOWN = [
    "localhost:7860",
    "127.0.0.1:7860",
    "192.168.1.20",
    "[::1]:7860",
    "[fe80::1]",
    "[0:0:0:0:0:0:0:1]:7860",
    "localhost:",
    "localhost.",
    "com",
    "mybox",
    "mybox.local",
    "MyBox.LOCAL.",
    "portal.home.arpa",
    "avatar.corp",
    "me-app.hf.space",
    "friend.example",
]


@pytest.mark.parametrize("headers", ALLOWED)
def test_our_own_page_programs_and_allowed_sites_are_served(client: TestClient, headers: dict[str, str]) -> None:
    """No Origin, the host asked, the host before a proxy, and what the operator allows, however it is written."""
    assert client.post("/thing", headers=headers).status_code == 200
    with client.websocket_connect("/session", headers=headers) as socket:
        assert socket.receive_text() == "welcome"


@pytest.mark.parametrize("headers", FOREIGN)
def test_other_websites_change_nothing_and_open_no_session(client: TestClient, headers: dict[str, str]) -> None:
    """A foreign page is refused with a remedy; looking is allowed."""
    refused = client.post("/thing", headers=headers)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "foreign_origin"
    assert "--allowed-origins" in refused.json()["error"]["hint"]
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/session", headers=headers):
        pass
    assert denied.value.json() == refused.json()
    assert client.get("/thing", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", UNKNOWN)
def test_a_name_that_anybody_can_own_is_not_ours(client: TestClient, headers: dict[str, str]) -> None:
    """DNS rebinding: such a page would be of our own origin. It may not even look, and no forged header helps."""
    for method in ("GET", "POST", "OPTIONS"):
        refused = client.request(method, "/thing", headers=headers)
        assert refused.status_code == 403 and refused.json()["error"]["code"] == "unknown_host"
        assert "--trusted-hosts" in refused.json()["error"]["hint"]
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/session", headers=headers):
        pass


@pytest.mark.parametrize("headers", NAMELESS)
def test_what_is_no_name_is_not_served(client: TestClient, headers: dict[str, str]) -> None:
    """And is not repeated in the answer."""
    refused = client.get("/thing", headers=headers)
    assert refused.status_code == 400 and headers["host"] not in refused.text
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/session", headers=headers):
        pass


def test_of_two_names_neither_counts_and_none_is_a_programs(client: TestClient) -> None:
    """Which `Host` is meant would be anybody's guess; a request of HTTP/1.0 has none, and is served."""
    both = [("host", "localhost"), ("host", "evil.example")]
    assert client.get("/thing", headers=both).status_code == 400
    assert client.get("/thing", headers={"host": ""}).status_code == 200


async def test_a_whole_address_counts_before_the_host() -> None:
    """As a proxy is asked: its name is looked at, its path is served, and `Host` is ignored."""
    asked: list[Any] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        asked.append((scope["path"], asked_hosts(scope), Headers(scope=scope).get("host")))
        await PlainTextResponse("done")(scope, _receive, send)

    door = BehindProxies(OriginGuard(app), (), "")
    for target, host, status in (
        ("http://127.0.0.1:7860/api/avatars", "evil.example", 200),
        ("HTTPS://mybox", "evil.example", 200),
        ("http://evil.example/api/avatars", "127.0.0.1", 403),
        ("http://a b/", "127.0.0.1", 400),
    ):
        told: list[Any] = []

        async def send(message: Any, told: list[Any] = told) -> None:
            told.append(message)

        scope = {"type": "http", "method": "GET", "path": target, "raw_path": target.encode(), "scheme": "http"}
        await door({**scope, "headers": [(b"host", host.encode())], "client": ("203.0.113.1", 1)}, None, send)
        assert told[0]["status"] == status, target
    assert asked == [
        ("/api/avatars", ("127.0.0.1:7860",), "127.0.0.1:7860"),
        ("/", ("mybox",), "mybox"),
    ]


@pytest.mark.parametrize("host", KNOWN)
def test_addresses_and_names_of_a_house_are_served(client: TestClient, host: str) -> None:
    """A phone in the same network finds the portal without any setting, and may use it."""
    headers = {"host": host, "origin": f"http://{host}"}
    assert client.post("/thing", headers=headers).status_code == 200
    with client.websocket_connect("/session", headers=headers) as socket:
        assert socket.receive_text() == "welcome"


@pytest.mark.parametrize(
    "proof", [{"sec-fetch-site": "none"}, {"sec-fetch-site": "same-origin"}, {"origin": "https://portal.example"}]
)
def test_a_public_name_that_a_browser_reached_by_tls_is_served(client: TestClient, proof: dict[str, str]) -> None:
    """Behind a proxy or a tunnel with a certificate for it, without a setting: a rebound name has none."""
    headers = {"host": "portal.example", "x-forwarded-proto": "https", **proof}
    assert client.get("/thing", headers=headers).status_code == 200


def test_an_operator_may_trust_every_name() -> None:
    """`*`: for a portal that only a proxy can reach."""
    app = FastAPI()
    app.add_api_route("/thing", lambda: "done")
    guarded = TestClient(OriginGuard(app, trusted_hosts=["*"]), base_url="http://any.example")
    assert guarded.get("/thing").status_code == 200


def test_origins_and_hosts_are_compared_in_one_form() -> None:
    """Case, a port that goes without saying, a path and a trailing dot make no difference; nonsense is refused."""
    for text in ("https://EXAMPLE.org", "https://example.org:443", "https://example.org/", "https://example.org/a?b"):
        assert parse_origin(text) == "https://example.org"
    assert parse_origin("http://[::1]:7860") == "http://[::1]:7860"
    assert parse_origin("https://Köln.example:8443") == "https://xn--kln-sna.example:8443"
    assert parse_host_pattern("*.北京.cn") == "*.xn--1lq90i.cn"
    for text in (
        "example.org",
        "*",
        "ftp://example.org",
        "https://",
        "https://a@b",
        "https://*.example.org",
        "null",
        "https://ä..de",
    ):
        with pytest.raises(ValueError, match=r"origin|host"):
            parse_origin(text)
    assert parse_host_pattern("*.Example.org") == "*.example.org" and parse_host_pattern("*") == "*"
    with pytest.raises(ValueError, match="host"):
        parse_host_pattern("a.*.org")


@pytest.mark.parametrize("origins", [("http://testserver", "https://evil.example"), ("http://testserver",) * 2])
def test_who_names_two_origins_is_foreign(client: TestClient, origins: tuple[str, str]) -> None:
    """Which of them counts would be a guess, and a proxy may make another one."""
    for order in (origins, origins[::-1]):
        answer = client.post("/thing", headers=[("origin", origin) for origin in order])
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")
