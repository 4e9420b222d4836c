"""A language model and a voice for `launch.py chaos`, with OpenAI's API, that can be stalled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from aiohttp import web

__all__ = ["Services"]

ANSWER = "The ferry leaves at seven."
VOICE_RATE_HZ = 24_000
"Sampling rate of OpenAI's speech API."


class Services:
    """Serves both at `url`. While it is stalled, requests are accepted but not answered."""

    def __init__(self) -> None:
        self.url = ""
        self._answering = asyncio.Event()
        self._answering.set()

    @property
    def stalled(self) -> bool:
        return not self._answering.is_set()

    def stall(self) -> None:
        self._answering.clear()

    def recover(self) -> None:
        """Answer again, also the requests that still wait."""
        self._answering.set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Services]:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_post("/v1/audio/speech", self._speech)
        application.router.add_route("*", "/{path:.*}", self._there)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            yield self
        finally:
            await runner.cleanup()

    async def _there(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "chaos", "object": "model"}]})

    async def _chat(self, _request: web.Request) -> web.Response:
        await self._answering.wait()
        delta = {"id": "1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": ANSWER}}]}
        return web.Response(text=f"data: {json.dumps(delta)}\n\ndata: [DONE]\n\n", content_type="text/event-stream")

    async def _speech(self, _request: web.Request) -> web.Response:
        await self._answering.wait()
        times_s = np.arange(VOICE_RATE_HZ) / VOICE_RATE_HZ
        return web.Response(body=(8000 * np.sin(2 * np.pi * 220 * times_s)).astype("<i2").tobytes())
