"""The page's own files at /static, so that browsers keep them and still have every update at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.routing import get_route_path  # type: ignore[attr-defined]  # it is missing in __all__
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

__all__ = ["PageFiles"]

MARK = "v-"
KEPT = "public, max-age=31536000, immutable"
ASKED_ANEW = "no-cache"


class PageFiles(StaticFiles):
    """Every file is at `/static/VERSION/NAME`, where browsers keep it, and at `/static/NAME`, where they ask each time.

    The version is made from the contents of all files when the portal starts. The address of another version leads to
    the file as it is now: a page that was loaded before an update may still ask for one.

    made: name -> a script that is no file.
    """

    def __init__(self, directory: Path, made: Mapping[str, str]) -> None:
        super().__init__(directory=directory)
        self._made = {name: text.encode() for name, text in made.items()}
        self.version = MARK + _digest(directory, self._made)

    def get_path(self, scope: Scope) -> str:
        first, _, rest = get_route_path(scope).removeprefix("/").partition("/")
        return super().get_path({**scope, "path": f"{scope['root_path']}/{rest}"} if first == self.version else scope)

    async def get_response(self, path: str, scope: Scope) -> Response:
        asked = get_route_path(scope).removeprefix("/")
        first, _, rest = asked.partition("/")
        if first.startswith(MARK) and first != self.version:
            return RedirectResponse(f"{scope['root_path']}/{rest}", headers={"Cache-Control": ASKED_ANEW})
        made = self._made.get(path)
        response = await super().get_response(path, scope) if made is None else _script(made, scope)
        response.headers["Cache-Control"] = KEPT if first == self.version else ASKED_ANEW
        return response


def _script(body: bytes, scope: Scope) -> Response:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    response = Response(body, media_type="text/javascript", headers={"ETag": tag})
    is_known = tag in Headers(scope=scope).get("if-none-match", "")
    return NotModifiedResponse(response.headers) if is_known else response


def _digest(directory: Path, made: Mapping[str, bytes]) -> str:
    paths = (path for path in directory.rglob("*") if path.is_file())
    files = {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
    digest = hashlib.sha256()
    for name, content in sorted({**files, **made}.items()):
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:12]
