"""Admission: who gets a place, and the line of viewers who wait for one.

A place is one of the server's, it counts for the viewer's address and name, and its session needs room on a device.
The first two are counted here. Whether a device has room is known only once a session is being opened there, which may
take a minute, so a place is taken first and given back if the device refuses.

Places are handed over, not fought for: whoever gives one back decides in the same step who has it next.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from pipeline.errors import AtCapacity
from portal.errors import AddressFull, PortalStops
from portal.http.proxies import network_of

__all__ = ["LINE_BOUND", "LINE_BOUND_EACH", "Admission", "Ticket", "Wish"]

Tenant = TypeVar("Tenant")

LINE_BOUND = 20
LINE_BOUND_EACH = 10
"""Of these, viewers from one address."""


@dataclass(frozen=True)
class Wish:
    """What a place is wanted for.

    lipsync: viewers who want the same are let in in the order in which they came
    devices: those that could draw it
    address: who asks, as limits count; "" if that is not known, and then the limit of addresses does not apply
    person: name of who has logged in; "" for nobody
    """

    lipsync: str
    devices: frozenset[Hashable]
    address: str = ""
    person: str = ""

    @cached_property
    def counts_for(self) -> tuple[tuple[str, str], ...]:
        """Each of these has no more than an address may have: whoever has one login, or one IPv6 network of /48, could
        otherwise come from many addresses and take all places.
        """
        named = (("address", self.address), ("network", network_of(self.address)), ("person", self.person))
        return tuple((kind, name) for kind, name in named if name)


class Ticket:
    """One viewer's way through admission: it waits in the line, or has a place, or opens its session while in line.

    moved: set when the ticket gets a place, or its position in the line changes.
    """

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.moved = asyncio.Event()
        self.has_place = False
        self.settled = False
        "its session is open, so it has room on a device too"
        self.device_full = False
        "a device refused it, and no session that could have made room has ended since"
        self.reported = 0
        "the position that was last reported to the viewer"


class Admission:
    """`async with place(...)` is the way in. The other methods are its steps; they never wait.

    capacity, places_each: places of the server, and how many of these one address may have.
    line, line_each: viewers who may wait, and how many of these from one address. Whoever comes later is refused.
    """

    def __init__(
        self, capacity: int, places_each: int, *, line: int = LINE_BOUND, line_each: int = LINE_BOUND_EACH
    ) -> None:
        self.capacity = capacity
        self.places_each = places_each
        self.is_closed = False
        "nobody gets a place any more"
        self._line_bound = line
        self._line_bound_each = line_each
        self._line: list[Ticket] = []  # in the order of coming; a ticket stays until its session is open
        self._taken = 0
        self._taken_by: Counter[tuple[str, str]] = Counter()

    @property
    def taken(self) -> int:
        """Places taken now, also by sessions that are being opened."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Viewers in the line."""
        return len(self._line)

    @asynccontextmanager
    async def place(
        self,
        wish: Wish,
        tenant: Callable[[], AbstractAsyncContextManager[Tenant]],
        report: Callable[[int], Awaitable[None]] | None = None,
    ) -> AsyncIterator[Tenant]:
        """What `tenant()` gives, in a place that is held for as long as the block runs.

        tenant: opens the session and closes it at the end. It raises AtCapacity if its device has no room.
        report: called with the position in the line, 1 for the first, whenever that has changed. Without it nobody
            waits.

        Raises AtCapacity (there is no place and nobody waits, or the line is full), AddressFull, and what tenant()
        raises.
        """
        ticket = self.ask(wish, wait=report is not None)
        try:
            async with AsyncExitStack() as stack:
                while True:
                    if report is not None:
                        await self._wait_for_place(ticket, report)
                    try:
                        opened = await stack.enter_async_context(tenant())
                        break
                    except AtCapacity:
                        if report is None:
                            raise
                        self.refused_by_device(ticket)
                self.settle(ticket)
                yield opened
        finally:
            self.leave(ticket)

    async def _wait_for_place(self, ticket: Ticket, report: Callable[[int], Awaitable[None]]) -> None:
        while not ticket.has_place:
            ticket.moved.clear()
            position = self.position(ticket)
            if position != ticket.reported:
                ticket.reported = position
                await report(position)
            else:
                await ticket.moved.wait()

    def ask(self, wish: Wish, *, wait: bool) -> Ticket:
        """A ticket with a place, or one that waits in the line. Raises AtCapacity, AddressFull."""
        ticket = Ticket(wish)
        refusal = self._refusal(wish, self._line)
        if refusal is None:
            self._give_place(ticket)
        elif wait and not self.is_closed:
            self._join(ticket)
        else:
            raise refusal
        return ticket

    def position(self, ticket: Ticket) -> int:
        """1 for the first in the line."""
        return self._line.index(ticket) + 1

    def settle(self, ticket: Ticket) -> None:
        """Its session is open: it leaves the line and keeps its place."""
        ticket.settled = True
        self._step_out(ticket)
        self._let_in()

    def refused_by_device(self, ticket: Ticket) -> None:
        """It gives its place back, and waits until a session ends that may have kept it out. Raises AtCapacity.

        Only viewers without a place are let in by this. Trying others whom a device has refused would be of no use:
        no session has ended, and each of them would give its place back in the same way, for ever.
        """
        ticket.device_full = True
        self._take_place(ticket)
        self._let_in()
        if ticket not in self._line:
            self._join(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Its session has ended, could not be opened, or nobody wants it any more. Idempotent."""
        self._step_out(ticket)
        if ticket.has_place:
            self._take_place(ticket)
            if ticket.settled:
                self.room_made(ticket.wish.devices)
        self._let_in()

    def room_made(self, devices: frozenset[Hashable]) -> None:
        """A session draws there no more, though it may keep its place: who was refused there may try again."""
        for other in self._line:
            other.device_full &= other.wish.devices.isdisjoint(devices)
        self._let_in()

    def _let_in(self) -> None:
        """Give the free places to those in the line who can use them, in the order of coming."""
        for index, ticket in enumerate(self._line):
            if ticket.has_place or ticket.device_full:
                continue
            if self._refusal(ticket.wish, self._line[:index]) is None:
                self._give_place(ticket)
                ticket.moved.set()

    def _refusal(self, wish: Wish, ahead: Iterable[Ticket]) -> AtCapacity | None:
        """Why there is no place for this wish, behind those `ahead`; None if there is one."""
        if self.is_closed:
            return PortalStops()
        if any(self._goes_first(other, wish) for other in ahead):
            return AtCapacity(
                "Others wait for this already.", "Say hello with wait: true to wait behind them.", cause="line"
            )
        if self._taken >= self.capacity:
            return AtCapacity(
                f"All {self.capacity} places are taken.",
                "Try again in a minute; the operator can raise --max-sessions.",
            )
        if self._has_its_share(wish):
            return AddressFull(
                "Viewers from this address, or with this name, have as many places as one may have.",
                "Close another page; the operator can raise --sessions-per-address.",
            )
        return None

    def _goes_first(self, other: Ticket, wish: Wish) -> bool:
        """Whether a ticket that came before must be served first. What is full for one may have room for another, so
        only the same wish counts; and a viewer who waits for a place of the own address lets all others pass.
        """
        return other.wish.lipsync == wish.lipsync and (other.has_place or not self._has_its_share(other.wish))

    def _has_its_share(self, wish: Wish) -> bool:
        return any(self._taken_by[one] >= self.places_each for one in wish.counts_for)

    def _join(self, ticket: Ticket) -> None:
        if len(self._line) >= self._line_bound:
            raise _line_is_full(f"{len(self._line)} viewers")
        waiting = Counter(one for other in self._line for one in other.wish.counts_for)
        if any(waiting[one] >= self._line_bound_each for one in ticket.wish.counts_for):
            raise _line_is_full(f"{self._line_bound_each} viewers from this address, or with this name,")
        self._line.append(ticket)

    def _step_out(self, ticket: Ticket) -> None:
        if ticket in self._line:
            index = self._line.index(ticket)
            del self._line[index]
            for behind in self._line[index:]:
                behind.moved.set()

    def _give_place(self, ticket: Ticket) -> None:
        ticket.has_place = True
        self._taken += 1
        self._taken_by.update(ticket.wish.counts_for)

    def _take_place(self, ticket: Ticket) -> None:
        ticket.has_place = False
        self._taken -= 1
        self._taken_by.subtract(ticket.wish.counts_for)
        self._taken_by = +self._taken_by  # only those who have a place are kept


def _line_is_full(waiting: str) -> AtCapacity:
    return AtCapacity(f"All places are taken, and {waiting} wait for one.", "Try again in a few minutes.", cause="line")
