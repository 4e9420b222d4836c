"""The page on the application: the one place where Gradio meets FastAPI."""

from __future__ import annotations

import gradio as gr
from fastapi import FastAPI

from portal.ui.context import PageContext
from portal.ui.page import build_page

__all__ = ["QUEUE_LOOK_S", "mount_page"]

NO_UPLOADS_BYTES = 1024
"""Uploads go to /api, where they are checked; Gradio's own way in is closed."""
QUEUE_LOOK_S = 0.05
"""Gradio looks at its event queue every millisecond, which costs a server that is idle 5 % of a core."""


def mount_page(app: FastAPI, context: PageContext) -> FastAPI:
    """Put the page at `/`, after every other route; gives the application to serve."""
    page = build_page(context)
    mounted: FastAPI = gr.mount_gradio_app(app, page.blocks, path="/", max_file_size=NO_UPLOADS_BYTES, **page.mount)
    queue = page.blocks._queue
    queue.sleep_when_free = queue.progress_update_sleep_when_free = QUEUE_LOOK_S
    return mounted
