"""What becomes of a login after it was checked: whatever outlives a request asks for it again."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from pipeline.clock import ManualClock
from portal.http.login import Gate
from portal.http.people import LONGEST_GIVEN_NAME, LoginState, Person, Role, UsersFile, person_of
from portal.http.proxies import BehindProxies
from tests.portal.login_gate import PRODUCT, Opened, settings_with, token
from tests.portal.session_house import House

pytestmark = pytest.mark.usefixtures("quick_passwords")

TOKEN_S = 600


class Asked:
    """An application behind the gate that keeps who asked it."""

    def __init__(self) -> None:
        self.person: Person | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.person = person_of(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


Came = Callable[..., Person]


@pytest.fixture
def came(tmp_path: Path, clock: ManualClock) -> Came:
    """Who asks, as the portal keeps them beyond the request. values: settings."""

    def came_with(headers: dict[str, str], **values: object) -> Person:
        asked = Asked()
        gate = BehindProxies(Gate.of(asked, settings_with(tmp_path, values), clock), ["10.0.0.1"])
        client = TestClient(gate, base_url="https://portal", client=("10.0.0.1", 1234))
        assert client.get("/x", headers=headers).status_code == 200
        assert asked.person is not None
        return asked.person

    return came_with


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_who_came_before_there_was_a_login_has_to_go(came: Came, tmp_path: Path) -> None:
    """They might do everything, and stay so for as long as their socket is open."""
    person = came({})
    assert person.role is Role.ADMIN and person.login_state() is LoginState.VALID
    UsersFile(tmp_path / "users.json").set("anna", "anna", Role.ADMIN)
    assert person.login_state() is LoginState.REVOKED


def _remove(users: UsersFile) -> None:
    users.remove("max")


def _demote(users: UsersFile) -> None:
    users.set("max", "max", Role.VIEWER)


def _change_password(users: UsersFile) -> None:
    users.set("max", "another", Role.MAKER)


@pytest.mark.parametrize("change", [_remove, _demote, _change_password])
def test_a_login_is_revoked_with_its_person_role_or_password(
    came: Came, opened: Opened, users: UsersFile, change: Callable[[UsersFile], None]
) -> None:
    """However they came: by the cookie of the login page, or with the password at each request."""
    browser = opened()
    browser.post("/login", data={"name": "max", "password": "max"})
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    people = [came(cookie), came(basic("max", "max")), came(basic("ada", "ada"))]
    assert [person.login_state() for person in people] == [LoginState.VALID] * 3
    change(users)
    assert [person.login_state() for person in people] == [LoginState.REVOKED] * 2 + [LoginState.VALID]


def test_a_file_that_cannot_be_read_lets_nobody_in_and_sends_nobody_away(
    came: Came, users: UsersFile, tmp_path: Path
) -> None:
    """It may be written by hand at this moment."""
    person = came(basic("max", "max"))
    (tmp_path / "users.json").write_text("{")
    assert person.login_state() is LoginState.EXPIRED


async def test_a_token_is_a_ticket_to_come_in(came: Came, clock: ManualClock) -> None:
    """After its end nothing new begins with it."""
    person = came({"Authorization": f"Bearer {token()}"}, token_secret=PRODUCT)
    assert person.login_state() is LoginState.VALID
    await clock.advance(TOKEN_S + 1)
    assert person.login_state() is LoginState.EXPIRED


def test_the_word_of_a_proxy_holds_for_as_long_as_the_role(came: Came, users: UsersFile) -> None:
    """Of somebody in the file it is the role there, of others that of the setting."""
    headers = {"X-User": "max", "X-Forwarded-For": "203.0.113.5"}
    person = came(headers, login_header="X-User", login_header_role="viewer")
    assert person == Person("max", Role.MAKER) and person.login_state() is LoginState.VALID
    users.remove("max")
    assert person.login_state() is LoginState.REVOKED


@pytest.mark.parametrize(
    "name",
    ["a\0b", "a\ud800b", "a\x1b[2Jb", "max\u200b", "\u202exam", "ma\u3164x", "x" * (LONGEST_GIVEN_NAME + 1), " "],
)
def test_a_token_names_somebody_in_characters_that_can_be_written(opened: Opened, name: str) -> None:
    """A NUL or half a character is refused by databases, also for what stands beside it. What nobody sees makes a name
    look like another one.
    """
    client = opened(token_secret=PRODUCT)
    answer = client.get("/api/me", headers={"Authorization": f"Bearer {token(sub=name)}"})
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "wrong_password"
    fine = client.get("/api/me", headers={"Authorization": f"Bearer {token(sub='王 小明')}"})
    assert fine.json()["name"] == "王 小明"


class Login:
    """Somebody whose login the test changes."""

    def __init__(self) -> None:
        self.state = LoginState.VALID
        self.person = Person("max", Role.MAKER, login_state=lambda: self.state)


async def test_a_socket_gives_no_session_to_a_login_that_has_ended(house: House) -> None:
    """The handshake was long ago; whoever says hello now is asked now, also after a bye."""
    login = Login()
    viewer = await house.viewer(person=login.person)
    await viewer.hello()
    await viewer.ask("bye")
    for state in (LoginState.EXPIRED, LoginState.REVOKED):
        login.state = state
        viewer.tell("hello")
        assert (await viewer.hear("error"))["code"] == "login_needed"
    login.state = LoginState.VALID
    await viewer.hello()


async def test_a_session_outlives_its_ticket_and_not_its_login(house: House) -> None:
    """With an expired token the avatar can be changed; with a login that was revoked nothing can."""
    login = Login()
    viewer = await house.viewer(person=login.person)
    await viewer.hello()
    login.state = LoginState.EXPIRED
    viewer.tell("avatar", id="man")
    assert (await viewer.hear_any())["type"] != "error"
    login.state = LoginState.REVOKED
    viewer.tell("avatar", id="woman")
    assert (await viewer.hear("error"))["code"] == "login_needed"
    assert house.session.bundle.id == "man"
