"""Admission: who gets a place, and the line of viewers who wait for one.

Three limits apply to a place: the places of the server, the places of one address or person, and the room on a device.
The first two are counted here. Whether a device has room is known only once a session is being opened there, which may
take a minute, so a place is taken first and given back if the device refuses.

Places are handed over, not fought for: the step that frees a place also decides who gets it next.
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
"""Most viewers in the waiting line."""
LINE_BOUND_EACH = 10
"""Most viewers from one address in the waiting line."""


@dataclass(frozen=True)
class Wish:
    """What a viewer wants a place for, and who the viewer is.

    lipsync: the lip-sync backend; viewers who want the same one are let in in the order in which they came
    devices: the devices that could draw the session
    address: the client's address, for limits; "" if it is not known, and then no limit of addresses applies
    person: name of the person who has logged in; "" for nobody
    """

    lipsync: str
    devices: frozenset[Hashable]
    address: str = ""
    person: str = ""

    @cached_property
    def counts_for(self) -> tuple[tuple[str, str], ...]:
        """The (kind, name) pairs whose places are limited: address, network and person.

        Network and person are limited too, because one login, or one IPv6 network (/48), could otherwise come from many
        addresses and take all places.
        """
        named = (("address", self.address), ("network", network_of(self.address)), ("person", self.person))
        return tuple((kind, name) for kind, name in named if name)


class Ticket:
    """One viewer's way through admission.

    A ticket waits in the line; then it has a place, and stays in the line while its session is being opened; then it
    leaves the line and keeps the place.

    moved: set when the ticket gets a place, or its position in the line changes.
    """

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.moved = asyncio.Event()
        self.has_place = False
        self.settled = False
        "whether its session is open, and so has room on a device"
        self.device_full = False
        "whether a device refused it, and no session has ended since that could have made room"
        self.reported = 0
        "the position last reported to the viewer"


class Admission:
    """Decides who gets a place. `async with place(...)` is the way in; the other methods are its steps and never wait.

    capacity: places of the server. places_each: most places of one address.
    line: most viewers who may wait. line_each: most of these from one address. Beyond these, viewers are refused.
    """

    def __init__(
        self, capacity: int, places_each: int, *, line: int = LINE_BOUND, line_each: int = LINE_BOUND_EACH
    ) -> None:
        self.capacity = capacity
        self.places_each = places_each
        self.is_closed = False
        "when true, nobody gets a place any more"
        self._line_bound = line
        self._line_bound_each = line_each
        self._line: list[Ticket] = []  # in order of arrival; a ticket stays until its session is open
        self._taken = 0
        self._taken_by: Counter[tuple[str, str]] = Counter()

    @property
    def taken(self) -> int:
        """Places taken now, including those of sessions that are being opened."""
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
        """Get a place, enter `tenant()` in it, and hold the place for as long as the block runs.

        tenant: opens the session, and closes it at the end. It raises AtCapacity if its device has no room.
        report: called with the position in the line, 1 for the first, whenever it changes. Without it, a viewer who
            cannot get in now is refused instead of waiting.

        Raises AtCapacity (there is no place and `report` is missing, or the line is full), AddressFull, and what
        tenant() raises.
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
        """Return a ticket with a place or, if `wait`, one that waits in the line. Raises AtCapacity, AddressFull."""
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
        """Return the ticket's position in the line, 1 for the first."""
        return self._line.index(ticket) + 1

    def settle(self, ticket: Ticket) -> None:
        """Note that the ticket's session is open: it leaves the line and keeps its place."""
        ticket.settled = True
        self._step_out(ticket)
        self._let_in()

    def refused_by_device(self, ticket: Ticket) -> None:
        """Take back the place of a ticket that a device refused. It waits until a session on such a device ends.

        The freed place goes only to viewers whom no device has refused. Trying the refused ones again would be of no
        use: no session has ended, and each would give its place back in the same way, for ever.

        Raises AtCapacity: the ticket was not in the line, and the line is full.
        """
        ticket.device_full = True
        self._take_place(ticket)
        self._let_in()
        if ticket not in self._line:
            self._join(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Give back what the ticket holds: its session has ended or could not be opened, or its viewer gave up.

        Idempotent.
        """
        self._step_out(ticket)
        if ticket.has_place:
            self._take_place(ticket)
            if ticket.settled:
                self.room_made(ticket.wish.devices)
        self._let_in()

    def room_made(self, devices: frozenset[Hashable]) -> None:
        """Let viewers whom these devices refused try again: a session that was drawn there has left or moved."""
        for other in self._line:
            other.device_full &= other.wish.devices.isdisjoint(devices)
        self._let_in()

    def _let_in(self) -> None:
        """Give the free places to those in the line who can use them, in order of arrival."""
        for index, ticket in enumerate(self._line):
            if ticket.has_place or ticket.device_full:
                continue
            if self._refusal(ticket.wish, self._line[:index]) is None:
                self._give_place(ticket)
                ticket.moved.set()

    def _refusal(self, wish: Wish, ahead: Iterable[Ticket]) -> AtCapacity | None:
        """Return the error that says why this wish gets no place behind those `ahead`, or None if it gets one."""
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
        """Whether a ticket ahead in the line must be served before this wish.

        Only tickets for the same lip-sync count, because a device that is full for one backend may have room for
        another. A ticket that waits only because its address or person has all its places lets others pass.
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
        self._taken_by = +self._taken_by  # drops the entries that are zero, or the counter would grow for ever


def _line_is_full(waiting: str) -> AtCapacity:
    return AtCapacity(f"All places are taken, and {waiting} wait for one.", "Try again in a few minutes.", cause="line")
