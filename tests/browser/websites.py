"""Websites of others, each an origin of its own: what their pages may do with a portal is tested."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from portal.commands.portal_process import free_port

__all__ = ["FRIEND_PORT", "website"]

FRIEND_PORT = free_port()
"""Port of a website whose pages may use the portal that most tests share; a test that needs the website starts it."""


@contextmanager
def website(handler: Callable[..., BaseHTTPRequestHandler], port: int = 0) -> Iterator[str]:
    """Run one; give its address. port: 0 for a free one."""
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
