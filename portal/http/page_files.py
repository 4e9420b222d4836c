"""Serves the page's own files at /static, so that browsers cache them and still get every update at once."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rjsmin import jsmin
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import get_route_path  # type: ignore[attr-defined]  # it is missing in __all__
from starlette.staticfiles import NotModifiedResponse
from starlette.types import Receive, Scope, Send

from portal.http.packing import PackedOnce, is_worth_packing, takes_gzip
from portal.http.page_bundle import bundled

__all__ = ["PageFiles", "as_served"]

MARK = "v-"
"Beginning of a version in an address."
KEPT = "public, max-age=31536000, immutable"
ASKED_ANEW = "no-cache"
VENDORED = "vendor/"
"Scripts of others, which are minified already."
PIECE_BYTES = 64 * 1024
"How much is sent at a time, so that a client that does not read its answer makes us hold no copy of a whole file."


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    tag: str
    media_type: str


class PageFiles:
    """ASGI application that serves the page's files.

    Every file is at `/static/VERSION/NAME`, where browsers cache it for good, and at `/static/NAME`, where they ask
    each time whether it has changed. The version is a hash of all files, made when the portal starts. The address of
    another version redirects to the present file, for pages that were loaded before an update.

    The files take 3 MB and stay in memory, so that serving one needs no thread and no disk. Each is compressed once. If
    a file changes while the portal runs, the old contents are served.

    made: name -> text of a script that is not in the folder. bundles: name -> the scripts to put together under it.
    """

    def __init__(
        self, directory: Path, made: Mapping[str, str], bundles: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> None:
        paths = (path for path in directory.rglob("*") if path.is_file())
        bodies = {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
        bodies |= {name: text.encode() for name, text in made.items()}
        scripts = {name: body.decode() for name, body in bodies.items() if _is_own_script(name)}
        bodies |= {name: bundled(scripts, entries).encode() for name, entries in bundles.items()}
        bodies = {name: as_served(name, body) for name, body in bodies.items()}
        self._files = {name: _file(name, body) for name, body in bodies.items()}
        self._packed = PackedOnce()
        self.version = MARK + _digest(bodies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Raises HTTPException, which the application answers: 404, or 405 for other methods."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        else:
            await (await self._answer(scope))(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        asked = get_route_path(scope).removeprefix("/")
        first, _, rest = asked.partition("/")
        if first.startswith(MARK) and first != self.version:
            return RedirectResponse(f"{scope['root_path']}/{rest}", headers={"Cache-Control": ASKED_ANEW})
        is_kept = first == self.version
        file = self._files.get(rest if is_kept else asked)
        if file is None:
            raise HTTPException(404)
        return await self._file_response(file, KEPT if is_kept else ASKED_ANEW, Headers(scope=scope))

    async def _file_response(self, file: _File, cached: str, asked: Headers) -> Response:
        whole = _InPieces(file.body, media_type=file.media_type, headers={"ETag": file.tag, "Cache-Control": cached})
        if file.tag in asked.get("if-none-match", ""):
            return NotModifiedResponse(whole.headers)
        if not takes_gzip(asked) or not is_worth_packing(whole.headers, file.body):
            return whole
        packed = await self._packed.of(file.tag, file.body)
        headers = {"ETag": file.tag, "Cache-Control": cached, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return _InPieces(packed, media_type=file.media_type, headers=headers)


class _InPieces(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for begin in range(0, len(self.body), PIECE_BYTES):
            piece = self.body[begin : begin + PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # lets all other tasks run once
        await send({"type": "http.response.body", "body": b""})


def as_served(name: str, body: bytes) -> bytes:
    """Return one of our scripts without comments and indentation, which are over a third of it; other files unchanged.

    Names are kept, so that error reports from visitors' browsers stay readable.
    """
    if not _is_own_script(name):
        return body
    small: str = jsmin(body.decode())
    return small.encode()


def _is_own_script(name: str) -> bool:
    return name.endswith(".js") and not name.startswith(VENDORED)


def _file(name: str, body: bytes) -> _File:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return _File(body, tag, mimetypes.guess_type(name)[0] or "text/plain")


def _digest(bodies: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, body in sorted(bodies.items()):
        digest.update(f"{name} {len(body)}\n".encode())
        digest.update(body)
    return digest.hexdigest()[:12]
