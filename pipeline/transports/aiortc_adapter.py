"""The one module that reaches inside aiortc. Written for aiortc 1.16.

If an upgrade breaks it, tests/pipeline/test_transport_aiortc_adapter.py fails. aiortc has no public way to

- learn what the viewer's RTCP asks of a track that hands over encoded packets,
- say when the content of such a packet was due,
- limit the wait for STUN and TURN servers, or how much a peer may send,
- get a microphone's packets before its jitter buffer,
- choose the ports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from aioice import ice, stun
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
"""A microphone sends 50 a second, or 100 from some browsers, and twice a second's worth after a pause."""
FEEDBACK_BYTES, FEEDBACK_BYTES_PER_S = 12_000, 6_000
"""RTCP. A browser that loses packets all the time sends 3 kB a second. Reading 1 kB can take the event loop 1 ms."""
RESENT, RESENT_PER_S = 200, 100
"""Packets that a receiver requests again. A picture has 1 to 50 of them; a stream has 150 a second."""
KEY_FRAMES, KEY_FRAMES_PER_S = 5, 2
"""A browser repeats its request, every 0.2 s or more, until it gets a key frame."""
_KEY_FRAME_WISHES: Final = (RTCP_PSFB_PLI, RTCP_PSFB_FIR)


def connections_of(transceivers: Iterable[RTCRtpTransceiver]) -> set[ice.Connection]:
    """Return the ICE connections. Each has its own port. Transceivers that are bundled share one."""
    return {one.receiver.transport.transport.iceGatherer._connection for one in transceivers}


def gather_by(transceivers: Iterable[RTCRtpTransceiver], seconds: float, reach: Reach) -> None:
    """Set how a peer's candidates are found. Call it once.

    seconds: longest wait for servers that do not answer (aioice waits 5 s); host candidates need no wait.
    """
    for connection in connections_of(transceivers):
        if reach != Reach():
            place_sockets(connection, reach)
        gather = partial(connection.get_component_candidates, timeout=seconds)  # type: ignore[arg-type]
        connection.get_component_candidates = gather  # type: ignore[method-assign]


def limit_incoming(peer: RTCPeerConnection, clock: Clock) -> None:
    """Drop what a viewer sends beyond what browsers do, before it costs the event loop much.

    Call it once, when the offer is known.

    Datagrams are dropped before they are decrypted, and RTCP before it is read. The packets and key frames that RTCP
    requests are limited, too.
    """
    transceivers = peer.getTransceivers()
    transports = {transceiver.receiver.transport for transceiver in transceivers}
    if peer.sctp is not None:
        transports.add(peer.sctp.transport)  # it has its own transport if the offer does not bundle it
    for transport in transports:
        _limit_transport(transport, clock)
    for transceiver in transceivers:
        _limit_wishes(transceiver.sender, clock)


def refuse_data(peer: RTCPeerConnection) -> None:
    """Keep the viewer from opening data channels. Call it once the offer is known.

    Nothing here uses them. For each packet, aiortc's SCTP sorts all chunks that came out of order, on the event loop:
    a peer that left gaps blocked everybody for 8 s. The offer's section is still answered, because a viewer that runs
    aiortc accepts no answer that rejects it.
    """
    if peer.sctp is None:
        return

    async def never(*_capabilities: object) -> None:
        """Replaces RTCSctpTransport.start(). Without a receiver, DTLS drops incoming data."""

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

    def request_received(message: stun.Message, addr: tuple[str, int], protocol: ice.StunProtocol) -> None:
        if datagrams.take():
            take_request(message, addr, protocol)

    async def feedback_received(data: bytes) -> None:
        if feedback.take(len(data)):
            await read_feedback(data)

    # By these names, aioice calls the first two for each datagram, and aiortc the third for each one with RTCP.
    connection.data_received = data_received  # type: ignore[method-assign]
    connection.request_received = request_received  # type: ignore[method-assign]
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
    """Return the name of the codec the sender uses (`H264`, `VP8`) once the offer is known; empty before."""
    codecs = transceiver._codecs
    return codecs[0].name if codecs else ""


def observe_feedback(sender: RTCRtpSender, on_key_frame: Callable[[], None], on_bitrate: Callable[[int], None]) -> None:
    """Report the viewer's requests: for a key frame (PLI, FIR), and for a bit rate (REMB, in bits per second)."""
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

    # By this name, aiortc calls it on the sender for each RTCP packet addressed to it.
    sender._handle_rtcp_packet = observed  # type: ignore[method-assign]


def observe_loss(sender: RTCRtpSender, on_report: Callable[[float], None]) -> None:
    """Report the share (0..1) of the sender's packets that were lost since the previous report."""
    handle = sender._handle_rtcp_packet

    async def observed(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == sender._ssrc:
                    on_report(report.fraction_lost / 256)
        await handle(packet)

    sender._handle_rtcp_packet = observed  # type: ignore[method-assign]


def repeat_packets(sender: RTCRtpSender, wanted: Callable[[], bool]) -> None:
    """Send each packet a second time just before the next one, while that is wanted.

    For tracks of one packet per frame.

    A receiver that has the first one drops the second.
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

    # By this name, aiortc calls it for each packet it sends. It keeps the last 128 packets.
    sender._next_encoded_frame = repeating  # type: ignore[method-assign]


class DueTimes:
    """The times at which frames are due, as the 64-bit NTP times of RTCP sender reports.

    The first frame is due when its time is asked for. All others are counted from it, 25 a second. So neither delays
    here nor a change of the machine's clock move sound against pictures.
    """

    def __init__(self) -> None:
        self._start_ntp: int | None = None

    def of(self, number: int) -> int:
        """Return the time at which the frame of that number is due."""
        since = number * 2**32 // FPS
        if self._start_ntp is None:
            self._start_ntp = current_ntp_time() - since
        return (self._start_ntp + since) % 2**64


def report_due_time(sender: RTCRtpSender, due_ntp: Callable[[], int]) -> None:
    """Make sender reports state when the content of the last packet was due, not when the packet was sent.

    A player uses these reports to synchronise sound and picture. With the time of sending, the time spent on encoding
    would become an offset. due_ntp: returns the NTP time of the track's last packet, 0 if there is none.
    """
    send = sender._send_rtcp

    async def stamped(packets: list[AnyRtcpPacket]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket) and due_ntp():
                packet.sender_info.ntp_timestamp = due_ntp()
        await send(packets)

    # By this name, aiortc calls it about once a second.
    sender._send_rtcp = stamped  # type: ignore[method-assign]


def silent_after(checks: int) -> None:
    """Close a connection after so many unanswered checks in a row; one is sent every 4 to 6 s.

    It applies to all connections of this process: aioice has it as a constant, 6.
    """
    ice.CONSENT_FAILURES = checks


def take_packets(receiver: RTCRtpReceiver, take: Callable[[RtpPiece], None]) -> None:
    """Pass each packet on as it arrives, instead of into aiortc's jitter buffer.

    aiortc still counts packets for its reports to the sender. Its decoder thread starts, but gets nothing.
    """
    receiver._RTCRtpReceiver__jitter_buffer = _Tap(take)  # type: ignore[attr-defined]


class _Tap:
    """Stands in for a JitterBuffer. It never has a complete frame to decode."""

    def __init__(self, take: Callable[[RtpPiece], None]) -> None:
        self._take = take

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        self._take(RtpPiece(packet.sequence_number, packet.timestamp, packet.payload))
        return False, None


def _remb_bps(packet: RtcpPsfbPacket, ssrc: int) -> int | None:
    try:
        bitrate_bps, ssrcs = unpack_remb_fci(packet.fci)
    except ValueError:  # feedback of another application
        return None
    return bitrate_bps if ssrc in ssrcs else None
