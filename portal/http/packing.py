"""What is sent is packed with gzip; files of the page once, and kept so."""

from __future__ import annotations

import asyncio
import gzip
from collections import OrderedDict

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Packing"]

WORTH_PACKING_BYTES = 1000
PACKING = 6
"Of gzip's 1 to 9: what is above costs time and hardly saves."
FILES = ("/static/", "/assets/")
KEPT_BYTES = 16 * 2**20
"All files of the page take 3 MB. Beyond that the one that was asked for longest ago is packed anew when it is wanted."
PACKED_TYPES = ("text/", "application/javascript", "application/json", "image/svg+xml")


class Packing:
    """ASGI middleware. The largest file of the page takes 0.1 s to pack, and anybody may ask for it at any time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._at_once = GZipMiddleware(app, minimum_size=WORTH_PACKING_BYTES, compresslevel=PACKING)
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_file = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(FILES)
        if not is_file or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            await self._at_once(scope, receive, send)
            return
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, collect)
        start, body = messages[0], b"".join(message.get("body", b"") for message in messages[1:])
        headers = MutableHeaders(raw=start["headers"])
        headers.add_vary_header("Accept-Encoding")
        if start["status"] == 200 and len(body) >= WORTH_PACKING_BYTES and _is_worth_it(headers):
            body = await self._packed((scope["path"], headers.get("etag", "")), body)
            headers["Content-Encoding"] = "gzip"
            headers["Content-Length"] = str(len(body))
        await send({**start, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})

    async def _packed(self, key: tuple[str, str], body: bytes) -> bytes:
        packed = self._kept.pop(key, None)
        if packed is None:
            packed = await asyncio.to_thread(gzip.compress, body, PACKING)
        if key[1]:  # without a mark of its state nobody knows when it has changed
            self._kept[key] = packed
            while sum(map(len, self._kept.values())) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return packed


def _is_worth_it(headers: Headers) -> bool:
    return "content-encoding" not in headers and headers.get("content-type", "").startswith(PACKED_TYPES)
