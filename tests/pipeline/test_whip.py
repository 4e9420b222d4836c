"""How a stream is offered to a WHIP server: its address, its token, its redirects, its ICE servers, its end."""

from __future__ import annotations

from collections.abc import Callable

import httpx2 as httpx
import pytest

from pipeline.transports.ice import IceServer
from pipeline.transports.outward import OutwardTransport
from pipeline.transports.whereabouts import Whereabouts, whereabouts_of
from pipeline.transports.whip import MAX_BYTES, WhipError, WhipServer, endpoint_of, ice_servers_of, outward_only

AT = "https://a.example/live"
Answer = Callable[[httpx.Request], httpx.Response]


class Net:
    """Servers that answer as they are told, and note what they were asked."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._take)
        self.http = httpx.AsyncClient(transport=self.transport)

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answer(request)  # as a network gives it, its body is still to be read
        return httpx.Response(
            answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content), request=request
        )

    def lines(self) -> list[str]:
        return [f"{request.method} {request.url}" for request in self.asked]


@pytest.mark.parametrize(
    ("address", "endpoint", "token"),
    [
        ("whip+https://a.example/live?room=1", "https://a.example/live?room=1", ""),
        ("whip+https://eyJ.a-b_c@a.example:8443/live", "https://a.example:8443/live", "eyJ.a-b_c"),
        ("whip+http://me:wo%40rd@127.0.0.1/live#part", "http://127.0.0.1/live", "me:wo@rd"),
    ],
)
def test_an_address_holds_the_server_and_the_token(address: str, endpoint: str, token: str) -> None:
    """The token stands where a URL has its user."""
    assert endpoint_of(address) == (endpoint, token)


async def test_a_stream_is_offered_with_the_token_and_ended_where_the_server_says() -> None:
    """The resource may be a path on another host; ending it twice asks once."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            assert request.headers["content-type"] == "application/sdp" and request.content == b"v=0 offer"
            return httpx.Response(201, text="v=0 answer", headers={"Location": "https://b.example/streams/7?k=1"})
        return httpx.Response(200)

    net = Net(answer)
    server = WhipServer(net.http, AT, "word")
    assert await server.publish("v=0 offer") == "v=0 answer"
    await server.end()
    await server.end()
    assert net.lines() == [f"POST {AT}", "DELETE https://b.example/streams/7?k=1"]
    assert {request.headers["authorization"] for request in net.asked} == {"Bearer word"}


async def test_redirects_lead_to_servers_with_tls_and_take_the_token_along() -> None:
    """So services spread their load. The offer is sent again, as it was."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "a.example":
            return httpx.Response(307, headers={"Location": "https://me@edge.example/live"})
        return httpx.Response(201, text="answer", headers={"Location": "one"})

    net = Net(answer)
    server = WhipServer(net.http, AT, "word")
    await server.publish("offer")
    await server.end()
    assert net.lines() == [f"POST {AT}", "POST https://edge.example/live", "DELETE https://edge.example/one"]
    assert [request.headers["authorization"] for request in net.asked] == ["Bearer word"] * 3
    assert net.asked[1].content == b"offer"


@pytest.mark.parametrize(
    ("start", "to"),
    [
        (AT, "http://169.254.169.254/latest"),
        (AT, "http://a.example/live"),
        (AT, "ftp://a.example/live"),
        ("http://a.example/live", "http://127.0.0.1:8000/"),
        ("http://a.example/live", "http://a.example:81/live"),
    ],
)
async def test_redirects_to_where_no_tls_says_who_it_is_are_not_followed(start: str, to: str) -> None:
    """Neither for an offer, nor for the address of the stream."""
    net = Net(lambda _request: httpx.Response(307, headers={"Location": to}))
    with pytest.raises(WhipError, match="without TLS"):
        await WhipServer(net.http, start).publish("offer")
    assert len(net.asked) == 1
    net = Net(lambda _request: httpx.Response(201, headers={"Location": to}))
    with pytest.raises(WhipError, match="without TLS"):
        await WhipServer(net.http, start).publish("offer")


async def found(host: str) -> list[str]:
    """What a name service would say."""
    known = {"a.example": ["1.2.3.4", "2600::4"], "edge.example": ["1.2.3.5"], "inner.example": ["1.2.3.6", "10.0.0.8"]}
    if host in known:
        return known[host]
    if host[0].isdigit():
        return [host]
    raise OSError("no such name")


@pytest.mark.parametrize("inside", ["https://inner.example/", "https://192.168.1.1/", "https://127.0.0.1:8443/x"])
async def test_a_server_out_in_the_world_leads_nowhere_inside(inside: str) -> None:
    """By a redirect, or by the address of its stream: nothing is connected to. Elsewhere in the world is fine."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["host"] == "a.example":
            return httpx.Response(307, headers={"Location": "https://edge.example/live"})
        if request.method == "POST":
            return httpx.Response(201, text="answer", headers={"Location": inside})
        return httpx.Response(200)

    net = Net(answer)
    http = httpx.AsyncClient(transport=OutwardTransport(net.transport, found))
    server = WhipServer(http, AT)
    assert await server.publish("offer") == "answer"
    await server.end()
    assert net.lines() == ["POST https://1.2.3.4/live", "POST https://1.2.3.5/live"]
    assert [request.extensions["sni_hostname"] for request in net.asked] == ["a.example", "edge.example"]
    net = Net(lambda _request: httpx.Response(307, headers={"Location": inside}))
    with pytest.raises(WhipError, match="private network"):
        await WhipServer(httpx.AsyncClient(transport=OutwardTransport(net.transport, found)), AT).publish("offer")
    assert len(net.asked) == 1


async def test_the_next_address_of_a_server_is_tried() -> None:
    """A machine may have no way to the first."""

    def answer(request: httpx.Request) -> httpx.Response:
        return fails(request) if request.url.host == "1.2.3.4" else httpx.Response(201, text="answer")

    net = Net(answer)
    http = httpx.AsyncClient(transport=OutwardTransport(net.transport, found))
    assert await WhipServer(http, AT).publish("offer") == "answer"
    assert net.lines() == ["POST https://1.2.3.4/live", "POST https://[2600::4]/live"]
    with pytest.raises(WhipError, match="no server nobody"):
        await WhipServer(http, "https://nobody.example/").publish("offer")


async def test_ice_servers_inside_are_left_out() -> None:
    """Such as a server out in the world names."""
    urls = (
        "stun:1.2.3.4:3478",
        "turn:edge.example?transport=tcp",
        "turn:10.0.0.1:80?transport=tcp",
        "stun:nobody.example",
    )
    servers = [IceServer((url,)) for url in urls]
    assert await outward_only(servers, found) == tuple(servers[:2])


@pytest.mark.parametrize(
    ("host", "far", "local"),
    [
        ("a.example", True, False),
        ("inner.example", False, False),
        ("127.0.0.1", False, True),
        ("nobody.example", False, False),
    ],
)
async def test_a_server_is_inside_if_any_address_is(host: str, far: bool, local: bool) -> None:
    """Then it may lead to others inside: the operator has chosen it."""
    at = await whereabouts_of(host, found)
    assert (at.is_far, at.local) == (far, local)


async def test_a_name_that_is_none_is_nowhere() -> None:
    """Whatever a server writes into a header."""
    assert await whereabouts_of("a" * 70 + ".example") == Whereabouts()


async def test_a_server_without_tls_may_redirect_within_itself() -> None:
    """One on this machine, for instance."""
    to = {"/live": "/other", "/other": None}

    def answer(request: httpx.Request) -> httpx.Response:
        further = to[request.url.path]
        return httpx.Response(308, headers={"Location": further}) if further else httpx.Response(201, text="answer")

    assert await WhipServer(Net(answer).http, "http://127.0.0.1:7000/live").publish("offer") == "answer"


def fails(_request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("nobody there")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _request: httpx.Response(401), "refuses the token"),
        (lambda _request: httpx.Response(404), "404 Not Found"),
        (lambda _request: httpx.Response(200, text="a page"), "200 OK"),
        (lambda _request: httpx.Response(201, content=bytes(MAX_BYTES + 1)), "too long"),
        (lambda request: httpx.Response(307, headers={"Location": str(request.url)}), "again and again"),
        (lambda _request: httpx.Response(302, headers={"Location": AT}), "302 Found"),
        (fails, "nobody there"),
    ],
)
async def test_what_goes_wrong_is_told(answer: Answer, words: str) -> None:
    """In words, without the token."""
    with pytest.raises(WhipError, match=words) as told:
        await WhipServer(Net(answer).http, AT, "s3cret").publish("offer")
    assert "s3cret" not in str(told.value)


async def test_an_end_that_nobody_hears_is_no_fault() -> None:
    """The server notices by itself."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, headers={"Location": "/one"}) if request.method == "POST" else fails(request)

    net = Net(answer)
    server = WhipServer(net.http, AT)
    await server.publish("offer")
    await server.end()
    assert net.lines()[-1] == "DELETE https://a.example/one"


async def test_ice_servers_are_asked_for_before_the_offer() -> None:
    """In `Link` headers, several in one or one in each."""
    links = [
        ("Link", '<stun:stun.example.net>; rel="ice-server", <https://a.example/help>; rel="help"'),
        ("Link", '<turn:t.example.net:3478?transport=udp>; rel=ice-server; username="me"; credential="a;b,c"'),
    ]
    net = Net(lambda _request: httpx.Response(204, headers=links))
    assert await WhipServer(net.http, AT, "word").ice_servers() == (
        IceServer(("stun:stun.example.net",)),
        IceServer(("turn:t.example.net:3478?transport=udp",), "me", "a;b,c"),
    )
    assert net.lines() == [f"OPTIONS {AT}"] and net.asked[0].headers["authorization"] == "Bearer word"


@pytest.mark.parametrize(
    "links",
    [
        [],
        [""],
        ["<>; rel=ice-server"],
        ["<stun:a b>; rel=ice-server"],
        ["<http://a.example>; rel=ice-server"],
        ["<stun:a.example>"],
        ['<stun:a.example>; rel="'],
        ["<" * 5000],
    ],
)
def test_what_names_no_ice_server_is_left_out(links: list[str]) -> None:
    """Whatever a server writes there."""
    assert ice_servers_of(links) == ()


def test_no_more_ice_servers_are_used_than_make_sense() -> None:
    """Each is asked for an address before the offer."""
    assert len(ice_servers_of(['<stun:a.example>; rel="ice-server"'] * 100)) == 8
