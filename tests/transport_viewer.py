"""Helpers for tests of transports: a viewer by plain aiortc that records RTP packets, and an executor with a gate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sized
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import depayload
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket, RtpPacket
from av import AudioFrame

from avatars.bundle import AvatarBundle
from pipeline.clock import ManualClock
from pipeline.transports.loops import LoopCache
from pipeline.transports.webrtc import WebRtcTransport
from pipeline.types import SAMPLES_PER_PICTURE, LoopPosition, MediaFrame

TICKS = {"audio": 1920, "video": 3600}
"""Ticks of the RTP clock per picture."""


class GatedExecutor(Executor):
    """Runs submitted calls at once while its gate is open, and holds them back, in order, while it is closed."""

    def __init__(self) -> None:
        self._held: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._open = True

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def held(self) -> int:
        return len(self._held)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._held.append((future, lambda: fn(*args, **kwargs)))
        if self._open:
            self._run_held()
        return future

    def close_gate(self) -> None:
        self._open = False

    def open_gate(self) -> None:
        self._open = True
        self._run_held()

    def _run_held(self) -> None:
        held, self._held = self._held, []
        for future, call in held:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001 - an executor hands on whatever the call raised
                future.set_exception(error)


class Tone(AudioStreamTrack):
    """A tone of 440 Hz like a microphone's sound: in real time, 20 ms at a time."""

    async def recv(self) -> AudioFrame:
        frame = await super().recv()
        assert isinstance(frame, AudioFrame) and frame.pts is not None
        times = (frame.pts + np.arange(frame.samples)) / frame.sample_rate
        frame.planes[0].update((10_000 * np.sin(2 * np.pi * 440 * times)).astype("<i2").tobytes())
        return frame


class Viewer:
    """A receiving peer connection. speaks: it also sends a tone.

    `sound` and `pictures` map RTP timestamps to complete payloads, in order of arrival. `reports` are sender reports as
    (kind, NTP time, RTP timestamp).
    """

    def __init__(
        self,
        codecs: tuple[str, ...] = ("VP8", "H264"),
        kinds: tuple[str, ...] = ("audio", "video"),
        *,
        speaks: bool = False,
    ) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.sound: dict[int, bytes] = {}
        self.pictures: dict[int, bytes] = {}
        self.reports: list[tuple[str, int, int]] = []
        self.arrived = asyncio.Event()
        self._codecs = codecs
        self._kinds = kinds
        self._speaks = speaks

    async def connect(self, transport: WebRtcTransport) -> None:
        answer = await transport.answer(await self.offer())
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(30):
            await transport.connected.wait()

    async def offer(self) -> str:
        for kind in self._kinds:
            if kind == "application":
                self.peer.createDataChannel("events")
                continue
            speaks = self._speaks and kind == "audio"
            transceiver = self.peer.addTransceiver(Tone() if speaks else kind, "sendrecv" if speaks else "recvonly")
            self._watch(transceiver.receiver, kind)
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return _keep_codecs(self.peer.localDescription.sdp, self._codecs)

    async def answer(self, offer_sdp: str) -> str:
        """Return the answer to a sender's offer."""
        await self.peer.setRemoteDescription(RTCSessionDescription(offer_sdp, "offer"))
        for transceiver in self.peer.getTransceivers():
            self._watch(transceiver.receiver, transceiver.kind)
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        return str(self.peer.localDescription.sdp)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.arrived.clear()
                await self.arrived.wait()

    async def aclose(self) -> None:
        await self.peer.close()

    def pts(self, kind: str) -> list[int]:
        """Return when each packet's frame was due, in pictures since the first one."""
        times = list(self.sound if kind == "audio" else self.pictures)
        return [((time - times[0]) & 0xFFFFFFFF) // TICKS[kind] for time in times]

    def _watch(self, receiver: Any, kind: str) -> None:
        payloads = self.sound if kind == "audio" else self.pictures
        parts: dict[int, bytes] = {}
        handle_rtp, handle_rtcp = receiver._handle_rtp_packet, receiver._handle_rtcp_packet

        async def rtp(packet: RtpPacket, arrival_time_ms: int) -> None:
            codec = receiver._RTCRtpReceiver__codecs[packet.payload_type]
            if codec.name.lower() != "rtx" and packet.payload:
                parts[packet.timestamp] = parts.get(packet.timestamp, b"") + depayload(codec, packet.payload)
                if packet.marker or kind == "audio":
                    payloads[packet.timestamp] = parts.pop(packet.timestamp)
                    self.arrived.set()
            await handle_rtp(packet, arrival_time_ms)

        async def rtcp(packet: AnyRtcpPacket) -> None:
            if isinstance(packet, RtcpSrPacket):
                self.reports.append((kind, packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp))
                self.arrived.set()
            await handle_rtcp(packet)

        receiver._handle_rtp_packet = rtp
        receiver._handle_rtcp_packet = rtcp


def _keep_codecs(sdp: str, codecs: tuple[str, ...]) -> str:
    """Rename the video codecs that the viewer is not supposed to know."""
    for name in {"VP8", "H264"} - set(codecs):
        sdp = sdp.replace(f" {name}/90000", " X-NONE/90000")
    return sdp


def speaking_frame(pts: int, bundle: AvatarBundle, loudness: float = 0.3) -> MediaFrame:
    """Return a frame with its own pixels and a tone."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(SAMPLES_PER_PICTURE) / 48_000).astype(np.float32) * loudness
    index = pts % len(bundle.loop)
    picture = bundle.frame(bundle.frame_index(index))
    return MediaFrame(picture, tone, pts, speaking=True, turn=1, loop_index=index)


def idle_frame(pts: int, bundle: AvatarBundle) -> MediaFrame:
    """Return a frame that is a place in the loop, with silence."""
    index = pts % len(bundle.loop)
    silence = np.zeros(SAMPLES_PER_PICTURE, np.float32)
    return MediaFrame(LoopPosition(bundle, index), silence, pts, loop_index=index)


def has_grown(what: Sized, before: int) -> bool:
    return len(what) > before


class Pair:
    """A transport connected to a viewer."""

    def __init__(self) -> None:
        self.executor = GatedExecutor()
        self.loops = LoopCache(GatedExecutor())
        self.clock = ManualClock()
        self.transport = WebRtcTransport(self.loops, self.executor, clock=self.clock)
        self.viewer = Viewer()

    async def send(self, *frames: MediaFrame) -> None:
        """Send each frame, and wait until its sound has arrived, and its picture unless that is held back."""
        for frame in frames:
            sound, pictures = len(self.viewer.sound), len(self.viewer.pictures)
            self.transport.send(frame)
            await self.viewer.until(partial(has_grown, self.viewer.sound, sound))
            if self.executor.is_open:
                await self.viewer.until(partial(has_grown, self.viewer.pictures, pictures))

    async def aclose(self) -> None:
        await self.transport.aclose()
        await self.viewer.aclose()
        await self.loops.aclose()


async def tasks_left() -> set[asyncio.Task[None]]:
    """Return tasks, other than the test's, that do not end by themselves. aiortc's ICE check needs 20 ms to end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return (await asyncio.wait(others, timeout=30))[1] if others else set()


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.exists() else 0
