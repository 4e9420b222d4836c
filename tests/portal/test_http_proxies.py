"""Who asked, by which name, scheme and path: believed from trusted proxies only."""

from __future__ import annotations

from typing import Any

import pytest
from starlette._utils import get_route_path
from starlette.types import Message, Receive, Scope, Send

from portal.http.addresses import parse_networks, parse_root_path
from portal.http.proxies import BehindProxies, address_of, asked_hosts, is_local, path_below

PROXY = "10.0.0.2"
VISITOR = "203.0.113.7"


async def seen(
    client: str | None, headers: dict[str, str], *, path: str = "/api/avatars", root_path: str = "", kind: str = "http"
) -> Scope:
    """The scope behind the middleware, of a request that came from `client`."""
    scopes: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        scopes.append(scope)

    raw = [(name.encode(), value.encode()) for name, value in {"host": "127.0.0.1:7860", **headers}.items()]
    scheme = "ws" if kind == "websocket" else "http"
    scope: dict[str, Any] = {"type": kind, "scheme": scheme, "path": path, "headers": raw, "method": "GET"}
    scope["client"] = (client, 4711) if client else None
    await BehindProxies(app, [PROXY, "127.0.0.0/8", "fd00::/8"], root_path)(scope, None, None)  # type: ignore[arg-type]
    return scopes[0]


@pytest.mark.parametrize(
    ("client", "headers", "address"),
    [
        (VISITOR, {}, VISITOR),
        (VISITOR, {"x-forwarded-for": "1.2.3.4"}, VISITOR),
        (VISITOR, {"forwarded": "for=1.2.3.4"}, VISITOR),
        (PROXY, {"x-forwarded-for": VISITOR}, VISITOR),
        (PROXY, {"x-forwarded-for": f"1.2.3.4, {VISITOR}"}, VISITOR),
        (PROXY, {"x-forwarded-for": f"{VISITOR}, 127.0.0.1"}, VISITOR),
        (PROXY, {"x-forwarded-for": f"{VISITOR}:5012"}, VISITOR),
        (PROXY, {"x-forwarded-for": "not an address"}, PROXY),
        (PROXY, {"x-forwarded-for": VISITOR, "forwarded": "for=1.2.3.4"}, VISITOR),
        (PROXY, {"forwarded": f'For="{VISITOR}:80";proto=https, for=10.0.0.2'}, VISITOR),
        (PROXY, {"x-forwarded-for": ", ".join([VISITOR, *["127.0.0.1"] * 19])}, VISITOR),
        (PROXY, {"x-forwarded-for": ", ".join([VISITOR, *["127.0.0.1"] * 20])}, PROXY),
        (PROXY, {"forwarded": ", ".join([f"for={VISITOR}", *["for=127.0.0.1"] * 1000])}, PROXY),
        (PROXY, {"forwarded": 'for="[2001:db8:1:2:3::9]:4711"'}, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", {}, "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", {}, VISITOR),
        ("fe80::1%eth0", {}, "fe80::/64"),
        (None, {"x-forwarded-for": VISITOR}, ""),
    ],
)
async def test_the_address_of_a_visitor(client: str | None, headers: dict[str, str], address: str) -> None:
    """Only a proxy of ours is believed, and of a chain only what our own proxies saw; IPv6 counts by its network."""
    assert address_of(await seen(client, headers)) == address


@pytest.mark.parametrize(
    ("client", "headers", "local"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        (VISITOR, {}, False),
        (PROXY, {"x-forwarded-for": "127.0.0.1"}, False),
        (PROXY, {"forwarded": "for=127.0.0.1"}, False),
        ("127.0.0.1", {"x-forwarded-for": "unknown"}, False),
        ("127.0.0.1", {"x-forwarded-proto": "https"}, False),
        ("127.0.0.1", {"x-real-ip": "203.0.113.5"}, False),
        ("127.0.0.1", {"via": "1.1 squid"}, False),
    ],
)
async def test_nobody_is_on_this_machine_by_word_of_a_header(client: str, headers: dict[str, str], local: bool) -> None:
    """Visitors write them, too, and some proxies tell nothing of whom they serve."""
    assert is_local(await seen(client, headers)) is local


async def test_a_header_of_letters_is_read_in_one_go() -> None:
    """The work of reading grows with the header, not with its square: 100 000 letters would take a minute."""
    address = address_of(await seen(PROXY, {"forwarded": "a" * 100_000 + f",for={VISITOR}"}))
    assert address == VISITOR


async def test_host_and_scheme_come_from_a_proxy_of_ours() -> None:
    """Both names are kept to be checked; whoever is no proxy cannot say them."""
    told = {"x-forwarded-host": "portal.example.org", "x-forwarded-proto": "https"}
    scope = await seen(PROXY, told)
    assert scope["scheme"] == "https" and dict(scope["headers"])[b"host"] == b"portal.example.org"
    assert asked_hosts(scope) == ("127.0.0.1:7860", "portal.example.org")
    assert (await seen(PROXY, told, kind="websocket"))["scheme"] == "wss"
    forged = await seen(VISITOR, told)
    assert forged["scheme"] == "http" and asked_hosts(forged) == ("127.0.0.1:7860",)
    assert asked_hosts(await seen(PROXY, {"forwarded": "host=a.example;proto=https"}))[1:] == ("a.example",)


@pytest.mark.parametrize(
    ("client", "headers", "path", "root_path", "expected"),
    [
        (VISITOR, {}, "/api/avatars", "", ("", "/api/avatars")),
        (VISITOR, {}, "/api/avatars", "/face", ("/face", "/face/api/avatars")),
        (VISITOR, {}, "/face/api/avatars", "/face", ("/face", "/face/api/avatars")),
        (VISITOR, {}, "/facets", "/face", ("/face", "/face/facets")),
        (VISITOR, {"x-forwarded-prefix": "/evil"}, "/x", "", ("", "/x")),
        (PROXY, {"x-forwarded-prefix": "/a/b/"}, "/x", "", ("/a/b", "/a/b/x")),
        (PROXY, {"x-forwarded-prefix": "//evil.example"}, "/x", "", ("", "/x")),
        (PROXY, {"x-forwarded-prefix": "/../x"}, "/x", "", ("", "/x")),
        (PROXY, {"x-forwarded-prefix": "/<script>"}, "/x", "", ("", "/x")),
    ],
)
async def test_the_path_below_which_it_is_seen(
    client: str, headers: dict[str, str], path: str, root_path: str, expected: tuple[str, str]
) -> None:
    """Set by the operator or told by a proxy, cut off by it or not; what is no plain path is ignored."""
    scope = await seen(client, headers, path=path, root_path=root_path)
    assert (scope.get("root_path", ""), scope["path"]) == expected


def test_settings_of_proxies_and_paths_are_read() -> None:
    """Addresses, networks and `*`; a path with or without slashes. The rest is refused by its name."""
    assert len(parse_networks(["*", "10.1.2.3", "fd00::/8"])) == 4
    with pytest.raises(ValueError, match="no address and no network"):
        parse_networks(["proxy.example"])
    assert [parse_root_path(text) for text in ("", "/", "face/", "/a/b")] == ["", "", "/face", "/a/b"]
    for bad in ("/a b", "http://x", "/../x", "/<x>"):
        with pytest.raises(ValueError, match="path"):
            parse_root_path(bad)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(("path", "prefix"), [("s", "/metric"), ("ra", "/api/avatars/mi"), ("", "/api"), ("*", "")])
async def test_a_path_without_a_slash_is_refused(kind: str, path: str, prefix: str) -> None:
    """Behind a prefix it would be the end of another path, which guards and routes do not see alike."""
    statuses: list[int] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError(scope["path"])

    async def send(message: Message) -> None:
        if "status" in message:
            statuses.append(message["status"])

    headers = [(b"host", b"127.0.0.1:7860"), (b"x-forwarded-prefix", prefix.encode())]
    scope: dict[str, Any] = {"type": kind, "scheme": "http", "path": path, "headers": headers, "method": "GET"}
    scope |= {"client": (PROXY, 4711), "extensions": {"websocket.http.response": {}}}
    await BehindProxies(app, [PROXY])(scope, None, send)  # type: ignore[arg-type]
    assert statuses == [400]


@pytest.mark.parametrize(
    ("path", "root_path"), [("/metrics", "/metric"), ("/metric", "/metric"), ("/metric/s", "/metric"), ("/s", "")]
)
def test_guards_and_routes_see_the_same_path(path: str, root_path: str) -> None:
    """As Starlette's router has it."""
    scope = {"type": "http", "path": path, "root_path": root_path}
    assert path_below(scope) == get_route_path(scope)
