"""Where the other end of a connection is: on this machine, in a private network, or out in the world.

Whoever is out in the world has no business with addresses of this house. So nobody there can have packets sent to them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

__all__ = ["LookUp", "Whereabouts", "is_inner", "look_up", "whereabouts_of"]

LookUp = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a name, one or more, or of an address in digits. Raises OSError: there is no such name."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    address: str = ""
    "as limits count: an IPv4 address, or a network of IPv6; empty where it is not known"
    local: bool = False
    "on this machine, without a proxy between"

    @property
    def is_far(self) -> bool:
        """Whether it is known to be in no private network."""
        return not self.local and bool(self.address) and ip_network(self.address).is_global


def is_inner(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is this machine's, of a private network, or of another one that is not the world's."""
    plain = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    found = plain or address
    return not found.is_global or found.is_multicast


async def look_up(host: str) -> Sequence[str]:
    """A LookUp by the system."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a part of it is too long
        raise OSError(f"{host[:80]!r} is no name") from error
    return [str(one[4][0]).partition("%")[0] for one in found]


async def whereabouts_of(host: str, look: LookUp = look_up) -> Whereabouts:
    """Of a server. It counts as an inner one if any of its addresses is one."""
    try:
        found = [ip_address(one) for one in await look(host)]
    except OSError:
        return Whereabouts()
    near = next(filter(is_inner, found), found[0])
    return Whereabouts(str(near), all(one.is_loopback for one in found))
