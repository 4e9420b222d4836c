"""How the UDP ports of WebRTC are shared among addresses."""

from __future__ import annotations

import asyncio

from pipeline.transports.port_shares import PortShares

A, B, C = "203.0.113.1", "203.0.113.2", "203.0.113.3"


class Holder:
    def __init__(self, *, connected: bool = True) -> None:
        self.connected, self.closed = asyncio.Event(), asyncio.Event()
        if connected:
            self.connected.set()

    async def aclose(self) -> None:
        self.closed.set()


async def taken(shares: PortShares[Holder], address: str, *, connected: bool = True) -> Holder:
    holder = Holder(connected=connected)
    assert await shares.take(address, holder, 1)
    return holder


async def test_no_address_has_all_ports() -> None:
    """Connected ones stay; one that has ended gives its port back."""
    shares = PortShares[Holder](4, 3)
    held = [await taken(shares, A) for _ in range(3)]
    assert not await shares.take(A, Holder(), 1)
    await taken(shares, B)
    assert not await shares.take(C, Holder(), 1)
    await held[0].aclose()
    await taken(shares, C)
    assert not held[1].closed.is_set() and not held[2].closed.is_set()


async def test_an_offer_that_wants_two_ports_counts_twice() -> None:
    """One that does not bundle its sound with its pictures."""
    shares = PortShares[Holder](4, 3)
    assert await shares.take(A, Holder(), 2)
    assert not await shares.take(A, Holder(), 2)
    assert await shares.take(B, Holder(), 2)


async def test_offers_that_do_not_connect_give_way_at_once() -> None:
    """An address that has its share loses its own oldest. When all are taken, whoever has most of them does."""
    shares = PortShares[Holder](4, 3)
    connected = await taken(shares, A)
    dead = [await taken(shares, A, connected=False) for _ in range(3)]
    assert [one.closed.is_set() for one in dead] == [True, False, False]
    waiting = await taken(shares, B, connected=False)
    await taken(shares, C)
    assert [one.closed.is_set() for one in dead] == [True, True, False]
    assert not connected.closed.is_set() and not waiting.closed.is_set()


async def test_two_who_need_the_same_port_do_not_both_get_it() -> None:
    """While the one that gives way is being closed, somebody else may come."""
    shares = PortShares[Holder](1, 1)
    closing = asyncio.Event()

    class Slow(Holder):
        async def aclose(self) -> None:
            self.closed.set()
            await closing.wait()

    assert await shares.take(A, Slow(connected=False), 1)
    waiting = asyncio.create_task(shares.take(B, Holder(), 1))
    await asyncio.sleep(0)
    assert await shares.take(C, Holder(), 1)
    closing.set()
    assert not await waiting
