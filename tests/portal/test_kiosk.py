"""A portal that is a kiosk: the stage view, and nothing that could be changed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from portal.app import create_app
from portal.settings import Settings


@pytest.fixture(scope="module")
def kiosk(tmp_path_factory: pytest.TempPathFactory) -> httpx.ASGITransport:
    """At rest, and without anything in it that could be changed."""
    return httpx.ASGITransport(
        app=create_app(Settings(data_dir=tmp_path_factory.mktemp("kiosk"), worker=False, kiosk=True))
    )


@pytest.fixture
async def visitor(kiosk: httpx.ASGITransport) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=kiosk, base_url="http://127.0.0.1") as client:
        yield client


async def test_the_first_page_is_the_stage_view(visitor: httpx.AsyncClient) -> None:
    """Without the tabs of the desk."""
    page = await visitor.get("/")
    assert page.status_code == 200 and "vivavoce-talk" in page.text and 'data-defaults="kiosk=1"' in page.text
    assert "desk/avatars.js" not in page.text and "whole-page.js" not in page.text
    assert "'unsafe-eval'" not in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/avatars"),
        ("DELETE", "/api/avatars/mira"),
        ("PATCH", "/api/avatars/mira"),
        ("POST", "/api/clips"),
        ("POST", "/api/sessions"),
        ("GET", "/api/jobs"),
        ("GET", "/api/clips/a-1.mp4"),
        ("POST", "/api/jobs/a-1/cancel"),
    ],
)
async def test_nothing_can_be_changed_or_looked_through(visitor: httpx.AsyncClient, method: str, path: str) -> None:
    """By no address of the API, whether it exists or not."""
    answer = await visitor.request(method, path)
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "kiosk"


OPEN = {
    "/api/avatars",
    "/api/avatars/{avatar_id}",
    "/api/avatars/{avatar_id}/persona",
    "/api/avatars/{avatar_id}/poster.jpg",
    "/api/avatars/{avatar_id}/preview.mp4",
    "/api/avatars/{avatar_id}/mattes.bin",
    "/api/avatars/{avatar_id}/cutout.webp",
    "/api/avatars/{avatar_id}/gestures",
    "/api/avatars/{avatar_id}/gestures/{name}/poster.jpg",
    "/api/avatars/{avatar_id}/gestures/{name}/preview.mp4",
    "/api/backends",
    "/api/backends/tts/{name}/preview",
    "/api/recordings/{recording_id}.{kind}",
}


async def test_of_all_that_can_be_read_only_what_the_stage_view_needs_is_open(visitor: httpx.AsyncClient) -> None:
    """Export, face report, voice sample, jobs, clips, sessions are closed; so is whatever is added and not named."""
    routes = (await visitor.get("/openapi.json")).json()["paths"]
    readable = {path for path, methods in routes.items() if "get" in methods and path.startswith("/api/")}
    assert readable > OPEN
    for path in sorted(readable):
        answer = await visitor.get(re.sub(r"\{(\w+)\}", "mira", path))
        is_closed = answer.status_code == 403 and answer.json()["error"]["code"] == "kiosk"
        assert is_closed == (path not in OPEN), path


async def test_what_the_stage_view_needs_is_there(visitor: httpx.AsyncClient) -> None:
    """The list of avatars, the choices, the scripts."""
    for path in ("/api/avatars", "/choices.json", "/static/stage/stage.js"):
        assert (await visitor.get(path)).status_code == 200
