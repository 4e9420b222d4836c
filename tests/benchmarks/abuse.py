"""What one bad client does to others and to memory: floods, sockets by the thousand, a viewer who stops reading.

`python -m tests.benchmarks.abuse flood --url ... --kind say` floods in a process of its own, so that its CPU is not the
portal's nor a listener's. It speaks raw frames: a client's library would be slower than the portal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import sys
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from portal.commands.portal_process import PortalProcess
from tests.benchmarks.viewers import LONG_TEXT, Count, Viewer

__all__ = [
    "FLOODS",
    "closed_sessions_mb",
    "gap_beside_ms",
    "gap_under_flood_ms",
    "main",
    "many_sockets_mb",
    "place_free_after_s",
]

TEXT, BINARY, PING = 1, 2, 9
FLOOD_S = 12.0
OFFER = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"


def frame(opcode: int, data: bytes) -> bytes:
    """One masked frame; the mask is 0, so that nothing has to be computed."""
    if len(data) < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | len(data))
    elif len(data) < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(data))
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, len(data))
    return head + bytes(4) + data


def said(**message: object) -> bytes:
    return frame(TEXT, json.dumps(message).encode())


FLOODS: dict[str, list[bytes]] = {
    "say": [said(type="say", text="Say something long, please, and then some more.")],
    "say and interrupt": [said(type="say", text="One two three."), said(type="interrupt")],
    "interrupt": [said(type="interrupt")],
    "media": [
        said(type="media", use="websocket", reason="x" * 500),
        said(type="media", use="webrtc", reason="y" * 500),
    ],
    "ping": [said(type="ping", t=1)],
    "avatar": [said(type="avatar", id="mira"), said(type="avatar", id="nobody")],
    "offer": [said(type="offer", sdp=OFFER)],
    "candidate": [said(type="candidate", candidate="candidate:1 1 udp 2 192.0.2.7 9 typ host")],
    "malformed": [frame(TEXT, b"{")],
    "large": [frame(TEXT, b'"' + b"x" * 900_000 + b'"')],
    "binary": [frame(BINARY, bytes(1000))],
    "empty": [frame(TEXT, b"")],
    "frames": [frame(PING, b"")],
    "hello and bye": [said(type="bye"), said(type="hello")],
}
FLOODS["mixed"] = [one for kind, frames in FLOODS.items() if kind not in ("large", "hello and bye") for one in frames]
"all that one session may say, in turns"


async def shake_hands(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A raw WebSocket connection."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    while (await reader.readline()).strip():
        pass
    return reader, writer


async def flood(url: str, kind: str, seconds: float) -> None:
    """Send without pause, and read what comes; when it is closed, connect again."""
    block = b"".join(FLOODS[kind])
    block *= max(1, 65536 // len(block))
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        try:
            reader, writer = await shake_hands(url)
            writer.write(said(type="hello"))
            reading = asyncio.create_task(_discard(reader))
            while not reading.done() and time.monotonic() < until_s:
                writer.write(block)
                sending = asyncio.ensure_future(writer.drain())
                await asyncio.wait((sending, reading), timeout=1, return_when=asyncio.FIRST_COMPLETED)
                sending.cancel()
                await asyncio.sleep(0)
            reading.cancel()
            writer.transport.abort()
        except ConnectionError:
            pass
        await asyncio.sleep(0.01)


async def _discard(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(65536):
            pass
    except ConnectionError:
        pass


async def gap_under_flood_ms(portal: PortalProcess, kind: str | None, seconds: float = FLOOD_S) -> float:
    """Longest gap in the sound of a viewer who listens over the WebSocket while another socket floods.

    None floods with nothing: what the machine itself does at that time.
    """
    flooding = ["flood", "--url", portal.socket_url, "--kind", str(kind), "--seconds", str(seconds)]
    return await gap_beside_ms(portal, None if kind is None else ["tests.benchmarks.abuse", *flooding], seconds)


async def gap_beside_ms(portal: PortalProcess, module: Sequence[str] | None, seconds: float = FLOOD_S) -> float:
    """The same while `python -m MODULE ARGUMENTS` runs; without one, for so many seconds."""
    listener = Viewer(portal.socket_url, "websocket", None)
    await listener.open()
    await asyncio.sleep(1)
    await listener.say(LONG_TEXT * 2)
    await asyncio.sleep(2)
    listener.count = Count()
    if module is None:
        await asyncio.sleep(seconds)
    else:
        beside = await asyncio.create_subprocess_exec(sys.executable, "-m", *module)
        await beside.wait()
    count = listener.count
    await listener.close()
    return count.longest_gap_ms


async def many_sockets_mb(portal: PortalProcess, sockets: int = 2000) -> float:
    """How much the portal has grown while that many sockets are open, or as many of them as it keeps."""
    before = portal.resident_mb()
    opened = []
    for _ in range(sockets):
        try:
            opened.append(await shake_hands(portal.socket_url))
        except (ConnectionError, TimeoutError):
            break
    await asyncio.sleep(1)
    grown = portal.resident_mb() - before
    for _reader, writer in opened:
        writer.transport.abort()
    return grown


async def place_free_after_s(portal: PortalProcess, limit_s: float = 90.0) -> float:
    """How long the only place of the portal is held by a viewer who stops reading; `limit_s` if it still is then."""
    _reader, writer = await shake_hands(portal.socket_url)
    _reader._transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(said(type="hello") + said(type="media", use="websocket") + said(type="say", text=LONG_TEXT))
    await asyncio.sleep(2)
    began_s = time.monotonic()
    waiting = Viewer(portal.socket_url, "websocket", None)
    while time.monotonic() - began_s < limit_s:
        try:
            await waiting.open()
        except RuntimeError:  # no place
            await waiting.hang_up()
            await asyncio.sleep(1)
            continue
        await waiting.close()
        break
    writer.transport.abort()
    return time.monotonic() - began_s


async def closed_sessions_mb(portal: PortalProcess, sessions: int = 50, settled: int = 5) -> float:
    """How much the portal has grown over WebRTC sessions that came, listened to a sentence and left."""
    before = 0.0
    for number in range(settled + sessions):
        if number == settled:
            before = portal.resident_mb()
        viewer = Viewer(portal.socket_url, "webrtc", None)
        await viewer.open()
        await viewer.say("Hello there, this is a sentence.")
        await asyncio.sleep(1)
        await viewer.close()
    await asyncio.sleep(1)
    return portal.resident_mb() - before


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["flood"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--kind", choices=sorted(FLOODS), required=True)
    parser.add_argument("--seconds", type=float, default=FLOOD_S)
    given = parser.parse_args(argv)
    os.nice(5)  # two processes share the cores with the portal: it is the portal that is measured
    asyncio.run(flood(given.url, given.kind, given.seconds))


if __name__ == "__main__":
    main()
