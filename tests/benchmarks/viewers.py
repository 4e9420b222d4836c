"""Viewers without a browser: they speak the session socket's protocol and count what they get, decoding nothing.

They run in a process of their own (`python -m tests.benchmarks.viewers ...`), so that their CPU is not the portal's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

__all__ = ["main"]

HEADER = struct.Struct("<BBHIq")
SPEAKING = 1
PICTURE = 2
LONG_TEXT = (
    "Vivavoce turns a portrait or a short clip into a live talking avatar. You open one page, pick somebody, and type. "
    "The avatar answers in voice and picture, in step, and it can be interrupted at any time. It runs on a bare "
    "computer without a graphics card, and it needs no network. When a direct connection fails, the same session "
    "goes on through its web socket. Everything that is slow waits in a queue, and people who talk always come first. "
)


@dataclass
class Count:
    """What one viewer got while it was counting."""

    pictures: int = 0
    bytes: int = 0
    arrivals_s: list[float] = field(default_factory=list)
    "of audio"

    @property
    def longest_gap_ms(self) -> float:
        gaps = [b - a for a, b in zip(self.arrivals_s, self.arrivals_s[1:], strict=False)]
        return 1000 * max(gaps, default=0.0)


class Viewer:
    """One session over its socket, and over WebRTC if asked."""

    def __init__(self, url: str, transport: str, avatar: str | None) -> None:
        self.count = Count()
        self._url, self._transport, self._avatar = url, transport, avatar
        self._socket: ClientConnection | None = None
        self._peer: Any = None
        self._reading: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[str] | None = None
        self._flowing = asyncio.Event()

    async def open(self) -> None:
        self._socket = await connect(self._url, max_size=None, compression=None)
        await self._send(type="hello", **({"avatar": self._avatar} if self._avatar else {}))
        welcome = json.loads(await self._socket.recv())
        if welcome["type"] != "welcome":
            raise RuntimeError(f"no session: {welcome}")
        self._reading = asyncio.create_task(self._read())
        if self._transport == "websocket":
            await self._send(type="media", use="websocket", reason="benchmark")
        else:
            await self._connect_peer()
        async with asyncio.timeout(20):
            await self._flowing.wait()

    async def say(self, text: str) -> None:
        await self._send(type="say", text=text, mode="echo")

    async def record(self) -> None:
        await self._send(type="record", on=True)

    async def hang_up(self) -> None:
        """After a hello that was refused."""
        if self._socket is not None:
            await self._socket.close()

    async def close(self) -> None:
        if self._socket is not None:
            await self._send(type="bye")
            await self._socket.close()
        if self._reading is not None:
            self._reading.cancel()
        if self._peer is not None:
            await self._peer.close()

    async def _send(self, **message: object) -> None:
        assert self._socket is not None
        await self._socket.send(json.dumps(message))

    async def _read(self) -> None:
        assert self._socket is not None
        async for message in self._socket:
            if isinstance(message, bytes):
                _, flags, _, _, _ = HEADER.unpack_from(message)
                self.got_picture(len(message) if flags & PICTURE else 0)
                self.got_audio()
            elif (told := json.loads(message))["type"] == "answer" and self._answer is not None:
                self._answer.set_result(told["sdp"])
            elif told["type"] == "error":
                print(told, file=sys.stderr)

    def got_picture(self, size: int) -> None:
        self._flowing.set()
        if size:
            self.count.pictures += 1
            self.count.bytes += size

    def got_audio(self) -> None:
        self.count.arrivals_s.append(time.monotonic())

    async def _connect_peer(self) -> None:
        from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for kind in ("video", "audio"):
            self._peer.addTransceiver(kind, direction="recvonly")
        self._peer.on("track", self._count_track)
        await self._peer.setLocalDescription(await self._peer.createOffer())
        self._answer = asyncio.get_running_loop().create_future()
        await self._send(type="offer", sdp=self._peer.localDescription.sdp)
        await self._peer.setRemoteDescription(RTCSessionDescription(await self._answer, "answer"))

    def _count_track(self, track: Any) -> None:
        receiver = next(t.receiver for t in self._peer.getTransceivers() if t.receiver.track is track)
        seen: set[int] = set()

        async def handle(packet: Any, arrival_time_ms: int) -> None:
            # Counted as it arrives and thrown away: decoding six videos here would starve the portal of its cores.
            if track.kind == "audio":
                self.got_audio()
            elif packet.timestamp not in seen:
                seen.add(packet.timestamp)
                self.got_picture(len(packet.payload))

        receiver._handle_rtp_packet = handle


async def watch(
    url: str, transport: str, viewers: int, seconds: float, avatar: str | None, speak: bool, record: bool
) -> dict[str, Any]:
    """Hold `viewers` sessions; tell when counting starts and ends by lines on stdout, so that the caller reads CPU."""
    crowd = [Viewer(url, transport, avatar) for _ in range(viewers)]
    for viewer in crowd:
        await viewer.open()
    await asyncio.sleep(24)  # past the first seconds: loops of a minute encoded, jitter settled
    if record:
        for viewer in crowd:
            await viewer.record()
    if speak:
        for viewer in crowd:
            await viewer.say(LONG_TEXT * 3)
        await asyncio.sleep(3)
    for viewer in crowd:
        viewer.count = Count()
    _tell("counting")
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    took_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    _tell("counted")
    counts = [viewer.count for viewer in crowd]
    sys.stdin.readline()
    for viewer in crowd:
        await viewer.close()
    return {
        "fps": [round(count.pictures / took_s, 2) for count in counts],
        "audio_packets_per_s": [round(len(count.arrivals_s) / took_s, 2) for count in counts],
        "kbit_per_s": [round(count.bytes * 8 / took_s / 1000) for count in counts],
        "longest_gap_ms": max(count.longest_gap_ms for count in counts),
        "took_s": took_s,
        "own_core_percent": 100 * cpu_s / took_s,
    }


async def join_and_leave(url: str, transport: str, seconds: float, avatar: str | None) -> dict[str, Any]:
    """One viewer listens to speech while others come and go."""
    listener = Viewer(url, transport, avatar)
    await listener.open()
    await asyncio.sleep(6)
    await listener.say(LONG_TEXT * 2)
    await asyncio.sleep(2)
    listener.count = Count()
    until_s = time.monotonic() + seconds
    visits = 0
    while time.monotonic() < until_s:
        visitor = Viewer(url, transport, avatar)
        await visitor.open()
        await asyncio.sleep(1.0)
        await visitor.close()
        await asyncio.sleep(0.5)
        visits += 1
    count = listener.count
    await listener.close()
    return {"longest_gap_ms": count.longest_gap_ms, "visits": visits}


def _tell(line: str) -> None:
    print(line, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["watch", "visits"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--transport", choices=["webrtc", "websocket"], required=True)
    parser.add_argument("--viewers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--avatar")
    parser.add_argument("--speak", action="store_true")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args(argv)
    if given.what == "watch":
        crowd = (given.transport, given.viewers, given.seconds, given.avatar, given.speak, given.record)
        work = watch(given.url, *crowd)
    else:
        work = join_and_leave(given.url, given.transport, given.seconds, given.avatar)
    print(json.dumps(asyncio.run(work)))


if __name__ == "__main__":
    main()
