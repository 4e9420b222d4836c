"""A queue that keeps the newest items for one reader, and a splitter that makes sentences of pieces of text."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Generic, TypeVar

from vivavoce_client._types import PortalError

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？；\n])\s*")

T = TypeVar("T")


class Latest(Generic[T]):
    """A queue for one reader that keeps only the newest `bound` items."""

    def __init__(self, bound: int) -> None:
        self._fault: PortalError | None = None
        self._items: deque[T] = deque(maxlen=bound)
        self._ended = False
        self._changed = asyncio.Event()

    def put(self, item: T) -> None:
        self._items.append(item)
        self._changed.set()

    def end(self, fault: PortalError | None = None) -> None:
        """Take no more items. fault: what the reader is told after the last item. Idempotent: the first end counts."""
        if not self._ended:
            self._fault = fault
        self._ended = True
        self._changed.set()

    async def all(self) -> AsyncIterator[T]:
        """Yield the items until the end. Raises the fault with which the queue has ended, if there is one."""
        while True:
            while self._items:
                yield self._items.popleft()
            if self._fault is not None:
                raise self._fault
            if self._ended:
                return
            self._changed.clear()
            await self._changed.wait()


async def sentences_of(pieces: AsyncIterable[str] | Iterable[str]) -> AsyncIterator[str]:
    rest = ""
    async for piece in pieces if isinstance(pieces, AsyncIterable) else _in_a_thread(pieces):
        *whole, rest = _SENTENCE_END.split(rest + piece)
        for sentence in filter(str.strip, whole):
            yield sentence
    if rest.strip():
        yield rest


async def _in_a_thread(pieces: Iterable[str]) -> AsyncIterator[str]:
    """Read each piece in a thread, because waiting for one must not block the event loop and its connection."""
    source = iter(pieces)
    while (piece := await asyncio.to_thread(next, source, None)) is not None:
        yield piece
