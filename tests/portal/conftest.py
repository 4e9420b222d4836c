"""Fixtures for tests of the portal: the session socket, the HTTP API, the login, sessions and Postgres."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from avatars.bundle import AvatarBundle
from avatars.library import AvatarLibrary
from pipeline.clock import ManualClock
from portal.api.avatars import avatars_router
from portal.api.backends import backends_router
from portal.api.clips import clips_router
from portal.api.health import health_router
from portal.api.jobs import jobs_router
from portal.backends import BackendCatalogue
from portal.commands.portal_process import PortalProcess, running_portal
from portal.http.bodies import Bodies
from portal.http.people import Role, UsersFile
from portal.intake.uploads import Uploads
from portal.jobs.opening import open_queue
from portal.jobs.queue import JobQueue
from portal.jobs.shares import JobShares
from portal.sessions import SessionManager
from portal.settings import Settings
from tests.browser.conftest import write_avatar
from tests.gesture_clips import give_gesture
from tests.portal.api_requests import MAX_UPLOAD_BYTES
from tests.portal.grey_manager import grey_manager
from tests.portal.login_gate import Opened, opened_gate
from tests.portal.postgres import Postgres, running_postgres
from tests.portal.session_house import House, open_house


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="module")
def quick_passwords() -> Iterator[None]:
    """Passwords are hashed a thousand times as fast, for modules that log in often but start no portal of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("portal.http.people.SCRYPT_COST", 2**4)
        yield


@pytest.fixture(scope="session")
def calling_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """A portal as a user starts it, for callers: LiveTalking's API is on, and there is room for two sessions.

    Its avatar `beta` can wave. Every test leaves both places free.
    """
    data_dir = tmp_path_factory.mktemp("calling")
    write_avatar(data_dir / "avatars" / "alpha", 90)
    give_gesture(AvatarBundle.open(write_avatar(data_dir / "avatars" / "beta", 60)), "wave", 25)
    measuring = ("--avatar", "alpha", "--tts", "beep", "--lipsync", "flash", "--llm", "echo", "--no-worker")
    room = ("--max-sessions", "2", "--sessions-per-address", "2")
    with running_portal(data_dir, *measuring, *room, "--livetalking", "--livetalking-admin") as process:
        yield process


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    """A value for the setting `database_url`: a new, empty database."""
    return postgres.new_database(f"jobs_{uuid4().hex}")


@pytest.fixture
def queue(tmp_path: Path, library: AvatarLibrary) -> Iterator[JobQueue]:
    queue = open_queue(tmp_path, library, max_waiting=4)
    yield queue
    queue.close()


@pytest.fixture
def client(tmp_path: Path, library: AvatarLibrary, queue: JobQueue, clock: ManualClock) -> Iterator[TestClient]:
    """A client of the HTTP API, with a real queue and library."""
    choice = SimpleNamespace(llm="guide", tts="auto", lipsync="viseme")
    sessions: Any = SimpleNamespace(admission=SimpleNamespace(taken=1, capacity=8), choice=choice)
    settings = Settings(data_dir=tmp_path, max_upload_bytes=MAX_UPLOAD_BYTES)
    app = FastAPI()
    uploads, shares = Uploads(settings.data_dir), JobShares(queue.active_askers, 50)
    app.include_router(avatars_router(library, queue, settings, uploads, shares))
    app.include_router(backends_router(BackendCatalogue(settings, clock)))
    app.include_router(clips_router(library, queue, settings, uploads, shares))
    app.include_router(jobs_router(queue, shares, library))
    app.include_router(health_router(sessions, library, queue, version="1.2.3"))
    with TestClient(Bodies(app)) as client:
        yield client


@pytest.fixture(scope="session")
def three_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a viewer, a maker and an admin; passwords equal names. Made once, because hashing is slow."""
    path = tmp_path_factory.mktemp("people") / "users.json"
    users = UsersFile(path)
    for name, role in (("vera", Role.VIEWER), ("max", Role.MAKER), ("ada", Role.ADMIN)):
        users.set(name, name, role)
    return path


@pytest.fixture
def users(three_people: Path, tmp_path: Path) -> UsersFile:
    return UsersFile(Path(shutil.copy2(three_people, tmp_path)))


@pytest.fixture
def opened(tmp_path: Path, clock: ManualClock) -> Opened:
    return partial(opened_gate, tmp_path, clock)


@pytest.fixture
def queued() -> list[tuple[str, str, str]]:
    """The (avatar, backend) pairs for which the manager has asked for a preparation."""
    return []


@pytest.fixture
def told() -> list[tuple[str, Mapping[str, object]]]:
    """The events that the manager has sent to webhooks."""
    return []


@pytest.fixture
async def manager(
    tmp_path: Path, queued: list[tuple[str, str, str]], told: list[tuple[str, Mapping[str, object]]]
) -> AsyncIterator[SessionManager]:
    async with grey_manager(tmp_path, queued, told) as opened:
        yield opened
