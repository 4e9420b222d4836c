"""Pages of others in a folder of the operator's: served as they are, and nothing beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError
from starlette.responses import PlainTextResponse

from portal.app import create_app
from portal.http.headers import SafeHeaders
from portal.livetalking.pages import Pages
from portal.settings import Settings

PAGE = "<script>fetch('/offer')</script>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pages, one of them in a folder, something hidden, and a link that leads outside."""
    web = tmp_path / "web"
    (web / "asr").mkdir(parents=True)
    (web / "dashboard.html").write_text(PAGE)
    (web / "asr" / "index.html").write_text("asr")
    (web / ".secret").write_text("secret")
    (web / "health").write_text("not ours")
    (tmp_path / "outside.txt").write_text("outside")
    (web / "link.txt").symlink_to(tmp_path / "outside.txt")
    return web


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    app = FastAPI()
    app.add_api_route("/health", lambda: "ours")
    app.router.default = Pages(folder, PlainTextResponse("the portal's page", 404))
    with TestClient(SafeHeaders(app)) as client:
        yield client


def test_a_page_is_served_as_it_is_and_its_scripts_may_run(client: TestClient) -> None:
    """Also one in a folder, by its index.html; browsers ask each time whether it has changed."""
    page = client.get("/dashboard.html")
    assert (page.status_code, page.text) == (200, PAGE)
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "'unsafe-inline'" in policy and "default-src 'self' http: https:" in policy
    assert page.headers["cache-control"] == "no-cache"
    assert client.get("/asr/").text == "asr"
    assert client.head("/dashboard.html").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing.html",
        "/asr",
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/asr/..%2f..%2foutside.txt",
        "/asr/%2e%2e/%2e%2e/outside.txt",
        "/..%5coutside.txt",
        "//etc/passwd",
        "/link.txt",
        "/.secret",
        "/a%00b",
        f"/{'a' * 400}",
        f"/{'a' * 4000}",
    ],
)
def test_nothing_else_is_there(client: TestClient, path: str) -> None:
    """No path leads out of the folder, links are not followed, hidden files stay hidden; `/` is the portal's."""
    assert client.get(path).text == "the portal's page"


def test_the_portals_own_addresses_come_first(client: TestClient) -> None:
    """A file of the same name changes nothing, and pages can only be read."""
    assert client.get("/health").json() == "ours"
    assert client.post("/dashboard.html").text == "the portal's page"


def test_a_portal_serves_them_only_where_that_is_set(folder: Path, tmp_path: Path) -> None:
    """Beside its own page and API; without the setting there is nothing at their addresses."""
    for settings, status in (
        (Settings(data_dir=tmp_path / "a", worker=False, pages=folder), 200),
        (Settings(data_dir=tmp_path / "b", worker=False), 404),
    ):
        client = TestClient(create_app(settings), base_url="http://127.0.0.1")
        assert client.get("/dashboard.html").status_code == status
        assert "Vivavoce" in client.get("/").text


def test_a_folder_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    """Rather than at the first request."""
    with pytest.raises(ValidationError, match="is no folder"):
        Settings(pages=tmp_path / "missing")
