"""A zipped foreign avatar over HTTP and through the steps of its job: taken, or refused with nothing left behind."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from foreign_folders import livetalking_wav2lip, musetalk, zipped

from avatars.errors import BadImport
from avatars.library import AvatarLibrary
from portal.api.avatars import avatars_router
from portal.http.bodies import Bodies
from portal.intake.uploads import Uploads
from portal.jobs.opening import open_queue
from portal.jobs.records import PREPARE, JobFolders, JobInputs
from portal.jobs.shares import JobShares
from portal.settings import Settings
from portal.worker.job_work import JobWork
from portal.worker.recipes import recipes

pytestmark = pytest.mark.thorough


@pytest.fixture
def client(tmp_path: Path, library: AvatarLibrary) -> Iterator[TestClient]:
    queue = open_queue(tmp_path, library)
    app = FastAPI()
    settings, shares = Settings(data_dir=tmp_path), JobShares(queue.active_askers, 50)
    app.include_router(avatars_router(library, queue, settings, Uploads(tmp_path), shares))
    with TestClient(Bodies(app)) as client:
        yield client
    queue.close()


def send(client: TestClient, path: Path) -> Any:
    return client.post("/api/avatars", files={"file": (path.name, path.read_bytes())}, data={"consent": "true"})


def stored(data_dir: Path) -> list[str]:
    return [path.name for part in ("uploads", "jobs") for path in (data_dir / part).rglob("*") if path.is_file()]


def test_a_zipped_avatar_is_queued_under_its_name(client: TestClient, tmp_path: Path) -> None:
    """POST /api/avatars takes a zip as it takes a photo."""
    response = send(client, zipped(livetalking_wav2lip(tmp_path / "made" / "Emma", 3)))
    assert response.status_code == 202, response.text
    assert (response.json()["name"], response.json()["state"]) == ("Emma", "queued")
    assert stored(tmp_path) == ["upload"]


@pytest.mark.parametrize(
    ("member", "data", "cause"),
    [
        ("notes.txt", b"nothing", "no coords.pkl"),
        ("../evil.png", b"x", "leads out of it"),
        ("a/full_imgs/00000000.png", bytes(50_000_000), "100 times its own size"),
    ],
    ids=["foreign", "slip", "bomb"],
)
def test_hostile_and_foreign_zips_are_refused_at_once(
    member: str, data: bytes, cause: str, client: TestClient, tmp_path: Path
) -> None:
    """422 with cause and remedy before anything is queued, and nothing is kept."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, data)
    response = send(client, path)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "bad_import")
    assert cause in error["message"] and error["hint"]
    assert stored(tmp_path) == [] and client.get("/api/avatars").json() == []


def job(tmp_path: Path, upload: Path) -> JobWork:
    """A job with that upload, as the worker hands it to its steps."""
    folders = JobFolders(tmp_path)
    folders.home("j1").mkdir(parents=True)
    upload.rename(folders.home("j1") / "upload.zip")
    inputs: JobInputs = {"avatar": "sun-1", "name": "Sun", "file_name": "sun.zip", "consent": True}
    library = AvatarLibrary(tmp_path / "avatars")
    return JobWork("j1", inputs, Settings(data_dir=tmp_path), folders, library, lambda _share: None)


def test_the_steps_of_its_job_make_an_avatar_and_tell_of_it(client: TestClient, tmp_path: Path) -> None:
    """The result has the avatar and the words about the import; GET /api/avatars shows where it comes from."""
    work = job(tmp_path, zipped(musetalk(tmp_path / "made" / "sun", 26)))
    (recipe,) = (recipe for recipe in recipes() if recipe.kind == PREPARE)
    for step in recipe.steps:
        result: Any = step.run(work)
    assert result["avatar"] == "sun-1"
    assert "Imported from MuseTalk: 26 pictures." in result["notices"]
    (view,) = client.get("/api/avatars").json()
    assert (view["imported"]["from"], view["imported"]["doubled"]) == ("MuseTalk", True)
    assert view["imported"]["median_iou"] > 0.8
    assert view["mattes"] is None  # its order said nothing of them, as those of an earlier version


def test_a_hostile_pickle_ends_its_job_before_anything_is_made(tmp_path: Path) -> None:
    """The first step refuses it by name; its work folder is empty, and nothing was run."""
    mark = tmp_path / "mark"
    folder = musetalk(tmp_path / "made" / "sun", 2)
    (folder / "mask_coords.pkl").write_bytes(b"cposix\nsystem\n(V" + f"touch {mark}".encode() + b"\ntR.")
    work = job(tmp_path, zipped(folder))
    with pytest.raises(BadImport, match=r"mask_coords\.pkl asks for posix\.system"):
        recipes()[0].steps[0].run(work)
    assert list(work.folder.iterdir()) == [] and not mark.exists()
