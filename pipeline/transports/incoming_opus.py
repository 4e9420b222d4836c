"""OpusMicrophone: sorts and decodes a viewer's microphone as it arrives over WebRTC, and resamples it to 16 kHz.

aiortc's own receiver is not used. It delays sound by 80 ms, and from the first lost packet on by 300 ms for the rest of
the connection. That is too late for interrupting an avatar.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np

from pipeline.audio import StreamResampler
from pipeline.clock import Clock
from pipeline.transports.incoming import IncomingSound
from pipeline.types import LISTEN_RATE_HZ, FloatArray

__all__ = ["OpusMicrophone", "RtpOrder", "RtpPiece"]

logger = logging.getLogger(__name__)

OPUS_RATE_HZ = 48_000
"""Rate of the timestamps, and of the decoded sound."""
MAX_HELD_PACKETS = 3
"""Most packets that wait for an earlier one before it counts as lost. Browsers put 20 ms into each."""
SEQUENCES = 1 << 16
FAR = 1000
"""A step of more packets means that the sender started over."""


@dataclass(frozen=True, slots=True)
class RtpPiece:
    """The fields of an RTP packet that are used here."""

    sequence: int
    timestamp: int
    payload: bytes


class RtpOrder:
    """Puts packets in order, without delay if none is missing. Drops late packets and duplicates."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: dict[int, RtpPiece] = {}

    def put(self, piece: RtpPiece) -> list[RtpPiece]:
        """Take a packet. Returns those whose turn has come."""
        ahead = 0 if self._next is None else (piece.sequence - self._next) % SEQUENCES
        behind = -ahead % SEQUENCES
        if 0 < behind < FAR:
            return []
        if ahead >= FAR:  # the sender started over
            self._held.clear()
            ahead = 0
        if ahead == 0:
            self._next = piece.sequence
        self._held[piece.sequence] = piece
        if len(self._held) > MAX_HELD_PACKETS:
            self._next = min(self._held, key=self._distance)  # those before it count as lost
        return self._in_turn()

    def _in_turn(self) -> list[RtpPiece]:
        pieces = []
        while self._next is not None and self._next in self._held:
            pieces.append(self._held.pop(self._next))
            self._next = (self._next + 1) % SEQUENCES
        return pieces

    def _distance(self, sequence: int) -> int:
        assert self._next is not None
        return (sequence - self._next) % SEQUENCES


class OpusMicrophone:
    """hear: takes (n,) float32 at LISTEN_RATE_HZ and never waits. It is called for about every 20 ms of sound."""

    def __init__(self, hear: Callable[[FloatArray], None], clock: Clock) -> None:
        self._hear: Callable[[FloatArray], None] | None = hear
        self._order = RtpOrder()
        self._incoming = IncomingSound(OPUS_RATE_HZ, clock)
        self._resampler = StreamResampler(OPUS_RATE_HZ, LISTEN_RATE_HZ)
        self._decoder = av.AudioCodecContext.create("libopus", "r")
        self._decoder.format = "s16"
        self._decoder.layout = "mono"
        self._decoder.sample_rate = OPUS_RATE_HZ

    def take(self, piece: RtpPiece) -> None:
        """Take a packet as it comes from the network."""
        for next_piece in self._order.put(piece):
            samples = self._decoded(next_piece.payload)
            sound = self._incoming.take(next_piece.timestamp, samples)
            if sound is None:  # refused: faster than anybody speaks
                continue
            resampled = self._resampler.push(sound)
            if len(resampled) and self._hear is not None:
                self._hear(resampled)

    def close(self) -> None:
        """Release the callback. Idempotent."""
        self._hear = None

    def _decoded(self, payload: bytes) -> FloatArray:
        """Decode to (n,) at OPUS_RATE_HZ. Empty if that fails; silence then takes its place."""
        try:
            frames = self._decoder.decode(av.Packet(payload)) if payload else []
        except av.FFmpegError as error:
            logger.debug("A packet of a microphone cannot be decoded: %s", error)
            frames = []
        if not frames:
            return np.zeros(0, np.float32)
        whole = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
        return whole.astype(np.float32) / np.float32(32768)
