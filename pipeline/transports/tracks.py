"""PacketTrack: a media track that gives aiortc packets that are encoded already."""

from __future__ import annotations

from fractions import Fraction

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from pipeline.channel import Channel, ChannelClosed

__all__ = ["PacketTrack"]


class PacketTrack(MediaStreamTrack):
    """A track whose recv() returns encoded packets in the order in which they were put.

    aiortc takes them at once while the connection works. If it does not, `bound` limits the queue: the oldest is
    dropped.
    """

    def __init__(self, kind: str, clock_hz: int, bound: int) -> None:
        self.kind = kind
        super().__init__()
        self._time_base = Fraction(1, clock_hz)
        self._packets: Channel[tuple[av.Packet[av.stream.Stream], int]] = Channel(bound)
        self._due_ntp = 0

    def due_ntp(self) -> int:
        """Return the NTP time at which the content of the last packet was due; 0 before the first."""
        return self._due_ntp

    def put(self, data: bytes, pts: int, due_ntp: int) -> None:
        """Queue a packet. due_ntp: NTP time at which its content is due."""
        packet = av.Packet(data)
        packet.pts = pts
        packet.time_base = self._time_base
        self._packets.push((packet, due_ntp))

    @property
    def full(self) -> bool:
        return self._packets.full

    def clear(self) -> int:
        """Drop the waiting packets. Returns how many there were."""
        return len(self._packets.clear())

    async def recv(self) -> av.Packet[av.stream.Stream]:
        if self.readyState != "live":
            self._packets.close()
        try:
            packet, self._due_ntp = await self._packets.receive()
        except ChannelClosed:
            raise MediaStreamError from None
        return packet
