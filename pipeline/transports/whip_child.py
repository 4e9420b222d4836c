"""The process of a Push by WHIP: takes frames from its input, and sends them to a streaming server by WebRTC.

Its input and its answers are those of `pipeline/push_child.py`. It is a process of its own, so that aiortc and a second
encoding of the pictures take no time from the event loop that serves viewers.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from pipeline.errors import BadSignalling
from pipeline.push_child import FLAWED, LIVE, read_frame, tell, tell_trouble
from pipeline.transports.aiortc_adapter import silent_after
from pipeline.transports.ice import IceServer
from pipeline.transports.loops import LoopCache
from pipeline.transports.webrtc import WebRtcTransport
from pipeline.transports.whereabouts import Whereabouts, whereabouts_of
from pipeline.transports.whip import WhipError, WhipServer, endpoint_of, http_to, outward_only
from pipeline.types import FPS, MediaFrame

__all__ = ["serve"]

KEY_GAP: Final = 2 * FPS
"""Frames between key frames. Servers that convert the stream need them, but do not request them."""
UNANSWERED_CHECKS: Final = 2
"""After this many unanswered checks, which take up to 13 s, the server is gone."""


def serve(frames: BinaryIO, answers: BinaryIO) -> int:
    """Stream until the input ends. Returns the exit status."""
    order = json.loads(frames.readline())
    silent_after(UNANSWERED_CHECKS)
    try:
        asyncio.run(_push(order["address"], (order["width"], order["height"]), frames, answers))
    except (WhipError, BadSignalling, OSError) as error:
        code = error.code if isinstance(error, WhipError) else "refused"
        tell_trouble(answers, code, error.message if isinstance(error, BadSignalling) else str(error))
        return FLAWED
    return 0


async def _push(address: str, size: tuple[int, int], frames: BinaryIO, answers: BinaryIO) -> None:
    """Stream until the input ends. Raises WhipError, BadSignalling."""
    endpoint, token = endpoint_of(address)
    async with AsyncExitStack() as stack:
        coding = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="coding"))
        at = await whereabouts_of(urlsplit(endpoint).hostname or "")
        http = await stack.enter_async_context(http_to(at))
        server = WhipServer(http, endpoint, token)
        transport = WebRtcTransport(LoopCache(coding), coding, await _ice_servers(server, at), at=at)
        stack.push_async_callback(transport.aclose)
        answer_sdp = await server.publish(await transport.offer())
        stack.push_async_callback(server.end)
        await transport.accept(answer_sdp)
        await _connected(transport)
        tell(answers, LIVE)
        await _send(transport, size, frames)


async def _ice_servers(server: WhipServer, at: Whereabouts) -> tuple[IceServer, ...]:
    named: tuple[IceServer, ...] = ()
    with suppress(WhipError):  # not every server answers this request; the offer will show what is wrong
        named = await server.ice_servers()
    return await outward_only(named) if at.is_far else named


async def _connected(transport: WebRtcTransport) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in (transport.connected, transport.closed)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if transport.closed.is_set():
        raise WhipError("the server took the offer, but no connection for pictures and sound came about", "no_media")


async def _send(transport: WebRtcTransport, size: tuple[int, int], frames: BinaryIO) -> None:
    key_due: int | None = None
    while (frame := await asyncio.to_thread(read_frame, frames, *size)) is not None:
        if transport.closed.is_set():
            raise WhipError("the server has ended the connection, or is gone", "lost")
        number, sound, picture = frame
        if key_due is None or number >= key_due:
            transport.want_key_frame()
            key_due = number + KEY_GAP
        transport.send(MediaFrame(picture, sound, number))


if __name__ == "__main__":
    # Skip the interpreter's shutdown, because a thread may still wait for the input.
    os._exit(serve(sys.stdin.buffer, sys.stdout.buffer))
