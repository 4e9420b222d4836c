"""Limits by address: what they grant, and that their tables stay small."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack, nullcontext

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from pipeline.clock import ManualClock
from portal.api.allowances import SocketAllowances
from portal.http.door import HumanPace
from portal.http.limits import (
    WIDER,
    AddressAllowance,
    AddressShares,
    Allowance,
    AskerShares,
    Shares,
    TooMany,
    TooOften,
    Turnstile,
)
from portal.settings import Settings

FAMILY = 6
OPENING = [("GET", "/static/talk.js")] * 100 + [("GET", "/api/avatars")] * 6
"What a page asks for as it opens for the first time."


async def test_a_family_behind_one_address_notices_no_limit() -> None:
    """With the usual settings: they open the page at the same moment, reload it twice, and all talk and upload."""
    clock, statuses = ManualClock(), set[int]()

    async def done(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("done")(scope, receive, send)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    app, sockets = HumanPace(done, clock), SocketAllowances(clock)
    for _ in range(3 * FAMILY):
        for method, path in [*OPENING, ("POST", "/api/avatars"), ("POST", "/api/clips")]:
            asked = {"type": "http", "method": method, "path": path, "headers": [], "client": ("203.0.113.7", 1)}
            await app(asked, receive, send)
        sockets.charge_greeting("203.0.113.7")
    assert statuses == {200}
    usual = Settings()
    assert FAMILY <= usual.places_each < usual.max_sessions  # the others are left to other addresses
    assert usual.jobs_per_address >= 2 * FAMILY


async def test_a_burst_is_granted_and_then_a_steady_rate() -> None:
    """Five at once, one each two seconds from then on; the answer says how long to wait."""
    clock = ManualClock()
    allowance = Allowance(clock, burst=5, per_s=0.5)
    assert [allowance.take("a") for _ in range(5)] == [0.0] * 5
    assert allowance.take("a") == 2.0
    assert allowance.take("b") == 0.0  # another address has its own
    await clock.advance(2.0)
    assert allowance.take("a") == 0.0 and allowance.take("a") > 0.0
    await clock.advance(1000.0)
    assert [allowance.take("a") > 0 for _ in range(6)] == [False] * 5 + [True]


async def test_more_than_a_burst_is_granted_once_and_paid_for() -> None:
    """A large thing is possible, and followed by a longer pause."""
    clock = ManualClock()
    allowance = Allowance(clock, burst=10, per_s=1)
    assert allowance.take("a", 30) == 0.0
    await clock.advance(20.0)
    assert allowance.take("a") == 1.0


async def test_the_table_does_not_grow_with_the_number_of_addresses() -> None:
    """Who has been quiet is forgotten; where everybody is busy, newcomers share one bucket and nobody gets two."""
    clock = ManualClock()
    allowance = Allowance(clock, burst=1, per_s=1, max_keys=10)
    assert sum(allowance.take(f"k{index}") == 0.0 for index in range(1000)) == 11
    assert len(allowance) == 11
    assert allowance.take("k0") > 0.0
    await clock.advance(5.0)
    assert allowance.take("new") == 0.0 and len(allowance) == 1


def test_shares_are_had_and_brought_back() -> None:
    """So many for each address at one time, whatever others have; nothing is kept of who has none."""
    shares = Shares(2)
    assert shares.take("a") and shares.take("a") and not shares.take("a") and shares.take("b")
    shares.give("a")
    with shares.held("a", TooMany("full")), pytest.raises(TooMany), shares.held("a", TooMany("full")):
        pass
    for key in ("a", "b"):
        shares.give(key)
    assert len(shares) == 0


def test_a_network_has_a_share_of_its_own() -> None:
    """A /48 of IPv6 addresses has four times what one of them has; others have theirs all the same."""
    shares = AddressShares(2)
    near = [f"2001:db8:1:{n:x}::/64" for n in range(10)]
    assert sum(shares.take(address) for address in near for _ in range(3)) == 2 * WIDER
    assert not shares.take(near[-1]) and shares.take("2001:db8:2::/64") and shares.take("203.0.113.1")
    shares.give(near[0])
    assert shares.take(near[-1])
    for address in (near[0], *near[1:4], *near[1:4], near[-1], "2001:db8:2::/64", "203.0.113.1"):
        shares.give(address)
    assert len(shares) == 0 and sum(shares.take(address) for address in near) == 2 * WIDER


async def test_a_network_that_has_used_up_its_allowance_fills_no_table() -> None:
    """Its further addresses get no buckets, so newcomers from elsewhere have their own."""
    allowance = AddressAllowance(ManualClock(), burst=2, per_s=1)
    for n in range(5000):
        allowance.take(f"2001:db8:9:{n:x}::/64")
    assert len(allowance._addresses) == 2 * WIDER
    assert [allowance.take(f"192.0.2.{n}") for n in range(20) for _ in range(2)] == [0.0] * 40


def test_a_person_has_a_share_whatever_their_addresses() -> None:
    """And an address whoever speaks from there; what was refused takes nothing."""
    shares, full = AskerShares(2), TooMany("full")
    with ExitStack() as held:
        for address in ("192.0.2.1", "192.0.2.2"):
            held.enter_context(shares.held(address, "vic", full))
        for address, person in (("192.0.2.3", "vic"), ("192.0.2.1", "ada"), ("192.0.2.1", "bob")):
            with pytest.raises(TooMany) if person != "ada" else nullcontext():
                held.enter_context(shares.held(address, person, full))
    with shares.held("192.0.2.1", "vic", full):
        pass


async def test_a_turnstile_lets_one_through_at_a_time_and_few_wait() -> None:
    """Forty come at once: never two are at work, those beyond the bound are refused, and an error frees the way."""
    turnstile, inside, met = Turnstile(max_waiting=5), threading.Lock(), threading.Event()

    def work() -> str:
        if not inside.acquire(blocking=False):
            met.set()
            return "met another"
        met.wait(0.02)  # whoever is let in now would be met
        inside.release()
        return "done"

    def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await turnstile.run(fail)
    came = await asyncio.gather(*(turnstile.run(work) for _ in range(40)), return_exceptions=True)
    assert came[:5] == ["done"] * 5
    assert all(isinstance(refused, TooOften) for refused in came[5:])
    assert not met.is_set()
    assert await turnstile.run(work) == "done"


async def test_a_network_of_ipv6_has_an_allowance_of_its_own() -> None:
    """Larger than that of an address, and not used up by one address that asks for more than it may have."""
    clock = ManualClock()
    allowance = AddressAllowance(clock, burst=2, per_s=1)
    first, rest = "2001:db8:9:1::/64", [f"2001:db8:9:{n:x}::/64" for n in range(2, 20)]
    assert [allowance.take(first) > 0 for _ in range(20)] == [False] * 2 + [True] * 18
    taken = [address for address in rest for _ in range(2) if not allowance.take(address)]
    assert len(taken) == 2 * WIDER - 2
    assert not allowance.take("2001:db8:8:1::/64") and not allowance.take("192.0.2.1") and not allowance.take("")
    allowance.charge("2001:db8:7:1::/64", 100)
    assert allowance.take("2001:db8:7:2::/64") > 0
    await clock.advance(1000)
    assert not allowance.take(rest[-1]) and not allowance.take("2001:db8:7:2::/64")
