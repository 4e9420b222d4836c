"""Ids of avatars that were deleted: whatever was made with one goes by its id, so nobody else may have that id."""

from __future__ import annotations

import logging
from pathlib import Path

from avatars.library import AvatarLibrary, Ownership

__all__ = ["FormerIds"]

logger = logging.getLogger(__name__)


class FormerIds:
    """A small file for each id, with the name of the person whose avatar it was; empty for everybody's.

    Clips, recordings and sessions outlive the avatar. Whoever got its id could erase them as things of their own.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "former-avatars"

    def owner_of(self, avatar_id: str) -> str | None:
        """Whose avatar that was; None if none of that id was deleted."""
        try:
            return (self._folder / avatar_id).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

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

    def _note(self, avatar_id: str, owner: str) -> bool:
        try:
            self._folder.mkdir(exist_ok=True)
            (self._folder / avatar_id).write_text(owner, encoding="utf-8")
        except OSError:
            return False
        return True
