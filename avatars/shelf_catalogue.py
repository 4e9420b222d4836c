"""What things of one kind a store has: a list that is a second old will do, and outlasts a store that is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from avatars.errors import AvatarError, BundleError, StoreUnreachable
from avatars.store import Index, Store

__all__ = ["Catalogue"]

logger = logging.getLogger(__name__)

FRESH_S: Final = 1.0
"So long a list of the store is good."
AWAY_S: Final = 3.0
"So long a store that did not answer is not asked again: each try may take seconds."
LATE_S: Final = 1.0
"So long others wait for a list that somebody asks for just now. After that, what is known will do."
SOME: Final = 5
"So many names are logged at a time."


class Catalogue:
    """Thread-safe. All of it raises StoreUnreachable, but for what is known already."""

    def __init__(
        self,
        store: Store,
        kind: str,
        here: Callable[[], Mapping[str, Index]],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """here: what copies on this machine say, for as long as the store was not seen yet."""
        self._store = store
        self._kind = kind
        self._here = here
        self._now_s = now_s
        self._known: dict[str, tuple[str, Index]] = {}
        "name -> stamp and index, as the store was last seen"
        self._asked_s: dict[str, float] = {}
        "name of a thing that is there -> when the store was last asked for its index"
        self._unread: frozenset[str] = frozenset()
        "names that the last list had, of things whose index could not be read then"
        self._listing = threading.Lock()
        self._is_late = False
        "whether the list that is asked for just now takes longer than LATE_S"
        self._was_listed = False
        "whether all was seen once"
        self._fresh_until_s = self._away_until_s = -1.0

    def indexes(self) -> dict[str, Index]:
        """Of all things. While the store is away, those that were known before; never raises.

        Things whose index cannot be read just now are as they were seen before, or missing. Ask names() whether a thing
        is there.
        """
        with suppress(StoreUnreachable), self._turn() as has_turn:  # it was logged
            if has_turn:
                self._refresh()
        return {name: index for name, (_, index) in self._known.items()}

    def names(self) -> set[str]:
        """Of all things, also of those that indexes() does not have. Never raises."""
        return self.indexes().keys() | self._unread

    def listed(self) -> dict[str, Index]:
        """Like indexes(), as the store is now."""
        self._fresh_until_s = -1.0
        with self._listing:
            self._refresh()
        return {name: index for name, (_, index) in self._known.items()}

    def names_now(self) -> set[str]:
        """Like names(), as the store is now."""
        return self.listed().keys() | self._unread

    def with_retries(self) -> tuple[dict[str, Index], AvatarError | None]:
        """Of those things whose index the last list could not read; and why one still cannot be read, if that is so.

        It never says that the store is away: the list has come, so a single index says nothing of all others.
        """
        found: dict[str, Index] = {}
        trouble: AvatarError | None = None
        for name in self._unread:
            try:
                index = self._asked(name)
            except (StoreUnreachable, BundleError) as error:
                trouble = error
            else:
                if index is not None:
                    found[name] = index
        return found, trouble

    def index(self, name: str) -> Index | None:
        """None: there is no such thing. What was seen a second ago will do."""
        return self.indexes().get(name) or self.index_now(name)  # it may have been made since

    def index_now(self, name: str) -> Index | None:
        """The same, asked of the store."""
        with self.asking():
            return self._asked(name)

    def knows(self, name: str, index: Index) -> bool:
        """Whether the store was like that when it was last seen."""
        return self._known.get(name, ("", None))[1] == index

    def is_fresh(self, name: str, index: Index) -> bool:
        """Whether the store was like that a second ago."""
        fresh_until_s = max(self._fresh_until_s, self._asked_s.get(name, -FRESH_S) + FRESH_S)
        return self.knows(name, index) and self._now_s() < fresh_until_s

    def holds(self, name: str) -> bool:
        """Whether it was there when the store was last seen."""
        return name in self._known

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Whatever is asked of the store: not while it is away, and who finds it away says so to others."""
        if self._now_s() < self._away_until_s:
            raise StoreUnreachable(
                f"The store {self._store.address} did not answer just now.", "Try again in some seconds."
            )
        try:
            yield
        except StoreUnreachable:
            self._away_until_s = self._now_s() + AWAY_S
            raise

    def learn(self, name: str, index: Index | None) -> None:
        """So it is in the store now. None: it is not there."""
        if index is None:
            self._known.pop(name, None)
            self._asked_s.pop(name, None)
            self._unread -= {name}
        elif not self.knows(name, index):
            self._known[name] = ("", index)

    def _asked(self, name: str) -> Index | None:
        asked_s = self._now_s()
        index = self._store.index(self._kind, name)
        self.learn(name, index)
        if index is not None:
            self._asked_s[name] = asked_s
        return index

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """The turn to ask for a list. False: somebody else asks, it takes long, and something is known already."""
        if not self._known:
            has_turn = self._listing.acquire()
        else:
            has_turn = self._listing.acquire(timeout=0 if self._is_late else LATE_S)
        self._is_late = not has_turn
        try:
            yield has_turn
        finally:
            if has_turn:
                self._listing.release()

    def _refresh(self) -> None:
        """Only for who has the turn."""
        if self._now_s() < self._fresh_until_s:
            return
        with self.asking():
            try:
                stamps = self._store.names(self._kind)
                known = {name: had for name, had in self._known.items() if stamps.get(name) == had[0]}
                for found in self._store.indexes(self._kind, [name for name in stamps if name not in known]):
                    new = {name: (stamps[name], index) for name, index in found.items()}
                    known |= new
                    self._known = {**self._known, **new}  # what comes next may fail: the next try goes on from here
            except StoreUnreachable as error:
                logger.warning("%s", error)
                if not self._was_listed:
                    self._known = {**{name: ("", index) for name, index in self._here().items()}, **self._known}
                raise
        unread = stamps.keys() - known.keys()
        if unread - self._unread:
            logger.warning("%s of the store cannot be read just now: %s", self._kind, ", ".join(sorted(unread)[:SOME]))
        known |= {name: had for name in unread if (had := self._known.get(name)) is not None}
        self._known, self._unread, self._was_listed = known, frozenset(unread), True
        self._fresh_until_s = self._now_s() + FRESH_S
