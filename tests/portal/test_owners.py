"""Two people on one portal: each sees what is theirs or shared, whichever way they ask."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from avatars.bundle import AvatarBundle
from avatars.gestures import gesture_names
from portal.app import Portal, create_app
from portal.jobs.face_reports import FaceReports
from portal.jobs.orders import order_of_avatar, order_of_clip, order_of_parts, order_of_test_clip
from portal.jobs.records import Job
from portal.settings import Settings
from tests.portraits import own

pytestmark = pytest.mark.usefixtures("quick_passwords")

PRODUCT = "a secret of thirty-two bytes or more, for tests"
RECORDING = "recording-of-anna"
ROLES = {"anna": "maker", "ben": "maker", "vera": "viewer", "ada": "admin"}

OWNED = {"avatar_id", "job_id", "recording_id"}
"Parameters of addresses by which OwnersGuard goes."
SECRET = {"session_id", "sessionid", "watch_token", "peer_id"}
"Whoever has been given one may use it: they are made at random, and a session asks for its own token."
OF_NOBODY = {"path", "kind", "ending", "name"}
"Files of the page, a kind of file, its ending, and names: of a backend, or of a part of something that is guarded."
ELSEWHERE = {"task_id"}
"""Tasks of LiveTalking's API answer in its form; tests/portal/test_livetalking_tasks.py looks at them."""
KNOWN = OWNED | SECRET | OF_NOBODY | ELSEWHERE


def as_(name: str) -> dict[str, str]:
    """Headers of a request by that person."""
    claims = {"sub": name, "exp": time.time() + 600, "role": ROLES[name]}
    return {"Authorization": f"Bearer {jwt.encode(claims, PRODUCT, 'HS256')}"}


class TwoPeople:
    """A portal on which Anna has made things, at rest."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        values = {"data_dir": data_dir, "worker": False, "avatar": "everybodys", "keep_free_bytes": 0, **settings}
        checked = Settings.model_validate({"token_secret": PRODUCT, **values})
        self.portal = Portal.build(checked)
        self.client = TestClient(create_app(checked, self.portal), base_url="http://127.0.0.1")
        self.folders = self.portal.desk.queue.folders
        self.things: dict[str, str] = {}

    def ask(self, name: str, method: str, path: str, **given: Any) -> Any:
        return self.client.request(method, path, headers=as_(name), **given)

    def names(self, name: str, path: str) -> set[str]:
        return {one["id"] for one in self.ask(name, "GET", path).json()}

    def clip(self, job: Job) -> Job:
        """The job's clip, as if it had been made."""
        path = self.folders.clip(job.id)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"a clip")
        return job


@pytest.fixture
def two(tmp_path: Path, make_bundle: Callable[..., AvatarBundle]) -> Iterator[TwoPeople]:
    make_bundle("everybodys")
    annas = make_bundle("annas")
    own(annas, "anna")
    make_bundle("bens")
    own(make_bundle("bens"), "ben")
    two = TwoPeople(tmp_path, livetalking=True, livetalking_avatars=True, lipsync="flash", tts="beep", llm="echo")
    queue = two.portal.desk.queue
    upload = tmp_path / "photo.png"
    upload.write_bytes(b"a photo")
    words = "Anna's words"
    made = {
        "prepare": queue.submit(
            order_of_avatar(upload, avatar="refused", name="Refused", consent=True, owner="anna"), "203.0.113.1"
        ),
        "clip": two.clip(queue.submit(order_of_clip(avatar="everybodys", text=words, speaker="E", owner="anna"))),
        "parts": queue.submit(order_of_parts("annas", "Annas", "wav2lip96", {}, owner="anna")),
        "test": two.clip(queue.submit(order_of_test_clip("annas", "Annas", "anna"))),
    }
    two.things = {kind: job.id for kind, job in made.items()}
    FaceReports(tmp_path).keep("refused", {"0.jpg": b"a face"}, made["prepare"].id)
    folder = tmp_path / "recordings" / RECORDING
    folder.mkdir(parents=True)
    (folder / "recording.mp4").write_bytes(b"a recording")
    (folder / "recording.json").write_text('{"name": "Annas"}')
    (folder / "owner.txt").write_text("anna")
    yield two
    queue.close()


@pytest.mark.parametrize("thing_id", ["a%00b", "%1b", "x" * 300])
def test_an_id_that_no_file_can_have_is_one_that_is_not_there(two: TwoPeople, thing_id: str) -> None:
    """Whoever asks. The file system refuses it in its own way, and that was answered as a fault of ours."""
    for name in ("ben", "ada"):
        for path in (f"/api/avatars/{thing_id}", f"/api/avatars/{thing_id}/poster.jpg", f"/api/jobs/{thing_id}"):
            assert two.ask(name, "GET", path).status_code == 404, (name, path)
        assert two.ask(name, "DELETE", f"/api/avatars/{thing_id}/everything").status_code == 404


def test_lists_have_what_is_mine_shared_or_everybodys(two: TwoPeople) -> None:
    """Of avatars and of jobs. An admin sees all of them."""
    jobs = set(two.things.values())
    assert two.names("anna", "/api/avatars") == {"everybodys", "annas"}
    assert two.names("ben", "/api/avatars") == {"everybodys", "bens"}
    assert two.names("vera", "/api/avatars") == {"everybodys"}
    assert two.names("ada", "/api/avatars") == {"everybodys", "annas", "bens"}
    assert two.names("anna", "/api/jobs") == two.names("ada", "/api/jobs") == jobs
    assert two.names("ben", "/api/jobs?limit=1") == set()


def test_others_jobs_do_not_hide_mine(two: TwoPeople) -> None:
    """A short list is filled with what its reader may see, however much is newer."""
    mine = two.portal.desk.queue.submit(order_of_clip(avatar="bens", text="Ben's words", owner="ben")).id
    for _ in range(3):
        two.portal.desk.queue.submit(order_of_clip(avatar="annas", text="Anna's words", owner="anna"))
    assert two.names("ben", "/api/jobs?limit=2") == {mine}


def routes_of(client: TestClient) -> list[tuple[str, str]]:
    """Method and address of every route of the application, hidden ones among them."""
    app: Any = client.app
    while not isinstance(app, FastAPI):
        app = vars(app)["_app"]
    found: list[tuple[str, str]] = []

    def walk(routes: Any) -> None:
        for route in routes:
            if inner := getattr(route, "original_router", None):  # FastAPI includes routers as they are
                walk(inner.routes)
            elif hasattr(route, "path"):
                methods = route.methods if isinstance(route, APIRoute) else ["GET"]
                found.extend((method, route.path) for method in sorted(methods or ()))

    walk(app.router.routes)
    return found


def filled(path: str, ids: Mapping[str, str]) -> str:
    return re.sub(r"{(\w+)(?::path)?}", lambda found: ids.get(found[1], "x"), path)


def test_every_address_of_somebody_elses_thing_answers_as_if_it_were_not_there(two: TwoPeople) -> None:
    """All routes that name one, whatever they do. A new route is among them; one with a new kind of id is noticed."""
    routes = routes_of(two.client)
    assert ("GET", "/api/avatars/{avatar_id}/gestures/{name}/poster.jpg") in routes
    assert ("DELETE", "/api/jobs/{job_id}") in routes
    walked = 0
    for method, path in routes:
        named = set(re.findall(r"{(\w+)", path))
        assert named <= KNOWN, f"{path}: whose is it? See portal/api/owners.py"
        if not named & OWNED:
            continue
        for job in two.things.values():
            real = {
                "avatar_id": "annas",
                "job_id": job,
                "recording_id": RECORDING,
                "kind": "mp4",
                "ending": "mp4",
                "name": "0.jpg",
            }
            unreal = {
                "avatar_id": "nobodys",
                "job_id": "none",
                "recording_id": "r" * 12,
                "kind": "mp4",
                "ending": "mp4",
                "name": "0.jpg",
            }
            answer = two.ask("ben", method, filled(path, real), json={"backend": "wav2lip96"})
            never = two.ask("ben", method, filled(path, unreal), json={"backend": "wav2lip96"})
            assert answer.status_code == never.status_code == 404, (method, path, answer.text)
            told, of_none = answer.json()["error"], never.json()["error"]
            for parameter in sorted(real, key=lambda one: -len(real[one])):  # some ids have others within
                thing, other = real[parameter], unreal[parameter]
                told = {key: str(value).replace(thing, other) for key, value in told.items()}
            assert told == of_none
            walked += 1
    assert walked >= 60
    assert two.names("ada", "/api/jobs") == set(two.things.values())  # nothing of it was done
    assert two.names("ada", "/api/avatars") == {"everybodys", "annas", "bens"}


def test_an_owner_has_what_is_theirs(two: TwoPeople) -> None:
    """The same addresses answer Anna: pictures, clips, recordings, and the report of an upload that was refused."""
    for path in (
        "/api/avatars/annas",
        "/api/avatars/annas/poster.jpg",
        "/api/avatars/annas/persona",
        "/api/avatars/annas/gestures",
        "/api/avatars/refused/report/0.jpg",
        f"/api/jobs/{two.things['parts']}",
        f"/api/clips/{two.things['clip']}.mp4",
        f"/api/recordings/{RECORDING}.mp4",
    ):
        assert two.ask("anna", "GET", path).status_code == 200, path
        assert two.ask("ada", "GET", path).status_code == 200, path
        assert two.ask("ben", "GET", path).status_code == 404, path
    assert two.ask("anna", "DELETE", f"/api/jobs/{two.things['clip']}").status_code == 200
    assert two.ask("anna", "DELETE", "/api/avatars/annas").status_code == 204


@pytest.mark.parametrize("version", ["today", "earlier"])
def test_a_report_is_theirs_whose_upload_was_refused(two: TwoPeople, tmp_path: Path, version: str) -> None:
    """Whoever else has a job of the same id: it shows them nothing of it, and takes nothing away with it."""
    if version == "earlier":
        (tmp_path / "reports" / "refused" / "job.txt").unlink()
    upload = tmp_path / "bens.png"
    upload.write_bytes(b"another photo")
    queue, picture = two.portal.desk.queue, "/api/avatars/refused/report/0.jpg"
    queue.cancel(two.things["prepare"])
    bens = queue.submit(order_of_avatar(upload, avatar="refused", name="B", consent=True, owner="ben"), "203.0.113.2")
    assert two.ask("ben", "GET", picture).status_code == 404
    assert two.ask("anna", "GET", picture).content == b"a face"
    assert two.ask("ben", "DELETE", f"/api/jobs/{bens.id}").json()["state"] == "cancelled"
    assert two.ask("ben", "DELETE", f"/api/jobs/{bens.id}").status_code == 200
    assert two.ask("anna", "GET", picture).content == b"a face"
    assert two.ask("anna", "DELETE", f"/api/jobs/{two.things['prepare']}").status_code == 200
    assert not (tmp_path / "reports" / "refused").exists()


def test_an_id_stays_theirs_whose_job_came_to_nothing(two: TwoPeople) -> None:
    """A task of LiveTalking's API names the id. Its owner may use it again."""
    picture = (two.portal.desk.library.path_of("everybodys") / "poster.jpg").read_bytes()
    two.portal.desk.queue.cancel(two.things["prepare"])

    def asked(name: str) -> str:
        form = {"model": "musetalk", "avatar_id": "refused"}
        answer = two.ask(name, "POST", "/api/avatar/task", data=form, files={"video_file": picture})
        told: str = answer.json()["msg"]
        return told

    assert "The id 'refused' is taken." in asked("ben")
    assert asked("anna") == "ok"


def test_whoever_deletes_what_is_everybodys_cannot_take_its_id(two: TwoPeople) -> None:
    """It would be theirs then, and to erase it would erase Anna's clip."""
    picture = (two.portal.desk.library.path_of("everybodys") / "poster.jpg").read_bytes()
    assert two.ask("ben", "DELETE", "/api/avatars/everybodys").status_code == 204
    form = {"model": "musetalk", "avatar_id": "everybodys"}
    answer = two.ask("ben", "POST", "/api/avatar/task", data=form, files={"video_file": picture})
    assert "The id 'everybodys' is taken." in answer.json()["msg"]
    assert two.ask("ben", "DELETE", "/api/avatars/everybodys/everything").status_code == 404
    assert two.ask("anna", "GET", f"/api/clips/{two.things['clip']}.mp4").content == b"a clip"


def test_what_is_shared_can_be_used_and_not_changed(two: TwoPeople) -> None:
    """Its test clip and preparation come along. Taken back, it is gone again for everybody but its owner."""
    assert two.ask("ben", "PATCH", "/api/avatars/annas", json={"shared": True}).status_code == 404
    view = two.ask("anna", "PATCH", "/api/avatars/annas", json={"shared": True}).json()
    assert (view["owner"], view["shared"], view["changeable"]) == ("anna", True, True)
    assert two.names("ben", "/api/avatars") == {"everybodys", "bens", "annas"}
    seen = two.ask("ben", "GET", "/api/avatars/annas").json()
    assert (seen["owner"], seen["shared"], seen["changeable"]) == ("anna", True, False)
    assert (
        two.ask("vera", "GET", seen["poster"]).status_code
        == two.ask("ben", "GET", seen["test_clip"]).status_code
        == 200
    )
    assert two.names("ben", "/api/jobs") == {two.things["parts"], two.things["test"]}
    preview = two.ask("ben", "POST", "/api/avatars/annas/parts/preview", json={"backend": "wav2lip96"})
    assert preview.status_code != 403
    for method, path, body in (
        ("PATCH", "/api/avatars/annas", {"name": "Bens"}),
        ("PATCH", "/api/avatars/annas", {"shared": False}),
        ("PATCH", "/api/avatars/annas/persona", {"prompt": "You are Ben's."}),
        ("POST", "/api/avatars/annas/gestures", {}),
        ("DELETE", "/api/avatars/annas/gestures/wave", {}),
        ("POST", "/api/avatars/annas/parts", {"backend": "wav2lip96"}),
        ("POST", "/api/avatars/annas/test-clip", {}),
        ("DELETE", f"/api/jobs/{two.things['parts']}", {}),
        ("DELETE", "/api/avatars/annas", {}),
    ):
        refused = two.ask("ben", method, path, json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed"), path
    two.ask("anna", "PATCH", "/api/avatars/annas", json={"shared": False})
    assert two.names("ben", "/api/avatars") == {"everybodys", "bens"}
    assert two.names("ben", "/api/jobs") == set()
    assert gesture_names(two.portal.desk.library.path_of("annas")) == []


def test_no_clip_is_made_with_an_avatar_that_was_taken_back(two: TwoPeople) -> None:
    """Orders that wait are cancelled, and nobody runs one of them again for whom the avatar is not there. Its owner's
    go on.
    """

    def share(shared: bool) -> None:
        assert two.ask("anna", "PATCH", "/api/avatars/annas", json={"shared": shared}).status_code == 200

    def order(name: str) -> str:
        job: str = two.ask(name, "POST", "/api/clips", json={"avatar": "annas", "text": f"{name}'s words"}).json()["id"]
        return job

    share(True)
    cancelled, waits, annas, adas = order("ben"), order("ben"), order("anna"), order("ada")
    assert two.ask("ben", "DELETE", f"/api/jobs/{cancelled}").json()["state"] == "cancelled"
    share(False)
    states = {job: two.portal.desk.queue.get(job).state for job in (waits, annas)}
    assert states == {waits: "cancelled", annas: "queued"}
    for job in (cancelled, waits):
        for name in ("ben", "ada"):  # an admin cannot have it made for somebody who does not see it
            refused = two.ask(name, "POST", f"/api/jobs/{job}/retry")
            assert (refused.status_code, refused.json()["error"]["code"]) == (404, "avatar_not_found")
        assert two.portal.desk.queue.get(job).state == "cancelled"
    assert two.ask("ada", "POST", f"/api/jobs/{adas}/retry").status_code == 202  # an admin sees every avatar
    share(True)
    assert two.ask("ben", "POST", f"/api/jobs/{waits}/retry").status_code == 202


def test_no_cache_hands_a_thing_of_somebody_to_others(two: TwoPeople) -> None:
    """Clips, recordings and pictures are for the browser that asked, which asks again; so is an error about them."""
    for path in (
        f"/api/clips/{two.things['clip']}.mp4",
        f"/api/recordings/{RECORDING}.mp4",
        "/api/avatars/annas/poster.jpg",
        "/api/avatars/refused/report/0.jpg",
        "/api/avatars/annas",
        "/api/avatars/nobodys/poster.jpg",
    ):
        assert two.ask("anna", "GET", path).headers["cache-control"] == "private, no-cache", path


def test_instructions_are_read_by_who_may_change_them(two: TwoPeople, tmp_path: Path) -> None:
    """Viewers see the greeting and the voice, and so does everybody at a kiosk."""
    own = {"prompt": "You are Anna's.", "greeting": "Hi.", "voice": "v"}
    shown = {**own, "prompt": None}
    for avatar, sharing in (("annas", {"shared": True}), ("everybodys", None)):
        where = f"/api/avatars/{avatar}/persona"
        assert two.ask("anna", "PATCH", where, json=own).json() == own
        if sharing:
            two.ask("anna", "PATCH", f"/api/avatars/{avatar}", json=sharing)
        seen = {name: two.ask(name, "GET", where).json() for name in ROLES}
        assert seen == {"anna": own, "ada": own, "vera": shown, "ben": shown if sharing else own}
    kiosk = TwoPeople(tmp_path, token_secret="", kiosk=True)
    assert kiosk.client.get("/api/avatars/annas/persona").json() == shown
    kiosk.portal.desk.queue.close()


def test_what_is_everybodys_stays_so(two: TwoPeople) -> None:
    """Avatars without an owner are changed by every maker, as before, and cannot be taken away from the others."""
    assert two.ask("ben", "PATCH", "/api/avatars/everybodys", json={"name": "Ours"}).json()["name"] == "Ours"
    for name in ("ben", "ada"):
        refused = two.ask(name, "PATCH", "/api/avatars/everybodys", json={"shared": False})
        assert (refused.status_code, refused.json()["error"]["cause"]) == (400, "no_owner")


def test_everything_of_what_is_everybodys_is_for_admins(two: TwoPeople) -> None:
    """It takes along what others have made. An owner may ask for that; of an avatar without one nobody else can."""
    assert not two.ask("ben", "GET", "/api/avatars/everybodys").json()["erasable"]
    assert two.ask("ben", "DELETE", "/api/avatars/everybodys/everything").status_code == 403
    annas_clip = f"/api/clips/{two.things['clip']}.mp4"
    assert two.ask("anna", "GET", annas_clip).status_code == 200
    assert two.ask("anna", "GET", "/api/avatars/annas").json()["erasable"]
    assert two.ask("anna", "DELETE", "/api/avatars/annas/everything").status_code == 200
    assert two.ask("ada", "GET", "/api/avatars/everybodys").json()["erasable"]
    assert two.ask("ada", "DELETE", "/api/avatars/everybodys/everything").status_code == 200
    assert two.ask("anna", "GET", annas_clip).status_code == 404


def test_a_clip_needs_an_avatar_that_i_may_see_and_is_mine(two: TwoPeople) -> None:
    """Also one of an avatar that is everybody's; its words are nobody else's business."""
    words = {"text": "Ben's words"}
    hidden = two.ask("ben", "POST", "/api/clips", json={"avatar": "annas", **words})
    assert (hidden.status_code, hidden.json()["error"]["code"]) == (404, "avatar_not_found")
    job = two.ask("ben", "POST", "/api/clips", json={"avatar": "everybodys", **words}).json()
    assert job["owner"] == "ben"
    assert two.ask("ben", "GET", f"/api/jobs/{job['id']}").status_code == 200
    assert two.ask("anna", "GET", f"/api/jobs/{job['id']}").status_code == 404
    assert two.portal.desk.queue.get(job["id"]).owner == "ben"


def test_an_upload_belongs_to_who_sent_it(two: TwoPeople) -> None:
    """The job says so, and what its worker makes the avatar from."""
    picture = two.portal.desk.library.path_of("annas") / "poster.jpg"
    answer = two.ask("ben", "POST", "/api/avatars", files={"file": picture.read_bytes()}, data={"consent": "true"})
    assert answer.status_code == 202 and answer.json()["owner"] == "ben"
    assert two.ask("anna", "GET", f"/api/jobs/{answer.json()['id']}").status_code == 404


def test_sessions_show_only_avatars_that_i_may_see(two: TwoPeople) -> None:
    """Over the socket, swapping too; by HTTP; by LiveTalking's API. What is recorded belongs to who recorded it."""
    with two.client as client:
        assert client.post("/api/sessions", json={"avatar": "annas"}, headers=as_("ben")).status_code == 404
        offer = {"sdp": "v=0", "type": "offer", "avatar": "annas"}
        assert "no avatar 'annas'" in client.post("/offer", json=offer, headers=as_("ben")).json()["msg"]
        with client.websocket_connect("/session", headers=as_("ben")) as socket:

            def told(kind: str, **fields: object) -> Any:
                socket.send_json({"type": kind, **fields})
                while (message := socket.receive_json())["type"] not in ("welcome", "avatar", "error"):
                    continue
                return message

            assert told("hello", avatar="annas")["code"] == "avatar_not_found"
            assert told("hello", avatar="bens")["avatar"]["id"] == "bens"
            assert told("avatar", id="annas")["code"] == "avatar_not_found"
            two.ask("anna", "PATCH", "/api/avatars/annas", json={"shared": True})
            assert told("avatar", id="annas")["avatar"]["id"] == "annas"


def test_without_a_login_nothing_is_hidden(two: TwoPeople, tmp_path: Path) -> None:
    """Owners of before are kept, and play no part."""
    open_to_all = TwoPeople(tmp_path, token_secret="")
    client = open_to_all.client
    assert len(client.get("/api/avatars").json()) == 3
    assert len(client.get("/api/jobs").json()) == len(two.things)
    assert client.get(f"/api/recordings/{RECORDING}.mp4").status_code == 200
    assert client.patch("/api/avatars/annas", json={"name": "Ours"}).json()["owner"] == "anna"
    open_to_all.portal.desk.queue.close()


def test_an_owner_takes_everything_of_an_avatar_along(two: TwoPeople) -> None:
    """The bundle as it is, clips and jobs: of the one who asks only. Whom it is shared with does not get it."""
    annas_clip = two.clip(
        two.portal.desk.queue.submit(order_of_clip(avatar="annas", text="Hi.", speaker="Annas", owner="anna"))
    )
    bens_clip = two.clip(
        two.portal.desk.queue.submit(order_of_clip(avatar="annas", text="Ho.", speaker="Annas", owner="ben"))
    )
    answer = two.ask("anna", "GET", "/api/avatars/annas/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="annas.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as export:
        assert export.testzip() is None
        manifest = two.portal.desk.library.path_of("annas") / "manifest.json"
        assert export.read("avatar/manifest.json") == manifest.read_bytes()
        names = export.namelist()
        told = json.loads(export.read("jobs.json"))
    assert f"clips/{annas_clip.id} {annas_clip.file_name}" in names
    assert not [name for name in names if bens_clip.id in name]
    assert bens_clip.id not in {job["id"] for job in told} and annas_clip.id in {job["id"] for job in told}
    two.ask("anna", "PATCH", "/api/avatars/annas", json={"shared": True})
    assert two.ask("ben", "GET", "/api/avatars/annas/export").status_code == 403
    assert two.ask("vera", "GET", "/api/avatars/everybodys/export").status_code == 403
