"""Limits how many of the UDP ports opened for WebRTC one address may have."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Generic, Protocol, TypeVar

__all__ = ["PortShares"]


class _HoldsPorts(Protocol):
    """A transport, which holds its ports until it is closed."""

    connected: asyncio.Event
    closed: asyncio.Event

    async def aclose(self) -> None: ...


Holder = TypeVar("Holder", bound=_HoldsPorts)


class PortShares(Generic[Holder]):
    """Counts viewers and watchers alike. Transports that have not connected lose their ports when others need them.

    total: ports of the range. each: most ports of one address. Used on one event loop.
    """

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._holders: dict[Holder, tuple[str, int]] = {}  # with address and number of ports, the oldest first

    async def take(self, address: str, holder: Holder, ports: int) -> bool:
        """Reserve ports for a transport, and return whether that succeeded.

        It fails if the address has its share, or all ports are taken, and all their holders are connected.

        address: as for other limits; an unknown one counts as one more address.
        """
        while True:
            self._holders = {one: has for one, has in self._holders.items() if not one.closed.is_set()}
            own = sum(has for whose, has in self._holders.values() if whose == address)
            taken = sum(has for _whose, has in self._holders.values())
            if own + ports <= self._each and taken + ports <= self._total:
                self._holders[holder] = address, ports
                return True
            idle = self._idle_of(address if own + ports > self._each else None)
            if idle is None:
                return False
            del self._holders[idle]
            await idle.aclose()

    def _idle_of(self, address: str | None) -> Holder | None:
        """Return the oldest holder of the address that has not connected. None: of the address with most of them."""
        idle = {one: whose for one, (whose, _has) in self._holders.items() if not one.connected.is_set()}
        if address is None and idle:
            ((address, _count),) = Counter(idle.values()).most_common(1)
        return next((one for one, whose in idle.items() if whose == address), None)
