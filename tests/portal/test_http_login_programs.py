"""Who logs in without a form: programs with a password, viewers of a product with its token, whoever a proxy names."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import jwt
import pytest

from pipeline.clock import ManualClock
from portal.http.login import TRIES_BURST
from portal.http.people import Role, UsersFile
from portal.setting_loading import load_settings
from portal.setting_sources import SettingsError
from tests.portal.login_gate import HTML, PASSWORD, PRODUCT, Opened, token

pytestmark = pytest.mark.usefixtures("quick_passwords")


def test_a_program_sends_its_password_with_each_request(opened: Opened, users: UsersFile, clock: ManualClock) -> None:
    """Basic, as curl -u does. It is not slowed down, and a password that has changed is noticed in minutes."""
    client = opened()
    assert {client.get("/api/me", auth=("max", "max")).status_code for _ in range(2 * TRIES_BURST)} == {200}
    with client.websocket_connect("/session", headers={"Authorization": "Basic bWF4Om1heA=="}) as socket:
        assert socket.receive_json() == {"name": "max"}
    assert client.get("/api/me", headers={"Authorization": "Basic ###"}).status_code == 401
    users.set("max", "other", Role.MAKER)
    asyncio.run(clock.advance(400.0))
    assert client.get("/api/me", auth=("max", "max")).status_code == 401


def test_a_program_loses_its_rights_with_its_person(opened: Opened, users: UsersFile) -> None:
    """At once, though a password that was right is not hashed again with each request."""
    client, max_ = opened(), ("max", "max")
    assert client.get("/api/me", auth=max_).json()["role"] == "MAKER"
    users.set("max", "max", Role.VIEWER)
    assert client.get("/api/me", auth=max_).json()["role"] == "VIEWER"
    users.set("max", "another", Role.VIEWER)
    assert client.get("/api/me", auth=max_).status_code == 401
    users.remove("max")
    assert client.get("/api/me", auth=("max", "another")).status_code == 401


def test_a_products_token_lets_its_viewers_in(opened: Opened) -> None:
    """In the header, or in the address of a page, where it becomes a cookie that a frame keeps."""
    client = opened(token_secret=PRODUCT)
    bearer = {"Authorization": f"Bearer {token(role='maker')}"}
    assert client.get("/api/me", headers=bearer).json() == {"name": "eve", "role": "MAKER"}
    answer = client.get(f"/stage?view=stage&token={token()}&bg=", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/stage?view=stage&bg=")
    assert "SameSite=None; Partitioned; Secure" in answer.headers["set-cookie"]
    assert client.get("/api/me").json() == {"name": "eve", "role": "VIEWER"}
    with client.websocket_connect(f"/session?token={token(sub='adam')}") as socket:
        assert socket.receive_json() == {"name": "adam"}


def test_a_link_of_another_website_makes_nobody_somebody_else_unasked(opened: Opened) -> None:
    """What they upload from then on would belong to whoever made the link. They may go on from our own page."""
    client = opened(token_secret=PRODUCT)
    client.get(f"/?token={token(sub='mia')}", headers=HTML)
    link = f"/stage?view=stage&token={token(sub='<mallory>')}"
    from_elsewhere = {**HTML, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    answer = client.get(link, headers=from_elsewhere)
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    assert "logged in as mia" in answer.text and "as &lt;mallory&gt;" in answer.text
    assert 'href="/stage?view=stage"' in answer.text
    assert client.get("/api/me").json()["name"] == "mia"
    for role in ("viewer", "maker"):
        assert client.get(f"/?token={token(sub='mia', role=role)}", headers=from_elsewhere).status_code == 303
    assert client.get(link, headers={**from_elsewhere, "Sec-Fetch-Site": "same-origin"}).status_code == 303
    assert client.get("/api/me").json()["name"] == "<mallory>"


@pytest.mark.parametrize("path", ["//evil.example/", "/%2fevil.example/"])
def test_a_link_with_a_token_leads_to_no_other_website(opened: Opened, path: str) -> None:
    """The token is taken out of the address, and what is left may look like another host."""
    answer = opened(token_secret=PRODUCT).get(f"https://portal{path}?token={token()}", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_link_whose_token_is_too_old_leads_to_the_login(opened: Opened) -> None:
    """The page says so, and the login leads to where the link did, without the token."""
    client = opened(token_secret=PRODUCT, password=PASSWORD)
    answer = client.get(f"/stage?token={token(exp=time.time() - 60)}&view=stage", headers=HTML)
    assert answer.status_code == 401 and "no longer valid" in answer.text
    assert 'name="next" value="/stage?view=stage"' in answer.text
    wrong = client.post("/login", data={"password": "no"})
    assert "The password is wrong." in wrong.text


@pytest.mark.parametrize(
    "bad",
    [
        token("another secret of thirty-two bytes or more"),
        token(exp=time.time() - 60),
        token(role="emperor"),
        token(exp=10**400),
        jwt.encode({"sub": "eve"}, PRODUCT, "HS256"),
        jwt.encode({"exp": time.time() + 60}, PRODUCT, "HS256"),
        jwt.encode({"sub": "eve", "exp": time.time() + 60, "role": "admin"}, "", "none"),
        "nonsense",
    ],
)
def test_a_token_that_is_not_valid_is_refused(opened: Opened, bad: str) -> None:
    """Signed by somebody else, too old, for ever, of nobody, of no role, or not signed at all."""
    client = opened(token_secret=PRODUCT)
    answer = client.get("/api/me", headers={"Authorization": f"Bearer {bad}"})
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "wrong_password"


def test_tokens_are_not_taken_where_none_are_set_up(opened: Opened) -> None:
    """Whatever signed them, there is nothing here to check them with."""
    client, forged = opened(password=PASSWORD), token("0" * 32)
    assert client.get("/api/me", headers={"Authorization": f"Bearer {forged}"}).status_code == 401
    assert client.get(f"/api/me?token={forged}").status_code == 401


def test_a_session_is_driven_with_its_own_token(opened: Opened, users: UsersFile) -> None:
    """Who opens one has to log in. What drives it is the secret that came back, and the address checks that itself."""
    client, session = opened(), {"Authorization": "Bearer of-the-session"}
    assert client.post("/api/sessions").status_code == 401
    assert client.post("/api/sessions", auth=("vera", "vera")).status_code == 200
    assert client.post("/api/sessions/x/say", headers=session).status_code == 200
    assert client.post("/api/watch/link/whep").status_code == 200
    assert client.post("/api/sessions/../avatars", headers=session).status_code == 401


def test_a_proxys_word_counts_from_that_proxy_only(opened: Opened, users: UsersFile) -> None:
    """Whoever comes by another way could write the header too. A known name has its own role."""
    told = {"login_header": "X-Forwarded-User", "login_header_role": "viewer"}
    header = {"X-Forwarded-User": "olga"}
    assert opened(proxied=True, **told).get("/api/me", headers=header).json() == {"name": "olga", "role": "VIEWER"}
    assert opened(proxied=True, **told).get("/api/me", headers={"X-Forwarded-User": "ada"}).json()["role"] == "ADMIN"
    assert opened(proxied=False, **told).get("/api/me", headers=header).status_code == 401
    assert opened(proxied=True, **told).get("/api/me").status_code == 401


def test_a_short_secret_for_tokens_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HS256 needs 32 bytes; the error says how to make them."""
    monkeypatch.setenv("VIVAVOCE_DATA", str(tmp_path))
    with pytest.raises(SettingsError, match="32 bytes"):
        load_settings({"token_secret": "short"})
