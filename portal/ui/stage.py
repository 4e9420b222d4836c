"""The stage view: the Talk tab alone, without Gradio, for a public screen or for embedding into other sites' pages.

Its markup and scripts are those of the Talk tab. portal/static/stage/stage.js reads the options in its URL.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse

from portal.http.headers import page_policy
from portal.http.page_frame import framed_page
from portal.ui.context import PageContext
from portal.ui.talk import MARKUP

__all__ = ["stage_router"]

EMBED = Path(__file__).resolve().parent.parent / "static" / "stage" / "embed.js"

_HEAD = """<link rel="stylesheet" href="{files}/styles.css">
<link rel="stylesheet" href="{files}/stage/stage.css">
<script type="module" src="{files}/talk.js"></script>
<script type="module" src="{files}/stage/stage.js"></script>"""


def stage_router(context: PageContext) -> APIRouter:
    """Return the routes `/stage` and `/embed.js`, and for a kiosk also `/`."""
    router = APIRouter()
    is_kiosk = context.settings.kiosk
    body = f'<body class="vv-alone" data-defaults="{"kiosk=1" if is_kiosk else ""}">{MARKUP}</body>'
    page = framed_page(_HEAD.format(files=context.files), body)

    def stage(request: Request) -> HTMLResponse:
        host = request.url.netloc
        policy = page_policy(page, connect=[f"ws://{host}", f"wss://{host}"])
        return HTMLResponse(page, headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"})

    for path in ("/stage", "/") if is_kiosk else ("/stage",):
        router.add_api_route(path, stage, include_in_schema=False)

    @router.get("/embed.js", include_in_schema=False)
    def embed() -> FileResponse:
        """Serve the element <vivavoce-avatar> for other sites' pages. Its address must never change."""
        return FileResponse(EMBED, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    return router
