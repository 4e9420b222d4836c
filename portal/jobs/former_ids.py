"""Ids of avatars that were deleted: whatever was made with one goes by its id, so nobody else may have that id."""

from __future__ import annotations

import hashlib
import logging
import secrets
from contextlib import suppress
from pathlib import Path

from avatars.library import VALID_ID, AvatarLibrary, Ownership
from avatars.store import Index, Store

__all__ = ["FormerIds", "SharedFormerIds"]

logger = logging.getLogger(__name__)


class FormerIds:
    """A small file for each id, with the name of the person whose avatar it was; empty for everybody's.

    Clips, recordings and sessions outlive the avatar. Whoever got its id could erase them as things of their own.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "former-avatars"

    def owners_of(self, avatar_id: str) -> set[str]:
        """Return the names of those whose avatars of that id were deleted; none if there was no such avatar."""
        try:
            return {(self._folder / avatar_id).read_text(encoding="utf-8")}
        except FileNotFoundError:
            return set()

    def is_anothers(self, library: AvatarLibrary, avatar_id: str, owner: str) -> bool:
        """Return whether an avatar of that id is, or was, somebody else's.

        The library is asked first. Whoever deletes an avatar notes its owner before that, so at any moment one of the
        two says whose it is.
        """
        whose = library.ownership_now(avatar_id)
        if whose is None and library.holds_now(avatar_id):  # nobody knows whose: its manifest cannot be read
            return True
        return (whose is not None and whose.owner != owner) or not self.owners_of(avatar_id) <= {owner}

    def retire(self, library: AvatarLibrary, avatar_id: str) -> None:
        """Delete an avatar, and keep its id for its owner. Raises AvatarNotFound."""
        library.path_of(avatar_id)  # raises AvatarNotFound for an invalid id, before it becomes a file name
        owners = self._owners_to_be(library, avatar_id)
        noted = library.holds_now(avatar_id) and self._note_all(
            avatar_id, owners
        )  # before: the id is free at no moment
        library.delete(avatar_id)
        if not noted and not self._note_all(avatar_id, owners):  # a full disk has room now
            logger.error("It cannot be noted whose avatar %s was: somebody else may take its id.", avatar_id)

    def forget(self, avatar_id: str) -> None:
        """Nothing that was made with it is left."""
        (self._folder / avatar_id).unlink(missing_ok=True)

    def hand_over(self) -> None:
        """Put what only this machine has noted where other machines see it, if there is such a place."""

    def _owners_to_be(self, library: AvatarLibrary, avatar_id: str) -> set[str]:
        """Return whose the id will be when the avatar is deleted.

        If the avatar's files do not tell, the id stays with those who had it before. If it were everybody's as well,
        nobody could take it.
        """
        whose = library.ownership_now(avatar_id)
        return {whose.owner} if whose is not None else self.owners_of(avatar_id) or {Ownership().owner}

    def _note_all(self, avatar_id: str, owners: set[str]) -> bool:
        return all(self._note(avatar_id, owner) for owner in owners)

    def _note(self, avatar_id: str, owner: str) -> bool:
        try:
            self._folder.mkdir(exist_ok=True)
            (self._folder / avatar_id).write_text(owner, encoding="utf-8")
        except OSError:
            return False
        return True


class SharedFormerIds(FormerIds):
    """The same in a store, for all machines. Every method raises StoreUnreachable while the store is away.

    So nobody gets an id then, and nothing is deleted. Each owner of an id has an index of their own, without files. If
    two machines bring different owners along, both stay, and nobody can take that id: there are clips of both.
    docs/scaling.md says how an operator frees it.
    """

    def __init__(self, data_dir: Path, store: Store) -> None:
        super().__init__(data_dir)
        self._store = store

    def owners_of(self, avatar_id: str) -> set[str]:
        """Include what only this machine has noted. Raises BundleError if what the store has cannot be read."""
        kind = _kind(avatar_id)
        found = [self._store.index(kind, name) for name in self._store.names(kind)]
        return {str(index.about["owner"]) for index in found if index is not None} | super().owners_of(avatar_id)

    def forget(self, avatar_id: str) -> None:
        kind = _kind(avatar_id)
        for name in self._store.names(kind):
            self._store.remove(kind, name)
        super().forget(avatar_id)

    def hand_over(self) -> None:
        for path in self._folder.glob("*"):
            with suppress(FileNotFoundError):  # the portal or the worker of this folder was faster
                if VALID_ID.fullmatch(path.name) and self._note(path.name, path.read_text(encoding="utf-8")):
                    path.unlink()

    def _note(self, avatar_id: str, owner: str) -> bool:
        kind = _kind(avatar_id)
        name = hashlib.sha256(owner.encode()).hexdigest()[:32]  # the name itself may not fit for a file
        if self._store.index(kind, name) is not None:  # raises if it is not mounted: writing would not
            return True
        return self._store.write_index(kind, name, Index(secrets.token_hex(8), {}, {"owner": owner}), is_new=True)


def _kind(avatar_id: str) -> str:
    return f"former/{avatar_id}"
