"""WebRtcTransport with a plain aiortc viewer on loopback: what it sends, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import av
import numpy as np
import pytest
from aiortc import RTCRtpTransceiver
from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket
from transport_viewer import (
    TICKS,
    GatedExecutor,
    Pair,
    Viewer,
    has_grown,
    idle_frame,
    open_files,
    speaking_frame,
    tasks_left,
)

from avatars.bundle import AvatarBundle
from pipeline.transports import frame_coding
from pipeline.transports.encoders import H264Encoder, OpusEncoder
from pipeline.transports.loops import KEY_PICTURES, LoopCache, LoopCoding
from pipeline.transports.webrtc import CONNECT_TIMEOUT_S, WebRtcTransport
from pipeline.types import FPS, LISTEN_RATE_HZ, SAMPLES_PER_PICTURE, FloatArray

MakeBundle = Callable[..., AvatarBundle]


class ClosingEncoder(H264Encoder):
    """Counts how often it was closed while nothing was being encoded."""

    closed = 0

    def close(self) -> None:
        super().close()
        self.closed += 1


def decode_pictures(payloads: dict[int, bytes], decoder: str) -> list[np.ndarray]:
    context = av.CodecContext.create(decoder, "r")
    assert isinstance(context, av.VideoCodecContext)
    frames = [frame for data in payloads.values() for frame in context.decode(av.Packet(data))] + context.decode(None)
    return [frame.to_ndarray(format="rgb24") for frame in frames]


def decode_sound(payloads: dict[int, bytes]) -> np.ndarray:
    context = av.CodecContext.create("libopus", "r")
    assert isinstance(context, av.AudioCodecContext)
    context.format, context.layout, context.sample_rate = av.AudioFormat("s16"), av.AudioLayout("mono"), 48_000
    return np.concatenate(
        [frame.to_ndarray().ravel() for data in payloads.values() for frame in context.decode(av.Packet(data))]
    )


def transceivers_of(transport: WebRtcTransport) -> list[RTCRtpTransceiver]:
    assert transport._peer is not None
    return transport._peer.getTransceivers()


def reported_starts(viewer: Viewer) -> dict[str, list[int]]:
    """By kind: when the first frame was due (NTP time), as each of the sender's reports has it."""
    starts: dict[str, list[int]] = {"audio": [], "video": []}
    for kind, ntp, time in viewer.reports:
        arrived = viewer.sound if kind == "audio" else viewer.pictures
        if ntp and arrived:
            frames = ((time - next(iter(arrived))) & 0xFFFFFFFF) // TICKS[kind]
            starts[kind].append(ntp - frames * 2**32 // FPS)
    return starts


class TestMedia:
    @pytest.mark.parametrize(
        ("offered", "decoder"), [(("VP8", "H264"), "h264"), (("VP8",), "libvpx"), (("H264",), "h264")]
    )
    async def test_frames_arrive_in_step(
        self, pair: Pair, make_bundle: MakeBundle, offered: tuple[str, ...], decoder: str
    ) -> None:
        """H264 is preferred whatever the offer's order, VP8 serves where it is all there is; both RTP clocks count
        the same pictures.
        """
        pair.viewer = Viewer(offered)
        await pair.viewer.connect(pair.transport)
        bundle = make_bundle()
        await pair.send(*[idle_frame(pts, bundle) for pts in range(3)])
        await pair.send(*[speaking_frame(pts, bundle) for pts in range(3, 10)])
        assert pair.viewer.pts("audio") == pair.viewer.pts("video") == list(range(10))
        shown = decode_pictures(pair.viewer.pictures, decoder)
        assert len(shown) == 10
        assert np.abs(bundle.frame(bundle.frame_index(9)).astype(int) - shown[9]).mean() < 8
        assert len(decode_sound(pair.viewer.sound)) == 10 * SAMPLES_PER_PICTURE

    async def test_sound_that_is_lost_comes_with_the_next_one(self, pair: Pair, make_bundle: MakeBundle) -> None:
        """Once the viewer's reports say that packets are lost, and for half a minute; before that each is sent once."""
        await pair.viewer.connect(pair.transport)
        bundle = make_bundle()
        (sound,) = [one.sender for one in transceivers_of(pair.transport) if one.kind == "audio"]
        (pictures,) = [one.sender for one in transceivers_of(pair.transport) if one.kind == "video"]
        send, sent = sound.transport._send_rtp, Counter[int]()

        async def lossy(data: bytes) -> None:
            if len(data) >= 12 and int.from_bytes(data[8:12], "big") == sound._ssrc:  # RTCP has another word there
                number = int.from_bytes(data[2:4], "big")
                sent[number] += 1
                if sent[number] == 1 and number % 2:
                    return
            await send(data)

        await pair.send(*[speaking_frame(number, bundle) for number in range(4)])
        sound.transport._send_rtp = lossy  # type: ignore[method-assign]
        lost = RtcpReceiverInfo(pictures._ssrc, 13, 0, 0, 0, 0, 0)  # in 256ths
        await pictures._handle_rtcp_packet(RtcpRrPacket(ssrc=1, reports=[lost]))
        for number in range(4, 20):
            pair.transport.send(speaking_frame(number, bundle))
        await pair.viewer.until(lambda: len(pair.viewer.sound) >= 19)
        assert sorted(pair.viewer.pts("audio"))[:19] == list(range(19)), "the last one is repeated with the next"
        assert set(list(sent.values())[1:-1]) == {2}, "all but the one before and the last one"
        await pair.clock.advance(60)
        sent.clear()
        sound.transport._send_rtp = send  # type: ignore[method-assign]
        counted = sound._retransmit
        again: list[int] = []

        async def counting(sequence_number: int) -> None:
            again.append(sequence_number)
            await counted(sequence_number)

        sound._retransmit = counting  # type: ignore[method-assign]
        await pair.send(*[speaking_frame(number, bundle) for number in range(20, 24)])
        assert again == []

    async def test_a_flash_and_its_beep_stay_together(self, pair: Pair, make_bundle: MakeBundle) -> None:
        """On the RTP clocks, the first white picture and the first loud sample are less than 40 ms apart."""
        await pair.viewer.connect(pair.transport)
        bundle = make_bundle()
        silence = np.zeros(SAMPLES_PER_PICTURE, np.float32)
        for pts in range(40):
            beep = 20 <= pts < 24
            frame = speaking_frame(pts, bundle, loudness=0.5 * beep)
            white = np.full_like(frame.picture, 255 * beep)
            await pair.send(replace(frame, picture=white, audio=frame.audio if beep else silence))
        levels = [picture.mean() for picture in decode_pictures(pair.viewer.pictures, "h264")]
        flash_pts = next(index for index, level in enumerate(levels) if level > 128)
        flash_s = pair.viewer.pts("video")[flash_pts] * TICKS["video"] / 90_000
        beep_s = np.argmax(np.abs(decode_sound(pair.viewer.sound)) > 3000) / 48_000
        assert abs(beep_s - flash_s) < 0.040

    async def test_reports_of_sound_and_pictures_follow_one_clock(self, pair: Pair, make_bundle: MakeBundle) -> None:
        """Frame 25 is reported as due a second after frame 0, however late it was handed over, and its picture with its
        sound, however long that took to encode.
        """
        await pair.viewer.connect(pair.transport)
        bundle = make_bundle()
        while any(len(times) < 2 for times in reported_starts(pair.viewer).values()):
            sent = len(pair.viewer.pictures)
            pair.executor.close_gate()
            await pair.send(speaking_frame(25 * sent, bundle))  # at no certain moment
            pair.executor.open_gate()  # the picture leaves long after its sound
            await pair.viewer.until(partial(has_grown, pair.viewer.pictures, sent))
        audio, video = reported_starts(pair.viewer).values()
        assert len({*audio, *video}) == 1

    async def test_sound_does_not_wait_for_pictures(self, pair: Pair, make_bundle: MakeBundle) -> None:
        """With the encoder stuck for a second, all sound arrives, and the newest pictures follow."""
        await pair.viewer.connect(pair.transport)
        bundle = make_bundle()
        pair.executor.close_gate()
        await pair.send(*[speaking_frame(pts, bundle) for pts in range(25)])
        assert pair.viewer.pictures == {}
        pair.executor.open_gate()
        await pair.viewer.until(lambda: len(pair.viewer.pictures) == 6)
        first_sound, first_picture = next(iter(pair.viewer.sound)), next(iter(pair.viewer.pictures))
        assert pair.viewer.pts("video") == [0, 20, 21, 22, 23, 24]
        assert len(decode_pictures(pair.viewer.pictures, "h264")) == 6
        assert pair.transport.stats().pictures_dropped == 19
        assert first_sound != first_picture  # RTP clocks start at random

    async def test_flush_forgets_pictures_that_wait(self, pair: Pair, make_bundle: MakeBundle) -> None:
        """After an interrupt only the picture being encoded still comes."""
        await pair.viewer.connect(pair.transport)
        bundle = make_bundle()
        pair.executor.close_gate()
        await pair.send(*[speaking_frame(pts, bundle) for pts in range(4)])
        pair.transport.flush()
        pair.executor.open_gate()
        await pair.send(speaking_frame(4, bundle))
        await pair.viewer.until(lambda: pair.viewer.pts("video") == [0, 4])
        assert len(decode_pictures(pair.viewer.pictures, "h264")) == 2


class TestIdleLoop:
    async def prepared(self, pair: Pair, make_bundle: MakeBundle) -> AvatarBundle:
        """A connected pair and an avatar of 58 pictures with its loop encoded."""
        await pair.viewer.connect(pair.transport)
        bundle = make_bundle(frames=30)
        await pair.loops.wait(bundle, LoopCoding.of("H264"))
        return bundle

    async def test_the_loop_is_entered_at_its_next_key_and_then_costs_no_encoding(
        self, pair: Pair, make_bundle: MakeBundle
    ) -> None:
        """From anywhere in the loop: live up to the key frame, replayed from there on, also round its end."""
        bundle = await self.prepared(pair, make_bundle)
        await pair.send(*[idle_frame(pts, bundle) for pts in range(20, KEY_PICTURES)])
        assert pair.transport.stats().pictures_replayed == 0
        pair.executor.close_gate()  # whoever needs the encoder now would wait for ever
        for pts in range(KEY_PICTURES, KEY_PICTURES + 60):
            pair.transport.send(idle_frame(pts, bundle))
            await pair.viewer.until(lambda count=pts - 19: len(pair.viewer.pictures) == count)
        assert pair.transport.stats().pictures_replayed == 60
        assert len(decode_pictures(pair.viewer.pictures, "h264")) == 65

    async def test_speech_starts_with_a_key_frame_and_ends_in_the_loop(
        self, pair: Pair, make_bundle: MakeBundle
    ) -> None:
        """Every change between loop and live encoder decodes without a break."""
        bundle = await self.prepared(pair, make_bundle)
        frames = [idle_frame(pts, bundle) for pts in range(5)]
        frames += [speaking_frame(pts, bundle) for pts in range(5, 12)]
        frames += [idle_frame(pts, bundle) for pts in range(12, 30)]
        await pair.send(*frames)
        stats = pair.transport.stats()
        assert stats.pictures_replayed == 5 + (30 - KEY_PICTURES)
        assert stats.key_frames == 3  # the loop's first, the first spoken, the loop's next
        shown = decode_pictures(pair.viewer.pictures, "h264")
        assert len(shown) == 30
        for pts, picture in enumerate(shown):
            assert np.abs(bundle.frame(bundle.frame_index(pts)).astype(int) - picture).mean() < 8

    async def test_a_viewer_who_lost_a_picture_gets_a_key_frame_at_once(
        self, pair: Pair, make_bundle: MakeBundle
    ) -> None:
        """PLI in the middle of the loop is answered by the live encoder, not at the loop's next key."""
        bundle = await self.prepared(pair, make_bundle)
        await pair.send(*[idle_frame(pts, bundle) for pts in range(4)])
        receiver = next(r for r in pair.viewer.peer.getReceivers() if r.track.kind == "video")
        keys = pair.transport.stats().key_frames
        await receiver._send_rtcp_pli(receiver.getSynchronizationSources()[0].source)
        pts = 4
        while pair.transport.stats().key_frames == keys:
            assert pts < KEY_PICTURES
            await pair.send(idle_frame(pts, bundle))
            pts += 1
        rest = dict(list(pair.viewer.pictures.items())[pts - 1 :])
        assert len(decode_pictures(rest, "h264")) == 1
        await pair.send(*[idle_frame(pts, bundle) for pts in range(pts, 30)])
        assert len(decode_pictures(dict(list(pair.viewer.pictures.items())[pts - 1 :]), "h264")) == 31 - pts

    async def test_another_avatar_in_mid_session_decodes(self, pair: Pair, make_bundle: MakeBundle) -> None:
        """A swap to an avatar of another size starts with a key frame of that size."""
        bundle = await self.prepared(pair, make_bundle)
        other = make_bundle("other", width=64, height=64)
        await pair.send(*[idle_frame(pts, bundle) for pts in range(3)])
        await pair.send(*[idle_frame(pts, other) for pts in range(3, 6)])
        shapes = [picture.shape for picture in decode_pictures(pair.viewer.pictures, "h264")]
        assert shapes == [(128, 96, 3)] * 3 + [(64, 64, 3)] * 3


class TestEnd:
    async def test_a_viewer_who_never_connects_is_reaped(self, pair: Pair) -> None:
        """Not before the time, not after; nothing is left."""
        await pair.transport.answer(await pair.viewer.offer())
        await pair.clock.advance(CONNECT_TIMEOUT_S - 0.1)
        assert not pair.transport.closed.is_set()
        await pair.clock.advance(0.2)
        assert pair.transport.closed.is_set()
        await pair.aclose()
        assert not await tasks_left()

    async def test_a_connected_viewer_is_not_reaped(self, pair: Pair) -> None:
        """Time passes by those who watch."""
        await pair.viewer.connect(pair.transport)
        await pair.clock.advance(10 * CONNECT_TIMEOUT_S)
        assert not pair.transport.closed.is_set()

    async def test_a_viewer_who_leaves_closes_the_transport(self, pair: Pair, make_bundle: MakeBundle) -> None:
        """`closed` is set soon, later frames are ignored, tasks and sockets are gone."""
        files = open_files()
        await pair.viewer.connect(pair.transport)
        bundle = make_bundle()
        await pair.send(idle_frame(0, bundle))
        await pair.viewer.aclose()
        async with asyncio.timeout(30):
            await pair.transport.closed.wait()
        pair.transport.send(idle_frame(1, bundle))
        await pair.aclose()
        assert pair.transport.stats().frames_sent == 1
        assert not pair.transport.stats().connected
        assert not await tasks_left()
        assert open_files() <= files + 1  # the bundle's own map

    async def test_closing_while_a_picture_is_being_encoded_leaves_no_task(
        self, pair: Pair, make_bundle: MakeBundle
    ) -> None:
        """aclose() does not wait for the encoder, and may be called by several at once."""
        await pair.viewer.connect(pair.transport)
        pair.executor.close_gate()
        await pair.send(speaking_frame(0, make_bundle()))
        await asyncio.gather(pair.transport.aclose(), pair.transport.aclose())
        await pair.transport.aclose()
        pair.executor.open_gate()
        await pair.aclose()
        assert not await tasks_left()

    @pytest.mark.parametrize("stuck", [False, True], ids=["at-rest", "while-encoding"])
    async def test_what_encoders_hold_is_given_back_at_the_end(
        self, pair: Pair, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, stuck: bool
    ) -> None:
        """Without Python's collector, which may come minutes later: their memory and threads are not its to know of."""
        encoders: list[ClosingEncoder] = []
        sounds: list[weakref.ref[OpusEncoder]] = []

        def video(codec: str, bitrate_bps: int | None) -> ClosingEncoder:
            encoders.append(ClosingEncoder(bitrate_bps))
            return encoders[-1]

        class Sound(OpusEncoder):
            def __init__(self) -> None:
                super().__init__()
                sounds.append(weakref.ref(self))

        monkeypatch.setattr(frame_coding, "video_encoder", video)
        monkeypatch.setattr(frame_coding, "OpusEncoder", Sound)
        gc.disable()
        try:
            pair.transport = WebRtcTransport(pair.loops, pair.executor, clock=pair.clock)
            await pair.viewer.connect(pair.transport)
            if stuck:
                pair.executor.close_gate()
            await pair.send(speaking_frame(0, make_bundle()))
            await pair.transport.aclose()
            pair.executor.open_gate()
            assert [encoder.closed for encoder in encoders] == [1]
            assert [sound() for sound in sounds] == [None]
        finally:
            gc.enable()

    async def test_frames_before_the_connection_cost_nothing(self, pair: Pair, make_bundle: MakeBundle) -> None:
        """They are neither encoded nor kept; the first frame after it starts both tracks together."""
        bundle = make_bundle()
        for pts in range(100):
            pair.transport.send(speaking_frame(pts, bundle))
        await pair.viewer.connect(pair.transport)
        await pair.send(speaking_frame(100, bundle))
        assert pair.transport.stats().frames_sent == 1
        assert pair.viewer.pts("audio") == pair.viewer.pts("video") == [0]


class TestMicrophone:
    async def test_a_viewer_who_sends_sound_is_heard(self) -> None:
        """An offer that sends and receives sound is answered alike, and the viewer's tone comes in at 16 kHz."""
        heard: list[FloatArray] = []
        loops = LoopCache(GatedExecutor())
        transport = WebRtcTransport(loops, GatedExecutor(), hear=heard.append)
        viewer = Viewer(speaks=True)
        await viewer.connect(transport)
        async with asyncio.timeout(30):
            while sum(map(len, heard)) < LISTEN_RATE_HZ // 2:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.01)
        assert viewer.peer.getTransceivers()[0].currentDirection == "sendrecv"
        assert np.abs(np.concatenate(heard)[2000:]).max() > 0.1
        await transport.aclose()
        await viewer.aclose()
        await loops.aclose()

    async def test_a_viewer_who_only_receives_is_answered_as_before(self) -> None:
        """A microphone is no duty: older pages offer to receive only."""
        loops = LoopCache(GatedExecutor())
        transport = WebRtcTransport(loops, GatedExecutor(), hear=lambda _samples: None)
        viewer = Viewer()
        await viewer.connect(transport)
        assert {one.currentDirection for one in viewer.peer.getTransceivers()} == {"recvonly"}
        await transport.aclose()
        await viewer.aclose()
        await loops.aclose()
