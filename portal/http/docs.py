"""The page that describes the API. It works without the internet."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, RedirectResponse

from portal.http.headers import page_policy

__all__ = ["add_docs"]

ASSETS = "static/vendor/swagger-ui"
"Relative to the page's own address, so that it also works below a proxy's path."


def add_docs(app: FastAPI) -> None:
    """Serve `/docs`. FastAPI's own pages must be off (docs_url=None, redoc_url=None): they need another host."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{app.title}: API",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url="static/logo.svg",
    )
    html = bytes(page.body).decode()
    headers = {"Content-Security-Policy": page_policy(html)}

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(html, headers=headers)

    @app.get("/redoc", include_in_schema=False)
    def redoc() -> RedirectResponse:
        return RedirectResponse("docs")
