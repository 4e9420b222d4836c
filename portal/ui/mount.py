"""Mounts the page on the application. This is the only module where Gradio meets FastAPI.

Gradio comes with a server that fetches any URL for anybody, accepts uploads, and keeps queues and sessions. None of
that is needed, because every tab uses our API. So Gradio only draws the page and serves the files of its frontend.
Every other path of it is answered with 404, whatever a future version adds.
"""

from __future__ import annotations

import html
import re
from collections import OrderedDict

import gradio as gr
from fastapi import FastAPI
from starlette.datastructures import URL, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import get_route_path  # type: ignore[attr-defined]  # it is missing in __all__
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.http.errors import error_response
from portal.http.headers import page_policy
from portal.ui.context import PageContext
from portal.ui.online import OnlineVoices
from portal.ui.page import build_page
from portal.ui.talk import catalogue

__all__ = ["PageServer", "mount_page"]

ASSETS, THEME = "/assets/", "/theme.css"
"Paths of the files of Gradio's frontend. Their URLs change with their content, so browsers may cache them for ever."
KEPT = "public, max-age=31536000, immutable"
# What is removed from Gradio's HTML: its preview of shared links, its list of icons, and a script for pages that frame
# it.
FOREIGN = re.compile(
    r'<meta\s+(?:property="og:|name="(?:twitter:|viewport"))[^>]*>\s*|<link rel="manifest"[^>]*>\s*'
    r"|<script>(?:(?!</script>).)*iframeResizer\.contentWindow(?:(?!</script>).)*</script>\s*",
    re.DOTALL,
)
ICONS = """
<link rel="icon" href="static/icons/favicon.ico" sizes="16x16 32x32 48x48">
<link rel="icon" href="static/logo.svg" type="image/svg+xml">
<link rel="apple-touch-icon" href="static/icons/apple-touch-icon.png">
"""
"""Icons of the page. They and the link preview are written into the HTML, because programs that read a link do not run
Gradio's scripts."""
DESCRIPTION = "A portrait or a short clip becomes a live talking avatar."
EVALUATING = "'unsafe-eval'"
"The policy must allow this because Gradio's HTML component makes a Function of every template, even a constant one."
THEME_MARK = re.compile(r'"theme_hash":\s*"(\w+)"')
PAGES_KEPT = 16
READING = {"Allow": "GET, HEAD"}


def mount_page(app: FastAPI, context: PageContext) -> None:
    """Put the page at `/` of the application. It also answers all paths that no route matches."""
    page = build_page(context)
    carrier = FastAPI(openapi_url=None)  # its lifespan is never started, so Gradio's queue does not run
    gr.mount_gradio_app(carrier, page.blocks, path="/", **page.mount)

    @app.get("/choices.json", include_in_schema=False)
    def choices() -> dict[str, object]:
        """Return the choices of the Talk tab."""
        return catalogue(context)

    online = OnlineVoices()

    @app.get("/online.json", include_in_schema=False)
    async def reachable() -> dict[str, bool]:
        """Return whether the online voices can be reached now."""
        return {"reachable": await online.are_reachable()}

    app.router.default = PageServer(carrier, f"api/avatars/{context.sessions.default_avatar}/poster.jpg", page.early)


class PageServer:
    """An ASGI application that serves the page at `/` and the files of Gradio's frontend, and errors for all else.

    gradio: Gradio's application. picture: URL, relative to the page's, of the picture in previews of shared links.
    early: HTML for the head, which the browser reads before Gradio's scripts run.

    Up to PAGES_KEPT finished pages are cached, one for each address by which the portal is reached. The least recently
    used is dropped first.
    """

    def __init__(self, gradio: ASGIApp, picture: str, early: str = "") -> None:
        self._gradio = gradio
        self._picture = picture
        self._early = early
        self._pages: OrderedDict[str, tuple[str, str]] = OrderedDict()
        "Address -> the finished page and its Content-Security-Policy."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await (await self._answer(scope))(scope, receive, send)

    async def _answer(self, scope: Scope) -> ASGIApp:
        path = get_route_path(scope)
        is_file = path == THEME or path.startswith(ASSETS)
        if path not in ("", "/") and not is_file:
            return error_response("not_found", "There is nothing at this address.", "See /docs.", status=404)
        if scope["method"] not in ("GET", "HEAD"):
            return error_response(
                "method_not_allowed", "This can only be read.", "Use GET.", status=405, headers=READING
            )
        if is_file:
            return self._file
        if path == "":  # without the final slash, relative URLs on the page would lead one level too high
            return RedirectResponse(f"{scope['root_path']}/")
        return await self._page(scope)

    async def _file(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def keep(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == 200:
                    MutableHeaders(scope=message)["Cache-Control"] = KEPT
            if status < 400:
                await send(message)

        await self._gradio({**scope, "query_string": b""}, receive, keep)
        if status >= 400:
            missing = error_response("not_found", "There is no such file.", "Reload the page.", status=404)
            await missing(scope, receive, send)

    async def _page(self, scope: Scope) -> HTMLResponse:
        address = str(URL(scope=scope).replace(query=""))
        if address not in self._pages:
            self._pages[address] = self._finished(await self._drawn(scope), address)
            while len(self._pages) > PAGES_KEPT:
                self._pages.popitem(last=False)
        self._pages.move_to_end(address)
        page, policy = self._pages[address]
        return HTMLResponse(page, headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"})

    async def _drawn(self, scope: Scope) -> str:
        """Return the page as Gradio draws it. Of the request, Gradio only sees its address."""
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            parts.append(message.get("body", b""))

        host = [header for header in scope["headers"] if header[0] == b"host"]
        await self._gradio({**scope, "method": "GET", "query_string": b"", "headers": host}, _empty_body, collect)
        return b"".join(parts).decode()

    def _finished(self, drawn: str, address: str) -> tuple[str, str]:
        theme = [f'<link rel="preload" as="style" href="theme.css?v={mark}">' for mark in THEME_MARK.findall(drawn)]
        head = f"{self._early}{''.join(theme)}{ICONS}{_preview(address, self._picture)}</head>"
        page = FOREIGN.sub("", drawn).replace("</head>", head, 1)
        host = URL(address).netloc
        return page, page_policy(page, script=[EVALUATING], connect=[f"ws://{host}", f"wss://{host}"])


def _preview(address: str, picture: str) -> str:
    """Return the meta tags from which other sites make a preview of a link to the page."""
    told = {"title": "Vivavoce", "type": "website", "url": address, "description": DESCRIPTION}
    tags = {**told, "image": address + picture}
    lines = [f'<meta property="og:{name}" content="{html.escape(value)}">' for name, value in tags.items()]
    lines += [f'<meta name="description" content="{DESCRIPTION}">', '<meta name="twitter:card" content="summary">']
    return "\n".join(lines)


async def _empty_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
