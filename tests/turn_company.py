"""A company on 127.0.0.1 that lends TURN servers by token. Its answers are from Cloudflare's and Twilio's documents."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipeline.transports.turn_service import WIRES

TOKEN = "t0p-secret-token"
CLOUDFLARE: dict[str, list[dict[str, Any]]] = {
    "iceServers": [
        {"urls": ["stun:stun.cloudflare.com:3478", "stun:stun.cloudflare.com:53"]},
        {
            "urls": [
                "turn:turn.cloudflare.com:3478?transport=udp",
                "turn:turn.cloudflare.com:53?transport=udp",
                "turn:turn.cloudflare.com:3478?transport=tcp",
                "turn:turn.cloudflare.com:80?transport=tcp",
                "turns:turn.cloudflare.com:5349?transport=tcp",
                "turns:turn.cloudflare.com:443?transport=tcp",
            ],
            "username": "bc91b63e2b5d759f8eb9f3b58062439e0a0e15893d76317d833265ad08d66310",
            "credential": "ebd71f1d3edbc2b0edae3cd5a6d82284aeb5c3b8fdaa9b8e3bf9cec683e0d45f",
        },
    ]
}
TWILIO = {
    "username": "dc2d2894d5a9023620c467b0e71cfa6a35457e6679785ed6ae9856fe5bdfa269",
    "ice_servers": [
        {"urls": "stun:global.stun.twilio.com:3478", "url": "stun:global.stun.twilio.com:3478"},
        *(
            {
                "username": "dc2d2894d5a9023620c467b0e71cfa6a35457e6679785ed6ae9856fe5bdfa269",
                "credential": "tE2DajzSJwnsSbc123",
                "urls": f"turn:global.turn.twilio.com:{where}",
                "url": f"turn:global.turn.twilio.com:{where}",
            }
            for where in ("3478?transport=udp", "3478?transport=tcp", "443?transport=tcp")
        ),
    ],
    "ttl": "86400",
    "password": "tE2DajzSJwnsSbc123",
}


@dataclass
class Company:
    """The company's answer, its status, and whether it gives no answer at all."""

    answer: object
    status: int = 201
    hangs: bool = False
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    "(path, headers, body) of each request"


@contextmanager
def turn_company(patch: pytest.MonkeyPatch, name: str, answer: object) -> Iterator[Company]:
    """Run a company in a thread of its own, in place of the real one called `name`."""
    company, over = Company(answer), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            company.asked.append((self.path, dict(self.headers), body))
            if company.hangs:
                over.wait()
                return
            said = company.answer if isinstance(company.answer, str) else json.dumps(company.answer)
            self.send_response(company.status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_words: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        origin = f"http://127.0.0.1:{server.server_port}"
        patch.setitem(WIRES, name, dataclasses.replace(WIRES[name], origin=origin))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield company
        finally:
            over.set()
            server.shutdown()
            thread.join()
