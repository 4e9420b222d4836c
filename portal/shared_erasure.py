"""What portals with one store tell each other of erasures: notes in the store instead of files in the data folder."""

from __future__ import annotations

import logging
import secrets
import time
from pathlib import Path
from typing import Final

from avatars.errors import StoreUnreachable
from avatars.store import Store
from portal.erasure import NOTED_S, ErasureNotes

__all__ = ["SharedErasureNotes"]

logger = logging.getLogger(__name__)

ERASED: Final = "erased"
UNFINISHED: Final = "unfinished"


class SharedErasureNotes(ErasureNotes):
    """Writing raises StoreUnreachable. While the store is away there are no news; they come later."""

    def __init__(self, data_dir: Path, store: Store, *, are_jobs_apart: bool) -> None:
        """Asks the store once: what was erased before is no news."""
        self._store = store
        self.are_jobs_apart = are_jobs_apart
        self._known: set[str] = set()
        super().__init__(data_dir)

    def note(self, avatar_id: str) -> None:
        for name, when in self._store.notes(ERASED).items():
            if time.time() - when > NOTED_S:
                self._store.forget(ERASED, name)
        name = f"{avatar_id}.{secrets.token_hex(4)}"
        self._known.add(name)
        self._store.note(ERASED, name)

    def begin(self, avatar_id: str) -> None:
        self._store.note(UNFINISHED, avatar_id)

    def finish(self, avatar_id: str) -> None:
        self._store.forget(UNFINISHED, avatar_id)

    def unfinished(self) -> set[str]:
        try:
            return set(self._store.notes(UNFINISHED))
        except StoreUnreachable as error:
            logger.debug("what is to be erased is not known now: %s", error)
            return set()

    def _names(self) -> set[str]:
        try:
            return set(self._store.notes(ERASED))
        except StoreUnreachable as error:
            logger.debug("what others have erased is not known now: %s", error)
            return self._known
