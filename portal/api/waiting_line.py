"""Who waits for a place, first come first served."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import AtCapacity

__all__ = ["LINE_BOUND", "Waiter", "WaitingLine"]

LINE_BOUND = 20


class Waiter:
    """One in the line. `moved` is set whenever there may be a place, or somebody ahead has left."""

    def __init__(self, line: list[Waiter]) -> None:
        self.moved = asyncio.Event()
        self._line = line

    @property
    def place(self) -> int:
        """1 for who is next."""
        return self._line.index(self) + 1


class WaitingLine:
    """At most `bound` wait; who comes when it is full is refused."""

    def __init__(self, bound: int = LINE_BOUND) -> None:
        self._bound = bound
        self._line: list[Waiter] = []

    def __len__(self) -> int:
        return len(self._line)

    @contextmanager
    def joined(self) -> Iterator[Waiter]:
        """Wait at the end of the line for as long as this is held. Raises AtCapacity."""
        if len(self._line) >= self._bound:
            raise AtCapacity(
                f"All places are taken, and {len(self._line)} viewers wait for one.", "Try again in a few minutes."
            )
        waiter = Waiter(self._line)
        self._line.append(waiter)
        try:
            yield waiter
        finally:
            self._line.remove(waiter)
            self.move()

    def move(self) -> None:
        """Tell all who wait that there may be a place."""
        for waiter in self._line:
            waiter.moved.set()
