"""No address fills the queue, or the disk, for everybody else."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from avatars.library import AvatarLibrary
from portal.desk import Desk
from portal.errors import QueueFull
from portal.http.limits import WIDER, TooMany
from portal.http.people import PERSON, Person, Role
from portal.jobs import records
from portal.jobs.orders import order_of_parts
from portal.jobs.queue import JobQueue
from portal.jobs.records import Job, JobFolders
from portal.jobs.shares import VIEWERS, JobShares, person_key, viewer_key
from portal.settings import Settings
from tests.portal.memory_store import MemoryStore

MINE, OTHERS = ({"type": "http", "client": (address, 5)} for address in ("192.0.2.1", "192.0.2.2"))


def job(name: str) -> Any:
    return SimpleNamespace(id=name)


def test_an_address_has_no_more_than_its_share() -> None:
    """Its jobs count while they wait or run; another address is served all the same."""
    active: dict[str, str] = {}
    shares = JobShares(active.values, max_each=2)
    for name in ("a", "b"):
        shares.asked_by(MINE, lambda name=name: job(name))
        active[name] = "192.0.2.1"
    with pytest.raises(TooMany, match="2 jobs of yours"):
        shares.asked_by(MINE, lambda: pytest.fail("it was not to be asked"))
    assert shares.asked_by(OTHERS, lambda: job("c")).id == "c"
    del active["a"]
    assert shares.asked_by(MINE, lambda: job("d")).id == "d"


def test_a_person_has_no_more_than_an_address() -> None:
    """From however many addresses; others who ask from the last of them are served."""
    ben, ann = ({PERSON: Person(name, Role.MAKER)} for name in ("ben: of two", "ann"))
    active: list[str] = []
    shares = JobShares(lambda: active, max_each=2)
    for n in (1, 2):
        shares.asked_by({**ben, "type": "http", "client": (f"2001:db8:{n}::1", 5)}, lambda: job("a"))
        active += [f"2001:db8:{n}::/64", person_key("ben: of two")]
    last: Any = {"type": "http", "client": ("2001:db8:3::1", 5)}
    with pytest.raises(TooMany):
        shares.asked_by({**ben, **last}, lambda: pytest.fail("it was not to be asked"))
    assert shares.asked_by({**ann, **last}, lambda: job("b")).id == "b"


def test_a_network_has_no_more_than_its_share() -> None:
    """Whoever has a /48 of IPv6 has 65,536 addresses as limits count them; the next /48 is somebody else."""
    active = [f"2001:db8:9:{n:x}::/64" for n in range(WIDER * 2)]
    shares = JobShares(lambda: active, max_each=2)
    scopes = [{"type": "http", "client": (f"2001:db8:{site}:ffff::1", 5)} for site in ("9", "8")]
    with pytest.raises(TooMany):
        shares.asked_by(scopes[0], lambda: pytest.fail("it was not to be asked"))
    assert shares.asked_by(scopes[1], lambda: job("c")).id == "c"


def test_many_at_the_same_time_have_no_more() -> None:
    """What is not queued yet counts, too."""
    shares = JobShares(list, max_each=1)

    def ask_again() -> Any:
        with pytest.raises(TooMany):
            shares.asked_by(MINE, lambda: job("second"))
        return job("first")

    shares.asked_by(MINE, ask_again)


def test_a_refused_job_leaves_its_place() -> None:
    """Who was refused for another reason may ask again."""
    shares = JobShares(list, max_each=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            shares.asked_by(MINE, lambda: 1 // 0)  # type: ignore[arg-type, return-value]


def test_kept_uploads_have_a_bound_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest that is kept for a retry goes first; what is run again or still waits is none of them."""
    monkeypatch.setattr(records, "MAX_KEPT_BYTES", 250)
    folders = JobFolders(tmp_path)
    for index, name in enumerate(("waits", "first", "again", "second", "third")):
        folders.home(name).mkdir(parents=True)
        (folders.home(name) / "upload").write_bytes(bytes(100))
        if name != "waits":
            folders.clear(name, keep_upload=True)
            os.utime(folders.home(name) / "kept", (index, index))
        if name == "again":
            folders.take_back(name)
    folders.home("fourth").mkdir(parents=True)
    (folders.home("fourth") / "upload").write_bytes(bytes(100))
    folders.clear("fourth", keep_upload=True)
    left = [name for name in ("waits", "first", "again", "second", "third", "fourth") if folders.upload(name)]
    assert left == ["waits", "again", "third", "fourth"]


def test_viewers_have_a_share_of_their_own() -> None:
    """Each address, each /48 network and all of them together; what they order is not counted, nor the other way."""
    active = [viewer_key("192.0.2.1"), "192.0.2.1", *[viewer_key(f"2001:db8:9:{n}::/64") for n in range(WIDER * 2)]]
    shares = JobShares(lambda: active, max_each=2)
    shares.admit_viewer("192.0.2.1")
    active.append(viewer_key("192.0.2.1"))
    for address in ("192.0.2.1", "2001:db8:9:ffff::/64"):
        with pytest.raises(QueueFull):
            shares.admit_viewer(address)
    assert shares.asked_by(MINE, lambda: job("a")).id == "a"
    shares.admit_viewer("192.0.2.2")
    active += [viewer_key(f"198.51.100.{n}") for n in range(VIEWERS - WIDER * 2 - 2)]
    with pytest.raises(QueueFull):
        shares.admit_viewer("192.0.2.2")
    assert shares.asked_by(OTHERS, lambda: job("b")).id == "b"


def test_what_sessions_need_prepared_leaves_room_for_orders(
    tmp_path: Path, library: AvatarLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer of many avatars is refused when their share waits. What waits already is joined. It counts neither
    for the owner of the avatars nor for what the viewer orders. The portal's own needs have no limit.
    """
    queue = JobQueue(MemoryStore(), JobFolders(tmp_path), library)

    def ensure(*_given: object, avatar: str, backend: str, **how: Any) -> Job:
        return queue.submit(order_of_parts(avatar, avatar, backend, {}, join=True, owner="ann"), **how)

    monkeypatch.setattr("portal.desk.ensure_parts", ensure)
    shares = JobShares(queue.active_askers, max_each=2)
    parts: Any = SimpleNamespace(library=library, queue=queue, settings=Settings(data_dir=tmp_path), shares=shares)
    first = Desk.prepare_for(parts, "a", "musetalk15", "192.0.2.1")
    Desk.prepare_for(parts, "b", "musetalk15", "192.0.2.1")
    with pytest.raises(QueueFull):
        Desk.prepare_for(parts, "c", "musetalk15", "192.0.2.1")
    assert Desk.prepare_for(parts, "a", "musetalk15", "192.0.2.1") == first
    Desk.prepare_for(parts, "c", "musetalk15", "192.0.2.2")
    Desk.prepare_for(parts, "d", "musetalk15")
    assert sorted(queue.active_askers()) == [viewer_key(f"192.0.2.{n}") for n in (1, 1, 2)]
