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
        """Whose the deleted avatars of that id were; nobody's if none was deleted."""
        try:
            return {(self._folder / avatar_id).read_text(encoding="utf-8")}
        except FileNotFoundError:
            return set()

    def is_anothers(self, library: AvatarLibrary, avatar_id: str, owner: str) -> bool:
        """Whether an avatar of that id is, or was, somebody else's.

        Looked at in this order: whoever deletes an avatar notes its owner first, so one of the two tells at any moment.
        """
        whose = library.ownership(avatar_id)
        return (whose is not None and whose.owner != owner) or not self.owners_of(avatar_id) <= {owner}

    def retire(self, library: AvatarLibrary, avatar_id: str) -> None:
        """Delete an avatar, and keep its id for its owner. Raises AvatarNotFound."""
        owner = (library.ownership(avatar_id) or Ownership()).owner
        noted = avatar_id in library and self._note(avatar_id, owner)  # before: the id is free at no moment
        library.delete(avatar_id)
        if not noted and not self._note(avatar_id, owner):  # a full disk has room now
            logger.error("It cannot be noted whose avatar %s was: somebody else may take its id.", avatar_id)

    def forget(self, avatar_id: str) -> None:
        """Nothing that was made with it is left."""
        (self._folder / avatar_id).unlink(missing_ok=True)

    def hand_over(self) -> None:
        """Put what is noted here alone to where others look as well."""

    def _note(self, avatar_id: str, owner: str) -> bool:
        try:
            self._folder.mkdir(exist_ok=True)
            (self._folder / avatar_id).write_text(owner, encoding="utf-8")
        except OSError:
            return False
        return True


class SharedFormerIds(FormerIds):
    """In a store. While that is away, all of it raises StoreUnreachable: nobody gets an id, and nothing is deleted.

    Each owner of an id has an index without files. So two machines that note different owners, as each knew its own
    before, take nothing from each other: such an id is nobody's.
    """

    def __init__(self, data_dir: Path, store: Store) -> None:
        super().__init__(data_dir)
        self._store = store

    def owners_of(self, avatar_id: str) -> set[str]:
        """Also of what is noted here alone. Raises BundleError: what the store says cannot be read."""
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
            with suppress(FileNotFoundError):  # the worker with this folder was faster
                if VALID_ID.fullmatch(path.name) and self._note(path.name, path.read_text(encoding="utf-8")):
                    path.unlink()

    def _note(self, avatar_id: str, owner: str) -> bool:
        name = hashlib.sha256(owner.encode()).hexdigest()[:32]  # an owner's name may be none for a file
        return self._store.write_index(
            _kind(avatar_id), name, Index(secrets.token_hex(8), {}, {"owner": owner}), is_new=True
        )


def _kind(avatar_id: str) -> str:
    return f"former/{avatar_id}"
