"""The HTTP API over a real queue and library, with no worker about: backends, clips, jobs and health."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from avatars.bundle import AvatarBundle
from pipeline import registry
from pipeline.clock import ManualClock
from portal.api.health import ActiveJobs, JobsLook, find_trouble
from portal.backends import LOOKED_UP_EVERY_S
from portal.jobs.opening import open_queue
from portal.jobs.orders import order_of_preset
from portal.jobs.queue import JobQueue
from portal.jobs.records import KINDS, Job
from tests.portal.api_requests import PHOTO, error_of, leftovers, recording, send_photo
from tests.recordings import playlists

pytestmark = pytest.mark.thorough


def test_a_fault_of_ours_is_told_as_such(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has foreseen gets the same shape of error, without what went wrong inside."""

    def fail(*_args: Any, **_options: Any) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("dbos.DBOSClient.list_workflows", fail)
    error = error_of(client.get("/api/jobs"), 500)
    assert error["code"] == "internal" and "nought" not in error["message"] + error["hint"]


async def test_backends_are_looked_up_once_in_a_while(
    client: TestClient, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the list is asked for; what has come meanwhile shows seconds later."""
    looks: list[str] = []

    def look(kind: str, name: str, **options: Any) -> Any:
        looks.append(name)
        return create(kind, name, **options)

    create = registry.create
    monkeypatch.setattr(registry, "create", look)
    assert client.get("/api/backends").json() == client.get("/api/backends").json()
    assert len(looks) == len(set(looks))
    await clock.advance(LOOKED_UP_EVERY_S)
    looks.clear()
    client.get("/api/backends")
    assert looks


def test_backends_tell_what_they_are_called_and_what_they_lack(client: TestClient) -> None:
    """GET /api/backends: names as in the registry; those that cannot run name the command; voices; parameters."""
    told = client.get("/api/backends").json()
    assert {kind: [one["name"] for one in ones] for kind, ones in told.items()} == {
        kind: list(registry.names(kind)) for kind in ("llm", "tts", "lipsync")
    }
    beep = told["tts"][-1]
    assert (beep["name"], beep["ready"], beep["reason"], beep["voices"]) == ("beep", True, "", ["beep"])
    lipsync = {one["name"]: one for one in told["lipsync"]}
    assert not lipsync["wav2lip96"]["ready"] and "launch.py fetch wav2lip96" in lipsync["wav2lip96"]["reason"]
    assert lipsync["wav2lip96"]["parameters"] == {"pads": [0, 10, 0, 0], "smooth": True, "upper_boundary_ratio": 0.5}
    assert (lipsync["ultralight"]["parameters"], lipsync["viseme"]["parameters"]) == ({}, None)
    assert [name for name, one in lipsync.items() if one["own_network"]] == ["ultralight"]


@pytest.mark.parametrize("avatar_id", ["..", "%2e%2e%2fjobs", "nobody", ".deleted.x", "a" * 300])
def test_unknown_and_hostile_ids_are_not_found(client: TestClient, avatar_id: str) -> None:
    """An id that is no id never becomes a path."""
    for path in (f"/api/avatars/{avatar_id}/poster.jpg", f"/api/clips/{avatar_id}.mp4", f"/api/jobs/{avatar_id}"):
        assert client.get(path).status_code == 404


def test_a_clip_is_asked_for_in_text_or_with_a_recording(
    client: TestClient, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """POST /api/clips takes JSON, a form with text, or a form with a recording."""
    make_bundle("ada")
    asked = [
        client.post("/api/clips", json={"avatar": "ada", "text": "Hello"}),
        client.post("/api/clips", data={"avatar": "ada", "text": "Hello"}),
        client.post("/api/clips", data={"avatar": "ada"}, files={"audio": ("speech.wav", recording())}),
    ]
    assert [response.status_code for response in asked] == [202, 202, 202]
    assert {response.json()["kind"] for response in asked} == {"clip"}
    error_of(client.get(f"/api/clips/{asked[0].json()['id']}.mp4"), 404)


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"avatar": "ada", "text": ""}, 400),
        ({"avatar": "ada", "text": "x" * 100_000}, 400),
        ({"avatar": "", "text": "Hello"}, 400),
        ({"avatar": "nobody", "text": "Hello"}, 404),
        ({"text": "Hello"}, 400),
        (["no", "object"], 400),
    ],
)
def test_a_clip_that_cannot_be_made_is_refused(
    client: TestClient, make_bundle: Callable[..., AvatarBundle], wish: Any, status: int
) -> None:
    """Empty and endless texts, unknown avatars and malformed requests get an error with a remedy."""
    make_bundle("ada")
    error_of(client.post("/api/clips", json=wish), status)


def test_a_request_without_a_file_is_small(client: TestClient, make_bundle: Callable[..., AvatarBundle]) -> None:
    """It is held in memory as a whole, so it is refused as soon as it is known to be too large."""
    make_bundle("ada")
    wish = {"avatar": "ada", "text": "x" * 300_000}
    for response in (client.post("/api/clips", json=wish), client.post("/api/clips", data=wish)):
        assert error_of(response, 413)["code"] == "upload_too_large"

    def endless() -> Iterator[bytes]:
        yield b'{"text": "'
        for _ in range(400):
            yield b"x" * 1000

    response = client.post("/api/clips", content=endless(), headers={"content-type": "application/json"})
    assert error_of(response, 413)["code"] == "upload_too_large"


def test_a_recording_must_be_sound(
    client: TestClient, tmp_path: Path, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """A file without sound is refused, by its content, and not kept; so is a list that names another file."""
    make_bundle("ada")
    secret = tmp_path / "secret.wav"
    secret.write_bytes(recording())
    for content in (b"no sound at all" * 100, PHOTO.read_bytes(), playlists(f"file://{secret}")["hls"].encode()):
        response = client.post("/api/clips", data={"avatar": "ada"}, files={"audio": ("a.wav", content)})
        assert error_of(response, 415)["code"] == "unsupported_media"
    assert leftovers(tmp_path) == []


def test_a_finished_clip_is_downloaded(client: TestClient, queue: JobQueue) -> None:
    """The clip of a job is an MP4 that a player may seek in."""
    path = queue.folders.clip("abc-1")
    path.parent.mkdir()
    path.write_bytes(b"0123456789")
    response = client.get("/api/clips/abc-1.mp4", headers={"range": "bytes=2-4"})
    assert (response.status_code, response.content, response.headers["content-type"]) == (206, b"234", "video/mp4")


def test_a_clip_may_be_transparent(
    client: TestClient, queue: JobQueue, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Where it is known what the person is. It is called and served as what it is, and goes with its job."""
    wish = {"avatar": "ada", "text": "Hello"}
    bundle = make_bundle("ada")
    refused = error_of(client.post("/api/clips", json=wish | {"format": "webm"}), 400)
    assert (refused["code"], refused["cause"]) == ("bad_request", "no_alpha")
    error_of(client.post("/api/clips", json=wish | {"format": "gif"}), 400)
    bundle.mattes_path.write_bytes(b"known")
    for ending, media_type in (("webm", "video/webm"), ("mov", "video/quicktime")):
        job = client.post("/api/clips", data=wish | {"format": ending}).json()
        assert job["file_name"] == f"Ada - Hello.{ending}"
        path = queue.folders.clip(job["id"], ending)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"clip")
        answer = client.get(f"/api/clips/{job['id']}.{ending}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        assert f"Hello.{ending}" in answer.headers["content-disposition"].replace("%20", " ")
        error_of(client.get(f"/api/clips/{job['id']}.mp4"), 404)
        queue.delete(job["id"])
        assert not path.exists()


def test_health_tells_sessions_jobs_and_backends(client: TestClient, make_bundle: Callable[..., AvatarBundle]) -> None:
    """GET /healthz says what a monitor wants to know; without an avatar nobody can talk, and its status says so."""
    send_photo(client, PHOTO.read_bytes())
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "down") and "no avatar" in answer.json()["problems"][
        0
    ]
    make_bundle("ada")
    assert client.get("/healthz").json() == {
        "status": "ok",
        "version": "1.2.3",
        "node": "",
        "sessions": {"live": 1, "capacity": 8},
        "jobs": {"queued": 1, "running": 0},
        "avatars": 1,
        "backends": {"llm": "guide", "tts": "auto", "lipsync": "viseme"},
        "problems": [],
    }


def test_health_names_what_is_wrong(tmp_path: Path, queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, a folder that takes nothing, a worker that does not start, and jobs that nobody runs."""
    assert find_trouble(tmp_path, ActiveJobs(())) == []
    queue.submit(order_of_preset("mira", "Mira"))
    active = ActiveJobs(queue.active())
    asked_at_s = active.jobs[0].created_at
    assert find_trouble(tmp_path, active, clock_s=lambda: asked_at_s + 59) == []
    assert "no worker" in find_trouble(tmp_path, active, clock_s=lambda: asked_at_s + 61)[0]
    assert find_trouble(tmp_path, active, "It died.", lambda: asked_at_s + 61) == ["It died."]
    monkeypatch.setattr("portal.api.health.shutil.disk_usage", lambda _path: SimpleNamespace(free=5 * 2**20))
    monkeypatch.setattr("portal.api.health.os.access", lambda _path, _mode: False)
    full, closed = find_trouble(tmp_path, active, clock_s=lambda: asked_at_s)
    assert "5 MB are left" in full and "cannot be written" in closed


async def test_a_database_that_is_silent_holds_no_look_at_health_up(queue: JobQueue) -> None:
    """Balancers would take every node out at once. One thread waits for it, however many look."""
    asked: list[float] = []
    speaks = threading.Event()

    def silent() -> list[Job]:
        asked.append(0.0)
        speaks.wait(30)
        return []

    look = JobsLook(cast(JobQueue, SimpleNamespace(active=silent)), within_s=0.01)
    for _ in range(3):
        assert "does not answer" in (await look.take()).trouble
    speaks.set()
    async with asyncio.timeout(30):
        while (await look.take()).trouble:
            pass
    assert len(asked) <= 2


def test_people_may_talk_while_the_database_of_jobs_is_away(
    client: TestClient, queue: JobQueue, tmp_path: Path, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Health says what is wrong with status 200; whoever asks for a job is told, with one that means "later"."""
    make_bundle("ada")
    away = open_queue(tmp_path, ["ada"], database_url="postgresql://me:topsecret@127.0.0.1:1/jobs")
    unknown = asyncio.run(JobsLook(away, within_s=30).take())
    assert find_trouble(tmp_path, unknown) == ["The database of jobs cannot be reached."]
    queue.store = away.store
    assert client.get("/healthz").json()["jobs"] == {"queued": 0, "running": 0}
    assert error_of(client.get("/api/jobs"), 503)["code"] == "database_unreachable"


def test_malformed_queries_are_explained(client: TestClient) -> None:
    """A bad query gets the same shape of error as everything else."""
    assert "limit" in error_of(client.get("/api/jobs?limit=many"), 400)["message"]
    assert "kind" in error_of(client.get("/api/jobs?kind=other"), 400)["message"]
    assert all(client.get(f"/api/jobs?kind={kind}").status_code == 200 for kind in KINDS)


def test_a_clip_is_downloaded_under_its_name(
    client: TestClient, queue: JobQueue, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Who speaks and what, also in Chinese; as it was called when it was asked for."""
    make_bundle("ada")
    client.patch("/api/avatars/ada", json={"name": "米拉"})
    job = client.post("/api/clips", json={"avatar": "ada", "text": "大家好"}).json()
    assert job["file_name"] == "米拉 - 大家好.mp4"
    client.patch("/api/avatars/ada", json={"name": "Ada"})
    path = queue.folders.clip(job["id"])
    path.parent.mkdir()
    path.write_bytes(b"clip")
    told = client.get(f"/api/clips/{job['id']}.mp4").headers["content-disposition"]
    assert told == f"inline; filename*=utf-8''{quote('米拉 - 大家好.mp4')}"
