"""A voice service on 127.0.0.1: it answers with the bytes that it is given, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
from aiohttp import web

from pipeline.clock import ManualClock

__all__ = ["EagerClock", "FakeVoiceService", "pcm_tone", "wav_tone"]


def pcm_tone(seconds: float, rate_hz: int = 24_000) -> bytes:
    """Return 440 Hz as 16-bit little-endian PCM."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.4 * 32767 * np.sin(2 * np.pi * 440 * t)).astype("<i2").tobytes()


def wav_tone(seconds: float, rate_hz: int = 24_000) -> bytes:
    """Return the same tone as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, rate_hz, 0, "NONE", ""))
        writer.writeframes(pcm_tone(seconds, rate_hz))
    return file.getvalue()


class EagerClock(ManualClock):
    """A clock on which pauses end at once."""

    async def sleep_until(self, when_s: float) -> None:
        await asyncio.sleep(0)


@dataclass
class FakeVoiceService:
    """body: makes the whole answer to a request. It is sent in pieces, and other tasks run between them."""

    body: Callable[[web.Request, bytes], bytes]
    status: int = 200
    "status of the next answers; after `fails` of them it is 200 again"
    fails: int = 0
    "number of answers with `status`; 0 means all"
    after: str = "done"
    "what follows half of the sound: done (the other half), hang, or die (the connection is cut)"
    refusal: bytes = b'{"error": "no"}'
    headers: Mapping[str, str] = field(default_factory=dict)
    "headers of every answer"
    piece_bytes: int = 1001
    requests: list[tuple[web.Request, bytes]] = field(default_factory=list)
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    "set when everything was sent that an answer sends"
    left: asyncio.Event = field(default_factory=asyncio.Event)
    "set when a client closes the connection before the end of its answer"
    base_url: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeVoiceService]:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response()
        content = await request.read()
        self.requests.append((request, content))
        if self.status != 200 and (not self.fails or len(self.requests) <= self.fails):
            return web.Response(status=self.status, body=self.refusal, headers=self.headers)
        sound = self.body(request, content)
        response = web.StreamResponse(headers=self.headers)
        await response.prepare(request)
        end = len(sound) if self.after == "done" else len(sound) // 2
        try:
            for at in range(0, end, self.piece_bytes):
                await response.write(sound[at : min(end, at + self.piece_bytes)])
                await asyncio.sleep(0)
            self.sent.set()
            if self.after == "hang":
                await asyncio.Event().wait()
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        if self.after == "die":
            with suppress(AttributeError):
                request.transport.abort()  # type: ignore[union-attr]
        return response
