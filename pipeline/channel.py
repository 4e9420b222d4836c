"""Channel[T]: a bounded, closable queue between two parts of a session.

Whoever puts something in says what happens when it is full: send() waits for room, offer() refuses, push() drops the
oldest.

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
    """One sender, one receiver. When empty, receive() waits. Used on one event loop.

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
    def full(self) -> bool:
        """Whether an item would have to wait, would be refused, or would push out the oldest."""
        return self._held >= self._bound

    @property
    def closed(self) -> bool:
        return self._closed

    async def send(self, item: T) -> None:
        """Put an item, waiting for room.

        Raises ChannelClosed. If cancelled while waiting, the item was not put.
        """
        while self.full and not self._closed:
            await self._wait()
        if not self.offer(item):
            raise ChannelClosed

    def offer(self, item: T) -> bool:
        """Put an item if there is room now; False if there is none or the channel is closed."""
        if self._closed or self.full:
            return False
        self._put(item)
        return True

    def push(self, item: T) -> list[T]:
        """Put an item now. Returns what was given up for it, the oldest; the item itself if the channel is closed."""
        if self._closed:
            return [item]
        given_up: list[T] = []
        while self.full:
            given_up.append(self._take())
        self._put(item)
        return given_up

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

    def waiting(self) -> tuple[T, ...]:
        """All items, the oldest first, left where they are."""
        return tuple(self._items)

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

    def _put(self, item: T) -> None:
        self._items.append(item)
        self._held += self._weigh(item)
        self._changed.set()

    def _take(self) -> T:
        item = self._items.popleft()
        self._held = self._held - self._weigh(item) if self._items else 0.0
        self._changed.set()
        return item

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
