"""The id of a deleted avatar stays its owner's at all machines with one store, whoever deletes and whoever creates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotFound, StoreUnreachable
from avatars.library import AvatarLibrary, Ownership
from avatars.shared_library import SharedLibrary
from pipeline.errors import BadRequest
from portal.intake.submissions import submit_avatar
from portal.jobs.former_ids import FormerIds
from portal.jobs.orders import order_of_avatar
from portal.jobs.records import PREPARE, Job
from portal.worker.job_work import JobFailed, Recipe
from portal.worker.recipes import recipes
from tests.portal.test_shared_store import Node, opened
from tests.portraits import own
from tests.shared_stores import bring_back, take_away

ODD_NAME = "../Zoé: 王/小明 " + "x" * 200
"A proxy may send such a name; it is none for a file."


@pytest.fixture
def ours(tmp_path: Path, store_url: str) -> Iterator[Node]:
    node = Node(tmp_path / "ours", store_url)
    with opened(node):
        yield node


@pytest.fixture
def theirs(tmp_path: Path, store_url: str) -> Iterator[Node]:
    """Without a common database: what is ordered at ours is not known there."""
    node = Node(tmp_path / "theirs", store_url)
    with opened(node):
        yield node


@pytest.fixture
def make(make_bundle: Callable[..., AvatarBundle]) -> Callable[..., None]:
    """Make the avatar `ada`."""

    def made(node: Node, owner: str) -> None:
        bundle = make_bundle("ada")
        own(bundle, owner)
        with node.library.making("ada") as folder:
            bundle.path.rename(folder)

    return made


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """Order an avatar of that id."""
    monkeypatch.setattr("portal.intake.submissions.check_media", lambda *_given: False)

    def ordered(node: Node, owner: str, avatar_id: str = "ada") -> Job:
        photo = tmp_path / "photo.png"
        photo.write_bytes(b"a face")
        return submit_avatar(
            node.library,
            node.queue,
            photo,
            name="Ada",
            file_name="ada.png",
            consent=True,
            owner=owner,
            avatar_id=avatar_id,
        )

    return ordered


def noted_here(node: Node) -> list[str]:
    return [path.name for path in (node.settings.data_dir / "former-avatars").glob("*")]


def noted_before(node: Node, owner: str) -> None:
    """As it lies in a data folder from before there was a store."""
    folder = node.settings.data_dir / "former-avatars"
    folder.mkdir()
    (folder / "ada").write_text(owner, encoding="utf-8")


@pytest.mark.parametrize("owner", ["mia", "", ODD_NAME], ids=["named", "everybody", "odd"])
def test_an_id_deleted_at_one_portal_is_taken_at_the_other(
    ours: Node, theirs: Node, make: Callable[..., None], order: Callable[..., Job], owner: str
) -> None:
    """But for whoever had it."""
    make(ours, owner)
    assert ours.web.delete("/api/avatars/ada").status_code == 204
    with pytest.raises(BadRequest, match="is taken"):
        order(theirs, "max")
    assert theirs.folders.former_ids.owners_of("ada") == {owner}
    assert order(theirs, owner).avatar == "ada"
    assert not noted_here(ours) and not noted_here(theirs)


def test_an_id_is_free_again_when_nothing_made_with_it_is_left(
    ours: Node, theirs: Node, make: Callable[..., None], order: Callable[..., Job]
) -> None:
    make(ours, "mia")
    ours.web.delete("/api/avatars/ada")
    theirs.folders.former_ids.forget("ada")
    assert ours.folders.former_ids.owners_of("ada") == set()
    assert order(ours, "max").avatar == "ada"


def test_while_one_portal_deletes_an_avatar_nobody_gets_its_id_at_another(
    ours: Node,
    theirs: Node,
    make: Callable[..., None],
    order: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its owner is noted before it is gone. So it is refused as one that is there, and then as one that was."""
    make(ours, "mia")
    refusals = []
    delete = ours.library.delete

    def try_to_take() -> None:
        with pytest.raises(BadRequest) as refused:
            order(theirs, "max")
        assert theirs.folders.former_ids.is_anothers(theirs.library, "ada", "max")
        refusals.append(refused.value.message)

    def deleted(avatar_id: str) -> None:
        try_to_take()
        delete(avatar_id)
        try_to_take()

    monkeypatch.setattr(ours.library, "delete", deleted)
    ours.folders.former_ids.retire(ours.library, "ada")
    assert refusals == ["There is an avatar 'ada' already.", "The id 'ada' is taken."]


def test_what_was_noted_before_there_was_a_store_is_known_to_all(
    ours: Node, theirs: Node, order: Callable[..., Job]
) -> None:
    """An id that two machines know as different people's is nobody's: there are clips of both."""
    noted_before(ours, "mia")
    noted_before(theirs, "max")
    for node, other in ((ours, "max"), (theirs, "mia")):
        with pytest.raises(BadRequest, match="is taken"):
            order(node, other)
    ours.storage.look()
    theirs.storage.look()
    assert not noted_here(ours) and not noted_here(theirs)
    for owner in ("mia", "max"):
        with pytest.raises(BadRequest, match="is taken"):
            order(ours, owner)


def test_while_the_store_is_away_nothing_is_deleted_and_no_id_is_given(
    ours: Node, make: Callable[..., None], order: Callable[..., Job], store_url: str
) -> None:
    """What is noted here alone stays noted."""
    make(ours, "mia")
    noted_before(ours, "max")
    take_away(store_url)
    former = ours.folders.former_ids
    for ask in (
        lambda: former.retire(ours.library, "ada"),
        lambda: former.owners_of("zoe"),
        lambda: order(ours, "zoe", "zoe"),
        former.hand_over,
    ):
        with pytest.raises(StoreUnreachable):
            ask()
    assert noted_here(ours) == ["ada"]
    bring_back(store_url)
    assert ours.library.ownership("ada") == Ownership("mia")
    ours.storage.look()
    assert former.owners_of("ada") == {"max"} and not noted_here(ours)


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("step", ["find_faces", "write"])
def test_an_id_that_was_ordered_at_two_portals_is_the_firsts(
    ours: Node,
    theirs: Node,
    make: Callable[..., None],
    order: Callable[..., Job],
    deleted: bool,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither knew of the other's order. The later job makes nothing, and the first one's avatar and report stay; also
    once that was deleted, for clips of it may be there.
    """
    monkeypatch.setattr("portal.worker.recipes.find_faces", lambda *_given: None)
    job = order(theirs, "max")
    inputs = order_of_avatar(Path("ada.png"), avatar="ada", name="Ada", consent=True, owner="max").inputs
    make(ours, "mia")
    if deleted:
        ours.web.delete("/api/avatars/ada")
    ours.folders.reports.keep("ada", {"0.jpg": b"a face"}, "job of mia")
    (steps,) = (recipe.steps for recipe in recipes() if recipe.kind == PREPARE)
    with pytest.raises(JobFailed, match="is taken") as failed:
        theirs.work_on(job, Recipe(PREPARE, tuple(one for one in steps if one.name == step)), inputs)
    assert (failed.value.code, failed.value.data["cause"]) == ("bad_request", "id")
    assert ours.library.ownership("ada") == (None if deleted else Ownership("mia"))
    assert ours.folders.reports.job_of("ada") == "job of mia"


def test_the_id_stays_with_whoever_has_it_now(ours: Node, theirs: Node, make: Callable[..., None]) -> None:
    """Not with whose it was a second ago, when the portal that deletes it has last looked."""
    make(ours, "mia")
    assert isinstance(theirs.library, SharedLibrary) and theirs.storage.store is not None
    just_seen = SharedLibrary(theirs.library.root, theirs.storage.store, lambda: 0.0)
    assert [avatar.id for avatar in just_seen.list()] == ["ada"]
    ours.folders.former_ids.retire(ours.library, "ada")
    ours.folders.former_ids.forget("ada")
    make(ours, "max")
    theirs.folders.former_ids.retire(just_seen, "ada")
    assert ours.folders.former_ids.owners_of("ada") == {"max"}


@pytest.mark.parametrize(("was_deleted_before", "owner"), [(True, "mia"), (False, "")])
def test_an_avatar_that_does_not_tell_its_owner_brings_no_second_one(
    ours: Node, make: Callable[..., None], was_deleted_before: bool, owner: str
) -> None:
    """It stays with who had the id before, or nobody could take it. If nobody had, it is everybody's."""
    former, store = ours.folders.former_ids, ours.storage.store
    make(ours, "mia")
    if was_deleted_before:
        former.retire(ours.library, "ada")
        make(ours, "mia")
    assert store is not None
    index = store.index("avatars", "ada")
    assert index is not None
    damaged = replace(index, about={**index.about, "manifest": {}})
    assert store.write_index("avatars", "ada", damaged, is_new=False)
    former.retire(ours.library, "ada")
    assert former.owners_of("ada") == {owner}


def test_a_damaged_avatar_of_a_folder_leaves_its_id_to_who_had_it(
    tmp_path: Path, library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Without a store. What is no id is none of a file, either."""
    former = FormerIds(tmp_path)
    for is_damaged in (False, True):
        own(make_bundle("ada"), "mia")
        if is_damaged:
            (library.path_of("ada") / "manifest.json").write_text("{")
        former.retire(library, "ada")
        assert former.owners_of("ada") == {"mia"}
    with pytest.raises(AvatarNotFound):
        former.retire(library, "..")


def test_an_avatar_whose_manifest_cannot_be_used_is_replaced_by_nobody(
    ours: Node, make: Callable[..., None], library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Nobody knows whose it is, in a store as well as in a folder."""
    make(ours, "mia")
    make_bundle("ada")
    for avatars, former in ((ours.library, ours.folders.former_ids), (library, FormerIds(library.root))):
        with avatars.changing("ada") as folder:
            manifest = json.loads((folder / "manifest.json").read_text())
            (folder / "manifest.json").unlink()
            (folder / "manifest.json").write_text(json.dumps({**manifest, "source": None}))
        assert [former.is_anothers(avatars, "ada", owner) for owner in ("mia", "max", "")] == [True] * 3
        avatars.delete("ada")
        assert not former.is_anothers(avatars, "ada", "mia")


def test_its_own_id_is_nobody_elses(ours: Node, make: Callable[..., None]) -> None:
    """A job that is done again, and one whose owner has deleted the avatar meanwhile, go on."""
    former = ours.folders.former_ids
    make(ours, "mia")
    assert [former.is_anothers(ours.library, "ada", owner) for owner in ("mia", "max")] == [False, True]
    former.retire(ours.library, "ada")
    assert [former.is_anothers(ours.library, "ada", owner) for owner in ("mia", "max")] == [False, True]
