"""The UDP ports of WebRTC, as the portal shares them among addresses."""

from __future__ import annotations

from typing import Any

import pytest
from transport_viewer import GatedExecutor, Viewer

from pipeline.transports.ice import Reach
from pipeline.transports.loops import LoopCache
from pipeline.transports.port_shares import PortShares
from pipeline.transports.whereabouts import Whereabouts
from portal.api.transports import BackendTransports
from portal.settings import Settings
from tests.pipeline.test_transport_host_sockets import needs_network, neighbouring_ports


@needs_network
async def test_dead_offers_of_an_address_leave_ports_for_others() -> None:
    """It offers again and again and never connects: it has one port of three all the time."""
    with neighbouring_ports(3) as ports:
        executor = GatedExecutor()
        transports = BackendTransports(LoopCache(executor), executor, reach=Reach(ports=ports), ports=PortShares(3, 1))
        viewer, dead = Viewer(), []
        offer = await viewer.offer()
        for _ in range(5):
            dead.append(transports.webrtc(at=Whereabouts("203.0.113.1"), hear=None))
            await dead[-1].answer(offer)
        assert [one.closed.is_set() for one in dead] == [True] * 4 + [False]
        other = transports.webrtc(at=Whereabouts("203.0.113.2"), hear=None)
        await other.answer(offer)
        await other.aclose()
        await dead[-1].aclose()
        await viewer.aclose()


@pytest.mark.parametrize(
    ("given", "each"),
    [
        ({"webrtc_ports": "40000-40099"}, 75),
        ({"webrtc_ports": "40000-40007", "max_sessions": 8}, 6),
        ({"webrtc_ports": "40000-40007", "max_sessions": 8, "sessions_per_address": 8}, 8),
    ],
)
def test_an_address_has_three_quarters_of_the_ports(given: dict[str, Any], each: int) -> None:
    """Or as many as it may have viewers, where all come from one address."""
    assert Settings(**given).ports_each == each
