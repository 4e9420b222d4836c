"""Channel[T]: a bounded, closable queue between two parts of a turn.

The bound is in units of the item's own weight (seconds of audio, pictures, sentences), because memory and latency are
what is being bounded, not a count of objects. The limit is soft by one item: an item is let in as soon as there is any
room, so that one larger than the bound cannot wait for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, Self, TypeVar

__all__ = ["Channel", "ChannelClosed"]

T = TypeVar("T")


class ChannelClosed(Exception):
    """Sent into, or exhausted, a closed channel."""


class Channel(Generic[T]):
    """One sender, one receiver. When full, send() waits; when empty, receive() waits.

    bound: total weight that may wait; weight: of one item (1 by default).
    """

    def __init__(self, bound: float, weight: Callable[[T], float] | None = None) -> None:
        if bound <= 0:
            raise ValueError(f"bound must be positive, not {bound}")
        self._bound = bound
        self._weigh = weight or (lambda _item: 1.0)
        self._items: deque[T] = deque()
        self._held = 0.0
        self._closed = False
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def held(self) -> float:
        """Weight waiting now."""
        return self._held

    @property
    def closed(self) -> bool:
        return self._closed

    async def send(self, item: T) -> None:
        """Put an item, waiting for room.

        Raises ChannelClosed. If cancelled while waiting, the item was not put.
        """
        while self._held >= self._bound and not self._closed:
            await self._wait()
        if not self.offer(item):
            raise ChannelClosed

    def offer(self, item: T) -> bool:
        """Put an item if there is room now; False if there is none or the channel is closed."""
        if self._closed or self._held >= self._bound:
            return False
        self._items.append(item)
        self._held += self._weigh(item)
        self._changed.set()
        return True

    async def receive(self) -> T:
        """Take the oldest item, waiting for one.

        Raises ChannelClosed once closed and empty. If cancelled while waiting, nothing was taken.
        """
        if not await self.ready():
            raise ChannelClosed
        return self._take()

    async def ready(self) -> bool:
        """Wait until an item can be received without waiting; False once closed and empty."""
        while not self._items and not self._closed:
            await self._wait()
        return bool(self._items)

    def receive_nowait(self) -> T | None:
        """The oldest item, or None if there is none now."""
        return self._take() if self._items else None

    def peek(self) -> T | None:
        """The oldest item, left where it is; None if there is none now."""
        return self._items[0] if self._items else None

    def close(self) -> None:
        """No more items will be sent; what is held can still be received. Idempotent."""
        self._closed = True
        self._changed.set()

    def clear(self) -> list[T]:
        """Take out everything that waits."""
        items = list(self._items)
        self._items.clear()
        self._held = 0.0
        self._changed.set()
        return items

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except ChannelClosed:
            raise StopAsyncIteration from None

    def _take(self) -> T:
        item = self._items.popleft()
        self._held = self._held - self._weigh(item) if self._items else 0.0
        self._changed.set()
        return item

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
