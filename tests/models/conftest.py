"""What tests of downloads share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from models.download import Fetcher
from tests.download_server import Behaviour, Handler, Serve


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server of a behaviour, gives its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(behaviour: Behaviour) -> str:
        handler = type("OwnHandler", (Handler,), {"behaviour": behaviour})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def fetcher(pauses: list[float]) -> Iterator[Fetcher]:
    with httpx.Client(follow_redirects=True, trust_env=False, headers={"Accept-Encoding": "identity"}) as client:
        yield Fetcher(client, pauses.append)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "net.pth"
