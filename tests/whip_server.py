"""A server that accepts streams over WHIP: real HTTP, and a second aiortc that decodes what it receives.

`python -m tests.whip_server PORT` runs one in a process of its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket, RtpPacket
from av import AudioFrame, VideoFrame

__all__ = ["TOKEN", "WhipReceiver", "whip_process", "whip_server"]

TOKEN: Final = "s3cret:word"
LINKS: Final = '<turn:127.0.0.1:9?transport=udp>; rel="ice-server"; username="u"; credential="c"'
CLOCK_HZ: Final = {"audio": 48_000, "video": 90_000}
NTP_UNITS_PER_S: Final = 2**32


@dataclass
class WhipReceiver:
    """What the server has received."""

    asked: list[str] = field(default_factory=list)
    "method and path of each request"
    pictures: list[tuple[int, float]] = field(default_factory=list)
    "(RTP time since the first one, brightness) of each picture"
    sound: list[tuple[int, float]] = field(default_factory=list)
    "(RTP time since the first one, loudness as RMS, 1 is full scale) of each piece of sound"
    begun: dict[str, int] = field(default_factory=dict)
    "kind -> RTP time of the first packet"
    reports: dict[str, tuple[int, int]] = field(default_factory=dict)
    "kind -> NTP time and RTP time of the last sender report"
    peers: list[RTCPeerConnection] = field(default_factory=list)
    _reading: list[asyncio.Task[None]] = field(default_factory=list)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.route("OPTIONS", "/live", self._tell_links),
            web.post("/live", self._take),
            web.post("/moved", self._redirect),
            web.post("/away", self._redirect),
            web.delete("/streams/{number}", self._end),
        ]

    def times_s(self, kind: str, moments: list[int]) -> list[float]:
        """Return when these RTP times were due at the sender, according to its last report."""
        ntp, rtp = self.reports[kind]
        since = self.begun[kind] - rtp
        return [ntp / NTP_UNITS_PER_S + ((one + since + 2**31) % 2**32 - 2**31) / CLOCK_HZ[kind] for one in moments]

    async def aclose(self) -> None:
        for peer in self.peers:
            await peer.close()
        await asyncio.gather(*self._reading, return_exceptions=True)

    async def _tell_links(self, request: web.Request) -> web.Response:
        self.asked.append(f"OPTIONS {request.path}")
        return web.Response(status=204, headers={"Link": LINKS})

    async def _redirect(self, request: web.Request) -> web.Response:
        to = "/live" if request.path == "/moved" else "http://192.0.2.1/live"
        return web.Response(status=307, headers={"Location": to})

    async def _take(self, request: web.Request) -> web.Response:
        self.asked.append(f"POST {request.path}")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peers.append(peer)
        peer.on("track", self._follow)
        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        for transceiver in peer.getTransceivers():
            self._note_times(transceiver.receiver, transceiver.kind)
        await peer.setLocalDescription(await peer.createAnswer())
        headers = {"Location": f"streams/{len(self.peers)}"}
        return web.Response(status=201, text=peer.localDescription.sdp, headers=headers, content_type="application/sdp")

    async def _end(self, request: web.Request) -> web.Response:
        self.asked.append(f"DELETE {request.path}")
        await self.peers[int(request.match_info["number"]) - 1].close()
        return web.Response(status=200)

    def _follow(self, track: MediaStreamTrack) -> None:
        self._reading.append(asyncio.create_task(self._read(track)))

    async def _read(self, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert frame.pts is not None
                if isinstance(frame, VideoFrame):
                    self.pictures.append((frame.pts, float(frame.to_ndarray(format="gray").mean())))
                elif isinstance(frame, AudioFrame):
                    samples = frame.to_ndarray() / 2**15
                    self.sound.append((frame.pts, float(np.sqrt(np.mean(samples**2)))))

    def _note_times(self, receiver: Any, kind: str) -> None:
        handle, handle_rtp = receiver._handle_rtcp_packet, receiver._handle_rtp_packet

        async def begun(packet: RtpPacket, arrival_time_ms: int) -> None:
            self.begun.setdefault(kind, packet.timestamp)
            await handle_rtp(packet, arrival_time_ms)

        async def noted(packet: AnyRtcpPacket) -> None:
            if isinstance(packet, RtcpSrPacket):
                self.reports[kind] = (packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp)
            await handle(packet)

        receiver._handle_rtcp_packet, receiver._handle_rtp_packet = noted, begun


@asynccontextmanager
async def whip_server(port: int) -> AsyncIterator[WhipReceiver]:
    """Run a server on loopback in this process."""
    receiver = WhipReceiver()
    app = web.Application()
    app.add_routes(receiver.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield receiver
    finally:
        await receiver.aclose()
        await runner.cleanup()


@contextmanager
def whip_process(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a process that is killed at the end, so it closes nothing in order."""
    process = subprocess.Popen([sys.executable, "-m", "tests.whip_server", str(port)], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _serve(port: int) -> None:
    async with whip_server(port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
