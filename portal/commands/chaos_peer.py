"""A WebRTC viewer of `launch.py chaos` behind a bad path. It measures how much could be shown and heard."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket

from pipeline.types import PLAYOUT_RATE_HZ, SAMPLES_PER_PICTURE
from portal.commands.bad_path import BadPath, Trouble, bad_path
from portal.commands.chaos_viewer import ChaosViewer

__all__ = ["ChaosPeer", "Received", "chaos_peer", "concealed_share", "idle_offer"]

HEARD_WITHIN_S = 0.3
"A packet of sound that comes later than its neighbours by more than this is too late to be played."
ALIKE = 12
"""How many packets before and after a packet are its neighbours. Lateness is measured only against these, because after
a portal has fallen behind, all later packets are late, and players adapt to that."""
CONNECTS_WITHIN_S = 20.0
CANDIDATE = re.compile(
    r"^a=candidate:\S+ \d+ udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host.*$", re.MULTILINE | re.IGNORECASE
)
CANDIDATES = re.compile(r"^a=(candidate:.*|end-of-candidates)\r\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Received:
    """What was received in a stretch of time."""

    fps: float
    "Decoded pictures per second."
    concealed: float
    "Share (0 to 1) of the sound that did not come in time, so that a player had to conceal it."


class ChaosPeer:
    """A WebRTC peer that counts what it receives.

    path: the path that its packets take. Its trouble may be changed while media flows.
    """

    def __init__(self, peer: RTCPeerConnection, path: BadPath) -> None:
        self.path = path
        self._peer = peer
        self._pictures = 0
        self._sounds: dict[int, float] = {}  # when each packet came first, by its place on the RTP clock
        self._watching = asyncio.create_task(self._watch(self._receiver("video").track))
        self._tap(self._receiver("audio"))

    async def received(self, seconds: float) -> Received:
        """Count for `seconds`, then wait until packets of that time that are still missing would be too late."""
        self._sounds.clear()
        began_s, before = time.monotonic(), self._pictures
        await asyncio.sleep(seconds)
        fps = (self._pictures - before) / (time.monotonic() - began_s)
        await asyncio.sleep(HEARD_WITHIN_S)
        return Received(fps, concealed_share(self._sounds))

    async def aclose(self) -> None:
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._peer.close()

    def _receiver(self, kind: str) -> RTCRtpReceiver:
        return next(one.receiver for one in self._peer.getTransceivers() if one.kind == kind)

    async def _watch(self, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while True:
                await track.recv()
                self._pictures += 1

    def _tap(self, receiver: RTCRtpReceiver) -> None:
        """Count packets by replacing the receiver's method of this name, which aiortc calls for each packet.

        The sound is not decoded, which saves time.
        """

        async def take(packet: RtpPacket, arrival_time_ms: int) -> None:
            self._sounds.setdefault(packet.timestamp, time.monotonic())

        receiver._handle_rtp_packet = take  # type: ignore[method-assign]


def concealed_share(came_s: Mapping[int, float]) -> float:
    """Return the share (0 to 1) of packets between the first and the last that did not come, or came too late.

    came_s: time of arrival of each packet in seconds, by its RTP timestamp, in the order of arrival.
    """
    if len(came_s) < 2:
        return 1.0
    origin = next(iter(came_s))
    lags_s = {}
    for ticks, at_s in came_s.items():
        place = (ticks - origin + 2**31) % 2**32 - 2**31  # a signed difference, since the RTP clock wraps at 32 bits
        lags_s[place] = at_s - place / PLAYOUT_RATE_HZ
    places = sorted(lags_s)
    in_time = 0
    for index, place in enumerate(places):
        like = places[max(0, index - ALIKE) : index + ALIKE + 1]
        in_time += lags_s[place] - min(map(lags_s.__getitem__, like)) <= HEARD_WITHIN_S
    expected = (places[-1] - places[0]) // SAMPLES_PER_PICTURE + 1
    return max(0.0, 1 - in_time / expected)


async def idle_offer() -> str:
    """Return a complete SDP offer of a peer that is already closed, so nobody ever connects by it."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        for kind in ("video", "audio"):
            peer.addTransceiver(kind, direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        return str(peer.localDescription.sdp)
    finally:
        await peer.close()


@asynccontextmanager
async def chaos_peer(viewer: ChaosViewer, draw: random.Random) -> AsyncIterator[ChaosPeer]:
    """Receive the media of a viewer's session over a path that is good at first.

    Raises TimeoutError or RuntimeError if no connection can be made.
    """
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(peer.close)
        for kind in ("video", "audio"):
            peer.addTransceiver(kind, direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        # Our candidates are removed from the offer, and the portal's are replaced by the path's port in its answer. So
        # both ends know each other only by way of the path.
        await viewer.tell("offer", sdp=CANDIDATES.sub("", peer.localDescription.sdp))
        answer = str((await viewer.until(lambda said: said["type"] in ("answer", "error"), CONNECTS_WITHIN_S))["sdp"])
        found = CANDIDATE.search(answer)
        if found is None:
            raise RuntimeError("The portal offers no way by UDP on this machine.")
        path = await stack.enter_async_context(bad_path(found[1], int(found[2]), Trouble(), draw))
        ours = found[0].replace(f" {found[2]} ", f" {path.port} ")
        head, media = CANDIDATES.sub("", answer).split("m=", 1)
        first, *others = media.split("m=")
        sdp = "m=".join([head, f"{first}{ours.rstrip()}\r\n", *others])
        connected = asyncio.Event()

        @peer.on("connectionstatechange")
        def note() -> None:
            if peer.connectionState == "connected":
                connected.set()

        await peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        received = ChaosPeer(peer, path)
        stack.push_async_callback(received.aclose)
        async with asyncio.timeout(CONNECTS_WITHIN_S):
            await connected.wait()
        yield received
