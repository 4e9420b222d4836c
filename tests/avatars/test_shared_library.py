"""Avatars of two machines with one store: each has copies of what it uses, and both see the same."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from avatars import shelf_catalogue, store_objects
from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotFound, StoreUnreachable
from avatars.facts import facts_of
from avatars.library import AvatarLibrary, Ownership
from avatars.persona import Persona, read_persona, write_persona
from avatars.shared_library import SharedLibrary
from avatars.store import Index, Store, StoredFile
from tests.shared_stores import take_away, unread


class Machine:
    """A library with a clock that the test sets."""

    def __init__(self, home: Path, store_url: str) -> None:
        self.now_s = 0.0
        self.library = SharedLibrary(home / "avatars", Store(store_url, home / "store.json"), lambda: self.now_s)

    def later(self) -> SharedLibrary:
        """The library, when nothing of the list is fresh any more."""
        self.now_s += 10
        return self.library


@pytest.fixture
def ours(tmp_path: Path, store_url: str) -> Machine:
    return Machine(tmp_path / "ours", store_url)


@pytest.fixture
def theirs(tmp_path: Path, store_url: str) -> Machine:
    return Machine(tmp_path / "theirs", store_url)


@pytest.fixture
def make(make_bundle: Callable[..., AvatarBundle]) -> Callable[..., None]:
    def made(machine: Machine, avatar_id: str = "ada", frames: int = 5) -> None:
        bundle = make_bundle(avatar_id, frames)
        with machine.library.making(avatar_id) as folder:
            shutil.copytree(bundle.path, folder)

    return made


@pytest.fixture
def away(store_url: str) -> Callable[[], None]:
    """Takes the store away."""
    return partial(take_away, store_url)


def test_an_avatar_made_at_one_is_listed_and_opens_at_the_other(
    ours: Machine, theirs: Machine, make: Callable[..., None], library: AvatarLibrary
) -> None:
    """With all that a library says of one that lies in a folder."""
    make(ours)
    (found,) = theirs.library.list()
    (plain,) = library.list()
    assert (found.name, found.frames, found.kind, found.face) == (plain.name, plain.frames, plain.kind, plain.face)
    assert found.modified_s == pytest.approx(plain.modified_s)
    assert "ada" in theirs.library and theirs.library.ownership("ada") == Ownership()
    assert theirs.library.facts("ada") == facts_of(library.path_of("ada"))
    assert not theirs.library.path_of("ada").exists(), "a list fetches nothing"
    bundle = theirs.library.open("ada")
    assert bundle.frame(2).tolist() == library.open("ada").frame(2).tolist()
    assert theirs.library.open("ada") is bundle


def test_a_picture_is_fetched_alone(
    ours: Machine, theirs: Machine, make: Callable[..., None], library: AvatarLibrary
) -> None:
    """A gallery does not bring all avatars here."""
    make(ours)
    poster = theirs.library.file("ada", "poster.jpg")
    assert poster is not None and poster.read_bytes() == (library.path_of("ada") / "poster.jpg").read_bytes()
    assert theirs.library.file("ada", "preview.mp4") is None
    assert not theirs.library.path_of("ada").exists()


def test_a_change_is_seen_by_all_and_fetches_no_pictures_again(
    ours: Machine, theirs: Machine, make: Callable[..., None]
) -> None:
    """A name, a persona: the frames here stay the very file they were."""
    make(ours)
    theirs.library.open("ada")
    frames = (theirs.library.path_of("ada") / "frames.bin").stat().st_ino
    ours.library.rename("ada", "Eva")  # as long as the name before: size and time of its manifest stay
    with ours.library.changing("ada") as folder:
        write_persona(folder, Persona(prompt="You are kind."))
    assert theirs.later().open("ada").name == "Eva"
    assert read_persona(theirs.library.path_of("ada")).prompt == "You are kind."
    assert (theirs.library.path_of("ada") / "frames.bin").stat().st_ino == frames
    assert [found.name for found in theirs.library.list()] == ["Eva"]


def test_changes_of_both_at_once_are_kept(ours: Machine, theirs: Machine, make: Callable[..., None]) -> None:
    """While one prepares something for long, the other one renames it."""
    make(ours)
    with theirs.library.changing("ada") as folder:
        (folder / "parts").mkdir()
        (folder / "parts" / "wav2lip.safetensors").write_text("boxes")
        ours.library.rename("ada", "Adele")
    for machine in (ours, theirs):
        assert machine.later().open("ada").name == "Adele"
        assert (machine.library.path_of("ada") / "parts" / "wav2lip.safetensors").read_text() == "boxes"


def test_what_is_taken_away_goes_everywhere(ours: Machine, theirs: Machine, make: Callable[..., None]) -> None:
    """A file, and the folder that it was alone in."""
    make(ours)
    with ours.library.changing("ada") as folder:
        (folder / "gestures" / "wave").mkdir(parents=True)
        (folder / "gestures" / "wave" / "poster.jpg").write_text("a hand")
    theirs.library.open("ada")
    assert theirs.library.facts("ada").gestures == ["wave"]
    with ours.library.changing("ada") as folder:
        shutil.rmtree(folder / "gestures" / "wave")
    theirs.later().open("ada")
    assert theirs.library.facts("ada").gestures == []
    for machine in (ours, theirs):
        assert not (machine.library.path_of("ada") / "gestures" / "wave").exists()


def test_an_avatar_that_is_made_again_replaces_the_copy(
    ours: Machine, theirs: Machine, make: Callable[..., None]
) -> None:
    """Who has the old one open keeps its pictures."""
    make(ours)
    before = theirs.library.open("ada")
    make(ours, frames=3)
    assert theirs.later().open("ada").frame_count == 3
    assert before.frame_count == 5 and before.frame(4).any()


def test_a_deleted_avatar_is_gone_at_the_other_and_so_is_its_copy(
    ours: Machine, theirs: Machine, make: Callable[..., None]
) -> None:
    """Also where nobody asks for it: the next look removes it."""
    make(ours)
    theirs.library.open("ada")
    theirs.library.file("ada", "poster.jpg")
    ours.library.delete("ada")
    with pytest.raises(AvatarNotFound):
        ours.library.open("ada")
    theirs.library.shelf.follow()
    assert list(theirs.library.shelf.copies) == [] and not theirs.library.path_of("ada").exists()
    assert "ada" not in theirs.library and theirs.library.list() == []
    with pytest.raises(AvatarNotFound):
        theirs.library.delete("ada")


def test_a_deleted_avatar_is_not_used_before_the_next_look_either(
    ours: Machine, theirs: Machine, make: Callable[..., None]
) -> None:
    make(ours)
    theirs.library.open("ada")
    ours.library.delete("ada")
    with pytest.raises(AvatarNotFound):
        theirs.library.open("ada")
    assert not theirs.library.path_of("ada").exists()


def test_nothing_is_left_of_a_deleted_avatar_whose_picture_was_asked_for_late(
    ours: Machine, theirs: Machine, make: Callable[..., None]
) -> None:
    """By a list of a second ago; not even its id is left, in the name of an empty folder."""
    make(ours)
    theirs.library.list()
    ours.library.delete("ada")
    assert theirs.library.file("ada", "poster.jpg") is None
    theirs.library.shelf.follow()
    home = theirs.library.path_of("ada").parents[1]
    assert [path for path in home.rglob("*") if "ada" in path.name] == []


def test_a_list_that_is_a_second_old_does_not_say_whether_an_avatar_is_there_now(
    ours: Machine, theirs: Machine, make: Callable[..., None]
) -> None:
    make(ours)
    assert theirs.library.holds_now("ada") and not theirs.library.holds_now("../ada")
    assert [summary.id for summary in theirs.library.list()] == ["ada"]
    ours.library.delete("ada")
    assert "ada" in theirs.library  # by its list
    assert not theirs.library.holds_now("ada")
    assert "ada" not in theirs.library  # now it knows


def test_pictures_that_are_asked_for_again_and_again_ask_the_store_once_a_second(
    ours: Machine, theirs: Machine, make: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is opened is as it is now, nevertheless. A picture alone brings no other files here."""
    make(ours)
    asked: list[str] = []
    index = Store.index

    def noted(store: Store, kind: str, name: str) -> Index | None:
        asked.append(name)
        return index(store, kind, name)

    monkeypatch.setattr(Store, "index", noted)
    for _ in range(10):
        assert theirs.library.folder("ada").is_dir()
    assert asked == ["ada"]
    theirs.later().folder("ada")
    assert asked == ["ada"] * 2
    ours.library.rename("ada", "Eva")
    assert theirs.library.open("ada").name == "Eva"
    ours.library.delete("ada")
    with pytest.raises(AvatarNotFound):
        theirs.later().folder("ada")


def test_who_asks_for_an_avatar_that_is_here_waits_for_nobody_else(
    ours: Machine, make: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three ask at the same time, and each of them has asked the store before any is answered."""
    make(ours)
    all_ask, index = threading.Barrier(3, timeout=20), Store.index

    def together(store: Store, kind: str, name: str) -> Index | None:
        all_ask.wait()
        return index(store, kind, name)

    monkeypatch.setattr(Store, "index", together)
    with ThreadPoolExecutor(3) as pool:
        opened = [pool.submit(ours.later().open, "ada") for _ in range(3)]
        assert [one.result().name for one in opened] == ["Ada"] * 3


def test_who_asks_while_a_list_takes_long_is_told_what_is_known(
    ours: Machine, make: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that takes connections and says nothing is no reason to say nothing either."""
    monkeypatch.setattr(shelf_catalogue, "LATE_S", 0.01)
    make(ours)
    ours.library.list()
    asked, may_answer, names = threading.Event(), threading.Event(), Store.names

    def late(store: Store, kind: str) -> dict[str, str]:
        asked.set()
        assert may_answer.wait(30)
        return names(store, kind)

    monkeypatch.setattr(Store, "names", late)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ours.later().list)
        try:
            assert asked.wait(20)
            assert [found.id for found in pool.submit(ours.library.list).result(20)] == ["ada"]
            assert "ada" in ours.library
        finally:
            may_answer.set()
        assert [found.id for found in first.result()] == ["ada"]


def test_a_long_list_that_is_cut_off_goes_on_from_where_it_was(
    ours: Machine, theirs: Machine, make: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a store with very many things would never be listed: each try would begin anew."""
    for name in ("ada", "bob", "carl"):
        make(ours, name)
    monkeypatch.setattr(store_objects, "AT_ONCE", 1)
    indexes = Store.indexes

    def cut_off(store: Store, kind: str, names: Sequence[str]) -> Iterator[dict[str, Index]]:
        yield next(indexes(store, kind, names), {})
        if len(names) > 1:
            raise StoreUnreachable("It does not answer.", "Try again.")

    monkeypatch.setattr(Store, "indexes", cut_off)
    assert [len(theirs.later().list()) for _ in range(3)] == [1, 2, 3]
    assert len(theirs.later().shelf.listed()) == 3


def test_a_picture_is_not_asked_for_while_the_store_is_away(
    ours: Machine, theirs: Machine, make: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waited in vain says so to all others, and a gallery asks for many. What is here is shown."""
    make(ours)
    assert theirs.library.file("ada", "poster.jpg") is not None
    asked: list[str] = []

    def silent(_store: Store, _kind: str, name: str, _file: StoredFile, _path: Path) -> bool:
        asked.append(name)
        raise StoreUnreachable("It does not answer.", "Try again.")

    monkeypatch.setattr(Store, "get", silent)
    for _ in range(3):
        with pytest.raises(StoreUnreachable):
            theirs.library.file("ada", "frames.bin")
    assert asked == ["ada"]
    assert theirs.library.file("ada", "poster.jpg") is not None
    with pytest.raises(StoreUnreachable):
        theirs.later().open("ada")
    with pytest.raises(StoreUnreachable):
        theirs.library.file("ada", "frames.bin")
    assert asked == ["ada"] * 2


def test_an_avatar_that_is_deleted_while_it_is_fetched_does_not_stay_here(
    ours: Machine, theirs: Machine, make: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever deletes it finds nothing here yet."""
    make(ours)
    get = Store.get

    def deleted_meanwhile(store: Store, kind: str, name: str, file: StoredFile, path: Path) -> bool:
        came = get(store, kind, name, file, path)
        if path.name == last and came:
            theirs.library.delete("ada")
        return came

    last = list(theirs.library.shelf.indexes()["ada"].files)[-1]
    monkeypatch.setattr(Store, "get", deleted_meanwhile)
    with pytest.raises(AvatarNotFound):
        theirs.library.open("ada")
    assert not theirs.library.path_of("ada").exists()


def test_nothing_is_kept_of_names_that_never_were(ours: Machine) -> None:
    """There is no end of them."""
    for number in range(50):
        with pytest.raises(AvatarNotFound):
            ours.library.open(f"nobody-{number}")
    assert not ours.library.shelf.copies.writing and not ours.library.shelf._asked_s


def test_what_was_under_way_for_a_deleted_avatar_does_not_bring_it_back(
    ours: Machine, theirs: Machine, make: Callable[..., None]
) -> None:
    make(ours)
    with pytest.raises(AvatarNotFound), theirs.library.changing("ada") as folder:
        ours.library.delete("ada")
        write_persona(folder, Persona(prompt="late"))
    assert theirs.later().list() == ours.later().list() == []


def test_without_the_store_copies_work_and_the_rest_says_why(
    ours: Machine, theirs: Machine, make: Callable[..., None], away: Callable[[], None], tmp_path: Path, store_url: str
) -> None:
    """Nothing is half-written: what could not be kept is not there, and what was here stays as it was."""
    make(ours)
    make(ours, "bob")
    theirs.library.open("ada")
    theirs.library.list()
    away()
    assert theirs.later().open("ada").name == "Ada"
    assert {found.id for found in theirs.library.list()} == {"ada", "bob"}
    with pytest.raises(StoreUnreachable):
        theirs.library.open("bob")
    with pytest.raises(StoreUnreachable):
        theirs.later().rename("ada", "Adele")
    assert theirs.library.open("ada").name == "Ada"
    with pytest.raises(StoreUnreachable):
        theirs.later().shelf.follow()
    assert theirs.library.path_of("ada").exists()
    begun_anew = Machine(tmp_path / "theirs", store_url)
    assert [found.id for found in begun_anew.library.list()] == ["ada"], "after a restart, what is here"
    with pytest.raises(StoreUnreachable):
        make(begun_anew, "carl")


def test_an_avatar_whose_index_cannot_be_read_stays_as_it_was(
    ours: Machine, theirs: Machine, make: Callable[..., None], tmp_path: Path, store_url: str
) -> None:
    """It is there, and only nobody knows what it is now. So its copy stays, also after a restart."""
    make(ours)
    make(ours, "bob")
    theirs.library.open("ada")
    theirs.library.list()
    ours.library.rename("ada", "Eva")
    with unread("avatars", "ada"):
        theirs.later().shelf.follow()
        assert {found.name for found in theirs.library.list()} == {"Ada", "Bob"}
        begun_anew = Machine(tmp_path / "theirs", store_url)
        begun_anew.library.shelf.follow()
        assert begun_anew.library.shelf.names() == begun_anew.library.shelf.names_now() == {"ada", "bob"}
        assert begun_anew.library.path_of("ada").exists() and "ada" in begun_anew.library
        assert begun_anew.library.open("ada").name == "Ada"
    assert theirs.later().open("ada").name == "Eva"
    ours.library.delete("ada")
    begun_anew.later().shelf.follow()
    assert begun_anew.library.shelf.names() == {"bob"} and not begun_anew.library.path_of("ada").exists()


def test_a_store_that_is_away_is_not_asked_again_at_once(
    ours: Machine, make: Callable[..., None], away: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try may take seconds, and there are many who ask."""
    make(ours)
    away()
    ours.now_s += 10
    asked: list[str] = []
    names = Store.names

    def noted(store: Store, kind: str) -> dict[str, str]:
        asked.append(kind)
        return names(store, kind)

    monkeypatch.setattr(Store, "names", noted)
    for _ in range(10):
        ours.library.list()
    assert len(asked) == 1
    ours.later().list()
    assert len(asked) == 2


def test_a_writer_that_is_killed_leaves_nothing_to_be_seen(
    ours: Machine, theirs: Machine, make: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index comes last."""

    def killed(*_given: object, **_named: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "write_index", killed)
    with pytest.raises(KeyboardInterrupt):
        make(ours)
    assert theirs.library.list() == [] and "ada" not in theirs.library
    assert not ours.library.path_of("ada").exists()


def test_what_was_in_the_folder_before_there_was_a_store_is_put_into_it(
    tmp_path: Path, store_url: str, make_bundle: Callable[..., AvatarBundle], theirs: Machine
) -> None:
    """At the start, once; its place in the list stays."""
    make_bundle("ada")
    settled = AvatarLibrary(tmp_path / "avatars").list()[0]
    adopting = Machine(tmp_path, store_url)
    adopting.library.sweep()
    (found,) = theirs.library.list()
    assert found.id == "ada" and found.modified_s == pytest.approx(settled.modified_s)
    assert theirs.library.open("ada").frame_count == 5
    born = adopting.library.shelf.indexes()["ada"].born
    adopting.later().sweep()
    assert adopting.later().shelf.indexes()["ada"].born == born
