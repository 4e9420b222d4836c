"""The UDP sockets of a WebRTC connection, with the ports and the address that the operator set.

aioice binds to any port, and offers the addresses it has bound to. It has no setting for either. So place_sockets()
replaces the one method that does both. aioice still asks the STUN and TURN servers.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from ipaddress import ip_address

from aioice import Candidate
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import Connection, StunProtocol, get_host_addresses, server_reflexive_candidate

from pipeline.errors import NoUdpPort
from pipeline.transports.ice import Reach

__all__ = ["free_ports", "place_sockets"]

logger = logging.getLogger(__name__)

_TRIES = 16
"""Without a range: number of attempts to find a port that is free at all addresses of this machine."""
_RECEIVE_BYTES = 1024 * 1024  # the same size that aioice asks for


def place_sockets(connection: Connection, reach: Reach) -> None:
    """Bind to ports of `reach`, and offer its address. Call it once, before candidates are gathered.

    Gathering then raises NoUdpPort if all ports are taken and no server provides a relay.
    """
    ask_servers = connection.get_component_candidates

    async def gather(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:  # noqa: ASYNC109
        sockets = _claim(addresses, reach.ports)
        hosts = [await _open(connection, component, one) for one in sockets or ()]
        connection._protocols += hosts
        # Given no addresses, aioice looks for relays only.
        reflexive, relays = await asyncio.gather(
            _reflexive(connection, hosts, timeout), ask_servers(component=component, addresses=[], timeout=timeout)
        )
        if sockets is None and not relays:
            raise NoUdpPort(
                "All UDP ports that this server has for WebRTC are taken.",
                "The session goes on without WebRTC. The operator can widen webrtc_ports.",
            )
        return _offered([host.local_candidate for host in hosts], reach.address) + reflexive + relays

    # By this name, aioice calls it once for each component.
    connection.get_component_candidates = gather  # type: ignore[method-assign]


def free_ports(ports: Iterable[int]) -> int:
    """Return how many of these UDP ports are free now at all addresses of this machine."""
    free, addresses = 0, get_host_addresses(use_ipv4=True, use_ipv6=True)
    for port in ports:
        claimed = _claim_at(addresses, port)
        free += claimed is not None
        for one in claimed or ():
            one.close()
    return free


def _claim(addresses: Sequence[str], ports: range | None) -> list[socket.socket] | None:
    """Bind one socket per address, all at one port, as a router may lead to any of them. None: all ports are taken."""
    for port in (0,) * _TRIES if ports is None else _from_anywhere(ports):
        claimed = _claim_at(addresses, port)
        if claimed is not None:
            return claimed
    return None


def _from_anywhere(ports: range) -> Iterable[int]:
    """Return all ports, beginning at a random one, because the first ones are most likely taken."""
    if not ports:
        return ()
    start = random.randrange(len(ports))  # noqa: S311 - nothing depends on whether somebody guesses it
    return (*ports[start:], *ports[:start])


def _claim_at(addresses: Sequence[str], port: int) -> list[socket.socket] | None:
    """Bind a socket per address at that port, leaving out addresses that fail.

    None: the port is taken at one of them.
    """
    claimed = []
    with ExitStack() as stack:
        for address in addresses:
            is_v6 = ip_address(address).version == 6
            one = stack.enter_context(socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM))
            try:
                one.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return None
                logger.info("No WebRTC at %s: %s", address, error)
                one.close()
                continue
            port = one.getsockname()[1]
            claimed.append(one)
        stack.pop_all()
    return claimed


async def _open(connection: Connection, component: int, bound: socket.socket) -> StunProtocol:
    bound.setblocking(False)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    address, port = bound.getsockname()[:2]
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: StunProtocol(connection), sock=bound
    )
    protocol.local_candidate = _host(component, address, port)
    return protocol


def _host(component: int, address: str, port: int) -> Candidate:
    return Candidate(
        foundation=candidate_foundation("host", "udp", address),
        component=component,
        transport="udp",
        priority=candidate_priority(component, "host"),
        host=address,
        port=port,
        type="host",
    )


def _offered(own: list[Candidate], address: str) -> list[Candidate]:
    """Put a candidate with the public address before our own ones, which viewers in the same network may need."""
    if not address or any(one.host == address for one in own):
        return own
    version = ip_address(address).version
    led_to = [one for one in own if ip_address(one.host).version == version]
    return [_host(one.component, address, one.port) for one in led_to[:1]] + own


async def _reflexive(connection: Connection, hosts: list[StunProtocol], timeout_s: float) -> list[Candidate]:
    """Return the addresses that a STUN server sees for our sockets, as far as it answers in time."""
    server = connection.stun_server
    v4 = [host for host in hosts if ip_address(host.local_candidate.host).version == 4]
    if server is None or not v4:
        return []
    tasks = [asyncio.create_task(server_reflexive_candidate(host, server)) for host in v4]
    done, late = await asyncio.wait(tasks, timeout=timeout_s)
    for task in late:
        task.cancel()
    return [task.result()[0] for task in done if task.exception() is None]
