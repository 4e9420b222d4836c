"""Uploads of avatars and of recordings share the places that there are."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from avatars.library import AvatarLibrary
from pipeline.clock import ManualClock
from portal.api.avatars import avatars_router
from portal.api.clips import clips_router
from portal.http.bodies import Bodies, UploadPlaces
from portal.intake.uploads import Uploads
from portal.jobs.opening import open_queue
from portal.jobs.shares import JobShares
from portal.settings import Settings


def test_both_kinds_of_upload_take_the_same_places(tmp_path: Path, library: AvatarLibrary) -> None:
    """Where none is left, neither a photo nor a recording is taken."""
    settings, queue, uploads = Settings(data_dir=tmp_path), open_queue(tmp_path, library), Uploads(tmp_path)
    uploads.places = UploadPlaces(ManualClock(), each=0)
    shares = JobShares(queue.active_askers, 50)
    app = FastAPI()
    app.include_router(avatars_router(library, queue, settings, uploads, shares))
    app.include_router(clips_router(library, queue, settings, uploads, shares))
    app.add_middleware(Bodies)
    with TestClient(app) as client:
        answers = [
            client.post("/api/avatars", files={"file": ("a.png", b"png")}, data={"consent": "true"}),
            client.post("/api/clips", files={"audio": ("a.wav", b"wav")}, data={"avatar": "mira"}),
        ]
    queue.close()
    assert [answer.json()["error"]["code"] for answer in answers] == ["too_many", "too_many"]
