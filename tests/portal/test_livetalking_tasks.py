"""LiveTalking's avatar tasks: asked for, listed, looked at, deleted, in its own shapes; and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from avatars.library import AvatarLibrary
from pipeline.clock import ManualClock
from portal.api.orders import Orders
from portal.http.bodies import Bodies
from portal.http.people import ANYBODY, PERSON, Person, Role
from portal.intake.uploads import Uploads
from portal.jobs.former_ids import FormerIds
from portal.jobs.opening import open_queue
from portal.jobs.orders import order_of_clip
from portal.jobs.queue import JobQueue
from portal.jobs.shares import JobShares
from portal.livetalking.avatar_tasks import avatar_tasks_router
from portal.settings import Settings
from portal.webhooks import Webhooks
from tests.clips import moving_portrait, write_clip
from tests.portraits import own, portrait_bundle

pytestmark = pytest.mark.thorough


@pytest.fixture
def queue(tmp_path: Path, library: AvatarLibrary) -> Iterator[JobQueue]:
    queue = open_queue(tmp_path, library)
    yield queue
    queue.close()


@pytest.fixture
def orders(tmp_path: Path, library: AvatarLibrary, queue: JobQueue) -> Orders:
    return Orders(library, queue, Uploads(tmp_path), JobShares(queue.active_askers, 50))


def served(orders: Orders, settings: Settings, person: Person = ANYBODY) -> TestClient:
    """person: who asks."""
    app = FastAPI()
    app.include_router(avatar_tasks_router(orders, settings, Webhooks(settings, ManualClock(), lambda _outcome: None)))
    bodies = Bodies(app)

    async def asked_by_person(scope: Scope, receive: Receive, send: Send) -> None:
        await bodies({**scope, PERSON: person}, receive, send)

    return TestClient(asked_by_person)


@pytest.fixture
def client(tmp_path: Path, orders: Orders) -> TestClient:
    return served(orders, Settings(data_dir=tmp_path, livetalking_avatars=True))


@pytest.fixture
def clip(tmp_path: Path) -> bytes:
    return write_clip(tmp_path / "clip.mp4", moving_portrait(10, 128)).read_bytes()


def ask(client: TestClient, clip: bytes, **fields: str) -> dict[str, Any]:
    """The form that LiveTalking's page sends."""
    form = {"model": "musetalk", "avatar_id": "anna", "bbox_shift": "0", "version": "v15", **fields}
    response = client.post("/api/avatar/task", data=form, files={"video_file": ("anna.mp4", clip, "video/mp4")})
    assert response.status_code == 200
    return dict(response.json())


def test_a_task_is_a_job_that_makes_an_avatar_of_that_id(
    client: TestClient, clip: bytes, queue: JobQueue, library: AvatarLibrary
) -> None:
    """Its id comes back, and its state in LiveTalking's fields; the job is like any other of the page's."""
    answer = ask(client, clip)
    task_id = answer["data"]["task_id"]
    assert answer == {"code": 0, "msg": "ok", "data": {"task_id": task_id}}
    (job,) = queue.list()
    assert (job.kind, job.avatar, job.name, job.state) == ("prepare", "anna", "anna", "queued")
    told = client.get(f"/api/avatar/task/{task_id}").json()
    assert told == {
        "code": 0,
        "msg": "ok",
        "data": {
            "task_id": task_id,
            "model_type": "musetalk",
            "avatar_id": "anna",
            "status": "pending",
            "progress": 0,
            "error_msg": "",
            "notify_url": "",
            "start_time": None,
            "end_time": None,
            "duration": 0.0,
        },
    }


def test_an_id_of_livetalking_is_told_as_it_was_sent(client: TestClient, clip: bytes, queue: JobQueue) -> None:
    """Its own ids have underscores, which ours have not; so another spelling of the same id is taken."""
    task_id = ask(client, clip, avatar_id="wav2lip256_Test")["data"]["task_id"]
    assert [job.avatar for job in queue.list()] == ["wav2lip256-test"]
    assert client.get(f"/api/avatar/task/{task_id}").json()["data"]["avatar_id"] == "wav2lip256_Test"
    refused = ask(client, clip, avatar_id="wav2lip256-test")
    assert refused["code"] == -1 and "wav2lip256-test" in refused["msg"]


def test_tasks_are_listed_the_newest_first_and_jobs_of_others_are_not(
    client: TestClient, clip: bytes, orders: Orders
) -> None:
    """Ids of one's own are kept."""
    assert ask(client, clip, avatar_id="anna", task_id="first")["data"] == {"task_id": "first"}
    assert ask(client, clip, avatar_id="bea", model="wav2lip", task_id="second")["data"] == {"task_id": "second"}
    (job,) = [job for job in orders.queue.list() if job.avatar == "anna"]
    orders.queue.store.add("another", replace_order(job))
    listed = client.get("/api/avatar/tasks").json()
    assert listed["code"] == 0
    assert [(task["task_id"], task["model_type"]) for task in listed["data"]["tasks"]] == [
        ("second", "wav2lip"),
        ("first", "musetalk"),
    ]
    assert client.get("/api/avatar/task/another").json() == {"code": 404, "msg": "Task not found"}


def replace_order(job: Any) -> Any:
    from portal.jobs.orders import order_of_avatar

    return replace(order_of_avatar(Path("a.mp4"), avatar="cleo", name="Cleo", consent=True), upload=None)


def test_others_do_not_find_a_task_of_somebody_who_has_logged_in(
    tmp_path: Path, orders: Orders, clip: bytes, queue: JobQueue
) -> None:
    """Neither in the list nor by its id, and they cannot delete it."""
    settings = Settings(data_dir=tmp_path, livetalking_avatars=True)
    anna, bea = (served(orders, settings, Person(name, Role.MAKER)) for name in ("anna", "bea"))
    ask(anna, clip, task_id="mine")
    assert [job.owner for job in queue.list()] == ["anna"]
    assert bea.get("/api/avatar/tasks").json()["data"] == {"tasks": []}
    for refused in (bea.get("/api/avatar/task/mine"), bea.delete("/api/avatar/task/mine")):
        assert refused.json() == {"code": 404, "msg": "Task not found"}
    assert anna.get("/api/avatar/tasks").json()["data"]["tasks"][0]["task_id"] == "mine"
    assert anna.delete("/api/avatar/task/mine").json()["code"] == 0


def test_an_address_that_the_operator_allows_is_kept_with_the_task(
    tmp_path: Path, orders: Orders, clip: bytes, queue: JobQueue
) -> None:
    """To be told of each change, also after a restart; another one is refused."""
    settings = Settings(data_dir=tmp_path, livetalking_avatars=True, livetalking_notify=("https://a.example/tasks",))
    client = served(orders, settings)
    assert ask(client, clip, task_id="mine", notifyurl="https://a.example/tasks/7")["code"] == 0
    (job,) = queue.list()
    assert job.notify == "https://a.example/tasks/7"
    assert client.get("/api/avatar/task/mine").json()["data"]["notify_url"] == job.notify
    refused = ask(client, clip, avatar_id="bea", notifyurl="https://b.example/tasks/7")
    assert refused["code"] == -1 and "livetalking_notify" in refused["msg"] and len(queue.list()) == 1


def test_a_pending_task_is_deleted(client: TestClient, clip: bytes, queue: JobQueue) -> None:
    """Its job and upload are gone, and its avatar may be asked for again; unknown ones have code 404."""
    ask(client, clip, task_id="mine")
    deleted = client.delete("/api/avatar/task/mine")
    assert (deleted.status_code, deleted.json()) == (200, {"code": 0, "msg": "ok", "data": {"msg": "Task deleted"}})
    assert queue.list() == []
    assert client.delete("/api/avatar/task/mine").json() == {"code": 404, "msg": "Task not found"}
    assert ask(client, clip, task_id="mine")["code"] == 0


def test_a_task_that_has_ended_stays(client: TestClient, clip: bytes, queue: JobQueue) -> None:
    """A cancelled one has failed, in LiveTalking's words, and cannot be deleted."""
    ask(client, clip, task_id="mine")
    (job,) = queue.list()
    queue.cancel(job.id)
    told = client.get("/api/avatar/task/mine").json()["data"]
    assert (told["status"], told["error_msg"]) == ("failed", "The task was cancelled.")
    assert client.delete("/api/avatar/task/mine").json() == {"code": -1, "msg": "Only pending tasks can be deleted"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "ultralight"}, "model"),
        ({"avatar_id": ""}, "avatar_id"),
        ({"avatar_id": "../../etc"}, "is no id of an avatar"),
        ({"avatar_id": "woman"}, "There is an avatar 'woman' already"),
        ({"video_path": "/etc/passwd"}, "Files on the server"),
        ({"notifyurl": "http://169.254.169.254/"}, "livetalking_notify"),
        ({"task_id": "../up"}, "task_id"),
    ],
)
def test_what_is_refused_is_told_in_its_form(
    client: TestClient, clip: bytes, queue: JobQueue, library: AvatarLibrary, fields: dict[str, str], words: str
) -> None:
    """Code -1 and the cause; nothing is queued, and nothing of the upload stays."""
    portrait_bundle(library.root / "woman", size=128)
    answer = ask(client, clip, **fields)
    assert answer["code"] == -1 and words in answer["msg"]
    assert queue.list() == []
    assert not [path for path in (queue.folders.data_dir / "uploads").glob("*") if path.is_file()]


def test_the_same_avatar_or_task_is_not_asked_for_twice(client: TestClient, clip: bytes, queue: JobQueue) -> None:
    """While the first is on its way."""
    ask(client, clip, task_id="mine")
    assert "being made" in ask(client, clip)["msg"]
    assert "There is a task 'mine' already" in ask(client, clip, avatar_id="bea", task_id="mine")["msg"]
    assert len(queue.list()) == 1


def test_the_id_of_somebody_elses_avatar_stays_taken_when_it_is_deleted(
    tmp_path: Path, orders: Orders, queue: JobQueue, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clips and recordings of theirs go by that id. Whoever had it before may have it again."""
    settings = Settings(data_dir=tmp_path, livetalking_avatars=True)
    mia, max_ = (served(orders, settings, Person(name, Role.MAKER)) for name in ("mia", "max"))
    ask(mia, clip, task_id="first")
    done = [replace(job, state="done") for job in queue.list()]
    queue.cancel(done[0].id)
    monkeypatch.setattr(queue, "list", lambda **_wish: done)
    assert "is taken" in ask(max_, clip, task_id="second")["msg"]
    assert ask(mia, clip, task_id="second")["code"] == 0


def test_nobody_gets_an_id_by_which_others_things_go(
    tmp_path: Path, orders: Orders, queue: JobQueue, library: AvatarLibrary, clip: bytes
) -> None:
    """Whoever had it could erase these as their own: things of a deleted avatar whose job was removed, of a preset, and
    of an avatar that an earlier version deleted. Its owner may have it again.
    """
    settings = Settings(data_dir=tmp_path, livetalking_avatars=True)
    mia, max_ = (served(orders, settings, Person(name, Role.MAKER)) for name in ("mia", "max"))
    own(portrait_bundle(library.root / "anna", size=128), "mia")
    portrait_bundle(library.root / "theo", size=128)
    for avatar in ("anna", "theo"):
        FormerIds(tmp_path).retire(library, avatar)
    queue.submit(order_of_clip(avatar="bea", text="Hello.", owner="mia"))
    for taken in ("anna", "theo", "mira", "bea"):
        assert "is taken" in ask(max_, clip, avatar_id=taken)["msg"]
    assert ask(mia, clip, avatar_id="anna")["code"] == ask(mia, clip, avatar_id="bea")["code"] == 0
    assert ask(served(orders, settings), clip, avatar_id="theo")["code"] == 0


def test_an_avatars_own_maker_may_use_its_id_again_whoever_made_clips_with_it(
    tmp_path: Path, orders: Orders, queue: JobQueue, library: AvatarLibrary, clip: bytes
) -> None:
    mia = served(orders, Settings(data_dir=tmp_path, livetalking_avatars=True), Person("mia", Role.MAKER))
    own(portrait_bundle(library.root / "anna", size=128), "mia")
    queue.submit(order_of_clip(avatar="anna", text="Hello.", owner="max"))
    FormerIds(tmp_path).retire(library, "anna")
    assert ask(mia, clip)["code"] == 0


def test_json_can_only_name_files_on_the_server(client: TestClient, queue: JobQueue) -> None:
    """LiveTalking takes their paths; here they are refused, as is a request without any clip."""
    wish = {"model": "wav2lip", "avatar_id": "anna"}
    refused = client.post("/api/avatar/task", json={**wish, "video_path": "/data/a.mp4"}).json()
    assert refused["code"] == -1 and "Files on the server" in refused["msg"]
    assert "There is no clip" in client.post("/api/avatar/task", json=wish).json()["msg"]
    assert "malformed" in client.post("/api/avatar/task", content=b"{").json()["msg"]
    assert queue.list() == []


def test_tasks_are_off_unless_the_operator_turns_them_on(tmp_path: Path, orders: Orders, clip: bytes) -> None:
    """For LiveTalking does not ask whether the person shown agrees."""
    answer = ask(served(orders, Settings(data_dir=tmp_path)), clip)
    assert answer["code"] == -1 and "livetalking_avatars" in answer["msg"]
    assert orders.queue.list() == []
