"""Portals with one store are told when their files of users differ."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from avatars.store import Store
from portal.http.login_key import use_secret
from portal.same_users import DIFFER, FRESH_S, SameUsers


@dataclass
class Wall:
    """A clock that the test sets. It begins with the real time, which the store gives to what is kept there."""

    s: float = field(default_factory=time.time)

    def now(self) -> float:
        return self.s


@dataclass
class Machine:
    users_path: Path
    users: SameUsers


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def machines(tmp_path: Path, store_url: str, wall: Wall) -> list[Machine]:
    """Two, each with a file of users of its own, and the key of cookies that they share."""
    made = []
    for name in ("ours", "theirs"):
        home = tmp_path / name
        use_secret(home, b"the same key for all")
        path = home / "users.json"
        path.write_text('{"anna": {}}')
        store = Store(store_url, home / "store.json")
        made.append(Machine(path, SameUsers(store, path, home, wall.now)))
    return made


def test_the_same_users_are_no_trouble(machines: list[Machine], wall: Wall) -> None:
    for _ in range(2):
        assert [list(machine.users.look()) for machine in machines] == [[], []]
        wall.s += FRESH_S / 2


@pytest.mark.parametrize("others", ['{"anna": {}, "max": {}}', None], ids=["others", "none"])
def test_other_users_are_told_to_both_until_they_are_the_same(
    machines: list[Machine], wall: Wall, others: str | None
) -> None:
    """Also where there is no file: everybody may do everything there."""
    ours, theirs = machines
    users = theirs.users_path.read_text()
    theirs.users_path.unlink()
    if others is not None:
        theirs.users_path.write_text(others)
    ours.users.look()
    assert list(theirs.users.look()) == [DIFFER]
    wall.s += FRESH_S / 2
    assert list(ours.users.look()) == [DIFFER]
    theirs.users_path.write_text(users)
    wall.s += FRESH_S / 2
    assert not theirs.users.look() and not ours.users.look()


def test_a_portal_that_has_gone_is_no_trouble(
    machines: list[Machine], wall: Wall, store_url: str, tmp_path: Path
) -> None:
    """And leaves nothing in the store. The store is told no name."""
    ours, theirs = machines
    theirs.users_path.write_text('{"max": {}}')
    theirs.users.look()
    assert list(ours.users.look()) == [DIFFER]
    wall.s += FRESH_S + 60
    assert not ours.users.look()
    (noted,) = Store(store_url, tmp_path / "store.json").notes("users")
    assert len(noted) == 32 and int(noted, 16)
