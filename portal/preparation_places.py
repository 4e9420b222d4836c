"""PreparationPlaces: how many avatars may wait to be made ready for sessions, for one viewer and for all together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from portal.http.limits import AskerShares
from portal.http.proxies import network_of
from portal.jobs.shares import is_person_key, too_many_for_viewers

__all__ = ["MAX_PREPARATIONS", "MAX_PREPARATIONS_EACH", "PreparationPlaces"]

MAX_PREPARATIONS_EACH: Final = 16
"Most for one address, and for one person who has logged in. Each of them takes 0.1 to 5 s of a thread."
MAX_PREPARATIONS: Final = 128


class PreparationPlaces:
    """Counts the preparations that wait or run, by who asked for them. A /48 network may have WIDER times as many."""

    def __init__(self) -> None:
        self._each = AskerShares(MAX_PREPARATIONS_EACH)

    @contextmanager
    def held(self, asker: str, waiting: int) -> Iterator[str]:
        """Hold a place as long as the block runs, and give the key by which the asker takes turns with others.

        asker: an address, or a person_key(). A /48 network takes turns as one asker, however many addresses it has.
        waiting: how many preparations wait or run already. Raises QueueFull.
        """
        refusal = too_many_for_viewers()
        if waiting >= MAX_PREPARATIONS:
            raise refusal
        address, person = ("", asker) if is_person_key(asker) else (asker, "")
        with self._each.held(address, person, refusal):
            yield network_of(address) or asker
