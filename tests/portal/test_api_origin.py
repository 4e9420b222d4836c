import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from portal.api.origin import SameOrigin
from portal.http.proxies import BehindProxies


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.add_middleware(SameOrigin, allowed=["https://friend.example/"])
    app.add_middleware(BehindProxies, trusted=["10.0.0.0/8"])

    @app.get("/thing")
    @app.post("/thing")
    def thing() -> str:
        return "done"

    @app.websocket("/session")
    async def session(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("welcome")

    return TestClient(app, base_url="http://testserver", client=("10.0.0.2", 50000))


ALLOWED = [
    {},
    {"origin": "http://testserver"},
    {"origin": "https://friend.example"},
    {"origin": "https://me-app.hf.space", "x-forwarded-host": "me-app.hf.space"},
]
FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "http://testserver:9999"},
    {"origin": "null"},
    {"origin": "https://friend.example.evil.example"},
]


@pytest.mark.parametrize("headers", ALLOWED)
def test_our_own_page_programs_and_allowed_sites_are_served(client: TestClient, headers: dict[str, str]) -> None:
    """No Origin, the host asked, the host before a proxy, and what the operator allows."""
    assert client.post("/thing", headers=headers).status_code == 200
    with client.websocket_connect("/session", headers=headers) as socket:
        assert socket.receive_text() == "welcome"


@pytest.mark.parametrize("headers", FOREIGN)
def test_other_websites_change_nothing_and_open_no_session(client: TestClient, headers: dict[str, str]) -> None:
    """A foreign Origin is refused with a remedy; looking is allowed."""
    refused = client.post("/thing", headers=headers)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "foreign_origin"
    assert "--allowed-origins" in refused.json()["error"]["hint"]
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/session", headers=headers):
        pass
    assert client.get("/thing", headers=headers).status_code == 200
