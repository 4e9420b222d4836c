"""The page at `/watch`, for people who were given a link to watch a session. Its scripts are in portal/static/watch.

The secret in the link stands after its `#`, which browsers do not send. So the page is the same for everybody, and the
secret appears in no log.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from portal.http.headers import page_policy
from portal.http.page_frame import framed_page

__all__ = ["watch_page_router"]

_HEAD = """<meta name="robots" content="noindex">
<link rel="stylesheet" href="{files}/watch/watch.css">
<script type="module" src="{files}/watch/watch.js"></script>"""
_BODY = """<body><main data-state="connecting">
<video playsinline></video>
<span class="vv-watch-label" data-t="disclosure"></span>
<div class="vv-watch-foot">
<p class="vv-watch-status" role="status"></p>
<button type="button" data-t="watch.sound" hidden></button>
</div>
</main></body>"""


def watch_page_router(files: str) -> APIRouter:
    """Return the route /watch. files: URL of the portal's static files, relative to the page's."""
    router = APIRouter()
    page = framed_page(_HEAD.format(files=files), _BODY, scheme="dark")
    headers = {"Content-Security-Policy": page_policy(page), "Cache-Control": "no-cache"}

    @router.get("/watch", include_in_schema=False)
    def watch() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)

    return router
