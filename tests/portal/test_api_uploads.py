"""What people send to the HTTP API to be made into avatars: taken, bounded and refused."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from avatars.bundle import AvatarBundle
from portal.jobs.queue import JobQueue
from portal.jobs.records import Job, JobOrder
from tests.portal.api_requests import MAX_UPLOAD_BYTES, PHOTO, error_of, leftovers, send_photo

pytestmark = pytest.mark.thorough


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


def test_a_full_queue_answers_429(client: TestClient, tmp_path: Path) -> None:
    """The fifth waiting job is refused where four may wait, and its upload is not kept."""
    for _ in range(4):
        assert send_photo(client, PHOTO.read_bytes()).status_code == 202
    kept = len(leftovers(tmp_path))
    assert error_of(send_photo(client, PHOTO.read_bytes()), 429)["code"] == "queue_full"
    assert len(leftovers(tmp_path)) == kept


@pytest.mark.parametrize(("fields", "cutout"), [({}, False), ({"cutout": "no"}, False), ({"cutout": "true"}, True)])
def test_the_person_is_cut_out_of_a_clip_on_request(
    client: TestClient, queue: JobQueue, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], cutout: bool
) -> None:
    """The order of the job says so; without a word nobody is."""
    orders: list[JobOrder] = []
    submit = queue.submit

    def submitted(order: JobOrder, *given: Any) -> Job:
        orders.append(order)
        return submit(order, *given)

    monkeypatch.setattr(queue, "submit", submitted)
    assert send_photo(client, PHOTO.read_bytes(), **fields).status_code == 202
    assert [order.inputs["cutout"] for order in orders] == [cutout]


def test_a_part_of_a_picture_can_be_chosen(client: TestClient, tmp_path: Path) -> None:
    """What lies within the picture is taken; anything else is refused with an example, and the file is not kept."""
    job = send_photo(client, PHOTO.read_bytes(), framing="0.25,0.1,0.5,0.4")
    assert job.status_code == 202
    for framing in ("1", "0,0,0,0", "0.5,0.5,0.6,0.2", "-0.1,0,0.5,0.5", "nan,0,1,1", "a,b,c,d", "0,0,inf,1"):
        error = error_of(send_photo(client, PHOTO.read_bytes(), framing=framing), 400)
        assert error["code"] == "bad_request" and "0.25,0.1,0.5,0.4" in error["hint"]
    assert not list((tmp_path / "uploads").iterdir())
