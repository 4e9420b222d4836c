"""The page's own files: kept by browsers where their address changes with them, asked for anew elsewhere."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient
from starlette.types import Message

from portal.http.packing import Packing
from portal.http.page_files import PageFiles, as_served

FOREVER = "public, max-age=31536000, immutable"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "talk").mkdir()
    (tmp_path / "talk" / "stage.js").write_text("stage();")
    return tmp_path


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is packed."""
    sizes: list[int] = []
    real = gzip.compress

    def noted(body: bytes, level: int) -> bytes:
        sizes.append(len(body))
        return real(body, level)

    monkeypatch.setattr("portal.http.packing.gzip.compress", noted)
    return sizes


def served(files: PageFiles, below: str = "") -> TestClient:
    app = Starlette(routes=[Mount("/static", files)])
    return TestClient(app, root_path=below, follow_redirects=False)


def test_files_are_kept_at_their_version_and_asked_for_anew_elsewhere(folder: Path) -> None:
    """Both addresses give the same file; a script that is no file too."""
    files = PageFiles(folder, {"texts.js": "texts();"})
    client = served(files)
    for name, text in (("talk/stage.js", "stage();"), ("texts.js", "texts();")):
        kept, anew = client.get(f"/static/{files.version}/{name}"), client.get(f"/static/{name}")
        assert kept.text == anew.text == text
        assert kept.headers["cache-control"] == FOREVER
        assert anew.headers["cache-control"] == "no-cache"
        assert "/javascript" in kept.headers["content-type"]


def test_who_asks_anew_is_told_that_nothing_has_changed(folder: Path) -> None:
    """By the tag of what is known already."""
    client = served(PageFiles(folder, {"texts.js": "texts();"}))
    for name in ("talk/stage.js", "texts.js"):
        tag = client.get(f"/static/{name}").headers["etag"]
        known = client.get(f"/static/{name}", headers={"if-none-match": tag})
        assert (known.status_code, known.content) == (304, b"")
        assert known.headers["cache-control"] == "no-cache"


def test_every_change_makes_another_version(folder: Path) -> None:
    """Of a file, of its name, and of what is no file: then browsers fetch everything anew."""
    versions = [PageFiles(folder, {"texts.js": "one"}).version, PageFiles(folder, {"texts.js": "two"}).version]
    (folder / "talk" / "stage.js").write_text("stage(1);")
    versions.append(PageFiles(folder, {"texts.js": "two"}).version)
    (folder / "talk" / "stage.js").rename(folder / "talk" / "frame.js")
    versions.append(PageFiles(folder, {"texts.js": "two"}).version)
    assert len(set(versions)) == 4
    assert PageFiles(folder, {"texts.js": "two"}).version == versions[-1]


@pytest.mark.parametrize("below", ["", "/face"])
def test_a_page_of_before_an_update_finds_the_files_of_now(folder: Path, below: str) -> None:
    """Its address leads on to the present file, which is not kept as if it were of the old version."""
    client = served(PageFiles(folder, {}), below)
    led = client.get(f"{below}/static/v-0123456789ab/talk/stage.js")
    assert (led.status_code, led.headers["location"]) == (307, f"{below}/static/talk/stage.js")
    assert led.headers["cache-control"] == "no-cache"
    assert client.get(led.headers["location"]).text == "stage();"


def test_nothing_outside_the_folder_is_given(folder: Path) -> None:
    """Whatever stands before it in the address."""
    (folder.parent / "secret.js").write_text("secret")
    files = PageFiles(folder, {})
    client = served(files)
    for address in ("../secret.js", f"{files.version}/../../secret.js", f"{files.version}/..%2f..%2fsecret.js"):
        assert client.get(f"/static/{address}").status_code == 404
    assert client.get(f"/static/{files.version}").status_code == 404


@pytest.mark.parametrize("below", ["/static", "/assets"])
def test_a_file_is_packed_once_however_its_address_is_spelled(folder: Path, packings: list[int], below: str) -> None:
    """Of our own files and of Gradio's: what is no plain path, or a very long one, leads nowhere."""
    text = "stage();" * 1000
    (folder / "talk" / "stage.js").write_text(text)
    routes = [Mount("/static", PageFiles(folder, {})), Mount("/assets", StaticFiles(directory=folder))]
    client = TestClient(Packing(Starlette(routes=routes)), headers={"accept-encoding": "gzip"})
    for spelled in ("a/../talk", "talk/.", ".//talk", "talk/b/..", "a/" * 200 + "../" * 200 + "talk"):
        # as it is sent: the client would take the dots out
        answer = client.get(f"{below}/" + spelled.replace(".", "%2e") + "/stage.js")
        assert answer.status_code == 404, spelled
    for _ in range(3):
        answer = client.get(f"{below}/talk/stage.js")
        assert answer.text == text and answer.headers["content-encoding"] == "gzip"
        assert "accept-encoding" in answer.headers["vary"].lower()
    assert client.get(f"{below}/talk/stage.js", headers={"accept-encoding": "identity"}).text == text
    assert packings == [len(text)]


def test_files_of_the_page_are_given_as_they_were_at_the_start(folder: Path) -> None:
    """From memory: asking for them costs no look at the disk. A range of one is the whole of it."""
    client = served(PageFiles(folder, {}))
    (folder / "talk" / "stage.js").unlink()
    answer = client.get("/static/talk/stage.js", headers={"range": "bytes=0-1,2-3"})
    assert (answer.status_code, answer.text) == (200, "stage();")
    assert client.post("/static/talk/stage.js").status_code == 405


async def test_who_does_not_read_holds_a_piece_of_a_file(folder: Path) -> None:
    """A large file is sent in pieces, each when the one before it is gone."""
    (folder / "large.css").write_bytes(bytes(1_000_000))
    sizes: list[int] = []

    async def send(message: Message) -> None:
        sizes.append(len(message.get("body", b"")))

    async def nothing() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/static/large.css", "root_path": "/static", "headers": []}
    await PageFiles(folder, {})(scope, nothing, send)
    assert sum(sizes) == 1_000_000 and max(sizes) <= 65_536


def test_our_scripts_are_served_without_comments_and_others_as_they_are() -> None:
    """Names and texts stay; what others made is small already, and keeps the notices of its licence."""
    script = b'/** @type {string} */\nconst name = "a // b";\n\n  // says it\n  say(`x /* y */`);\n'
    assert as_served("talk/name.js", script) == b'const name="a // b";say(`x /* y */`);'
    assert as_served("vendor/marked.js", script) == script
    assert as_served("page.css", script) == script
