"""The page on the application: the one place where Gradio meets FastAPI, and the list of what it may answer.

Gradio brings a server of its own: it fetches any address for whoever asks, takes uploads, keeps queues and sessions.
Nothing of that is needed, because every tab talks to our API. So Gradio only draws the page and hands out the files of
its frontend; everything else of it answers 404, whatever its next version adds.
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
"Files of Gradio's frontend. Their addresses change with their contents, so browsers keep them."
KEPT = "public, max-age=31536000, immutable"
# Of Gradio's page: its own preview of shared links, a list of icons, and a script for pages that frame it.
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
"Written into the page, as is the preview: what reads a link does not run Gradio, which would add the rest."
DESCRIPTION = "A portrait or a short clip becomes a live talking avatar."
EVALUATING = "'unsafe-eval'"
"Gradio's HTML component makes every template into a Function, also one without anything to fill in."
THEME_MARK = re.compile(r'"theme_hash":\s*"(\w+)"')
PAGES_KEPT = 16
READING = {"Allow": "GET, HEAD"}


def mount_page(app: FastAPI, context: PageContext) -> None:
    """Put the page at `/` of the application; it answers whatever no route does."""
    page = build_page(context)
    carrier = FastAPI(openapi_url=None)  # never started: no queue of Gradio's runs
    gr.mount_gradio_app(carrier, page.blocks, path="/", **page.mount)

    @app.get("/choices.json", include_in_schema=False)
    def choices() -> dict[str, object]:
        """What can be chosen in the Talk tab."""
        return catalogue(context)

    online = OnlineVoices()

    @app.get("/online.json", include_in_schema=False)
    async def reachable() -> dict[str, bool]:
        """Whether the online voices can be had now."""
        return {"reachable": await online.are_reachable()}

    app.router.default = PageServer(carrier, f"api/avatars/{context.sessions.default_avatar}/poster.jpg", page.early)


class PageServer:
    """ASGI application: the page at `/` and the files of Gradio's frontend; all else is answered here with an error.

    gradio: its application; picture: address, below the page's, of what is shown where a link to the page is shared;
    early: what the browser is to know before Gradio's scripts run.
    Up to PAGES_KEPT finished pages are kept, one for each address by which the portal is asked, the least used dropped.
    """

    def __init__(self, gradio: ASGIApp, picture: str, early: str = "") -> None:
        self._gradio = gradio
        self._picture = picture
        self._early = early
        self._pages: OrderedDict[str, tuple[str, str]] = OrderedDict()
        "address -> the page and its policy"

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
        if path == "":  # addresses on the page are relative to its own
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
        """The page as Gradio draws it. Nothing of the request but its address gets there."""
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            parts.append(message.get("body", b""))

        host = [header for header in scope["headers"] if header[0] == b"host"]
        await self._gradio({**scope, "method": "GET", "query_string": b"", "headers": host}, _nothing, collect)
        return b"".join(parts).decode()

    def _finished(self, drawn: str, address: str) -> tuple[str, str]:
        theme = [f'<link rel="preload" as="style" href="theme.css?v={mark}">' for mark in THEME_MARK.findall(drawn)]
        head = f"{self._early}{''.join(theme)}{ICONS}{_preview(address, self._picture)}</head>"
        page = FOREIGN.sub("", drawn).replace("</head>", head, 1)
        host = URL(address).netloc
        return page, page_policy(page, script=[EVALUATING], connect=[f"ws://{host}", f"wss://{host}"])


def _preview(address: str, picture: str) -> str:
    """What other sites show of a link to the page."""
    told = {"title": "Vivavoce", "type": "website", "url": address, "description": DESCRIPTION}
    tags = {**told, "image": address + picture}
    lines = [f'<meta property="og:{name}" content="{html.escape(value)}">' for name, value in tags.items()]
    lines += [f'<meta name="description" content="{DESCRIPTION}">', '<meta name="twitter:card" content="summary">']
    return "\n".join(lines)


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
