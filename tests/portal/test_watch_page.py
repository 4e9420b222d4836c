"""The page of those who watch: it is there where the operator allows such links, and for nobody in particular."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from portal.app import create_app
from portal.settings import Settings


@pytest.mark.parametrize(
    ("settings", "status"),
    [({}, 404), ({"watch_links": True}, 200), ({"watch_links": True, "kiosk": True}, 404)],
)
async def test_it_is_there_where_links_are_allowed(tmp_path: Path, settings: dict[str, bool], status: int) -> None:
    """A kiosk has no sessions to be passed on. The page runs the portal's scripts and no others."""
    app = create_app(Settings.model_validate({"data_dir": tmp_path, "worker": False, **settings}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
        page = await client.get("/watch")
    assert page.status_code == status
    if status == 200:
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy and "unsafe-eval" not in policy


async def test_whoever_has_the_link_needs_no_login(tmp_path: Path) -> None:
    """The secret of the link is the key; the rest of the portal stays closed."""
    app = create_app(
        Settings(data_dir=tmp_path, worker=False, watch_links=True, password=SecretStr("a long enough one"))
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
        assert (await client.get("/watch")).status_code == 200
        assert (await client.get("/static/watch/watch.js")).status_code == 200
        assert (await client.get("/api/avatars")).status_code == 401
        assert (await client.post("/api/watch/nobody/whep", content="v=0")).status_code == 404
