"""The audit log: who changed what, in the whole front door with a login."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi import FastAPI, HTTPException
from starlette.testclient import TestClient

from portal.http.audit import AuditLog
from portal.http.door import front_door
from portal.http.people import Role, UsersFile
from portal.setting_loading import load_settings
from portal.settings import Settings

pytestmark = pytest.mark.usefixtures("quick_passwords")

PASSWORD = "correct horse"


def lines(folder: Path, file: str = "audit.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / file).read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    UsersFile(tmp_path / "users.json").set("anna", PASSWORD, Role.MAKER)
    return load_settings({"data_dir": tmp_path})


@pytest.fixture
def client(settings: Settings) -> TestClient:
    app = FastAPI()

    @app.get("/api/avatars/{avatar_id}")
    @app.delete("/api/avatars/{avatar_id}")
    def avatar(avatar_id: str) -> str:
        if avatar_id == "gone":
            raise HTTPException(404)
        return avatar_id

    @app.post("/api/watch/{watch_token}/whep")
    def watch(watch_token: str) -> str:
        return watch_token

    address = ("203.0.113.5", 1234)
    return TestClient(front_door(app, settings), base_url="http://localhost", client=address, follow_redirects=False)


def test_a_change_has_a_line_and_a_look_has_none(client: TestClient, tmp_path: Path) -> None:
    """With the person, the address, what was asked for and how it was answered."""
    auth = ("anna", PASSWORD)
    assert client.get("/api/avatars/mira", auth=auth).status_code == 200
    assert client.delete("/api/avatars/mira", auth=auth).status_code == 200
    (line,) = lines(tmp_path)
    assert str(line.pop("time")).endswith("+00:00")
    assert line == {
        "address": "203.0.113.5",
        "person": "anna",
        "role": "maker",
        "method": "DELETE",
        "route": "/api/avatars/{avatar_id}",
        "status": 200,
        "avatar_id": "mira",
    }


def test_logins_are_noted_with_their_outcome_and_without_the_password(client: TestClient, tmp_path: Path) -> None:
    """A wrong password, a right one, and the way out; nobody is named who has not proved it."""
    for password in ("wrong", PASSWORD):
        client.post("/login", data={"name": "anna", "password": password})
    client.post("/logout")
    client.cookies.clear()
    client.post("/logout")
    noted = [(line["route"], line["status"], line.get("person")) for line in lines(tmp_path, "audit_tried.jsonl")]
    assert noted == [("/login", 401, None), ("/login", 303, "anna"), ("/logout", 303, "anna"), ("/logout", 303, None)]
    assert PASSWORD not in (tmp_path / "audit_tried.jsonl").read_text(encoding="utf-8")


def test_what_is_refused_does_not_drive_out_what_was_done(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can be refused as often as they like, and log out without having logged in."""
    monkeypatch.setattr("portal.http.audit.FILE_BYTES", 1000)
    auth = ("anna", PASSWORD)
    client.delete("/api/avatars/mira", auth=auth)
    for _ in range(40):
        client.post("/logout")
    client.delete("/api/avatars/gone", auth=auth)
    for _ in range(40):
        client.post("/logout")
    done, refused = lines(tmp_path)[0], lines(tmp_path, "audit_tried.jsonl")[0]
    assert (done["avatar_id"], done["status"]) == ("mira", 200)
    assert (refused["route"], len(lines(tmp_path))) == ("/logout", 1)


def test_secrets_in_addresses_and_lines_in_names_stay_out(client: TestClient, tmp_path: Path) -> None:
    """Whoever reads the log gets no link to a session, and nobody can write lines of their own."""
    client.post("/api/watch/s3cret/whep", auth=("anna", PASSWORD))
    client.delete('/api/avatars/a%E2%80%A8{"person": "max"}', auth=("anna", PASSWORD))
    client.delete('/api/avatars/a%0A{"person": "max"}', auth=("anna", PASSWORD))  # leads nowhere
    first, second = lines(tmp_path)
    assert "s3cret" not in str(first)
    assert second["avatar_id"] == 'a\u2028{"person": "max"}'


def test_what_leads_nowhere_has_no_line(client: TestClient, tmp_path: Path) -> None:
    """A scanner cannot fill the log with addresses that are not there; a refused stranger is not named either."""
    client.post("/wp-login.php", auth=("anna", PASSWORD))
    client.delete("/api/avatars/mira")
    assert not (tmp_path / "audit.jsonl").exists()


def test_it_can_be_switched_off(settings: Settings, tmp_path: Path) -> None:
    """Then there is no file."""
    off = settings.model_copy(update={"audit": False})
    TestClient(front_door(FastAPI(), off), base_url="http://localhost").post("/login", data={"password": "x"})
    assert not (tmp_path / "audit.jsonl").exists()


def test_old_lines_are_set_aside_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five older files at most."""
    monkeypatch.setattr("portal.http.audit.FILE_BYTES", 100)
    log = AuditLog(tmp_path)
    for number in range(40):
        log.write({"number": number, "filler": "x" * 50}, is_done=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "audit.jsonl",
        *(f"audit.jsonl.{n}" for n in range(1, 6)),
    ]
    assert '"number": 39' in (tmp_path / "audit.jsonl").read_text(encoding="utf-8")


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The portal's log says so once."""
    log = AuditLog(tmp_path / "none")
    for _ in range(3):
        log.write({"number": 1}, is_done=True)
    assert [record.message.count("cannot be written") for record in caplog.records] == [1]
