"""What portals with one store tell each other of erasures: notes in the store instead of files in the data folder."""

from __future__ import annotations

import json
import logging
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from avatars.errors import StoreUnreachable
from avatars.store import Store
from portal.erasure import ErasureNotes

__all__ = ["NOTE_LIFETIME_S", "SharedErasureNotes"]

logger = logging.getLogger(__name__)

ERASED: Final = "erased"
UNFINISHED: Final = "unfinished"
SEEN: Final = ".seen.json"
NOTE_LIFETIME_S: Final = 30 * 86_400.0
"""How long the note of an erasure stays, for portals that are off: they may have recordings or jobs of their own."""


class SharedErasureNotes(ErasureNotes):
    """Writing raises StoreUnreachable. While the store is away there are no news; they come later."""

    def __init__(self, data_dir: Path, store: Store, *, are_jobs_apart: bool) -> None:
        """At the first start, ask the store once: what was erased before that is no news."""
        self._store = store
        self.are_jobs_apart = are_jobs_apart
        self._known: set[str] = set()
        self._written: set[str] | None = None
        super().__init__(data_dir)

    def note(self, avatar_id: str) -> None:
        for name, when in self._store.notes(ERASED).items():
            if time.time() - when > NOTE_LIFETIME_S:
                self._store.forget(ERASED, name)
        name = f"{avatar_id}.{secrets.token_hex(4)}"
        with self._looking:
            self._store.note(ERASED, name)
            self._known.add(name)

    def begin(self, avatar_id: str) -> None:
        self._store.note(UNFINISHED, avatar_id)

    def finish(self, avatar_id: str) -> None:
        self._store.forget(UNFINISHED, avatar_id)

    def unfinished(self) -> dict[str, float]:
        try:
            return self._store.notes(UNFINISHED)
        except StoreUnreachable as error:
            logger.debug("what is to be erased is not known now: %s", error)
            return {}

    def news(self) -> dict[str, float]:
        self._remember()  # what the last call told is done by now, or ask_again() was called for it
        return super().news()

    def _known_before(self) -> set[str]:
        try:
            return set(json.loads((self._folder / SEEN).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return super()._known_before()

    def _remember(self) -> None:
        """Write down which notes are known, so that what is erased while this portal is off is news at its start."""
        with self._looking:
            known = set(self._known)
        if known == self._written:
            return
        with suppress(OSError):  # a disk that is full may have room at the next look
            self._folder.mkdir(parents=True, exist_ok=True)
            staging = self._folder / f".{secrets.token_hex(4)}"
            staging.write_text(json.dumps(sorted(known)), encoding="utf-8")
            staging.replace(self._folder / SEEN)
            self._written = known

    def _names(self) -> dict[str, float]:
        try:
            return self._store.notes(ERASED)
        except StoreUnreachable as error:
            logger.debug("what others have erased is not known now: %s", error)
            return dict.fromkeys(self._known, 0.0)
