"""Compresses answers with gzip. Files of the page are compressed once, and the result is kept."""

from __future__ import annotations

import asyncio
import gzip
from collections import OrderedDict
from collections.abc import Hashable

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.http.errors import error_response
from portal.http.proxies import path_below

__all__ = ["PackedOnce", "Packing", "is_worth_packing", "takes_gzip"]

WORTH_PACKING_BYTES = 1000
"Smallest body that is compressed."
PACKING = 6
"Compression level of gzip, 1 to 9. Higher levels take more time and save hardly anything."
OWN_FILES, FILES = "/static/", "/assets/"
"Files of the page: our own, which PageFiles compresses itself, and Gradio's."
LONGEST_PATH = 200
"Longest path of a file of the page. Gradio looks for any name on the disk, and a name too long for it is an error 500."
KEPT_BYTES = 16 * 2**20
"""Most memory for compressed files; all of Gradio's take 6 MB. Beyond it, the least recently used is dropped and
compressed again when it is wanted."""
NOT_PACKED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream")
"Types that are not compressed. Mattes are among them: they would take 24 ms of the event loop, to save a fifth."
PACKED_TYPES = ("text/", "application/javascript", "application/json", "image/svg+xml")


class PackedOnce:
    """Compresses each body when it is first wanted, and keeps up to KEPT_BYTES of the results.

    It compresses one body at a time: the largest takes 0.3 s, anybody may ask for all of them at once, and threads have
    to be left for the opening of sessions.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._one = asyncio.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """Return the compressed body if it is kept, else None."""
        return self._kept.get(key)

    async def of(self, key: Hashable, body: bytes) -> bytes:
        """Return the body, compressed. key: identifies the body; different bodies must have different keys."""
        async with self._one:
            packed = self._kept.pop(key, None)
            if packed is None:
                packed = await asyncio.to_thread(gzip.compress, body, PACKING)
            self._kept[key] = packed
            while sum(map(len, self._kept.values())) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return packed


class Packing:
    """ASGI middleware that compresses answers.

    A file of the page is served at a single address only. Otherwise, spelling its path in many ways would have it
    compressed again each time.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._at_once = GZipMiddleware(
            app, minimum_size=WORTH_PACKING_BYTES, compresslevel=PACKING, exclude_content_types=NOT_PACKED
        )
        self._packed = PackedOnce()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_below(scope) if scope["type"] == "http" else ""
        if path.startswith((OWN_FILES, FILES)) and not _is_plain(path):
            missing = error_response("not_found", "There is no such file.", "Reload the page.", status=404)
            await missing(scope, receive, send)
        elif path.startswith(FILES) and scope["method"] == "GET" and takes_gzip(Headers(scope=scope)):
            await self._file(path, scope, receive, send)
        else:
            await self._at_once(scope, receive, send)

    async def _file(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        parts: list[bytes] = []
        packed: bytes | None = None

        async def collect(message: Message) -> None:
            nonlocal start, packed
            if message["type"] == "http.response.start":
                start, packed = message, self._packed.get(_key(path, message)) if message["status"] == 200 else None
            elif packed is None:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, collect)
        body = b"".join(parts)
        headers = MutableHeaders(raw=start["headers"])
        headers.add_vary_header("Accept-Encoding")
        if packed is None and start["status"] == 200 and "etag" in headers and is_worth_packing(headers, body):
            packed = await self._packed.of(_key(path, start), body)
        if packed is not None:
            headers["Content-Encoding"] = "gzip"
            headers["Content-Length"] = str(len(packed))
        await send({**start, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body if packed is None else packed})


def _key(path: str, start: Message) -> tuple[str, str]:
    """Return the key of a file's present contents: its path and its ETag, which changes with the contents."""
    return path, Headers(raw=start["headers"]).get("etag", "")


def is_worth_packing(headers: Headers, body: bytes) -> bool:
    """Whether a body is text, large enough, and not yet compressed."""
    is_text = headers.get("content-type", "").startswith(PACKED_TYPES)
    return is_text and len(body) >= WORTH_PACKING_BYTES and "content-encoding" not in headers


def _is_plain(path: str) -> bool:
    """Whether a path is in its shortest form: not too long, without empty segments, dots or backslashes."""
    return len(path) <= LONGEST_PATH and "\\" not in path and not {"", ".", ".."} & set(path.split("/")[1:])


def takes_gzip(asked: Headers) -> bool:
    """Whether a request accepts gzip."""
    return "gzip" in asked.get("accept-encoding", "")
