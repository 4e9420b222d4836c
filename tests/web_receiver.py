"""A web server on this machine that receives webhooks, well or badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

WITHIN_S = 60.0


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes


@dataclass
class WebReceiver:
    """answers: a status for each request in turn, the last one for all that follow; 0 means no answer, ever."""

    answers: list[int] = field(default_factory=lambda: [204])
    headers: dict[str, str] = field(default_factory=dict)
    "headers of its answers"
    received: list[Received] = field(default_factory=list)
    address: str = ""

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(headers, await request.read()))
        status = self.answers[min(len(self.received), len(self.answers)) - 1]
        if not status:
            await asyncio.Event().wait()
        return web.Response(status=status, headers=self.headers)


@asynccontextmanager
async def receiving(*answers: int, **headers: str) -> AsyncIterator[WebReceiver]:
    """Run a receiver. headers: of its answers, with `_` for `-`."""
    receiver = WebReceiver([*answers] or [204], {name.replace("_", "-"): value for name, value in headers.items()})
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        receiver.address = f"http://127.0.0.1:{port}/hook"
        yield receiver
    finally:
        await runner.cleanup()


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not reached():  # noqa: ASYNC110 - a server answers in its own time
            await asyncio.sleep(0.005)
