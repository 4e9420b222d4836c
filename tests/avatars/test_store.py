"""The store that several machines share: a thing is there whole or not at all, and each sees what others have kept."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from avatars import store_objects
from avatars.errors import BundleError, StoreUnreachable
from avatars.store import ORPHAN_S, Index, Store, StoredFile
from avatars.store_objects import Objects
from tests.shared_stores import HAS_S3, SlowService, bring_back, take_away


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Store:
    return Store(store_url, tmp_path / "here" / "store.json")


def kept(store: Store, folder: Path, name: str = "ada", text: str = "pixels") -> Index:
    """A thing of one file."""
    folder.mkdir(exist_ok=True)
    (folder / "frames.bin").write_text(text)
    index = Index("one", {"frames.bin": store.put("avatars", name, folder / "frames.bin")}, {"name": "Ada"})
    assert store.write_index("avatars", name, index, is_new=True)
    return index


def test_what_one_machine_keeps_another_one_finds(store: Store, store_url: str, tmp_path: Path) -> None:
    """Its index, its files byte by byte, and in the list."""
    index = kept(store, tmp_path)
    other = Store(store_url, tmp_path / "there" / "store.json")
    assert list(other.names("avatars")) == ["ada"]
    assert other.index("avatars", "ada") == index
    assert list(other.indexes("avatars", ["ada", "nobody"])) == [{"ada": index}]
    assert other.get("avatars", "ada", index.files["frames.bin"], tmp_path / "fetched")
    assert (tmp_path / "fetched").read_text() == "pixels"
    assert other.mark() == store.mark() != ""


def test_a_list_tells_what_has_changed(store: Store, tmp_path: Path) -> None:
    """The stamp of a thing is another one then, and else the same."""
    index = kept(store, tmp_path)
    first = store.names("avatars")
    assert store.names("avatars") == first
    store.write_index("avatars", "ada", Index("one", index.files, {"name": "Adele"}), is_new=False)
    assert store.names("avatars")["ada"] != first["ada"]


def test_a_thing_is_removed_with_all_its_files(store: Store, store_url: str, tmp_path: Path) -> None:
    """Nobody finds anything of it then."""
    index = kept(store, tmp_path)
    assert store.remove("avatars", "ada")
    assert store.index("avatars", "ada") is None and store.names("avatars") == {}
    assert not store.get("avatars", "ada", index.files["frames.bin"], tmp_path / "fetched")
    assert not store.remove("avatars", "ada")


def test_whoever_is_late_does_not_bring_a_deleted_thing_back(store: Store, tmp_path: Path) -> None:
    """A worker that was still at it is told so; the same name may be used again."""
    index = kept(store, tmp_path)
    store.remove("avatars", "ada")
    assert not store.write_index("avatars", "ada", index, is_new=False)
    assert store.index("avatars", "ada") is None
    kept(store, tmp_path)
    assert store.index("avatars", "ada") is not None


def test_of_two_who_make_a_thing_at_once_one_succeeds(store: Store, store_url: str, tmp_path: Path) -> None:
    """The other is told, and what the first one keeps stays; once it was deleted, the name may be used again."""
    other = Store(store_url, tmp_path / "there" / "store.json")
    (tmp_path / "file").write_text("pixels")
    mine, theirs = (
        Index(born, {"file": one.put("uploads", "task", tmp_path / "file")}, {})
        for born, one in (("mine", store), ("theirs", other))
    )
    assert store.create_index("uploads", "task", mine)
    assert not other.create_index("uploads", "task", theirs)
    assert other.index("uploads", "task") == mine
    assert other.get("uploads", "task", mine.files["file"], tmp_path / "fetched")
    assert list(store.names("uploads")) == ["task"], "nothing is left beside it"
    store.remove("uploads", "task")
    assert other.create_index("uploads", "task", theirs)
    assert store.index("uploads", "task") == theirs


def test_who_has_made_a_thing_hears_so_although_the_answer_was_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service's package tries again then, and is refused because of its own first try."""
    create = Objects.create
    monkeypatch.setattr(Objects, "create", lambda *given: create(*given) and create(*given))
    assert store.create_index("uploads", "task", Index("mine", {}, {}))
    assert not store.create_index("uploads", "task", Index("theirs", {}, {}))


@pytest.mark.parametrize(
    "refusal", [OSError(errno.EINVAL, "a condition did not hold"), OSError(errno.ENOSYS, "unknown"), TypeError("mode")]
)
def test_a_service_may_refuse_by_another_name_or_know_no_condition(
    service: SlowService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    """What is there is not replaced."""
    write, knows = service.pipe_file, refusal.args[0] == errno.EINVAL

    def pipe_file(path: str, content: bytes, mode: str = "overwrite", **_within: float) -> None:
        if mode == "create" and (not knows or service.exists(path)):
            raise refusal
        write(path, content)

    monkeypatch.setattr(service, "pipe_file", pipe_file, raising=False)
    store = Store("slow://", tmp_path / "store.json")
    assert store.create_index("uploads", "task", Index("mine", {}, {}))
    assert not store.create_index("uploads", "task", Index("theirs", {}, {}))
    assert store.index("uploads", "task") == Index("mine", {}, {})


def test_a_folder_on_a_disk_without_links_replaces_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    objects = Objects(f"file://{tmp_path}/share")
    assert [objects.create("a/b", content) for content in (b"first", b"second")] == [True, False]
    assert objects.read("a/b") == b"first"
    assert [path.name for path in (tmp_path / "share" / "a").iterdir()] == ["b"]


def test_a_store_that_is_not_mounted_is_not_an_empty_one(store_url: str, tmp_path: Path) -> None:
    """Else all copies would be removed, because nothing is there."""
    store = Store(store_url, tmp_path / "store.json")
    kept(store, tmp_path)
    take_away(store_url)
    for ask in (
        lambda: store.names("avatars"),
        lambda: store.index("avatars", "ada"),
        lambda: kept(Store(store_url, tmp_path / "store.json"), tmp_path),
    ):
        with pytest.raises(StoreUnreachable, match="what was kept there is not there"):
            ask()
    bring_back(store_url)
    assert list(store.names("avatars")) == ["ada"]


def test_files_that_no_index_names_are_removed_after_a_day(store: Store, tmp_path: Path) -> None:
    """A writer was killed before its index. What is in use stays, and what may still be under way."""
    index = kept(store, tmp_path)
    left = store.put("avatars", "ada", tmp_path / "frames.bin")
    lost = store.put("avatars", "bob", tmp_path / "frames.bin")
    store.sweep(time.time())
    assert store.get("avatars", "ada", left, tmp_path / "fetched")
    store.sweep(time.time() + ORPHAN_S + 60)
    assert not store.get("avatars", "ada", left, tmp_path / "fetched")
    assert not store.get("avatars", "bob", lost, tmp_path / "fetched")
    assert store.get("avatars", "ada", index.files["frames.bin"], tmp_path / "fetched")


def test_notes_are_seen_by_all_and_can_be_taken_back(store: Store, store_url: str, tmp_path: Path) -> None:
    """With the time at which they were written."""
    store.note("erased", "ada.1")
    other = Store(store_url, tmp_path / "other.json")
    assert list(other.notes("erased")) == ["ada.1"]
    assert abs(other.notes("erased")["ada.1"] - time.time()) < 60
    other.forget("erased", "ada.1")
    assert store.notes("erased") == {}


def test_a_check_leaves_nothing_behind(store: Store) -> None:
    store.check()
    assert store.notes("") == {}


@pytest.mark.parametrize("path", ["../../login.key", "/etc/passwd", "a//b", ""])
def test_no_file_of_a_thing_leads_out_of_its_folder(store: Store, tmp_path: Path, path: str) -> None:
    """Whoever can write into the bucket cannot write elsewhere on our machines."""
    file = StoredFile("0" * 32, 1, 1)
    store.write_index("avatars", "evil", Index("one", {path: file}, {}), is_new=True)
    with pytest.raises(BundleError, match="avatars/evil"):
        store.index("avatars", "evil")
    assert list(store.indexes("avatars", ["evil"])) == [{}]


@pytest.mark.skipif(not HAS_S3, reason="s3fs is not installed")
def test_a_service_that_says_nothing_is_given_up_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its package would try again for five minutes, and whoever asks for an avatar would wait."""
    for deadline in ("ANSWERED_S", "LISTED_S", "WRITTEN_S"):
        monkeypatch.setattr(store_objects, deadline, 0.5)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    (tmp_path / "here").touch()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        system: Any = fsspec.get_filesystem_class("s3")
        system.clear_instance_cache()  # those that talk to the service of the other tests
        objects = Objects(f"s3://silent-{uuid4().hex}")
        asks: list[Callable[[], object]] = [
            lambda: objects.read("x"),
            lambda: objects.entries("x"),
            lambda: list(objects.read_all("x", ["y"])),
            lambda: objects.below("x"),
            lambda: objects.fetch("x", tmp_path / "fetched", 0),
            lambda: objects.write("x", b""),
            lambda: objects.create("x", b""),
            lambda: objects.send(tmp_path / "here", "x"),
            lambda: objects.delete("x"),
            lambda: objects.delete_below("x"),
        ]
        try:
            for ask in asks:
                with pytest.raises(StoreUnreachable, match="does not answer"):
                    ask()
        finally:
            system.clear_instance_cache()
        silent.settimeout(20)
        silent.accept()[0].close()  # it was asked: nothing else went wrong before


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> SlowService:
    """What any store of the test is kept in."""
    service = SlowService()
    monkeypatch.setattr(Objects, "_connected", (service, f"/{uuid4().hex}"))
    return service


def test_who_has_kept_something_hears_so_although_the_next_answer_is_late(service: SlowService, tmp_path: Path) -> None:
    """Else a thing that is there for all would be refused."""
    service.takes_s["exists"] = 20
    index = kept(Store("slow://", tmp_path / "store.json"), tmp_path)
    assert Store("slow://", tmp_path / "store.json").index("avatars", "ada") == index


def test_a_long_list_is_read_in_parts_with_a_deadline_each(
    service: SlowService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came before the service fell silent is good."""
    monkeypatch.setattr(store_objects, "AT_ONCE", 2)
    store, names = Store("slow://", tmp_path / "store.json"), ["ada", "bob", "carl"]
    for name in names:
        kept(store, tmp_path, name)
    service.takes_s["cat"] = 14
    parts = store.indexes("avatars", names)
    assert list(next(parts)) == ["ada", "bob"]
    service.takes_s["cat"] = 16
    with pytest.raises(StoreUnreachable, match="does not answer"):
        next(parts)


def test_a_file_may_take_longer_the_larger_it_is(service: SlowService, tmp_path: Path) -> None:
    """A slow line still brings it, both ways."""
    (tmp_path / "large").write_bytes(bytes(2_000_000))
    store = Store("slow://", tmp_path / "store.json")
    service.takes_s["put_file"] = 45
    large = store.put("avatars", "ada", tmp_path / "large")
    service.takes_s["get_file"] = 20
    assert store.get("avatars", "ada", large, tmp_path / "fetched")
    service.takes_s["get_file"] = 60
    with pytest.raises(StoreUnreachable, match="does not answer"):
        store.get("avatars", "ada", large, tmp_path / "fetched")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what installs it."""

    def refuse(_kind: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", refuse)
    with pytest.raises(StoreUnreachable, match=r"Install s3fs.*launch.py fetch store") as told:
        Store("s3://bucket/portal", tmp_path / "store.json").check()
    assert told.value.cause == "package"
