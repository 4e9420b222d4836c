"""Who waits for a place, first come first served among those who wait for the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import AtCapacity

__all__ = ["LINE_BOUND", "LINE_BOUND_EACH", "Waiter", "WaitingLine"]

LINE_BOUND = 20
LINE_BOUND_EACH = 10
"""Of these, viewers from one address."""


class Waiter:
    """One in the line. `moved` is set whenever there may be a place, or somebody ahead has left."""

    def __init__(self, line: list[Waiter], wish: str | None, address: str) -> None:
        self.moved = asyncio.Event()
        self.wish = wish
        self.address = address
        self.aside = False
        "lets others by, until something moves: the place that is free is not for this one's address"
        self._line = line

    @property
    def place(self) -> int:
        """1 for who came first of all."""
        return self._line.index(self) + 1

    @property
    def first(self) -> bool:
        """Whether nobody who wants the same came before: what is full for one may have room for another."""
        return all(waiter.wish != self.wish or waiter.aside for waiter in self._line[: self.place - 1])

    def pass_on(self) -> None:
        """There was no place for this one; there may be for those behind."""
        for waiter in self._line[self.place :]:
            waiter.moved.set()


class WaitingLine:
    """At most `bound` wait; who comes when it is full is refused."""

    def __init__(self, bound: int = LINE_BOUND) -> None:
        self._bound = bound
        self._line: list[Waiter] = []

    def __len__(self) -> int:
        return len(self._line)

    def holds(self, wish: str | None) -> bool:
        """Whether somebody waits for the same, and would be overtaken."""
        return any(waiter.wish == wish and not waiter.aside for waiter in self._line)

    @contextmanager
    def joined(self, wish: str | None = None, address: str = "") -> Iterator[Waiter]:
        """Wait at the end of the line for as long as this is held. Raises AtCapacity.

        wish: what is waited for, e.g. the name of a lip-sync backend; address: who waits, "" if that is not known
        """
        if len(self._line) >= self._bound:
            raise AtCapacity(
                f"All places are taken, and {len(self._line)} viewers wait for one.",
                "Try again in a few minutes.",
                cause="line",
            )
        if address and [waiter.address for waiter in self._line].count(address) >= LINE_BOUND_EACH:
            raise AtCapacity(
                f"All places are taken, and {LINE_BOUND_EACH} viewers from this address wait for one.",
                "Try again in a few minutes.",
                cause="line",
            )
        waiter = Waiter(self._line, wish, address)
        self._line.append(waiter)
        try:
            yield waiter
        finally:
            self._line.remove(waiter)
            self.move()

    def move(self) -> None:
        """Tell all who wait that there may be a place."""
        for waiter in self._line:
            waiter.aside = False
            waiter.moved.set()
