"""Whether all portals with one store have the same users: each has a file of its own, and the operator copies it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from avatars.store import Store
from portal.http.login_key import fingerprint

__all__ = ["FRESH_S", "SameUsers"]

USERS: Final = "users"
EVERY_S: Final = 60.0
FRESH_S: Final = 3 * EVERY_S
"A portal that has not noted a fingerprint for so long is off, or has other users by now."
DIFFER: Final = (
    "Another portal with this store has a different file of users, so people cannot log in everywhere in the same way. "
    "Give all machines the same users_file, and restart a portal that started while the store was away."
)


class SameUsers:
    """Compares the file of users with those of other portals, by fingerprints that each of them notes in the store.

    They are made with the key of login cookies, so they say nothing to anybody who does not have that key.
    """

    def __init__(
        self, store: Store, users_path: Path, data_dir: Path, now_unix_s: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._users_path = users_path
        self._data_dir = data_dir
        self._now_unix_s = now_unix_s
        self._noted = ""
        self._look_at_s = 0.0
        self._troubles: Sequence[str] = ()

    def look(self) -> Sequence[str]:
        """Return what is wrong, for the operator, at most a minute old. Raises StoreUnreachable."""
        now_s = self._now_unix_s()
        if now_s < self._look_at_s:
            return self._troubles
        ours = self._fingerprint()
        if self._noted not in ("", ours):
            self._store.forget(USERS, self._noted)  # whoever still has it notes it again
        self._store.note(USERS, ours)
        self._noted = ours
        others = {name: when for name, when in self._store.notes(USERS).items() if name != ours}
        for name, when in others.items():
            if now_s - when > FRESH_S:
                self._store.forget(USERS, name)
        self._troubles = (DIFFER,) if any(now_s - when <= FRESH_S for when in others.values()) else ()
        self._look_at_s = now_s + EVERY_S
        return self._troubles

    def _fingerprint(self) -> str:
        try:
            users = self._users_path.read_bytes()
        except OSError:  # there is none; or it cannot be read, which the login reports
            users = b""
        return fingerprint(self._data_dir, users)
