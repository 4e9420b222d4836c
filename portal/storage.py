"""Where avatars and the files of jobs lie: in the data folder, or in a store that several machines share."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from avatars.errors import StoreUnreachable
from avatars.library import AvatarLibrary
from avatars.shared_library import SharedLibrary
from avatars.shelf import Shelf
from avatars.shelf_copies import Copy
from avatars.store import Store
from portal.http.login_key import secret_of, use_secret
from portal.jobs.records import JobFolders
from portal.jobs.shared_folders import SharedJobFolders
from portal.kept_recordings import KeptRecordings, SharedRecordings
from portal.same_users import SameUsers

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["LocalCopies", "Storage", "store_of"]

logger = logging.getLogger(__name__)

KNOWN_AS: Final = "store.json"
"File in the data folder: which store it was."
LOGIN, LOGIN_KEY = "login", "key"
LOOK_S: Final = 5.0
"How often a machine looks what others have deleted."
SWEEP_S: Final = 86_400.0
"How often it looks for files that killed writers have left there."
IN_USE_S: Final = 300.0
"Nobody removes a copy that was used so recently: another process with this folder may be reading it."


def store_of(settings: Settings) -> Store | None:
    """The store of the settings; touches nothing yet."""
    return Store(settings.store_url, settings.data_dir / KNOWN_AS) if settings.store_url else None


def _share_login_key(data_dir: Path, store: Store) -> None:
    """Whoever has logged in at one machine is logged in at all: the first one's key is everybody's."""
    shelf = Shelf(store, "portal", data_dir / "copies" / "portal", lambda name: StoreUnreachable(f"{name} is gone."))
    if shelf.index(LOGIN) is None:
        with suppress(FileExistsError), shelf.making(LOGIN, only_new=True) as folder:
            folder.mkdir()
            (folder / LOGIN_KEY).write_bytes(secret_of(data_dir))
    use_secret(data_dir, (shelf.brought(LOGIN) / LOGIN_KEY).read_bytes())


@dataclass(eq=False)
class LocalCopies:
    """Keeps the copies of things here within bounds: what was used longest ago goes first."""

    shelves: Sequence[Shelf]
    max_bytes: int
    in_use: Callable[[], Collection[str]] = lambda: ()
    "names of what sessions of this process show"
    now_unix_s: Callable[[], float] = time.time

    def tidy(self) -> None:
        """Raises StoreUnreachable: what was deleted elsewhere is not known now."""
        held = set(self.in_use())
        for shelf in self.shelves:
            for name in held:
                shelf.copies.touch(name)
        self._make_room(held)
        for shelf in self.shelves:
            shelf.follow()

    def _make_room(self, held: Collection[str]) -> None:
        copies = [(copy, shelf) for shelf in self.shelves for copy in shelf.copies]
        copies.sort(key=lambda found: found[0].used_at)
        total_bytes = sum(copy.size_bytes for copy, _ in copies)
        for copy, shelf in copies:
            if total_bytes <= self.max_bytes:
                return
            if copy.name not in held and not self._is_in_use(copy):
                logger.info("the copy of %s is removed to make room", copy.name)
                shelf.copies.forget(copy.name)
                total_bytes -= copy.size_bytes

    def _is_in_use(self, copy: Copy) -> bool:
        return self.now_unix_s() - copy.used_at < IN_USE_S


@dataclass(eq=False)
class Storage:
    """Building it has no effect. start() before use, in a process that serves for long; close() after."""

    library: AvatarLibrary
    folders: JobFolders
    recordings: KeptRecordings
    store: Store | None = None
    copies: LocalCopies | None = None
    troubles: Sequence[str] = ()
    "what is wrong with the store now, for the operator"
    users: SameUsers | None = None
    _ending: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, settings: Settings, now_s: Callable[[], float] = time.monotonic) -> Storage:
        root, kept, store = settings.data_dir / "avatars", settings.data_dir / "recordings", store_of(settings)
        if store is None:
            return cls(AvatarLibrary(root), JobFolders(settings.data_dir), KeptRecordings(kept))
        library = SharedLibrary(root, store, now_s)
        has_one_database = bool(settings.database_url.get_secret_value())
        folders = SharedJobFolders.of(settings.data_dir, store, now_s, has_one_database=has_one_database)
        recordings = SharedRecordings(kept, store, now_s)
        copies = LocalCopies([library.shelf, *folders.shelves, recordings.shelf], settings.store_copies_bytes)
        return cls(library, folders, recordings, store, copies)

    def start(self) -> None:
        """Tidy up what was left; then follow the store, if there is one."""
        self.library.sweep()
        if self.store is not None:
            try:
                _share_login_key(self.folders.data_dir, self.store)
            except StoreUnreachable as error:
                logger.warning("Logins of this machine are not known at others: %s", error)
        if self.copies is not None:
            threading.Thread(target=self._follow_for_ever, name="store", daemon=True).start()

    def keep_copies_of(self, in_use: Callable[[], Collection[str]]) -> None:
        """in_use: ids of avatars whose copies stay here, because sessions show them."""
        if self.copies is not None:
            self.copies.in_use = in_use

    def compare_users(self, users_path: Path) -> None:
        """From now on, look whether other portals with this store have the same users. For a process with a login."""
        if self.store is not None:
            self.users = SameUsers(self.store, users_path, self.folders.data_dir)

    def close(self) -> None:
        self._ending.set()

    def look(self) -> None:
        """Once: see what others have deleted, keep the copies within bounds, and tell others what they need."""
        if self.copies is None:
            return
        try:
            self.copies.tidy()
            self.folders.former_ids.hand_over()
            self.troubles = () if self.users is None else self.users.look()
        except StoreUnreachable as error:
            self.troubles = (error.message,)

    def _follow_for_ever(self) -> None:
        sweep_at_s = time.monotonic() + SWEEP_S
        while not self._ending.wait(LOOK_S):
            try:
                self.look()
                if self.store is not None and time.monotonic() > sweep_at_s:
                    sweep_at_s = time.monotonic() + SWEEP_S
                    self.store.sweep()
            except Exception:  # whatever it was passes, or happens again; people are served from what is here
                logger.exception("the copies of the store cannot be looked after")
