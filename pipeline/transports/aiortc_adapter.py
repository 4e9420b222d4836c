"""The one place that reaches inside aiortc. Written for 1.16; tests/pipeline/test_transport_aiortc_adapter.py fails on
an upgrade that breaks it.

aiortc has no public way to learn what the viewer's RTCP asks of a track that hands over packets already encoded, nor to
say when the content of such a packet was due, nor to bound how long it waits for STUN and TURN servers or how much
a peer may send, nor to get the packets of a microphone ahead of its jitter buffer, nor to say which ports it may use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from aioice import ice
from aiortc import (
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpCodecParameters,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCRtpTransceiver,
)
from aiortc.clock import current_ntp_time
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    RtpPacket,
    unpack_remb_fci,
)

from pipeline.clock import Clock
from pipeline.transports.budget import Budget
from pipeline.transports.host_sockets import place_sockets
from pipeline.transports.ice import Reach
from pipeline.transports.incoming_opus import RtpPiece
from pipeline.types import FPS

__all__ = [
    "DueTimes",
    "connections_of",
    "gather_by",
    "limit_incoming",
    "negotiated_codec",
    "observe_feedback",
    "observe_loss",
    "refuse_data",
    "repeat_packets",
    "report_due_time",
    "silent_after",
    "take_packets",
]

DATAGRAMS, DATAGRAMS_PER_S = 500, 250
"""A microphone sends 50 in a second, or 100 from some browsers, and twice a second's worth after a break."""
FEEDBACK_BYTES, FEEDBACK_BYTES_PER_S = 12_000, 6_000
"""RTCP. A browser that loses packets all the time sends 3 kB in a second; 1 kB can take 1 ms of everybody's time."""
RESENT, RESENT_PER_S = 200, 100
"""Packets of a sender that are asked for again. A picture has 1 to 50 of them; a stream 150 in a second."""
KEY_FRAMES, KEY_FRAMES_PER_S = 5, 2
"""A browser asks again, every 0.2 s or more, until it has one."""
_KEY_FRAME_WISHES: Final = (RTCP_PSFB_PLI, RTCP_PSFB_FIR)


def connections_of(transceivers: Iterable[RTCRtpTransceiver]) -> set[ice.Connection]:
    """Each has a port of its own. Of what is bundled, all transceivers have the same one."""
    return {one.receiver.transport.transport.iceGatherer._connection for one in transceivers}


def gather_by(transceivers: Iterable[RTCRtpTransceiver], seconds: float, reach: Reach) -> None:
    """Say how candidates of a peer are found. Call it once.

    seconds: how long servers that do not answer are waited for (aioice waits 5 s); host candidates need no wait.
    """
    for connection in connections_of(transceivers):
        if reach != Reach():
            place_sockets(connection, reach)
        gather = partial(connection.get_component_candidates, timeout=seconds)  # type: ignore[arg-type]
        connection.get_component_candidates = gather  # type: ignore[method-assign]


def limit_incoming(peer: RTCPeerConnection, clock: Clock) -> None:
    """Drop what a viewer sends beyond what browsers do, before it costs the event loop much.

    Call it once, when the offer is known.

    Datagrams are dropped before they are decrypted, and RTCP before it is read. Of what it asks for, packets to be sent
    again and key frames are counted.
    """
    transceivers = peer.getTransceivers()
    transports = {transceiver.receiver.transport for transceiver in transceivers}
    if peer.sctp is not None:
        transports.add(peer.sctp.transport)  # one of its own, where the offer does not bundle it
    for transport in transports:
        _limit_transport(transport, clock)
    for transceiver in transceivers:
        _limit_wishes(transceiver.sender, clock)


def refuse_data(peer: RTCPeerConnection) -> None:
    """Let no data channel of the viewer open: call it once the offer is known.

    Nothing here uses them. With each packet aiortc's SCTP sorts all chunks that came out of order, on the event loop: a
    peer that left gaps held everybody up for 8 s. The offer's section is answered all the same, because aiortc as a
    viewer takes no answer that rejects it.
    """
    if peer.sctp is None:
        return

    async def never(*_capabilities: object) -> None:
        """In place of RTCSctpTransport.start(): without a receiver, DTLS drops what comes."""

    peer.sctp.start = never  # type: ignore[method-assign, assignment]


def _limit_transport(transport: RTCDtlsTransport, clock: Clock) -> None:
    connection = transport.transport.iceGatherer._connection
    take_data, take_request, read_feedback = (
        connection.data_received,
        connection.request_received,
        transport._handle_rtcp_data,
    )
    datagrams = Budget(clock, DATAGRAMS, DATAGRAMS_PER_S)
    feedback = Budget(clock, FEEDBACK_BYTES, FEEDBACK_BYTES_PER_S)

    def data_received(data: bytes, component: int) -> None:
        if datagrams.take():
            take_data(data, component)

    def request_received(*request: Any) -> None:
        if datagrams.take():
            take_request(*request)

    async def feedback_received(data: bytes) -> None:
        if feedback.take(len(data)):
            await read_feedback(data)

    # aioice calls the first two by name for each datagram, aiortc the third for those that are RTCP.
    connection.data_received = data_received  # type: ignore[method-assign]
    connection.request_received = request_received  # type: ignore[assignment, method-assign]
    transport._handle_rtcp_data = feedback_received  # type: ignore[method-assign]


def _limit_wishes(sender: RTCRtpSender, clock: Clock) -> None:
    handle = sender._handle_rtcp_packet
    resent = Budget(clock, RESENT, RESENT_PER_S)
    key_frames = Budget(clock, KEY_FRAMES, KEY_FRAMES_PER_S)

    async def limited(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpRtpfbPacket):
            packet.lost = [number for number in packet.lost if resent.take()]
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt in _KEY_FRAME_WISHES and not key_frames.take():
            return
        await handle(packet)

    sender._handle_rtcp_packet = limited  # type: ignore[method-assign]


def negotiated_codec(transceiver: RTCRtpTransceiver) -> str:
    """Name of the codec that the sender uses (`H264`, `VP8`), once the offer is known; "" before."""
    codecs = transceiver._codecs
    return codecs[0].name if codecs else ""


def observe_feedback(sender: RTCRtpSender, on_key_frame: Callable[[], None], on_bitrate: Callable[[int], None]) -> None:
    """Report what the viewer asks for: a key frame (PLI, FIR), and the bit rate it can take (REMB, bits per second)."""
    handle = sender._handle_rtcp_packet

    async def observed(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpPsfbPacket):
            if packet.fmt in _KEY_FRAME_WISHES:
                on_key_frame()
            elif packet.fmt == RTCP_PSFB_APP:
                bitrate_bps = _remb_bps(packet, sender._ssrc)
                if bitrate_bps is not None:
                    on_bitrate(bitrate_bps)
        await handle(packet)

    # aiortc calls this by name on the sender for each RTCP packet that is addressed to it.
    sender._handle_rtcp_packet = observed  # type: ignore[method-assign]


def observe_loss(sender: RTCRtpSender, on_report: Callable[[float], None]) -> None:
    """Report which share of the sender's packets did not reach the viewer, 0..1, of those since the report before."""
    handle = sender._handle_rtcp_packet

    async def observed(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == sender._ssrc:
                    on_report(report.fraction_lost / 256)
        await handle(packet)

    sender._handle_rtcp_packet = observed  # type: ignore[method-assign]


def repeat_packets(sender: RTCRtpSender, wanted: Callable[[], bool]) -> None:
    """Send each packet once more just before the next one, while that is wanted. For a track of one packet a frame.

    A receiver that had the first one drops the second.
    """
    next_frame = sender._next_encoded_frame
    newest: int | None = None

    async def repeating(codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        nonlocal newest
        frame = await next_frame(codec)
        history = sender._RTCRtpSender__rtp_history  # type: ignore[attr-defined]
        if newest is None and history:
            newest = next(iter(history.values())).sequence_number
        if newest is not None:
            if wanted():
                await sender._retransmit(newest)
            if frame is not None:
                newest = (newest + 1) % 2**16
        return frame

    # aiortc calls this by name for each packet that it sends, and keeps the last 128.
    sender._next_encoded_frame = repeating  # type: ignore[method-assign]


class DueTimes:
    """When frames are due, as the 64-bit NTP times of RTCP sender reports.

    The first one is due when it is asked for. All others are counted from it, 25 in a second. So whatever is late here,
    and whoever sets the clock of this machine, moves no sound against its picture.
    """

    def __init__(self) -> None:
        self._start_ntp: int | None = None

    def of(self, number: int) -> int:
        since = number * 2**32 // FPS
        if self._start_ntp is None:
            self._start_ntp = current_ntp_time() - since
        return (self._start_ntp + since) % 2**64


def report_due_time(sender: RTCRtpSender, due_ntp: Callable[[], int]) -> None:
    """Let sender reports say when the content of the last packet was due, not when the packet was sent.

    A player lines up sound and picture by these reports; stamped at sending, the time that encoding takes would become
    a skew. due_ntp: NTP time of the packet that the track gave last, 0 if none.
    """
    send = sender._send_rtcp

    async def stamped(packets: list[AnyRtcpPacket]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket) and due_ntp():
                packet.sender_info.ntp_timestamp = due_ntp()
        await send(packets)

    # aiortc calls this by name about once a second.
    sender._send_rtcp = stamped  # type: ignore[method-assign]


def silent_after(checks: int) -> None:
    """Close a connection when its peer leaves so many checks in a row without an answer; one comes every 4 to 6 s.

    For all connections of this process: aioice keeps it in a constant, 6.
    """
    ice.CONSENT_FAILURES = checks


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
