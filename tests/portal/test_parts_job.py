"""Preparing an avatar for a neural backend as a job: asked for over HTTP, run by the real worker, though killed."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from avatars.bundle import decode_jpeg
from avatars.face_formats import FACE_FORMATS, crop_parameters
from avatars.library import AvatarLibrary
from avatars.parts import BackendParts, parts_path
from portal.api import avatars as avatars_api
from portal.api.avatars import avatars_router
from portal.api.jobs import jobs_router
from portal.http.bodies import Bodies
from portal.intake.submissions import ensure_parts
from portal.intake.uploads import Uploads
from portal.jobs.opening import open_queue
from portal.jobs.orders import order_of_parts
from portal.jobs.queue import JobQueue
from portal.jobs.shares import JobShares
from portal.settings import Settings
from portal.worker.process import WorkerProcess
from tests.backend_rows import replace_backend
from tests.portal.test_jobs_worker import until
from tests.portraits import portrait_bundle

pytestmark = pytest.mark.thorough


class Ready:
    """A lip-sync that lacks nothing."""

    def __init__(self, **_options: Any) -> None:
        pass


@pytest.fixture
def all_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if weights and packages of all networks were there; preparing for some needs none."""
    for backend in FACE_FORMATS:
        replace_backend(monkeypatch, "lipsync", backend, f"{__name__}:Ready")


@pytest.fixture
def queue(tmp_path: Path, library: AvatarLibrary) -> Iterator[JobQueue]:
    queue = open_queue(tmp_path, library)
    yield queue
    queue.close()


@pytest.fixture
def client(tmp_path: Path, library: AvatarLibrary, queue: JobQueue) -> Iterator[TestClient]:
    app = FastAPI()
    settings, shares = Settings(data_dir=tmp_path), JobShares(queue.active_askers, 50)
    app.include_router(avatars_router(library, queue, settings, Uploads(tmp_path), shares))
    app.include_router(jobs_router(queue, JobShares(queue.active_askers, 50), library))
    portrait_bundle(library.root / "ada", size=128)
    with TestClient(Bodies(app)) as client:
        yield client


@pytest.mark.usefixtures("all_ready")
def test_preparing_for_a_backend_is_asked_for_once(client: TestClient) -> None:
    """POST /api/avatars/{id}/parts answers 202 with a job; asking again gives the same one while it is under way."""
    wanted = {"backend": "musetalk15", "parameters": {"bbox_shift": 3}}
    response = client.post("/api/avatars/ada/parts", json=wanted)
    assert response.status_code == 202
    job = response.json()
    assert (job["kind"], job["state"], job["name"]) == ("parts", "queued", "woman: musetalk15")
    assert (job["avatar"], job["backend"]) == ("ada", "musetalk15")
    assert client.post("/api/avatars/ada/parts", json=wanted).json()["id"] == job["id"]
    other = client.post("/api/avatars/ada/parts", json={"backend": "wav2lip96"}).json()
    assert other["id"] != job["id"]
    assert {one["id"] for one in client.get("/api/jobs?kind=parts").json()} == {job["id"], other["id"]}


@pytest.mark.usefixtures("all_ready")
def test_the_last_wish_counts(client: TestClient, tmp_path: Path, library: AvatarLibrary, queue: JobQueue) -> None:
    """Other parameters are another job, after the one under way; a session, which has no wish, waits for the last."""

    def wish(shift: int) -> str:
        wanted = {"backend": "musetalk15", "parameters": {"bbox_shift": shift}}
        return str(client.post("/api/avatars/ada/parts", json=wanted).json()["id"])

    first, second, first_again = wish(3), wish(5), wish(3)
    assert len({first, second, first_again}) == 3 and wish(3) == first_again
    assert [job.id for job in queue.list()] == [first_again, second, first]

    def ensure() -> str:
        return ensure_parts(library, queue, Settings(data_dir=tmp_path), avatar="ada", backend="musetalk15").id

    assert ensure() == first_again
    for job in (first, second, first_again):
        queue.cancel(job)
    usual = ensure()
    assert queue.get(usual).parameters == crop_parameters("musetalk15").to_json() and ensure() == usual


def test_a_backend_that_cannot_run_here_is_refused_at_once(client: TestClient) -> None:
    """Without weights nothing is queued, and the command that brings them is told; a preview needs none."""
    for backend in FACE_FORMATS:
        response = client.post("/api/avatars/ada/parts", json={"backend": backend})
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (503, "backend_unavailable")
        assert f"launch.py fetch {backend}" in error["hint"]
        assert client.post("/api/avatars/ada/parts/preview", json={"backend": backend}).status_code == 200
    assert client.get("/api/jobs").json() == []


@pytest.mark.usefixtures("all_ready")
def test_an_avatar_without_its_own_network_is_refused(client: TestClient, library: AvatarLibrary) -> None:
    """Ultralight is a network for each avatar: nothing is queued until it is there."""
    response = client.post("/api/avatars/ada/parts", json={"backend": "ultralight"})
    assert (response.status_code, response.json()["error"]["code"]) == (409, "network_missing")
    assert "data/avatars/ada/parts/ultralight.pth" in response.json()["error"]["hint"]
    network = parts_path(library.open("ada"), "ultralight").with_suffix(".pth")
    network.parent.mkdir()
    network.write_bytes(b"weights")
    assert client.post("/api/avatars/ada/parts", json={"backend": "ultralight"}).status_code == 202


@pytest.mark.parametrize(
    ("avatar", "body", "status"),
    [
        ("nobody", {"backend": "musetalk15"}, 404),
        ("ada", {"backend": "../../etc"}, 400),
        ("ada", {"backend": "viseme"}, 400),
        ("ada", {"backend": "musetalk15", "parameters": {"beard": 1}}, 400),
        ("ada", {"backend": "musetalk15", "parameters": {"bbox_shift": "much"}}, 400),
        ("ada", {"backend": "musetalk15", "parameters": {"bbox_shift": 1000}}, 400),
        ("ada", {"backend": "wav2lip96", "parameters": {"smooth": "no"}}, 400),
        ("ada", {"backend": "wav2lip96", "parameters": {"upper_boundary_ratio": [1]}}, 400),
        ("ada", {}, 400),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_is_queued(
    client: TestClient, avatar: str, body: dict[str, Any], status: int
) -> None:
    """An unknown avatar, backend or parameter is told at once, with what there is instead."""
    for path in ("parts", "parts/preview"):
        response = client.post(f"/api/avatars/{avatar}/{path}", json=body)
        assert response.status_code == status and response.json()["error"]["hint"]
    names_told = "There are: bbox_shift" in response.json()["error"]["hint"]
    assert names_told is ("beard" in body.get("parameters", {}))  # no help where only a value is wrong
    assert client.get("/api/jobs").json() == []


def test_parameters_are_previewed_on_the_first_frame(client: TestClient, library: AvatarLibrary) -> None:
    """POST /api/avatars/{id}/parts/preview gives a picture at once, another for other parameters, and keeps nothing."""

    def preview(backend: str, **parameters: Any) -> np.ndarray:
        wanted = {"backend": backend, "parameters": parameters}
        response = client.post("/api/avatars/ada/parts/preview", json=wanted)
        assert response.status_code == 200 and response.headers["content-type"] == "image/jpeg"
        return decode_jpeg(response.content)

    filmed = library.open("ada").frame(0)
    pictures = [preview("musetalk15"), preview("musetalk15", parsing_mode="neck"), preview("wav2lip96")]
    assert all(picture.shape == (128, 128, 3) for picture in pictures)
    assert not np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])
    assert np.array_equal(pictures[0], preview("musetalk15")) and np.array_equal(filmed, library.open("ada").frame(0))
    assert client.get("/api/jobs").json() == []


def test_previews_are_drawn_one_at_a_time(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask at once: drawing takes a core, and people who talk need theirs."""
    at_work, met = threading.Lock(), threading.Event()
    draw = avatars_api.draw_preview

    def draw_alone(*arguments: Any) -> Any:
        if not at_work.acquire(blocking=False):
            met.set()
            return draw(*arguments)
        met.wait(0.05)  # whoever is let in now would be met
        at_work.release()
        return draw(*arguments)

    monkeypatch.setattr(avatars_api, "draw_preview", draw_alone)
    with ThreadPoolExecutor(6) as pool:
        wish = {"backend": "wav2lip96"}
        asked = [pool.submit(client.post, "/api/avatars/ada/parts/preview", json=wish) for _ in range(6)]
        assert {one.result().status_code for one in asked} == {200}
    assert not met.is_set()


async def test_a_killed_preparation_goes_on_with_the_next_batch(
    tmp_path: Path, library: AvatarLibrary, queue: JobQueue
) -> None:
    """The real worker, killed with -9 between two batches, is replaced by one that keeps what was finished."""
    bundle = portrait_bundle(library.root / "ada", size=512, shifts=tuple(np.arange(500) % 9))
    settings = Settings(data_dir=tmp_path, worker_idle_s=30)
    worker = WorkerProcess(settings, queue)
    usual = crop_parameters("wav2lip256").to_json()
    job = await asyncio.to_thread(queue.submit, order_of_parts("ada", "Ada", "wav2lip256", usual))
    await worker.start()
    try:
        folder = queue.folders.work(job.id)
        await until(queue, job.id, lambda job: not job.active or any(folder.glob("*/batch-*")))
        killed = worker.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        finished = {path: path.stat().st_mtime_ns for path in folder.glob("*/batch-*")}
        assert 0 < len(finished) < 32
        await until(queue, job.id, lambda _: worker.pid not in (None, killed))
        kept = {path: path.stat().st_mtime_ns for path in finished}
        job = await until(queue, job.id, lambda job: not job.active)
        assert kept == finished
        expected = {"avatar": "ada", "backend": "wav2lip256", "notices": [], "notice_codes": []}
        assert job.state == "done" and job.result == expected, job.error
        assert BackendParts.open(bundle, "wav2lip256").row("faces", 499).shape == (256, 256, 3)
        assert not folder.exists()
    finally:
        await worker.aclose()


async def test_missing_weights_fail_the_job_with_the_command_that_gets_them(
    tmp_path: Path, library: AvatarLibrary, queue: JobQueue
) -> None:
    """A job whose weights are gone when its turn comes fails in plain words and leaves no parts."""
    pytest.importorskip("torch")
    bundle = portrait_bundle(library.root / "ada", size=128)
    worker = WorkerProcess(Settings(data_dir=tmp_path, worker_idle_s=30), queue)
    usual = crop_parameters("musetalk15").to_json()
    job = await asyncio.to_thread(queue.submit, order_of_parts("ada", "Ada", "musetalk15", usual))
    await worker.start()
    try:
        job = await until(queue, job.id, lambda job: not job.active)
        assert job.state == "failed" and job.error is not None
        assert job.error.code == "backend_unavailable" and "fetch musetalk15" in job.error.hint
        assert not (bundle.path / "parts").exists()
    finally:
        await worker.aclose()
