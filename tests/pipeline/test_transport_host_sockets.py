"""Which ports and addresses WebRTC offers: seen by a second aiortc, as a viewer's browser sees it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from aioice.ice import get_host_addresses
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from transport_viewer import GatedExecutor, Viewer, open_files, tasks_left

from pipeline.errors import NoUdpPort
from pipeline.transports.aiortc_adapter import gather_by
from pipeline.transports.host_sockets import free_ports
from pipeline.transports.ice import IceServer, Reach
from pipeline.transports.loops import LoopCache
from pipeline.transports.webrtc import WebRtcTransport
from tests.turn_server import turn_server

PUBLIC = "203.0.113.7"
CANDIDATE = re.compile(r"a=candidate:\S+ 1 udp \d+ (?P<address>\S+) (?P<port>\d+) typ (?P<type>\w+)")
OWN = get_host_addresses(use_ipv4=True, use_ipv6=True)

needs_network = pytest.mark.skipif(not OWN, reason="this machine has no address but loopback")
pytestmark = needs_network


def candidates(sdp: str) -> set[tuple[str, int, str]]:
    return {(found["address"], int(found["port"]), found["type"]) for found in CANDIDATE.finditer(sdp)}


@contextmanager
def neighbouring_ports(count: int) -> Iterator[range]:
    """So many free UDP ports side by side; they are free for the first who takes them."""
    with ExitStack() as tries:
        while True:
            probe = tries.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            probe.bind(("", 0))
            first = probe.getsockname()[1]
            ports = range(first, first + count)
            probe.close()
            if ports[-1] < 65_536 and free_ports(ports) == count:
                yield ports
                return


def reaching(reach: Reach, *servers: IceServer) -> WebRtcTransport:
    return WebRtcTransport(LoopCache(GatedExecutor()), GatedExecutor(), servers, reach=reach)


async def answer_of(transport: WebRtcTransport) -> set[tuple[str, int, str]]:
    viewer = Viewer()
    try:
        return candidates(await transport.answer(await viewer.offer()))
    finally:
        await viewer.aclose()


async def test_viewers_connect_at_ports_of_the_range_only() -> None:
    """Each viewer has a port of its own, the same at all addresses, and media flows."""
    with neighbouring_ports(2) as ports:
        transports = [reaching(Reach(ports=ports)) for _ in ports]
        viewers = [Viewer() for _ in ports]
        used = set()
        for transport, viewer in zip(transports, viewers, strict=True):
            await viewer.connect(transport)
            found = candidates(viewer.peer.remoteDescription.sdp)
            assert {address for address, _, _ in found} == set(OWN)
            used |= {port for _, port, _ in found}
        assert used == set(ports)
        for one in (*transports, *viewers):
            await one.aclose()
        assert free_ports(ports) == len(ports)


async def test_the_public_address_is_offered_beside_our_own_and_viewers_connect() -> None:
    """A router maps its port to the same port of ours, at whichever of our addresses it leads to."""
    transport, viewer = reaching(Reach(PUBLIC)), Viewer()
    await viewer.connect(transport)
    found = candidates(viewer.peer.remoteDescription.sdp)
    assert {address for address, _, _ in found} == {PUBLIC, *OWN}
    assert len({port for _, port, _ in found}) == 1
    assert {kind for _, _, kind in found} == {"host"}
    await viewer.aclose()
    await transport.aclose()


async def test_an_address_of_ours_is_not_offered_twice() -> None:
    """A public address that this machine has itself needs no mapping."""
    transport = reaching(Reach(OWN[0]))
    assert len(await answer_of(transport)) == len(OWN)
    await transport.aclose()


async def test_who_has_a_share_of_the_ports_already_gets_none_that_are_free() -> None:
    """As when all are taken. How many are wanted is told: one for what is bundled."""
    wanted = []

    async def refuse(_transport: WebRtcTransport, count: int) -> bool:
        wanted.append(count)
        return False

    with neighbouring_ports(2) as ports:
        transport = WebRtcTransport(
            LoopCache(GatedExecutor()), GatedExecutor(), reach=Reach(ports=ports), take_ports=refuse
        )
        with pytest.raises(NoUdpPort):
            await answer_of(transport)
        assert wanted == [1] and free_ports(ports) == 2


async def test_when_all_ports_are_taken_the_offer_is_refused_and_nothing_is_left() -> None:
    """With the cause and what the operator can do; the next viewer gets the port once it is free."""
    files = open_files()
    with neighbouring_ports(1) as ports:
        first, second = reaching(Reach(ports=ports)), reaching(Reach(ports=ports))
        await answer_of(first)
        with pytest.raises(NoUdpPort, match="UDP ports") as caught:
            await answer_of(second)
        assert "webrtc_ports" in caught.value.hint
        assert second.closed.is_set()
        await first.aclose()
        third = reaching(Reach(ports=ports))
        assert {port for _, port, _ in await answer_of(third)} == set(ports)
        await third.aclose()
    assert not await tasks_left()
    assert open_files() <= files


@pytest.fixture
def turn_url() -> Iterator[str]:
    with turn_server(lambda _name: "open") as (url, _server):
        yield url


async def test_a_relay_needs_no_port_of_the_range(turn_url: str) -> None:
    """Viewers who can use it are not sent to the WebSocket."""
    with neighbouring_ports(1) as ports, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", ports[0]))
        transport = reaching(Reach(ports=ports), IceServer((turn_url,), "anna", "open"))
        assert {kind for _, _, kind in await answer_of(transport)} == {"relay"}
        await transport.aclose()


async def test_a_stun_server_sees_the_port_of_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it sees is offered; a server that is mute is waited for no longer than is said."""
    limits_s: list[float | None] = []
    wait = asyncio.wait

    async def noting(tasks: Any, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as asyncio has it
        limits_s.append(timeout)
        return await wait(tasks, timeout=timeout)

    with neighbouring_ports(1) as ports, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        url = f"stun:127.0.0.1:{mute.getsockname()[1]}"
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[RTCIceServer(urls=url)]))
        gather_by([peer.addTransceiver("video", direction="sendonly")], 0.05, Reach(ports=ports))
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "wait", noting)
            await peer.setLocalDescription(await peer.createOffer())
        assert limits_s == [0.05]
        assert {port for _, port, _ in candidates(peer.localDescription.sdp)} == set(ports)
        await peer.close()
