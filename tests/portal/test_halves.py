"""The two halves of the portal work apart from each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from avatars.bundle import AvatarBundle
from avatars.library import AvatarLibrary
from portal.desk import Desk
from portal.http.errors import answer_errors
from portal.settings import Settings
from portal.talk import Talk
from tests.turn_company import CLOUDFLARE, TOKEN, turn_company


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, worker=False)


def client_of(half: Desk | Talk) -> TestClient:
    """An application that has this half only; started by entering it."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with half.running():
            yield

    app = FastAPI(lifespan=lifespan)
    answer_errors(app)
    for router in half.routers():
        app.include_router(router)
    return TestClient(app)


def test_avatars_and_jobs_need_no_sessions(
    settings: Settings, make_bundle: Callable[..., AvatarBundle], tmp_path: Path
) -> None:
    """The library is listed, a clip is queued, and at the start what a killed writer left is swept."""
    make_bundle("ada")
    (tmp_path / "avatars" / ".deleted.theo.1234").mkdir()
    with client_of(Desk.build(settings)) as client:
        assert [avatar["id"] for avatar in client.get("/api/avatars").json()] == ["ada"]
        job = client.post("/api/clips", json={"avatar": "ada", "text": "Hello."}).json()
        assert client.get(f"/api/jobs/{job['id']}").json()["state"] == "queued"
        assert client.get("/metrics").status_code == 404
    assert [path.name for path in (tmp_path / "avatars").iterdir()] == ["ada"]


def test_sessions_need_no_jobs(settings: Settings, library: AvatarLibrary, tmp_path: Path) -> None:
    """The engine starts and ends, tells its backends and figures, and no database of jobs is made."""

    def prepare_for(avatar: str, backend: str, _address: str) -> None:
        pytest.fail(f"{avatar} is to be prepared for {backend}")

    talk = Talk.build(settings, library, prepare_for)  # type: ignore[arg-type]
    with client_of(talk) as client:
        assert client.get("/api/backends").status_code == 200
        assert "vivavoce" in client.get("/metrics").text
        assert client.get("/api/jobs").status_code == 404
    assert not (tmp_path / "jobs.db").exists()


def test_turn_servers_that_are_lent_are_there_for_the_first_viewer(
    tmp_path: Path, library: AvatarLibrary, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside those of the settings; the token is told to nobody, and goes to the company alone."""
    given = Settings(
        data_dir=tmp_path,
        worker=False,
        stun_urls=("stun:a",),
        turn_service="cloudflare",
        turn_service_key="KEY1",
        turn_service_token=SecretStr(TOKEN),
    )
    caplog.set_level("DEBUG")
    with turn_company(monkeypatch, "cloudflare", CLOUDFLARE):
        talk = Talk.build(given, library, lambda avatar, _backend, _address: pytest.fail(avatar))
        with client_of(talk):
            named = talk.socket.browser_ice_servers()
    assert [server["urls"] for server in named[:2]] == [["stun:a"], ["stun:stun.cloudflare.com:3478"]]
    assert named[2]["credential"] == CLOUDFLARE["iceServers"][1]["credential"]
    assert TOKEN not in caplog.text
