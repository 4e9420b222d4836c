"""A WebRTC peer that receives pictures and sound, for tests of a portal in a process of its own."""

from __future__ import annotations

import asyncio

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame

__all__ = ["WITHIN_S", "ReceivingPeer"]

WITHIN_S = 60.0


class ReceivingPeer:
    """A peer that gathers its candidates before it offers, like clients that cannot send them later."""

    def __init__(self) -> None:
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    async def offer(self) -> str:
        """Return the SDP to send; pass the answer to accept()."""
        self._peer.addTransceiver("video", direction="recvonly")
        self._peer.addTransceiver("audio", direction="recvonly")
        await self._peer.setLocalDescription(await self._peer.createOffer())
        return str(self._peer.localDescription.sdp)

    async def accept(self, answer_sdp: str) -> None:
        await self._peer.setRemoteDescription(RTCSessionDescription(answer_sdp, "answer"))

    def track(self, kind: str) -> MediaStreamTrack:
        return next(t.receiver.track for t in self._peer.getTransceivers() if t.kind == kind)

    async def loud(self) -> None:
        """Wait for sound that is not silence."""
        async with asyncio.timeout(WITHIN_S):
            peak = 0
            while peak < 1000:
                sound = await self.track("audio").recv()
                assert isinstance(sound, AudioFrame)
                peak = np.abs(sound.to_ndarray()).max()

    async def shown(self) -> None:
        """Wait for a picture."""
        async with asyncio.timeout(WITHIN_S):
            await self.track("video").recv()

    async def aclose(self) -> None:
        await self._peer.close()
