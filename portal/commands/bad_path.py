"""A UDP relay that loses, delays and reorders packets. `launch.py chaos` puts it between two ends.

tc netem does the same in the kernel, but needs root and a kernel that has it. This needs neither, and a seed makes it
repeatable.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

__all__ = ["BadPath", "Trouble", "bad_path"]

MAX_PACKETS_IN_FLIGHT = 2000
"Most packets that may be delayed at a time, in both directions together. More are lost."


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to packets. It is the same in both directions. Shares are 0 to 1."""

    lost: float = 0.0
    jitter_ms: float = 0.0
    "Each packet is delayed by up to this long, in such a way that none overtakes another."
    overtaking: float = 0.0
    "Share of packets that are not delayed, and so overtake delayed ones."


class BadPath:
    """Forwards packets that come to `port` to the target. The target's packets go to whoever sent to `port` last.

    later: calls a function after a number of seconds. now_s: returns seconds since any fixed moment.
    """

    def __init__(
        self,
        trouble: Trouble,
        draw: random.Random,
        later: Callable[[float, Callable[[], None]], object],
        now_s: Callable[[], float],
    ) -> None:
        self.trouble = trouble
        "May be changed at any time."
        self.port = 0
        self.passed = self.lost = 0
        self._draw, self._later, self._now_s = draw, later, now_s
        self._due_s = {True: 0.0, False: 0.0}
        self._on_the_way = 0

    def pass_on(self, send: Callable[[], None], *, there: bool) -> None:
        """Send a packet now, later or never. there: True if it goes towards the target."""
        if self._draw.random() < self.trouble.lost or self._on_the_way >= MAX_PACKETS_IN_FLIGHT:
            self.lost += 1
            return
        self.passed += 1
        late_s = self._draw.uniform(0, self.trouble.jitter_ms / 1000)
        if self._draw.random() < self.trouble.overtaking:
            send()
            return
        now_s = self._now_s()
        due_s = self._due_s[there] = max(now_s + late_s, self._due_s[there])
        if due_s <= now_s:
            send()
            return
        self._on_the_way += 1
        self._later(due_s - now_s, lambda: self._arrived(send))

    def _arrived(self, send: Callable[[], None]) -> None:
        self._on_the_way -= 1
        send()


class _End(asyncio.DatagramProtocol):
    """One of the two sockets. take: called with each packet and its sender's address."""

    def __init__(self, take: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._take(data, addr)

    def error_received(self, exc: Exception) -> None:
        """Ignore that the other end is gone: packets to it are lost, as on any network."""


def _send(end: asyncio.DatagramTransport, data: bytes, to: tuple[str, int] | None = None) -> None:
    if not end.is_closing():
        end.sendto(data, to)


@asynccontextmanager
async def bad_path(host: str, target_port: int, trouble: Trouble, draw: random.Random) -> AsyncIterator[BadPath]:
    """Open a path to a UDP port for as long as the block runs. host: an address of this machine, used for both ends."""
    loop = asyncio.get_running_loop()
    path = BadPath(trouble, draw, loop.call_later, loop.time)
    near_address: list[tuple[str, int]] = []

    def from_near(data: bytes, sender: tuple[str, int]) -> None:
        near_address[:] = [sender]
        path.pass_on(lambda: _send(far, data), there=True)

    def from_far(data: bytes, _sender: tuple[str, int]) -> None:
        if near_address:
            path.pass_on(lambda: _send(near, data, near_address[0]), there=False)

    near, _ = await loop.create_datagram_endpoint(lambda: _End(from_near), local_addr=(host, 0))
    try:
        far, _ = await loop.create_datagram_endpoint(
            lambda: _End(from_far), local_addr=(host, 0), remote_addr=(host, target_port)
        )
        try:
            path.port = near.get_extra_info("sockname")[1]
            yield path
        finally:
            far.close()
    finally:
        near.close()
