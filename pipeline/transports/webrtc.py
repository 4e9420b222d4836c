"""WebRtcTransport: one viewer over WebRTC, by aiortc, which gets packets that are encoded already.

Sound is sent at once. A picture follows as soon as it is encoded, a few milliseconds later, or at once if it is
replayed from the avatar's loop. Both carry the RTP time of their MediaFrame, and RTCP reports tie it to the moment when
that frame was due. So the viewer's player synchronises them whatever was late here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import av
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpCodecCapability,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.sdp import SessionDescription, candidate_from_sdp

from avatars.errors import AvatarError
from pipeline.channel import Channel
from pipeline.clock import Clock, SystemClock
from pipeline.errors import BadSignalling, NoUdpPort
from pipeline.transports.aiortc_adapter import (
    DueTimes,
    connections_of,
    gather_by,
    limit_incoming,
    negotiated_codec,
    observe_feedback,
    observe_loss,
    refuse_data,
    repeat_packets,
    report_due_time,
    take_packets,
)
from pipeline.transports.candidates import CandidateFilter
from pipeline.transports.frame_coding import EncodedPictures, FrameCoding
from pipeline.transports.ice import IceServer, Reach
from pipeline.transports.incoming_opus import OpusMicrophone
from pipeline.transports.loops import LoopCache
from pipeline.transports.repeats import SoundRepeats
from pipeline.transports.stats import QUEUE_PICTURES, TransportStats
from pipeline.transports.tracks import PacketTrack
from pipeline.transports.whereabouts import Whereabouts
from pipeline.types import PLAYOUT_RATE_HZ, SAMPLES_PER_PICTURE, FloatArray, MediaFrame

__all__ = ["CONNECT_TIMEOUT_S", "WebRtcTransport"]

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 15.0
"""aiortc lets a peer that never comes try for ever, with a socket and three tasks each."""
_GATHER_S = 1.0  # a TURN allocation takes 0.3 s; the page waits 5 s for the answer
_MAX_SDP_CHARS = 64 * 1024
_MAX_SDP_LINES = 600
"Most lines, without candidates. A browser's offer of picture and sound has about 150, with two cameras 400."
_SDP_HINT = "Send the browser's localDescription.sdp."
_MAX_MEDIA = 3  # per offer; a browser's has two, and perhaps one for data
_VIDEO_CLOCK_HZ = 90_000
_VIDEO_TICKS = 3600  # per picture
_AUDIO_QUEUE_FRAMES = 50


class WebRtcTransport:
    """One viewer's peer connection. Make it, `answer()` the viewer's offer, then `send()` frames.

    For a server that takes a stream (WHIP), it works the other way round: `offer()` the stream, then `accept()` the
    server's answer.

    ice_servers  STUN and TURN servers; by default none: host candidates only (loopback, LAN, public address)
    reach        address and ports at which the other end reaches us
    executor     encodes live pictures
    bitrate_bps  of live pictures; None: one that fits their size
    coding       shared with other viewers of the session, and closed by its owner; None: its own
    codecs       in order of preference; the first that the offer has is used
    at           where the other end is, which decides to which addresses packets may be sent
    take_ports   asked whether a viewer may have so many ports of `reach`; if not, only a relay remains. None: always
    hear         takes the viewer's microphone, (n,) float32 at LISTEN_RATE_HZ, if the offer has sound to send; None:
                 it is not wanted

    `connected` is set once media flows. `closed` is set at the end: by aclose(), when the viewer left or failed, or if
    they did not connect within CONNECT_TIMEOUT_S. Frames sent before `connected` are dropped.
    """

    name = "webrtc"

    def __init__(
        self,
        loops: LoopCache,
        executor: Executor,
        ice_servers: Sequence[IceServer] = (),
        *,
        reach: Reach = Reach(),  # noqa: B008 - it cannot change
        bitrate_bps: int | None = None,
        coding: FrameCoding | None = None,
        codecs: Sequence[str] = ("H264", "VP8"),
        at: Whereabouts = Whereabouts(),  # noqa: B008 - it cannot change
        take_ports: Callable[[WebRtcTransport, int], Awaitable[bool]] | None = None,
        hear: Callable[[FloatArray], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._is_alone = coding is None
        self._coding = coding or FrameCoding(loops, executor, bitrate_bps)
        self._ice_servers = tuple(ice_servers)
        self._reach_of = partial(_reach_of, self, reach, take_ports)
        self._codecs = tuple(codecs)
        self._clock = clock or SystemClock()
        self._microphone = OpusMicrophone(hear, self._clock) if hear is not None else None
        self.connected = asyncio.Event()
        self.closed = asyncio.Event()

        self._peer: RTCPeerConnection | None = None
        self._video = PacketTrack("video", _VIDEO_CLOCK_HZ, QUEUE_PICTURES)
        self._audio = PacketTrack("audio", PLAYOUT_RATE_HZ, _AUDIO_QUEUE_FRAMES)
        self._due = DueTimes()
        self._tasks: list[asyncio.Task[None]] = []
        self._closer: asyncio.Task[None] | None = None
        self._candidates = CandidateFilter(local=at.local, far=at.is_far)

        self._pictures: EncodedPictures | None = None
        self._waiting: Channel[tuple[MediaFrame, int]] = Channel(QUEUE_PICTURES)

        self._frames_sent = self._pictures_sent = self._bytes_sent = 0
        self._pictures_dropped = self._audio_dropped = 0

    # -- signalling

    async def answer(self, offer_sdp: str) -> str:
        """Return the SDP answer to a viewer's offer, with our host candidates and those of ICE servers, if any are set.

        Raises NoUdpPort. Raises BadSignalling if it is not SDP, if it asks for no video and audio that we can send, or
        if an offer was answered before. After an error nothing is left open.
        """
        self._require_new()
        async with self._attempt("The offer is no SDP that can be answered."):
            return await self._negotiate(offer_sdp)

    async def offer(self) -> str:
        """Return the SDP that offers pictures and sound, with all our candidates.

        Then accept() its answer, or aclose().

        Raises NoUdpPort. Raises BadSignalling if this has offered or answered before.
        """
        self._require_new()
        peer, *transceivers = self._new_peer()
        gather_by(transceivers, _GATHER_S, await self._reach_of(transceivers))
        await peer.setLocalDescription(await peer.createOffer())
        sdp: str = peer.localDescription.sdp
        return sdp

    async def accept(self, answer_sdp: str) -> None:
        """Connect, by the answer to offer(). Raises BadSignalling, and then leaves nothing open."""
        assert self._peer is not None, "offer() comes first"
        async with self._attempt("The answer is no SDP that can be used."):
            answer_sdp = self._read(answer_sdp, "answer")
            await self._peer.setRemoteDescription(RTCSessionDescription(answer_sdp, "answer"))
            self._start(self._prepare(self._peer, *self._peer.getTransceivers()))

    def _require_new(self) -> None:
        if self._peer is not None or self.closed.is_set():
            raise BadSignalling("This connection has been offered already.", "Open a new one.")

    @asynccontextmanager
    async def _attempt(self, trouble: str) -> AsyncIterator[None]:
        """Close this transport if it does not start. Turns errors caused by the other end's text into BadSignalling."""
        try:
            yield
        except (BadSignalling, NoUdpPort):
            raise
        except Exception as error:
            # aiortc's parser raises ValueError, IndexError, AttributeError, ... depending on where the text is wrong.
            # Its messages need knowledge of aiortc, and may be of any length.
            logger.info("%s %s: %.200r", trouble, type(error).__name__, str(error))
            raise BadSignalling(trouble, _SDP_HINT) from error
        finally:
            if not self._tasks:
                await self.aclose()

    async def _negotiate(self, offer_sdp: str) -> str:
        offer_sdp = self._read(offer_sdp, "offer")
        peer, *transceivers = self._new_peer()
        await peer.setRemoteDescription(RTCSessionDescription(offer_sdp, "offer"))
        pictures = self._prepare(peer, *transceivers)
        gather_by(transceivers, _GATHER_S, await self._reach_of(transceivers))
        await peer.setLocalDescription(await peer.createAnswer())
        self._start(pictures)
        sdp: str = peer.localDescription.sdp
        return sdp

    def _read(self, sdp: str, what: str) -> str:
        """Return the usable part of an offer or answer. Raises BadSignalling, and whatever aiortc's parser raises."""
        if not sdp.strip() or len(sdp) > _MAX_SDP_CHARS:
            raise BadSignalling(f"The {what} is empty or too long to be SDP.", _SDP_HINT)
        sdp = self._candidates.only_usable(sdp)
        if len(sdp.splitlines()) > _MAX_SDP_LINES:  # the parser's time per line grows with the number of lines
            raise BadSignalling(f"The {what} has more than {_MAX_SDP_LINES} lines.", _SDP_HINT)
        _check_media(SessionDescription.parse(sdp), what)
        return sdp

    def _new_peer(self) -> tuple[RTCPeerConnection, RTCRtpTransceiver, RTCRtpTransceiver]:
        """Return a new peer with its transceivers for pictures and sound."""
        peer = self._peer = RTCPeerConnection(self._configuration())
        peer.on("connectionstatechange", self._on_state)
        # Preferences only apply to transceivers that exist before the remote description is set.
        video = peer.addTransceiver(self._video, direction="sendonly")
        video.setCodecPreferences(_capabilities("video", self._codecs))
        audio = peer.addTransceiver(self._audio, direction="sendrecv" if self._microphone else "sendonly")
        audio.setCodecPreferences(_capabilities("audio", ("opus",)))
        if self._microphone is not None:
            take_packets(audio.receiver, self._microphone.take)
        return peer, video, audio

    def _prepare(self, peer: RTCPeerConnection, video: RTCRtpTransceiver, audio: RTCRtpTransceiver) -> EncodedPictures:
        """Connect the parts. Call it when the other end's codecs are known, and before anything arrives from there."""
        pictures = self._pictures = self._coding.pictures(negotiated_codec(video))
        on_remb = pictures.limit.on_remb if self._is_alone else _ignore
        observe_feedback(video.sender, pictures.want_key_frame, on_remb)
        repeats = SoundRepeats(self._clock)
        observe_loss(video.sender, repeats.on_report)
        observe_loss(audio.sender, repeats.on_report)
        repeat_packets(audio.sender, repeats.wanted)
        report_due_time(video.sender, self._video.due_ntp)
        report_due_time(audio.sender, self._audio.due_ntp)
        limit_incoming(peer, self._clock)
        refuse_data(peer)
        return pictures

    def _start(self, pictures: EncodedPictures) -> None:
        if self.closed.is_set():
            raise BadSignalling("The connection was closed while it was being made.", "Open a new one.")
        self._tasks = [
            asyncio.create_task(self._reap(), name="webrtc reaper"),
            asyncio.create_task(self._send_pictures(pictures), name="webrtc pictures"),
        ]

    def _configuration(self) -> RTCConfiguration:
        return RTCConfiguration(
            # An empty list, since None would mean a public STUN server chosen by aiortc.
            iceServers=[
                RTCIceServer(urls=list(server.urls), username=server.username, credential=server.credential)
                for server in self._ice_servers
            ],
            # Not MAX_BUNDLE: with it, aiortc 1.16 stops the shared transport if an offer's media are in another order
            # than ours, and forgets an answer's candidates unless all its media have them. With BALANCED, too, whatever
            # both ends bundle shares one transport.
            bundlePolicy=RTCBundlePolicy.BALANCED,
        )

    async def add_candidate(
        self, candidate: str, sdp_mid: str | None = None, sdp_mline_index: int | None = None
    ) -> None:
        """Add a trickled candidate of the viewer (`candidate:...`). An empty one means the end of candidates.

        Candidates that CandidateFilter rejects as useless are ignored.

        Raises BadSignalling.
        """
        if self._peer is None or self.closed.is_set() or not candidate.strip():
            return
        try:
            if not self._candidates.usable(candidate):
                return
            parsed = candidate_from_sdp(candidate.removeprefix("a=").removeprefix("candidate:"))
            parsed.sdpMid, parsed.sdpMLineIndex = sdp_mid, sdp_mline_index
            await self._peer.addIceCandidate(parsed)
        except (ValueError, IndexError, AssertionError) as error:
            logger.info("An ICE candidate cannot be used: %s: %.200r", type(error).__name__, str(error))
            raise BadSignalling("The ICE candidate cannot be used.", "Send it as the browser gave it.") from error

    # -- frames

    def send(self, frame: MediaFrame) -> None:
        """Send the frame's sound now, and its picture when it is encoded. Ignored unless connected."""
        if not self.connected.is_set() or self.closed.is_set():
            return
        sound = self._coding.sound(frame)
        due_ntp = self._due.of(frame.number)
        self._audio_dropped += self._audio.full
        self._audio.put(sound, frame.number * SAMPLES_PER_PICTURE, due_ntp)
        self._frames_sent += 1
        self._bytes_sent += len(sound)
        # If pictures must be dropped, the oldest go. They are not encoded yet, so this viewer's decoder misses none of
        # its references, unless others share the stream and have them encoded.
        dropped = len(self._waiting.push((frame, due_ntp)))
        self._pictures_dropped += dropped
        if dropped and not self._is_alone:
            self.want_key_frame()

    def flush(self) -> None:
        """Drop what waits. A picture that is being encoded still goes out."""
        self._waiting.clear()
        self._audio.clear()
        if self._video.clear():
            self.want_key_frame()

    async def aclose(self) -> None:
        """End the connection and all that belongs to it. Idempotent."""
        await asyncio.shield(self._close_soon())

    def _close_soon(self) -> asyncio.Task[None]:
        # A single task, because the reaper, aiortc's events and any number of callers may ask for the end.
        if self._closer is None:
            self.closed.set()
            self._closer = asyncio.create_task(self._close(), name="webrtc close")
        return self._closer

    async def _close(self) -> None:
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._peer is not None:
            await self._peer.close()
        # This transport is part of cycles with aiortc's objects, which Python's collector may find minutes later.
        if self._microphone is not None:
            self._microphone.close()
        if self._is_alone:
            self._coding.close()

    def stats(self) -> TransportStats:
        return TransportStats(
            frames_sent=self._frames_sent,
            pictures_sent=self._pictures_sent,
            pictures_replayed=self._pictures.encoder.replayed if self._pictures else 0,
            pictures_dropped=self._pictures_dropped,
            audio_dropped=self._audio_dropped,
            bytes_sent=self._bytes_sent,
            key_frames=self._pictures.encoder.key_frames if self._pictures else 0,
            connected=self.connected.is_set() and not self.closed.is_set(),
        )

    async def _send_pictures(self, pictures: EncodedPictures) -> None:
        async for frame, due_ntp in self._waiting:
            data = None
            if not self._video.full:  # a lost encoded picture would leave the decoder without its reference
                try:
                    data = await pictures.encode(frame)
                except (AvatarError, av.FFmpegError) as error:
                    logger.warning("A picture cannot be encoded: %s", error)
            if data is None:
                self._pictures_dropped += 1
                pictures.want_key_frame()
                continue
            if not data:  # the picture before is shown again
                continue
            self._video.put(data, frame.number * _VIDEO_TICKS, due_ntp)
            self._pictures_sent += 1
            self._bytes_sent += len(data)

    def want_key_frame(self) -> None:
        """Make one of the next pictures a key frame, at which a decoder can start."""
        if self._pictures is not None:
            self._pictures.want_key_frame()

    # -- what aiortc reports

    def _on_state(self) -> None:
        state = self._peer.connectionState if self._peer is not None else "closed"
        logger.debug("A WebRTC viewer is %s.", state)
        if state == "connected":
            self.want_key_frame()  # the shared stream may be between key frames
            self.connected.set()
        elif state in ("failed", "closed"):
            self._close_soon()

    async def _reap(self) -> None:
        await self._clock.sleep_until(self._clock.now_s() + CONNECT_TIMEOUT_S)
        if not self.connected.is_set():
            logger.info("A WebRTC viewer did not connect within %.0f s.", CONNECT_TIMEOUT_S)
            self._close_soon()


def _ignore(_estimate_bps: int) -> None:
    """See EncodedPictures.limit."""


def _check_media(found: SessionDescription, what: str) -> None:
    """Refuse what aiortc would accept and then fail on, or answer without sending anything."""
    if not {"audio", "video"} <= {media.kind for media in found.media}:
        raise BadSignalling(f"The {what} has no video and audio to be sent.", "Offer to receive both.")
    if len(found.media) > _MAX_MEDIA:
        raise BadSignalling(f"The {what} has {len(found.media)} media; at most {_MAX_MEDIA} are answered.", _SDP_HINT)
    if not all(media.dtls and media.dtls.fingerprints for media in found.media):
        raise BadSignalling(f"The {what} has no fingerprint to encrypt for.", _SDP_HINT)
    mids = {media.rtp.muxId for media in found.media}
    if not all(mid in mids for group in found.group if group.semantic == "BUNDLE" for mid in group.items):
        raise BadSignalling(f"The {what} bundles media that it does not have.", _SDP_HINT)


async def _reach_of(
    peer: WebRtcTransport,
    reach: Reach,
    take_ports: Callable[[WebRtcTransport, int], Awaitable[bool]] | None,
    transceivers: Sequence[RTCRtpTransceiver],
) -> Reach:
    """Return the reach of a peer; without ports if it may have none."""
    if take_ports is None or await take_ports(peer, len(connections_of(transceivers))):
        return reach
    return replace(reach, ports=range(0))


def _capabilities(kind: str, names: Sequence[str]) -> list[RTCRtpCodecCapability]:
    """Return aiortc's codecs of those names, in that order, and retransmission."""
    codecs = RTCRtpSender.getCapabilities(kind).codecs
    return [codec for name in (*names, "rtx") for codec in codecs if codec.name == name]
