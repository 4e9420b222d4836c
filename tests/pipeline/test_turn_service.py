"""TURN servers that a company lends by token: asked in its own format, kept ready, and done without where it fails."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from pipeline.clock import ManualClock
from pipeline.transports.ice import IceServer
from pipeline.transports.turn_service import Lease, LentServers, TurnService, TurnServiceError
from tests.turn_company import CLOUDFLARE, TOKEN, TWILIO, Company, turn_company

HOUR_S = 3600
RELAY = (IceServer(("turn:a",), "anna", "open"),)


@pytest.fixture(params=["cloudflare", "twilio"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def company(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    with turn_company(monkeypatch, name, CLOUDFLARE if name == "cloudflare" else TWILIO) as company:
        yield company


async def lend(name: str, lifetime_s: int = HOUR_S, within_s: float = 30) -> Lease:
    service = TurnService(name, "KEY1", TOKEN, within_s)
    try:
        return await service.lend(lifetime_s)
    finally:
        await service.aclose()
        await service.aclose()


async def test_each_company_is_asked_in_its_own_format(name: str, company: Company) -> None:
    """Key, token and lifetime where its document has them; at most for as long as it allows."""
    assert (await lend(name)).lifetime_s == HOUR_S
    assert (await lend(name, 1_000_000)).lifetime_s == {"cloudflare": 172_800, "twilio": 86_400}[name]
    (path, headers, body), _ = company.asked
    if name == "cloudflare":
        assert path == "/v1/turn/keys/KEY1/credentials/generate-ice-servers"
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        assert json.loads(body) == {"ttl": HOUR_S}
    else:
        assert path == "/2010-04-01/Accounts/KEY1/Tokens.json"
        assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == f"KEY1:{TOKEN}"
        assert body == b"Ttl=3600"


@pytest.mark.usefixtures("company")
async def test_what_is_lent_is_what_browsers_can_use(name: str) -> None:
    """STUN without a password, TURN with one; no port 53, which browsers do not connect to."""
    stun, *turn = (await lend(name)).servers
    assert (stun.username, len(stun.urls)) == (None, 1)
    assert all(server.username and server.credential for server in turn)
    urls = [url for server in turn for url in server.urls]
    assert urls[0].endswith(":3478?transport=udp") and any(":443?transport=tcp" in url for url in urls)
    assert not any(":53" in url and ":5349" not in url for url in urls)


async def test_one_server_that_is_no_list_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloudflare's older answer."""
    with turn_company(monkeypatch, "cloudflare", {"iceServers": CLOUDFLARE["iceServers"][1]}):
        assert len((await lend("cloudflare")).servers) == 1


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (401, '{"error": "no"}', "refuses turn_service_token"),
        (403, "", "refuses turn_service_token"),
        (404, "", "knows no turn_service_key"),
        (429, "slow down", "lends nothing now .429."),
        (500, "", "lends nothing now .500."),
        (201, "<html>Sign in to this hotel</html>", "something else"),
        (200, "<html>Sign in to this hotel</html>", "lends nothing now .200."),
        (201, "[]", "something else"),
        (201, {"iceServers": None}, "something else"),
        (201, {"iceServers": [{"urls": 7}]}, "something else"),
        (201, {"iceServers": []}, "without a TURN server"),
        (201, {"iceServers": [{"urls": "stun:a"}]}, "without a TURN server"),
        (201, {"iceServers": [{"urls": "http://a", "username": "a", "credential": "b"}]}, "without a TURN server"),
        (201, "[" * 200_000, "something else"),
    ],
)
async def test_why_nothing_is_lent_is_told_without_the_token(
    status: int, answer: object, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In words for who set it up, naming the setting; also where the company repeats the token."""
    with turn_company(monkeypatch, "cloudflare", answer) as company:
        company.status = status
        if isinstance(answer, str):
            company.answer = f"{answer} {TOKEN}" if status != 201 else answer
        with pytest.raises(TurnServiceError, match=said) as told:
            await lend("cloudflare")
    assert TOKEN not in str(told.value) + caplog.text


async def test_a_company_that_says_nothing_is_not_waited_for(name: str, company: Company) -> None:
    """Nor one that nobody reaches."""
    company.hangs = True
    with pytest.raises(TurnServiceError, match=r"does not answer within 0\.2 s"):
        await lend(name, within_s=0.2)


@pytest.mark.usefixtures("company")
async def test_a_company_that_is_not_reached_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its host, so that a firewall can be opened for it."""
    with turn_company(monkeypatch, name, {}):
        pass
    with pytest.raises(TurnServiceError, match=r"127\.0\.0\.1 cannot be reached"):
        await lend(name)


class Lender:
    """Lends RELAY, or raises `trouble`."""

    def __init__(self) -> None:
        self.trouble = ""
        self.asked: list[int] = []
        self.closed = 0

    async def lend(self, lifetime_s: int) -> Lease:
        self.asked.append(lifetime_s)
        if self.trouble:
            raise TurnServiceError(self.trouble)
        return Lease(RELAY, lifetime_s)

    async def aclose(self) -> None:
        self.closed += 1


async def test_credentials_are_ready_and_last_for_a_session() -> None:
    """Whoever gets them has them for the lifetime at least; they are asked for anew by then, and not sooner."""
    lender, clock = Lender(), ManualClock()
    lent = LentServers(lender, HOUR_S, clock)
    assert lent.servers() == ()
    await lent.start()
    assert lent.servers() == RELAY
    await clock.advance(HOUR_S - 1)
    assert lender.asked == [2 * HOUR_S]
    await clock.advance(1)
    assert lender.asked == [2 * HOUR_S] * 2
    await lent.aclose()
    await lent.aclose()
    assert lender.closed


async def test_a_company_that_fails_is_asked_again_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """What it lent before is used until it ends; then the other servers are there."""
    lender, clock = Lender(), ManualClock()
    lent = LentServers(lender, HOUR_S, clock)
    await lent.start()
    lender.trouble = "turn.example.org lends nothing now (500)"
    await clock.advance(HOUR_S)
    assert lent.servers() == RELAY
    for _ in range(60):
        await clock.advance(60)
    assert lent.servers() == ()
    assert caplog.text.count("lends nothing now") == 1
    lender.trouble = ""
    await clock.advance(60)
    assert lent.servers() == RELAY
    await lent.aclose()


async def test_the_portal_starts_without_a_company_that_fails() -> None:
    """It is asked again a minute later."""
    lender, clock = Lender(), ManualClock()
    lender.trouble = "nobody there"
    lent = LentServers(lender, HOUR_S, clock)
    await lent.start()
    assert lent.servers() == ()
    lender.trouble = ""
    await clock.advance(60)
    assert lent.servers() == RELAY
    await lent.aclose()
