"""The page on the application: the one place where Gradio meets FastAPI."""

from __future__ import annotations

import gradio as gr
from fastapi import FastAPI

from portal.ui.context import PageContext
from portal.ui.page import build_page

__all__ = ["mount_page"]


def mount_page(app: FastAPI, context: PageContext) -> FastAPI:
    """Put the page at `/`, after every other route; gives the application to serve."""
    page = build_page(context)
    mounted: FastAPI = gr.mount_gradio_app(app, page.blocks, path="/", **page.mount)
    return mounted
