"""What large or endless things cost others: bodies of JSON, a line of a model that never ends, playlists as recordings.

`python -m tests.benchmarks.large --url ...` posts the bodies in a process of its own, so that its CPU is not the
portal's nor a listener's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import connect

from portal.commands.portal_process import PortalProcess
from tests.benchmarks.abuse import gap_beside_ms

__all__ = ["bodies_mb", "gap_beside_bodies_ms", "line_mb", "main", "slowest_call_s"]

BODIES_BYTES = 300_000_000
PIECE = b"10000\r\n" + b" " * 65536 + b"\r\n"
POST = "POST /api/avatars/mira/parts HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{length}\r\n"
LENGTHS = ("Transfer-Encoding: chunked\r\n", f"Content-Length: {BODIES_BYTES}\r\n")
PLAYLISTS = 40
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:1/live.ts\n"


async def post_bodies(url: str, total_bytes: int = BODIES_BYTES) -> None:
    """Send that much JSON, with and without its length, in as many requests as it takes: each is refused in time."""
    parts = urlsplit(url)
    sent_bytes, requests = 0, 0
    while sent_bytes < total_bytes:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        answered = asyncio.create_task(reader.read())
        writer.write(POST.format(host=parts.netloc, length=LENGTHS[requests % len(LENGTHS)]).encode())
        with suppress(ConnectionError):
            while not answered.done() and sent_bytes < total_bytes:
                writer.write(PIECE)
                sent_bytes += len(PIECE)
                await writer.drain()
        with suppress(ConnectionError):
            answered.cancel()
            await asyncio.wait([answered])
        writer.transport.abort()
        requests += 1


async def bodies_mb(portal: PortalProcess) -> float:
    """By how many MB a portal without viewers has grown at most while they are posted."""

    async def post() -> None:
        await (await asyncio.create_subprocess_exec(sys.executable, "-m", *_posting(portal))).wait()

    return await _grown_mb(portal, post())


async def gap_beside_bodies_ms(portal: PortalProcess) -> float:
    """A viewer's longest gap meanwhile."""
    return await gap_beside_ms(portal, _posting(portal))


def _posting(portal: PortalProcess) -> list[str]:
    return ["tests.benchmarks.large", "--url", portal.url]


async def _grown_mb(portal: PortalProcess, work: Awaitable[None]) -> float:
    """The most that the portal's memory had grown by while something was done."""
    before = highest = portal.resident_mb()
    working = asyncio.ensure_future(work)
    while not working.done():
        await asyncio.wait([working], timeout=0.05)
        highest = max(highest, portal.resident_mb())
    await working
    return highest - before


@asynccontextmanager
async def endless_model(port: int) -> AsyncIterator[None]:
    """A language model's service that begins a line and never ends it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            writer.write(b'data: {"choices": [{"delta": {"content": "')
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield


async def line_mb(portal: PortalProcess, port: int, seconds: float) -> float:
    """By how many MB a portal has grown at most that asks such a model, at that port."""

    async def ask() -> None:
        async with endless_model(port), connect(portal.socket_url, max_size=None, compression=None) as socket:
            await socket.send(json.dumps({"type": "hello"}))
            await socket.recv()
            await socket.send(json.dumps({"type": "say", "text": "Hello?", "mode": "chat"}))
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while True:
                        await socket.recv()

    return await _grown_mb(portal, ask())


async def slowest_call_s(portal: PortalProcess) -> float:
    """The slowest answer to somebody else while playlists are posted as recordings of clips, all at once."""
    slowest_s = 0.0
    async with httpx.AsyncClient(base_url=portal.url, timeout=60) as others, httpx.AsyncClient(timeout=60) as poster:

        async def post(number: int) -> None:
            files = {"audio": (f"{number}.m3u8", PLAYLIST)}
            await poster.post(f"{portal.url}/api/clips", files=files, data={"avatar": "mira"})

        posting = asyncio.gather(*(post(number) for number in range(PLAYLISTS)))
        while not posting.done():
            began_s = time.monotonic()
            (await others.get("/api/avatars/mira/poster.jpg")).raise_for_status()
            slowest_s = max(slowest_s, time.monotonic() - began_s)
            await asyncio.sleep(0.02)
        await posting
    return slowest_s


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    os.nice(5)  # as a flood is
    asyncio.run(post_bodies(parser.parse_args(argv).url))


if __name__ == "__main__":
    main()
