"""Where the other end of a connection is: on this machine, in a private network, or on the public Internet.

Somebody on the Internet must not be able to make us send packets to addresses in a private network.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

__all__ = ["LookUp", "Whereabouts", "is_inner", "look_up", "whereabouts_of"]

LookUp = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses of a host name, at least one; also takes an address. Raises OSError if there is no such
name."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the other end of a connection is."""

    address: str = ""
    "as for limits: an IPv4 address, or an IPv6 network; empty if unknown"
    local: bool = False
    "on this machine, without a proxy in between"

    @property
    def is_far(self) -> bool:
        """Whether it is known to be outside all private networks."""
        return not self.local and bool(self.address) and ip_network(self.address).is_global


def is_inner(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is this machine's, in a private network, or in another one that is not public."""
    plain = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    found = plain or address
    return not found.is_global or found.is_multicast


async def look_up(host: str) -> Sequence[str]:
    """Resolve a name with the operating system. A LookUp."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of the name is too long
        raise OSError(f"{host[:80]!r} is no name") from error
    return [str(one[4][0]).partition("%")[0] for one in found]


async def whereabouts_of(host: str, look: LookUp = look_up) -> Whereabouts:
    """Return where a server is. It counts as inner if any of its addresses is."""
    try:
        found = [ip_address(one) for one in await look(host)]
    except OSError:
        return Whereabouts()
    near = next(filter(is_inner, found), found[0])
    return Whereabouts(str(near), all(one.is_loopback for one in found))
