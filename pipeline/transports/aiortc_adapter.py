"""The one place that reaches inside aiortc. Written for 1.16; tests/pipeline/test_transport_aiortc_adapter.py fails on
an upgrade that breaks it.

aiortc has no public way to learn what the viewer's RTCP asks of a track that hands over packets already encoded, nor to
say when the content of such a packet was captured, nor to bound how long it waits for STUN and TURN servers, nor to get
the packets of a microphone ahead of its jitter buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aiortc import RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver
from aiortc.clock import current_ntp_time
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpSrPacket,
    RtpPacket,
    unpack_remb_fci,
)

from pipeline.transports.incoming_opus import RtpPiece

__all__ = [
    "limit_gathering",
    "negotiated_codec",
    "ntp_time",
    "observe_feedback",
    "report_capture_time",
    "take_packets",
]


def limit_gathering(transceiver: RTCRtpTransceiver, seconds: float) -> None:
    """Wait no longer than that for servers that do not answer (aioice waits 5 s); host candidates need no wait."""
    connection = transceiver.receiver.transport.transport.iceGatherer._connection
    gather = partial(connection.get_component_candidates, timeout=seconds)  # type: ignore[arg-type]
    connection.get_component_candidates = gather  # type: ignore[method-assign]


def negotiated_codec(transceiver: RTCRtpTransceiver) -> str:
    """Name of the codec that the sender uses (`H264`, `VP8`), once the offer is known; "" before."""
    codecs = transceiver._codecs
    return codecs[0].name if codecs else ""


def observe_feedback(sender: RTCRtpSender, on_key_frame: Callable[[], None], on_bitrate: Callable[[int], None]) -> None:
    """Report what the viewer asks for: a key frame (PLI, FIR), and the bit rate it can take (REMB, bits per second)."""
    handle = sender._handle_rtcp_packet

    async def observed(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpPsfbPacket):
            if packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
                on_key_frame()
            elif packet.fmt == RTCP_PSFB_APP:
                bitrate_bps = _remb_bps(packet, sender._ssrc)
                if bitrate_bps is not None:
                    on_bitrate(bitrate_bps)
        await handle(packet)

    # aiortc calls this by name on the sender for each RTCP packet that is addressed to it.
    sender._handle_rtcp_packet = observed  # type: ignore[method-assign]


def ntp_time() -> int:
    """Now, as the 64-bit NTP time of RTCP sender reports."""
    return current_ntp_time()


def report_capture_time(sender: RTCRtpSender, captured: Callable[[], int]) -> None:
    """Let sender reports say when the content of the last packet became due, not when the packet was sent.

    A player lines up sound and picture by these reports; stamped at sending, the time that encoding takes would become
    a skew. captured: NTP time of the packet that the track gave last, 0 if none.
    """
    send = sender._send_rtcp

    async def stamped(packets: list[AnyRtcpPacket]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket) and captured():
                packet.sender_info.ntp_timestamp = captured()
        await send(packets)

    # aiortc calls this by name about once a second.
    sender._send_rtcp = stamped  # type: ignore[method-assign]


def take_packets(receiver: RTCRtpReceiver, take: Callable[[RtpPiece], None]) -> None:
    """Hand each packet over as it comes, instead of putting it into aiortc's jitter buffer.

    aiortc goes on counting for its reports to the sender. Its decoder thread starts, and gets nothing.
    """
    receiver._RTCRtpReceiver__jitter_buffer = _Tap(take)  # type: ignore[attr-defined]


class _Tap:
    """In the place of a JitterBuffer; it never has a whole frame to be decoded."""

    def __init__(self, take: Callable[[RtpPiece], None]) -> None:
        self._take = take

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        self._take(RtpPiece(packet.sequence_number, packet.timestamp, packet.payload))
        return False, None


def _remb_bps(packet: RtcpPsfbPacket, ssrc: int) -> int | None:
    try:
        bitrate_bps, ssrcs = unpack_remb_fci(packet.fci)
    except ValueError:  # another application's feedback
        return None
    return bitrate_bps if ssrc in ssrcs else None
