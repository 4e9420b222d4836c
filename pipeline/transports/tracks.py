"""PacketTrack: a media track that hands aiortc packets which are encoded already."""

from __future__ import annotations

import asyncio
from collections import deque
from fractions import Fraction

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

__all__ = ["PacketTrack"]


class PacketTrack(MediaStreamTrack):
    """A track whose recv() gives encoded packets in the order they were put.

    aiortc takes them at once while the connection stands; `bound` keeps a stuck one from growing: the oldest goes.
    """

    def __init__(self, kind: str, clock_hz: int, bound: int) -> None:
        self.kind = kind
        super().__init__()
        self._time_base = Fraction(1, clock_hz)
        self._packets: deque[tuple[av.Packet[av.stream.Stream], int]] = deque(maxlen=bound)
        self._arrived = asyncio.Event()
        self._captured_ntp = 0

    def captured_ntp(self) -> int:
        """NTP time at which the content of the packet given last became due, 0 before the first."""
        return self._captured_ntp

    def put(self, data: bytes, pts: int, captured_ntp: int) -> None:
        packet = av.Packet(data)
        packet.pts = pts
        packet.time_base = self._time_base
        self._packets.append((packet, captured_ntp))
        self._arrived.set()

    @property
    def full(self) -> bool:
        return len(self._packets) == self._packets.maxlen

    def clear(self) -> int:
        """Forget what waits; how many packets that was."""
        count = len(self._packets)
        self._packets.clear()
        return count

    async def recv(self) -> av.Packet[av.stream.Stream]:
        while not self._packets:
            if self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        packet, self._captured_ntp = self._packets.popleft()
        return packet
