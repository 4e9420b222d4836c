"""Gestures over HTTP: asked for, made by the worker's steps, looked at, deleted."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from avatars.gestures import MAX_GESTURES, open_with_gestures
from avatars.library import AvatarLibrary
from pipeline.gestures import Gestures
from portal.api.avatars import avatars_router
from portal.api.gestures import gestures_router
from portal.api.jobs import jobs_router
from portal.http.bodies import Bodies
from portal.intake.uploads import Uploads
from portal.jobs.opening import open_queue
from portal.jobs.orders import order_of_gesture
from portal.jobs.queue import JobQueue
from portal.jobs.records import GESTURE
from portal.jobs.shares import JobShares
from portal.settings import Settings
from portal.worker.job_work import JobWork
from portal.worker.recipes import recipes
from tests.clips import moving_portrait, write_clip
from tests.gesture_clips import give_gesture
from tests.portraits import portrait_bundle

pytestmark = pytest.mark.thorough
SIDE = 256


@pytest.fixture
def queue(tmp_path: Path, library: AvatarLibrary) -> Iterator[JobQueue]:
    queue = open_queue(tmp_path, library)
    yield queue
    queue.close()


@pytest.fixture
def client(tmp_path: Path, library: AvatarLibrary, queue: JobQueue) -> Iterator[TestClient]:
    app = FastAPI()
    settings, shares = Settings(data_dir=tmp_path), JobShares(queue.active_askers, 50)
    for router in (avatars_router, gestures_router):
        app.include_router(router(library, queue, settings, Uploads(tmp_path), shares))
    app.include_router(jobs_router(queue, shares, library))
    portrait_bundle(library.root / "ada", size=SIDE)
    with TestClient(Bodies(app)) as client:
        yield client


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """The drawn woman sways for 1.2 s, and hums."""
    silent, path = write_clip(tmp_path / "silent.mp4", moving_portrait(30, SIDE)), tmp_path / "hums.mp4"
    with av.open(str(silent)) as source, av.open(str(path), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0])
        sound = output.add_stream("aac", rate=48_000, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                output.mux(packet)
        for start in range(0, 57_344, 1024):
            tone = 0.2 * np.sin(np.arange(start, start + 1024) * 2 * np.pi * 300 / 48_000)
            frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
            frame.pts, frame.sample_rate = start, 48_000
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    return path


def ask(client: TestClient, clip: Path, avatar: str = "ada", **fields: str) -> Any:
    wish = {"name": "wave", "consent": "true", **fields}
    return client.post(f"/api/avatars/{avatar}/gestures", files={"file": ("me.mp4", clip.read_bytes())}, data=wish)


def test_a_gesture_is_asked_for_made_shown_and_deleted(
    client: TestClient, clip: Path, queue: JobQueue, library: AvatarLibrary, tmp_path: Path
) -> None:
    """202 with a job, whose steps make it with the sound of its clip; then the avatar's answer names it."""
    response = ask(client, clip, name=" Wave ", sound="true")
    assert response.status_code == 202, response.text
    job = response.json()
    assert (job["kind"], job["avatar"], job["name"]) == (GESTURE, "ada", "woman: wave")
    recipe = next(one for one in recipes() if one.kind == GESTURE)
    inputs: Any = {"avatar": "ada", "gesture": "wave", "sound": True, "file_name": "me.mp4", "consent": True}
    work = JobWork(job["id"], inputs, Settings(data_dir=tmp_path), queue.folders, library, lambda _part: None)
    assert [step.run(work) for step in recipe.steps][-1] == {"avatar": "ada", "gesture": "wave"}
    assert client.get("/api/avatars/ada").json()["gestures"] == ["wave"]
    whole = open_with_gestures(library.open("ada"))
    loudest = max(np.abs(Gestures(whole, whole).sound(place)).max() for place in range(1, 1 + 30))  # type: ignore[arg-type]
    assert 0.05 < loudest < 0.6
    (listed,) = client.get("/api/avatars/ada/gestures").json()
    assert (listed["name"], listed["sound"]) == ("wave", True)
    assert client.get(listed["poster"]).headers["content-type"] == "image/jpeg"
    preview = client.get(listed["preview"])
    assert preview.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(preview.content), "r") as shown:
        pictures = sum(1 for _frame in shown.decode(video=0))
    with av.open(io.BytesIO(preview.content), "r") as heard:
        loudest = max(np.abs(frame.to_ndarray()).max() for frame in heard.decode(audio=0))
    assert pictures == round(25 * listed["seconds"]) > 20
    assert loudest > 0.02
    assert client.delete("/api/avatars/ada/gestures/wave").status_code == 204
    assert client.get("/api/avatars/ada").json()["gestures"] == []


def test_a_clip_that_the_avatar_shows_by_itself(
    client: TestClient, clip: Path, queue: JobQueue, library: AvatarLibrary, tmp_path: Path
) -> None:
    """It is listed as such, makes no sound, and no session can ask for it."""
    job = ask(client, clip, name="look", idle="true", sound="true").json()
    recipe = next(one for one in recipes() if one.kind == GESTURE)
    order = order_of_gesture(clip, library.open("ada"), "look", sound=True, idle=True, consent=True, file_name="me.mp4")
    inputs = order.inputs
    assert (inputs["idle"], inputs["sound"]) == (True, False)
    work = JobWork(job["id"], inputs, Settings(data_dir=tmp_path), queue.folders, library, lambda _part: None)
    for step in recipe.steps:
        step.run(work)
    (listed,) = client.get("/api/avatars/ada/gestures").json()
    assert (listed["name"], listed["idle"], listed["sound"]) == ("look", True, False)
    whole = open_with_gestures(library.open("ada"))
    assert whole.gesture_names == [] and [gesture.is_idle for gesture in whole.gestures] == [True]


@pytest.mark.parametrize(
    ("fields", "cause"),
    [({"name": ""}, "gesture_name"), ({"name": "a]b"}, "gesture_name"), ({"consent": ""}, "consent")],
)
def test_what_does_not_fit_is_refused(client: TestClient, clip: Path, fields: dict[str, str], cause: str) -> None:
    """With its cause; nothing is queued."""
    response = ask(client, clip, **fields)
    assert (response.status_code, response.json()["error"]["cause"]) == (400, cause)
    assert client.get("/api/jobs").json() == []


def test_unknown_avatars_and_gestures_are_not_found(client: TestClient, clip: Path) -> None:
    """404 with a code, for uploads, pictures and deletions alike."""
    assert ask(client, clip, avatar="nobody").json()["error"]["code"] == "avatar_not_found"
    for response in (
        client.get("/api/avatars/ada/gestures/wave/poster.jpg"),
        client.get("/api/avatars/ada/gestures/wave/preview.mp4"),
        client.get("/api/avatars/nobody/gestures"),
        client.delete("/api/avatars/ada/gestures/wave"),
        client.delete("/api/avatars/ada/gestures/%2e%2e"),
    ):
        assert response.status_code == 404
    assert client.get("/api/avatars/ada").status_code == 200


def test_a_gesture_of_an_earlier_version_is_listed_without_a_clip(client: TestClient, library: AvatarLibrary) -> None:
    """Its name in any script is part of the addresses; what is damaged is not listed."""
    give_gesture(library.open("ada"), "挥 手", 50, hums=True)
    give_gesture(library.open("ada"), "torn")
    (library.path_of("ada") / "gestures" / "torn" / "frames.bin").write_bytes(b"")
    wanted = {"name": "挥 手", "seconds": 2.0, "sound": True, "idle": False, "poster": None, "preview": None}
    assert client.get("/api/avatars/ada/gestures").json() == [wanted]


def test_an_avatar_has_a_dozen_gestures(client: TestClient, clip: Path, library: AvatarLibrary) -> None:
    """One more is refused; one of them can be replaced."""
    for number in range(MAX_GESTURES):
        give_gesture(library.open("ada"), f"nod {number}", 1)
    assert ask(client, clip).json()["error"]["cause"] == "many_gestures"
    assert ask(client, clip, name="nod 3").status_code == 202
