"""How many of the UDP ports that the operator has opened for WebRTC one address may have."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Generic, Protocol, TypeVar

__all__ = ["PortShares"]


class _HoldsPorts(Protocol):
    """A transport, which has its ports until it is closed."""

    connected: asyncio.Event
    closed: asyncio.Event

    async def aclose(self) -> None: ...


Holder = TypeVar("Holder", bound=_HoldsPorts)


class PortShares(Generic[Holder]):
    """Viewers and watchers count alike. Offers that have not connected give their ports to who needs some.

    total: ports of the range; each: how many of them one address may have. Used on one event loop.
    """

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._holders: dict[Holder, tuple[str, int]] = {}  # with its address and number of ports; the oldest first

    async def take(self, address: str, holder: Holder, ports: int) -> bool:
        """Whether it may have so many ports; it is counted from then on. If not, the address has its share, or all are
        taken, and who has them is connected.

        address: as limits count; an unknown one is an address like any other.
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
        """The oldest that has not connected; None as address: of the address that has most of them."""
        idle = {one: whose for one, (whose, _has) in self._holders.items() if not one.connected.is_set()}
        if address is None and idle:
            ((address, _count),) = Counter(idle.values()).most_common(1)
        return next((one for one, whose in idle.items() if whose == address), None)
