"""The HTTP API over a real queue and library, with no worker about."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sqlite3
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from avatars.bundle import AvatarBundle
from avatars.library import AvatarLibrary, presets
from avatars.mattes import MattesMaker
from avatars.parts import parts_path
from pipeline import registry
from pipeline.clock import ManualClock
from portal.api.avatars import avatars_router
from portal.api.backends import backends_router
from portal.api.clips import clips_router
from portal.api.health import find_trouble, health_router
from portal.api.jobs import jobs_router
from portal.backends import LOOKED_UP_EVERY_S, BackendCatalogue
from portal.http.bodies import Bodies
from portal.intake.uploads import Uploads
from portal.jobs.opening import open_queue
from portal.jobs.orders import order_of_clip, order_of_parts, order_of_preset
from portal.jobs.queue import JobQueue
from portal.jobs.shares import JobShares
from portal.settings import Settings
from tests.portraits import plain_parts
from tests.recordings import playlists

pytestmark = pytest.mark.thorough

MAX_UPLOAD_BYTES = 2_000_000
PHOTO = presets()[0].picture


@pytest.fixture
def queue(tmp_path: Path, library: AvatarLibrary) -> Iterator[JobQueue]:
    queue = open_queue(tmp_path, library, max_waiting=4)
    yield queue
    queue.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def client(tmp_path: Path, library: AvatarLibrary, queue: JobQueue, clock: ManualClock) -> Iterator[TestClient]:
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


def error_of(response: Any, status: int) -> dict[str, str]:
    assert response.status_code == status, response.text
    error: dict[str, str] = response.json()["error"]
    assert error["message"] and error["hint"]
    return error


def recording() -> bytes:
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(b"\0\0" * 16000)
    return sound.getvalue()


def send_photo(client: TestClient, content: bytes, file_name: str = "me.png", **fields: str) -> Any:
    return client.post("/api/avatars", files={"file": (file_name, content)}, data={"consent": "true", **fields})


def leftovers(folder: Path) -> list[Path]:
    return [path for part in ("uploads", "jobs") for path in (folder / part).rglob("*") if path.is_file()]


def test_a_photo_is_taken_and_its_job_can_be_followed(client: TestClient, queue: JobQueue) -> None:
    """POST /api/avatars answers 202 with a waiting job that GET /api/jobs/{id} shows and DELETE cancels."""
    response = send_photo(client, PHOTO.read_bytes(), name="Mira the second")
    assert response.status_code == 202
    job = response.json()
    assert {"id", "kind", "state", "stage", "progress", "error", "result"} <= job.keys()
    assert (job["kind"], job["state"], job["name"]) == ("prepare", "queued", "Mira the second")
    assert client.get(f"/api/jobs/{job['id']}").json() == job
    assert client.get("/api/jobs").json() == [job]
    assert client.delete(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"
    assert client.delete(f"/api/jobs/{job['id']}").status_code == 200
    error_of(client.get(f"/api/jobs/{job['id']}"), 404)


@pytest.mark.parametrize("file_name", ["../../evil.png", "x" * 300 + ".png", "a\0b.png", "..", "C:\\me.png", "面.png"])
def test_hostile_file_names_do_no_harm(client: TestClient, tmp_path: Path, file_name: str) -> None:
    """A file name is only ever shown: the stored file has a name of ours, inside the data folder."""
    response = send_photo(client, PHOTO.read_bytes(), file_name)
    assert response.status_code == 202, response.text
    assert len(response.json()["name"]) <= 60
    (stored,) = leftovers(tmp_path)
    assert stored.parent.parent == tmp_path / "jobs" and stored.stem == "upload"


def test_a_wrong_type_is_told_by_its_content(client: TestClient, tmp_path: Path) -> None:
    """A text named .png is refused at once, with what would be taken, and not kept."""
    error = error_of(send_photo(client, b"#!/bin/sh\necho no picture\n" * 20), 422)
    assert error["code"] == "bad_media" and "text" in error["message"] and error["hint"]
    assert leftovers(tmp_path) == []


def test_an_empty_file_is_refused(client: TestClient, tmp_path: Path) -> None:
    """A file without bytes is no picture; the cause is told for who tells it in another language."""
    error = error_of(send_photo(client, b""), 422)
    assert (error["code"], error["cause"]) == ("bad_media", "empty")
    assert leftovers(tmp_path) == []


def test_consent_is_required(client: TestClient, tmp_path: Path) -> None:
    """Without the tick nothing is stored."""
    assert "consent" in error_of(send_photo(client, PHOTO.read_bytes(), consent=""), 400)["hint"]
    assert leftovers(tmp_path) == []


def test_a_form_without_a_file_is_refused(client: TestClient) -> None:
    """A missing or text-only file field, and a body that is no form, are told apart from a server fault."""
    error_of(client.post("/api/avatars", data={"name": "x", "consent": "true"}), 400)
    error_of(client.post("/api/avatars", data={"file": "x"}), 400)
    error_of(client.post("/api/avatars", content=b"xx", headers={"content-type": "multipart/form-data"}), 400)


@pytest.mark.parametrize("charset", ["punycode", "undefined", "idna", "utf-7", "nonsense"])
def test_a_form_is_in_utf_8(client: TestClient, charset: str) -> None:
    """Python has codecs that take minutes, or raise whatever they like."""
    body = '--b\r\nContent-Disposition: form-data; name="text"\r\n\r\nHello\r\n--b--\r\n'
    headers = {"content-type": f"multipart/form-data; boundary=b; charset={charset}"}
    for path in ("/api/avatars", "/api/clips"):
        assert "UTF-8" in error_of(client.post(path, content=body, headers=headers), 400)["message"]


def test_a_form_without_a_file_is_small(client: TestClient) -> None:
    """Its fields are taken apart in the thread that everybody shares."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    error_of(client.post("/api/clips", content=b"&" * 100_000, headers=headers), 413)


def test_an_upload_over_the_limit_is_refused_by_its_declared_length(client: TestClient, tmp_path: Path) -> None:
    """Content-Length alone is enough to refuse."""
    error = error_of(send_photo(client, b"x" * (MAX_UPLOAD_BYTES + 100_000)), 413)
    assert error["code"] == "upload_too_large" and leftovers(tmp_path) == []


def test_an_upload_over_the_limit_is_refused_while_it_is_read(client: TestClient) -> None:
    """Without a declared length reading stops at the limit, not at the end."""
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        for _ in range(60):
            sent += 50_000
            yield b"x" * 50_000

    response = client.post("/api/avatars", content=body(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert error_of(response, 413)["code"] == "upload_too_large"


def test_a_full_disk_answers_507_and_leaves_nothing(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space left in the middle of storing: 507 with a remedy, no file, no job."""

    def copy(source: Any, target: Any) -> None:
        target.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    assert error_of(send_photo(client, PHOTO.read_bytes()), 507)["code"] == "disk_full"
    assert leftovers(tmp_path) == [] and client.get("/api/jobs").json() == []


def test_a_database_that_cannot_grow_answers_507_and_leaves_nothing(
    client: TestClient, tmp_path: Path, make_bundle: Callable[..., AvatarBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upload fits, the record of its job does not: told alike, and the upload is not kept."""
    make_bundle("ada")

    def enqueue(*_args: Any) -> None:
        with sqlite3.connect(":memory:") as database:
            database.execute("PRAGMA max_page_count = 3")
            database.execute("CREATE TABLE t AS SELECT zeroblob(100000)")

    monkeypatch.setattr("dbos.DBOSClient.enqueue", enqueue)
    assert error_of(send_photo(client, PHOTO.read_bytes()), 507)["code"] == "disk_full"
    assert error_of(client.post("/api/clips", json={"avatar": "ada", "text": "Hello"}), 507)["code"] == "disk_full"
    assert leftovers(tmp_path) == [] and client.get("/api/jobs").json() == []


def test_a_fault_of_ours_is_told_as_such(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has foreseen gets the same shape of error, without what went wrong inside."""

    def fail(*_args: Any, **_options: Any) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("dbos.DBOSClient.list_workflows", fail)
    error = error_of(client.get("/api/jobs"), 500)
    assert error["code"] == "internal" and "nought" not in error["message"] + error["hint"]


def test_a_full_queue_answers_429(client: TestClient, tmp_path: Path) -> None:
    """The fifth waiting job is refused where four may wait, and its upload is not kept."""
    for _ in range(4):
        assert send_photo(client, PHOTO.read_bytes()).status_code == 202
    kept = len(leftovers(tmp_path))
    assert error_of(send_photo(client, PHOTO.read_bytes()), 429)["code"] == "queue_full"
    assert len(leftovers(tmp_path)) == kept


def test_the_person_of_an_avatar_can_be_had_alone(client: TestClient, make_bundle: Callable[..., AvatarBundle]) -> None:
    """Where its mattes are known there are URLs of them and of a still with alpha; elsewhere there are none."""
    bundle = make_bundle("ada")
    (plain,) = client.get("/api/avatars").json()
    assert (plain["mattes"], plain["cutout"]) == (None, None)
    for missing in ("mattes.bin", "cutout.webp"):
        error_of(client.get(f"/api/avatars/ada/{missing}"), 404)
    maker = MattesMaker()
    for _ in range(bundle.frame_count):
        maker.add(np.zeros((bundle.height, bundle.width), np.uint8))
    data = maker.made(bundle.frame(0)).to_bytes(bundle.loop)
    bundle.mattes_path.write_bytes(data)
    (avatar,) = client.get("/api/avatars").json()
    assert client.get(avatar["mattes"]).content == data
    still = client.get(avatar["cutout"])
    assert still.headers["content-type"] == "image/webp"
    shown = cv2.imdecode(np.frombuffer(still.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown is not None and shown[..., 3].max() == 0


def test_avatars_are_listed_shown_and_deleted(client: TestClient, make_bundle: Callable[..., AvatarBundle]) -> None:
    """The gallery has names and URLs that work; a deleted avatar is gone."""
    make_bundle("ada")
    (avatar,) = client.get("/api/avatars").json()
    assert (avatar["id"], avatar["name"], avatar["preview"]) == ("ada", "Ada", None)
    poster = client.get(avatar["poster"])
    assert poster.status_code == 200 and poster.headers["content-type"] == "image/jpeg"
    assert client.get("/api/avatars/ada").json() == avatar
    error_of(client.get("/api/avatars/ada/preview.mp4"), 404)
    assert client.delete("/api/avatars/ada").status_code == 204
    error_of(client.delete("/api/avatars/ada"), 404)
    assert client.get("/api/avatars").json() == []


def test_jobs_of_a_deleted_avatar_are_cancelled(
    client: TestClient, queue: JobQueue, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Nothing goes on being made for an avatar that is gone."""
    make_bundle("ada")
    parts = queue.submit(order_of_parts("ada", "Ada", "wav2lip96", {}))
    clip = queue.submit(order_of_clip(avatar="ada", text="hello"))
    assert client.delete("/api/avatars/ada").status_code == 204
    told = [client.get(f"/api/jobs/{job.id}").json() for job in (parts, clip)]
    assert [(job["state"], job["retryable"], job["gone"]) for job in told] == [("cancelled", False, "avatar")] * 2


def test_an_avatar_tells_for_which_backends_it_is_prepared(
    client: TestClient, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """`prepared` names backends with what was used, and leaves out parts that nobody could use."""
    bundle = make_bundle("ada")
    assert client.get("/api/avatars/ada").json()["prepared"] == {}
    for backend in ("musetalk15", "wav2lip96", "ultralight"):
        plain_parts(bundle, backend, {"bbox_shift": 3})
    parts_path(bundle, "wav2lip96").write_bytes(b"damaged")
    told = client.get("/api/avatars/ada").json()
    assert (told["prepared"], told["networks"]) == ({"musetalk15": {"bbox_shift": 3}}, [])
    parts_path(bundle, "ultralight").with_suffix(".pth").write_bytes(b"weights")
    told = client.get("/api/avatars/ada").json()
    assert (told["prepared"].keys(), told["networks"]) == ({"musetalk15", "ultralight"}, ["ultralight"])
    assert client.get("/api/avatars").json() == [told]


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


def test_the_pictures_of_a_face_report_are_served(client: TestClient, tmp_path: Path) -> None:
    """Also of an upload that never became an avatar; only those that are there."""
    folder = tmp_path / "reports" / "ada"
    folder.mkdir(parents=True)
    (folder / "strip-00.jpg").write_bytes(b"jpeg")
    assert client.get("/api/avatars/ada/report/strip-00.jpg").content == b"jpeg"
    error_of(client.get("/api/avatars/ada/report/strip-01.jpg"), 404)
    error_of(client.get("/api/avatars/ada/report/..%5cjobs.db"), 404)


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
        "sessions": {"live": 1, "capacity": 8},
        "jobs": {"queued": 1, "running": 0},
        "avatars": 1,
        "backends": {"llm": "guide", "tts": "auto", "lipsync": "viseme"},
        "problems": [],
    }


def test_health_names_what_is_wrong(tmp_path: Path, queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, a folder that takes nothing, a worker that does not start, and jobs that nobody runs."""
    assert find_trouble(tmp_path, queue) == []
    queue.submit(order_of_preset("mira", "Mira"))
    asked_at_s = queue.list()[0].created_at
    assert find_trouble(tmp_path, queue, clock_s=lambda: asked_at_s + 59) == []
    assert "no worker" in find_trouble(tmp_path, queue, clock_s=lambda: asked_at_s + 61)[0]
    assert find_trouble(tmp_path, queue, "It died.", lambda: asked_at_s + 61) == ["It died."]
    monkeypatch.setattr("portal.api.health.shutil.disk_usage", lambda _path: SimpleNamespace(free=5 * 2**20))
    monkeypatch.setattr("portal.api.health.os.access", lambda _path, _mode: False)
    full, closed = find_trouble(tmp_path, queue, clock_s=lambda: asked_at_s)
    assert "5 MB are left" in full and "cannot be written" in closed


def test_malformed_queries_are_explained(client: TestClient) -> None:
    """A bad query gets the same shape of error as everything else."""
    assert "limit" in error_of(client.get("/api/jobs?limit=many"), 400)["message"]


def test_an_avatar_is_renamed(client: TestClient, make_bundle: Callable[..., AvatarBundle]) -> None:
    """A clean name is kept and shown; an empty one and a foreign id are refused with the remedy."""
    make_bundle("ada")
    answer = client.patch("/api/avatars/ada", json={"name": "  小\n美 "})
    assert answer.status_code == 200 and answer.json()["name"] == "小 美"
    assert client.get("/api/avatars").json()[0]["name"] == "小 美"
    assert error_of(client.patch("/api/avatars/ada", json={"name": " . "}), 400)["code"] == "bad_request"
    assert error_of(client.patch("/api/avatars/ada", json={}), 400)["code"] == "bad_request"
    assert error_of(client.patch("/api/avatars/nobody", json={"name": "Me"}), 404)["code"] == "avatar_not_found"


def test_the_mouth_of_an_avatar_is_told_and_chosen(
    client: TestClient, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """How it is drawn and why; one with real mouths can be painted, one without cannot have them."""
    for name, why_not in (("ada", ""), ("bob", "few_open")):
        path = make_bundle(name).path / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "mouth": {"version": 1, "why_not": why_not}}))

    def told(answer: Any) -> tuple[str, str]:
        assert answer.status_code == 200
        return answer.json()["mouth"], answer.json()["mouth_reason"]

    assert told(client.get("/api/avatars/ada")) == ("personal", "")
    assert told(client.get("/api/avatars/bob")) == ("painted", "few_open")
    assert told(client.patch("/api/avatars/ada", json={"mouth": "painted"})) == ("painted", "chosen")
    assert told(client.patch("/api/avatars/ada", json={"mouth": "personal", "name": "Ida"})) == ("personal", "")
    assert client.get("/api/avatars/ada").json()["name"] == "Ida"
    assert error_of(client.patch("/api/avatars/bob", json={"mouth": "personal"}), 409)["code"] == "no_real_mouths"
    assert error_of(client.patch("/api/avatars/ada", json={"mouth": "open"}), 400)["code"] == "bad_request"


def test_an_avatar_keeps_who_it_is(client: TestClient, make_bundle: Callable[..., AvatarBundle]) -> None:
    """Each field by itself: what a change leaves out stays, and null takes it away."""
    make_bundle("ada")
    where = "/api/avatars/ada/persona"
    assert client.get(where).json() == {"prompt": None, "greeting": None, "voice": None}
    client.patch(where, json={"prompt": "You are Ada.", "greeting": "你好"})
    assert client.patch(where, json={"voice": "anna", "prompt": None}).status_code == 200
    assert client.get(where).json() == {"prompt": None, "greeting": "你好", "voice": "anna"}
    assert error_of(client.patch(where, json={"greeting": "x" * 1001}), 400)["code"] == "bad_request"
    assert error_of(client.get("/api/avatars/nobody/persona"), 404)["code"] == "avatar_not_found"


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


def test_a_part_of_a_picture_can_be_chosen(client: TestClient, tmp_path: Path) -> None:
    """What lies within the picture is taken; anything else is refused with an example, and the file is not kept."""
    job = send_photo(client, PHOTO.read_bytes(), framing="0.25,0.1,0.5,0.4")
    assert job.status_code == 202
    for framing in ("1", "0,0,0,0", "0.5,0.5,0.6,0.2", "-0.1,0,0.5,0.5", "nan,0,1,1", "a,b,c,d", "0,0,inf,1"):
        error = error_of(send_photo(client, PHOTO.read_bytes(), framing=framing), 400)
        assert error["code"] == "bad_request" and "0.25,0.1,0.5,0.4" in error["hint"]
    assert not list((tmp_path / "uploads").iterdir())
