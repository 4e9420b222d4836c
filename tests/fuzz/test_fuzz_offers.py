"""Offers of WebRTC that are nearly those of a browser: each is answered or refused, and nothing is left open."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadSignalling
from pipeline.transports.loops import LoopCache
from pipeline.transports.webrtc import WebRtcTransport
from tests.fuzz.trying import much

pytestmark = pytest.mark.thorough

ODD = st.sampled_from(
    ["", "-1", "0", "65536", "4294967296", "9" * 40, "a=", "m=video", "sendonly", "\x00", "％", " ", "1 1 1", "BUNDLE"]
)
LINES = st.sampled_from(
    [
        "a=candidate:1 1 udp 2130706431 192.0.2.1 9 typ host",
        "a=candidate:1 1 tcp 1 ::1 9 typ host tcptype active",
        "a=candidate:x y z",
        "a=ssrc:1 cname:x",
        "a=ssrc-group:FID 1 2",
        "a=group:BUNDLE 0 1 2",
        "a=rtpmap:96 H264/90000",
        "a=fmtp:96 level-asymmetry-allowed",
        "a=setup:nobody",
        "a=mid:0",
        "a=extmap:300 urn:x",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "m=audio 9 RTP/AVP 0",
        "c=IN IP6 ::",
    ]
)
CHANGE = st.tuples(
    st.sampled_from(["drop", "double", "swap", "value", "word", "line", "cut"]), st.integers(0, 999), ODD, LINES
)


@cache
def offer() -> tuple[str, ...]:
    """A whole one, as lines."""

    async def made() -> str:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for kind in ("video", "audio"):
            peer.addTransceiver(kind, direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        sdp = str(peer.localDescription.sdp)
        await peer.close()
        return sdp

    return tuple(asyncio.run(made()).splitlines())


def changed(lines: list[str], how: str, at: int, odd: str, line: str) -> None:
    at %= len(lines) or 1
    if not lines:
        return
    match how:
        case "drop":
            del lines[at]
        case "double":
            lines.insert(at, lines[at])
        case "swap":
            lines[at], lines[-1 - at] = lines[-1 - at], lines[at]
        case "value":
            lines[at] = lines[at].partition(":")[0] + ":" + odd
        case "word":
            words = lines[at].split(" ")
            words[at % len(words)] = odd
            lines[at] = " ".join(words)
        case "line":
            lines.insert(at, line)
        case "cut":
            lines[at] = lines[at][: len(lines[at]) // 2]


async def answered(sdp: str) -> str:
    """The answer, or "" if the offer was refused."""
    with ThreadPoolExecutor(1) as executor:
        loops = LoopCache(executor)
        transport = WebRtcTransport(loops, executor)
        try:
            async with asyncio.timeout(60):
                return await transport.answer(sdp)
        except BadSignalling:
            assert transport.closed.is_set(), "a refused offer leaves nothing open"
            return ""
        finally:
            await transport.aclose()
            await loops.aclose()


@much(60)
@given(changes=st.lists(CHANGE, max_size=6))
def test_offers_are_answered_or_refused(changes: list[tuple[str, int, str, str]]) -> None:
    lines = list(offer())
    for change in changes:
        changed(lines, *change)
    answer = asyncio.run(answered("\r\n".join([*lines, ""])))
    assert not answer or answer.startswith("v=0")


@much(60)
@given(sdp=st.text(max_size=300) | st.binary(max_size=300).map(lambda noise: noise.decode("latin-1")))
def test_noise_is_refused(sdp: str) -> None:
    assert asyncio.run(answered(sdp)) == ""


def test_what_is_changed_is_an_offer() -> None:
    """Unchanged it is answered, so the tests above try more than refusals."""
    assert asyncio.run(answered("\r\n".join([*offer(), ""]))).startswith("v=0")
