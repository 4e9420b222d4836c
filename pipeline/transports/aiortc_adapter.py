"""The one place that reaches inside aiortc. Written for 1.16; tests/pipeline/test_transport_aiortc_adapter.py fails on
an upgrade that breaks it.

aiortc has no public way to learn what the viewer's RTCP asks of a track that hands over packets already encoded.
"""

from __future__ import annotations

from collections.abc import Callable

from aiortc import RTCRtpSender, RTCRtpTransceiver
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    unpack_remb_fci,
)

__all__ = ["negotiated_codec", "observe_feedback"]


def negotiated_codec(transceiver: RTCRtpTransceiver) -> str | None:
    """Name of the codec that the sender uses (`H264`, `VP8`), once the answer is made. None: the viewer refused it."""
    codecs = transceiver._codecs
    return codecs[0].name if codecs else None


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


def _remb_bps(packet: RtcpPsfbPacket, ssrc: int) -> int | None:
    try:
        bitrate_bps, ssrcs = unpack_remb_fci(packet.fci)
    except ValueError:  # another application's feedback
        return None
    return bitrate_bps if ssrc in ssrcs else None
