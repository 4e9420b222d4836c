"""Two portals with one store that take the same id, or begin the store, in the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from avatars.store import Index
from avatars.store_objects import Objects
from pipeline.errors import BadRequest
from portal.http.login_key import secret_of
from portal.jobs.orders import order_of_avatar, order_of_clip
from portal.jobs.records import JobOrder
from portal.jobs.shared_folders import SharedJobFolders
from tests.portal.test_shared_store import Node, opened


@pytest.fixture
def ours(tmp_path: Path, store_url: str) -> Iterator[Node]:
    node = Node(tmp_path / "ours", store_url)
    with opened(node):
        yield node


@pytest.fixture
def theirs(tmp_path: Path, store_url: str, ours: Node) -> Iterator[Node]:
    """Its jobs are in the database of ours, as with Postgres."""
    node = Node(tmp_path / "theirs", store_url, jobs=ours)
    with node.web:
        yield node


@pytest.fixture
def alone(tmp_path: Path, store_url: str) -> Iterator[Node]:
    """With a database of its own."""
    node = Node(tmp_path / "alone", store_url)
    with opened(node):
        yield node


def upload_order(folder: Path, name: str, avatar: str) -> JobOrder:
    (folder / name).write_bytes(name.encode())
    return replace(order_of_avatar(folder / name, avatar=avatar, name=name, consent=True), id="task-7")


def test_two_uploads_of_one_id_at_once_are_not_mixed_up(
    ours: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes while the first upload is on its way is refused; what the first one sent is what the job works on."""
    begun, may_end, take = threading.Event(), threading.Event(), SharedJobFolders.take_upload

    def slowly(folders: SharedJobFolders, job_id: str, upload: Path) -> None:
        if upload.name == "first":
            begun.set()
            assert may_end.wait(20)
        take(folders, job_id, upload)

    monkeypatch.setattr(SharedJobFolders, "take_upload", slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ours.queue.submit, upload_order(tmp_path, "first", "ada"))
        try:
            assert begun.wait(20)
            with pytest.raises(BadRequest, match="already"):
                ours.queue.submit(upload_order(tmp_path, "second", "bob"))
            with pytest.raises(BadRequest, match="already"):
                ours.queue.submit(replace(order_of_clip(avatar="ada", text="Hello."), id="task-7"))
        finally:
            may_end.set()
        assert first.result().avatar == "ada"
    kept = ours.folders.upload("task-7")
    assert kept is not None and kept.read_bytes() == b"first"
    assert [job.avatar for job in ours.queue.list()] == ["ada"]


def before_its_upload_is_seen(node: Node, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have act() done once, when the node has put an upload into the store, and nobody can see it yet."""
    assert isinstance(node.folders, SharedJobFolders)
    store = node.folders.store
    create = store.create_index

    def create_after(kind: str, name: str, index: Index) -> bool:
        monkeypatch.setattr(store, "create_index", create)
        act()
        return create(kind, name, index)

    monkeypatch.setattr(store, "create_index", create_after)


@pytest.mark.parametrize("has_one_database", [True, False])
def test_two_uploads_of_one_id_at_two_portals_are_not_mixed_up(
    ours: Node,
    theirs: Node,
    alone: Node,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_one_database: bool,
) -> None:
    """Neither knew of the other's. The later one is refused, and the first one's upload stays as it is."""
    faster = theirs if has_one_database else alone
    before_its_upload_is_seen(ours, lambda: faster.queue.submit(upload_order(tmp_path, "faster", "bob")), monkeypatch)
    with pytest.raises(BadRequest, match="already"):
        ours.queue.submit(upload_order(tmp_path, "slower", "ada"))
    assert [job.avatar for job in faster.queue.list()] == ["bob"]
    assert has_one_database or not ours.queue.list()
    kept = faster.folders.upload("task-7")
    assert kept is not None and kept.read_bytes() == b"faster"
    assert not list(tmp_path.rglob("slower")) and not list(ours.settings.data_dir.rglob("upload"))


def test_an_upload_that_arrives_when_its_id_was_used_elsewhere_is_refused(
    ours: Node, theirs: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other portal's job has ended by then, and its upload is gone. It is not taken for the job of this one."""

    def use_it() -> None:
        theirs.queue.submit(upload_order(tmp_path, "faster", "bob"))
        theirs.queue.cancel("task-7")

    before_its_upload_is_seen(ours, use_it, monkeypatch)
    with pytest.raises(BadRequest, match="already"):
        ours.queue.submit(upload_order(tmp_path, "slower", "ada"))
    (job,) = ours.queue.list()
    assert (job.avatar, job.state) == ("bob", "cancelled")
    assert ours.folders.upload("task-7") is None and not list(tmp_path.rglob("slower"))


def test_an_id_is_free_again_after_a_refusal(ours: Node, tmp_path: Path) -> None:
    """Nothing is left of the submission that was refused."""

    def order() -> JobOrder:
        (tmp_path / "photo").write_bytes(b"pixels")
        return replace(order_of_avatar(tmp_path / "photo", avatar="ada", name="Ada", consent=True), id="task-7")

    def refuse() -> None:
        raise BadRequest("There is one.", "Choose another.")

    with pytest.raises(BadRequest, match="There is one"):
        ours.queue.submit(order(), check=refuse)
    assert ours.queue.submit(order()).id == "task-7"


@pytest.mark.parametrize("slow", ["vivavoce.json", "portal/login.json"])
def test_two_portals_that_begin_a_store_at_once_know_it_by_one_mark_and_have_one_key(
    ours: Node, theirs: Node, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """Else the database of one would be refused to the other, and a login would be known at one of them only."""

    def begin(node: Node) -> None:
        node.storage.start()
        node.storage.close()

    assert ours.storage.store is not None and theirs.storage.store is not None
    create, begun = Objects.create, iter([ours])

    def create_after(objects: Objects, key: str, content: bytes) -> bool:
        for node in begun if key == slow else ():  # the other one is as far as this one, and faster
            begin(node)
        return create(objects, key, content)

    monkeypatch.setattr(Objects, "create", create_after)
    begin(theirs)
    assert ours.storage.store.mark() == theirs.storage.store.mark() == ours.folders.mark
    assert secret_of(ours.settings.data_dir) == secret_of(theirs.settings.data_dir)
