"""Helpers for tests of the login: a gate before an application that answers who asked, and requests to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from pipeline.clock import Clock
from portal.http.login import Gate
from portal.http.people import person_of
from portal.http.proxies import BehindProxies
from portal.settings import Settings

__all__ = ["HTML", "PASSWORD", "PRODUCT", "Opened", "echo", "log_in", "opened_gate", "settings_with", "token"]

PASSWORD = "open sesame"
PRODUCT = "a secret of thirty-two bytes or more, for tests"
HTML = {"Accept": "text/html"}


def settings_with(tmp_path: Path, values: Mapping[str, object]) -> Settings:
    return Settings.model_validate({"data_dir": tmp_path, **values})


async def echo(request: Request) -> JSONResponse:
    person = person_of(request.scope)
    return JSONResponse({"name": person.name, "role": person.role.name})


async def echo_socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_json({"name": person_of(socket.scope).name})
    await socket.close()


Opened = Callable[..., TestClient]


def token(secret: str = PRODUCT, **claims: object) -> str:
    return jwt.encode({"sub": "eve", "exp": time.time() + 600, **claims}, secret, "HS256")


def log_in(client: TestClient, password: str = PASSWORD, **fields: str) -> int:
    return client.post("/login", data={"password": password, **fields}).status_code


def opened_gate(tmp_path: Path, clock: Clock, proxied: bool = False, **values: object) -> TestClient:
    """Return a client of a gate, before an application that answers who asked.

    proxied: whether requests come through a trusted proxy.
    """
    app = Starlette(
        routes=[
            WebSocketRoute("/session", echo_socket),
            Route("/{path:path}", echo, methods=["GET", "POST", "PATCH", "DELETE"]),
        ]
    )
    gate = BehindProxies(Gate.of(app, settings_with(tmp_path, values), clock), ["10.0.0.1"])
    address = ("10.0.0.1" if proxied else "203.0.113.5", 1234)
    return TestClient(gate, base_url="https://portal", client=address, follow_redirects=False)
