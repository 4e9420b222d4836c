"""The adapter against the installed aiortc: if one of these fails after an upgrade, the adapter has to be rewritten."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.clock import current_ntp_time
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    pack_remb_fci,
)
from transport_viewer import Viewer

from pipeline.clock import ManualClock, SystemClock
from pipeline.transports import aiortc_adapter
from pipeline.transports.aiortc_adapter import (
    DATAGRAMS,
    DATAGRAMS_PER_S,
    FEEDBACK_BYTES,
    KEY_FRAMES,
    RESENT,
    RESENT_PER_S,
    DueTimes,
    gather_by,
    limit_incoming,
    negotiated_codec,
    observe_feedback,
    observe_loss,
    refuse_data,
    report_due_time,
    take_packets,
)
from pipeline.transports.budget import Budget
from pipeline.transports.ice import Reach
from pipeline.transports.incoming_opus import RtpPiece
from pipeline.transports.repeats import LASTS_S, MUCH, SoundRepeats


def test_the_version_is_the_one_the_adapter_was_written_for() -> None:
    """An upgrade of aiortc is a decision: read the adapter again, then change this."""
    assert version("aiortc").startswith("1.16.")


def sender() -> tuple[RTCPeerConnection, RTCRtpSender]:
    peer = RTCPeerConnection()
    return peer, peer.addTransceiver("video", direction="sendonly").sender


async def test_requests_for_key_frames_and_bit_rates_are_reported() -> None:
    """PLI, FIR and REMB reach us; feedback of others, other senders' REMB and reports do not."""
    peer, video = sender()
    wishes: list[Any] = []
    observe_feedback(video, lambda: wishes.append("key"), wishes.append)
    ssrc = video._ssrc
    for packet in (
        RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=ssrc),
        RtcpPsfbPacket(fmt=RTCP_PSFB_FIR, ssrc=1, media_ssrc=ssrc),
        RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=pack_remb_fci(640_000, [ssrc])),
        RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=pack_remb_fci(700_000, [ssrc ^ 1])),
        RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=b"something else"),
        RtcpRrPacket(ssrc=1, reports=[]),
    ):
        await video._handle_rtcp_packet(packet)
    assert wishes[:2] == ["key", "key"]
    assert len(wishes) == 3
    assert abs(wishes[2] - 640_000) < 10_000  # REMB rounds
    await peer.close()


async def test_reports_of_lost_packets_are_handed_on() -> None:
    """Those on this sender, as a share; those on others, and other feedback, are not."""
    peer, video = sender()
    shares: list[float] = []
    observe_loss(video, shares.append)
    mine, other = (RtcpReceiverInfo(ssrc, 64, 0, 0, 0, 0, 0) for ssrc in (video._ssrc, video._ssrc ^ 1))
    await video._handle_rtcp_packet(RtcpRrPacket(ssrc=1, reports=[other, mine]))
    await video._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=video._ssrc))
    assert shares == [0.25]
    await peer.close()


async def test_sound_is_repeated_for_a_while_after_a_loss() -> None:
    """A single packet of a thousand is no reason; each further report of a loss makes it last."""
    clock = ManualClock()
    repeats = SoundRepeats(clock)
    repeats.on_report(0.001)
    assert not repeats.wanted()
    repeats.on_report(MUCH)
    await clock.advance(LASTS_S - 1)
    assert repeats.wanted()
    repeats.on_report(0.3)
    await clock.advance(LASTS_S - 1)
    repeats.on_report(0.0)
    assert repeats.wanted()
    await clock.advance(2)
    assert not repeats.wanted()


async def test_sender_reports_carry_the_time_when_it_was_due() -> None:
    """Before the first packet a report is left as it is; later it says when the content was due."""
    peer, video = sender()
    sent: list[AnyRtcpPacket] = []

    async def collect(packets: list[AnyRtcpPacket]) -> None:
        sent.extend(packets)

    video._send_rtcp = collect  # type: ignore[method-assign]
    due_ntp = 0
    report_due_time(video, lambda: due_ntp)
    for due_ntp in (0, 12345):  # noqa: B007 - read by the lambda above
        info = RtcpSenderInfo(ntp_timestamp=1, rtp_timestamp=2, packet_count=3, octet_count=4)
        await video._send_rtcp([RtcpSrPacket(ssrc=1, sender_info=info)])
    assert [packet.sender_info.ntp_timestamp for packet in sent if isinstance(packet, RtcpSrPacket)] == [1, 12345]
    await peer.close()


def test_neither_a_late_frame_nor_a_set_clock_moves_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first frame is due when it comes; frame 125 is due 4 s after frame 25, whatever the time of day says then."""
    due, now = DueTimes(), [current_ntp_time()]
    monkeypatch.setattr(aiortc_adapter, "current_ntp_time", lambda: now[0])
    assert due.of(25) == now[0]
    now[0] += 3600 * 2**32
    assert due.of(125) - due.of(25) == 4 * 2**32
    assert due.of(25) == now[0] - 3600 * 2**32


async def test_aiortc_sends_its_reports_by_the_method_we_replace() -> None:
    """A running sender calls _send_rtcp by name, and hands received RTCP to _handle_rtcp_packet by name."""
    server, viewer = RTCPeerConnection(), Viewer()
    offer = await viewer.offer()
    audio = server.addTransceiver(AudioStreamTrack(), direction="sendonly").sender
    reported, wanted = asyncio.Event(), asyncio.Event()

    def due_ntp() -> int:
        reported.set()
        return current_ntp_time()

    report_due_time(audio, due_ntp)
    observe_feedback(audio, wanted.set, lambda _bps: None)
    await server.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await server.setLocalDescription(await server.createAnswer())
    await viewer.peer.setRemoteDescription(server.localDescription)
    async with asyncio.timeout(30):
        await reported.wait()
        await viewer.peer.getReceivers()[0]._send_rtcp_pli(audio._ssrc)
        await wanted.wait()
    await viewer.aclose()
    await server.close()


async def test_a_mute_stun_server_does_not_hold_up_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gathering ends by our limit (aioice's own is 5 s), and host candidates are there."""
    limits_s: list[float | None] = []
    wait = asyncio.wait

    async def noting(tasks: Any, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as asyncio has it
        limits_s.append(timeout)
        return await wait(tasks, timeout=timeout)

    mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mute.bind(("127.0.0.1", 0))
    url = f"stun:127.0.0.1:{mute.getsockname()[1]}"
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[RTCIceServer(urls=url)]))
    transceiver = peer.addTransceiver("video", direction="sendonly")
    gather_by([transceiver], 0.05, Reach())
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "wait", noting)
        await peer.setLocalDescription(await peer.createOffer())
    assert limits_s == [0.05]
    assert " typ host" in peer.localDescription.sdp
    await peer.close()
    mute.close()


async def test_the_negotiated_codec_is_read() -> None:
    """Nothing before negotiation; afterwards what the answer names first."""
    peer = RTCPeerConnection()
    transceiver = peer.addTransceiver("video", direction="sendonly")
    assert negotiated_codec(transceiver) == ""
    viewer = Viewer(codecs=("VP8",))
    await peer.setRemoteDescription(RTCSessionDescription(await viewer.offer(), "offer"))
    assert negotiated_codec(transceiver) == "VP8"
    await viewer.aclose()
    await peer.close()


async def test_packets_of_a_microphone_are_handed_over_as_they_come() -> None:
    """Every packet arrives, ahead of aiortc's jitter buffer, which would keep the first four; none is decoded there."""
    taken: list[RtpPiece] = []
    ours, theirs = RTCPeerConnection(RTCConfiguration([])), RTCPeerConnection(RTCConfiguration([]))
    receiver = ours.addTransceiver("audio", direction="recvonly").receiver
    take_packets(receiver, taken.append)
    theirs.addTrack(AudioStreamTrack())
    await theirs.setLocalDescription(await theirs.createOffer())
    await ours.setRemoteDescription(theirs.localDescription)
    await ours.setLocalDescription(await ours.createAnswer())
    await theirs.setRemoteDescription(ours.localDescription)
    async with asyncio.timeout(30):
        while len(taken) < 3:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.01)
    assert (taken[1].sequence - taken[0].sequence) & 0xFFFF == 1
    assert all(piece.payload for piece in taken)
    assert receiver.track._queue.empty()
    await ours.close()
    await theirs.close()


class Flooded:
    """A connection of ours that nobody is connected to, and what reaches it of a flood."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.peer = RTCPeerConnection(RTCConfiguration([]))
        transceiver = self.peer.addTransceiver("video", direction="sendonly")
        self.sender, self.transport = transceiver.sender, transceiver.receiver.transport
        self.connection: Any = self.transport.transport.iceGatherer._connection
        self.reached: list[object] = []
        for owner, name in (
            (self.connection, "data_received"),
            (self.connection, "request_received"),
            (self.transport, "_handle_rtcp_data"),
            (self.sender, "_handle_rtcp_packet"),
        ):
            setattr(owner, name, self._count if name.endswith("received") else self._count_soon)
        limit_incoming(self.peer, self.clock)

    def _count(self, *received: object) -> None:
        self.reached.append(received[0])

    async def _count_soon(self, received: object) -> None:
        self.reached.append(received)


async def test_datagrams_beyond_what_browsers_send_are_dropped() -> None:
    """Also those that only ask whether we are there. In the long run some a second get through."""
    flooded = Flooded()
    for _ in range(DATAGRAMS):
        flooded.connection.data_received(b"sound", 1)
        flooded.connection.request_received("are you there?", None, None)
    assert len(flooded.reached) == DATAGRAMS
    await flooded.clock.advance(1)
    for _ in range(2 * DATAGRAMS):
        flooded.connection.data_received(b"sound", 1)
    assert len(flooded.reached) == DATAGRAMS + DATAGRAMS_PER_S
    await flooded.peer.close()


async def test_feedback_beyond_what_browsers_send_is_not_read() -> None:
    """However much of it comes in one datagram."""
    flooded = Flooded()
    for _ in range(100):
        await flooded.transport._handle_rtcp_data(bytes(1000))
    assert len(flooded.reached) == FEEDBACK_BYTES // 1000
    await flooded.peer.close()


async def test_so_many_packets_and_key_frames_may_be_asked_for_again() -> None:
    """A datagram can name thousands of packets. Reports get through all the while."""
    flooded, ssrc = Flooded(), 1
    lost = RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=ssrc, lost=list(range(5000)))
    await flooded.sender._handle_rtcp_packet(lost)
    assert len(lost.lost) == RESENT
    await flooded.clock.advance(1)
    more = RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=ssrc, lost=list(range(5000)))
    await flooded.sender._handle_rtcp_packet(more)
    assert len(more.lost) == RESENT_PER_S
    flooded.reached.clear()
    for _ in range(100):
        await flooded.sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=ssrc))
    assert len(flooded.reached) == KEY_FRAMES
    await flooded.sender._handle_rtcp_packet(RtcpRrPacket(ssrc=1, reports=[]))
    assert len(flooded.reached) == KEY_FRAMES + 1
    await flooded.peer.close()


async def test_all_that_a_peer_sends_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice and aiortc call what we replace by name; a browser's own traffic is not limited."""
    counted: dict[float, int] = {}

    class Counting(Budget):
        def __init__(self, clock: SystemClock, burst: float, per_s: float) -> None:
            super().__init__(clock, burst, per_s)
            self.burst = burst

        def take(self, amount: float = 1.0) -> bool:
            counted[self.burst] = counted.get(self.burst, 0) + 1
            assert super().take(amount)
            return True

    monkeypatch.setattr(aiortc_adapter, "Budget", Counting)
    server, viewer, wanted = RTCPeerConnection(RTCConfiguration([])), Viewer(), asyncio.Event()
    offer = await viewer.offer()
    audio = server.addTransceiver(AudioStreamTrack(), direction="sendonly")
    await server.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    observe_feedback(audio.sender, wanted.set, lambda _bps: None)
    limit_incoming(server, SystemClock())
    await server.setLocalDescription(await server.createAnswer())
    await viewer.peer.setRemoteDescription(server.localDescription)
    async with asyncio.timeout(30):
        await viewer.arrived.wait()
        await viewer.peer.getReceivers()[0]._send_rtcp_pli(audio.sender._ssrc)
        await wanted.wait()
    assert {DATAGRAMS, FEEDBACK_BYTES, KEY_FRAMES} <= counted.keys()
    await viewer.aclose()
    await server.close()


async def offered_data(change: Callable[[str], str] = str) -> tuple[RTCPeerConnection, Viewer]:
    """A connection of ours that knows a viewer's offer of sound, picture and data, changed."""
    server, viewer = RTCPeerConnection(RTCConfiguration([])), Viewer(kinds=("video", "audio", "application"))
    server.addTransceiver(AudioStreamTrack(), direction="sendonly")
    await server.setRemoteDescription(RTCSessionDescription(change(await viewer.offer()), "offer"))
    limit_incoming(server, ManualClock())
    refuse_data(server)
    return server, viewer


async def test_no_data_channel_opens() -> None:
    """The sound comes all the same, and DTLS hands what is sent over the channel to nobody."""
    server, viewer = await offered_data()
    await server.setLocalDescription(await server.createAnswer())
    await viewer.peer.setRemoteDescription(server.localDescription)
    async with asyncio.timeout(30):
        await viewer.arrived.wait()
    assert server.sctp is not None and server.sctp.transport._data_receiver is None
    await viewer.aclose()
    await server.close()


async def test_a_transport_for_data_alone_is_limited_too() -> None:
    """It is another than that of the sound if the offer bundles nothing."""
    server, viewer = await offered_data(lambda sdp: re.sub(r"a=group:BUNDLE.*\r\n", "", sdp))
    assert server.sctp is not None
    apart = server.sctp.transport
    assert apart not in [transceiver.receiver.transport for transceiver in server.getTransceivers()]
    data_received: Any = apart.transport.iceGatherer._connection.data_received
    assert data_received.__module__ == aiortc_adapter.__name__
    await viewer.aclose()
    await server.close()
