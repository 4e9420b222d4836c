"""Channel[T]: a bounded, closable queue between two parts of a session.

The sender chooses what happens when it is full: send() waits for room, offer() refuses, push() drops the oldest.

The bound is in units of the items' weight (seconds of audio, pictures, sentences), because it limits memory and
latency, not the number of objects. It is soft by one item: an item is accepted as soon as there is any room, so that an
item larger than the bound does not wait for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, Self, TypeVar

__all__ = ["Channel", "ChannelClosed"]

T = TypeVar("T")


class ChannelClosed(Exception):
    """Raised by sending into a closed channel, or receiving from one that is closed and empty."""


class Channel(Generic[T]):
    """Has one sender and one receiver, on one event loop. receive() waits while it is empty.

    bound: largest total weight. weight: returns the weight of an item; by default each weighs 1.
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
        """Total weight of the items."""
        return self._held

    @property
    def full(self) -> bool:
        """Whether the next item would have to wait, be refused, or push out the oldest."""
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
        """Put an item if there is room now. False if there is none, or if the channel is closed."""
        if self._closed or self.full:
            return False
        self._put(item)
        return True

    def push(self, item: T) -> list[T]:
        """Put an item now.

        Returns the oldest items, dropped to make room, or the item itself if the channel is closed.
        """
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
        """Take the oldest item; None if there is none now."""
        return self._take() if self._items else None

    def peek(self) -> T | None:
        """Return the oldest item without taking it; None if there is none now."""
        return self._items[0] if self._items else None

    def waiting(self) -> tuple[T, ...]:
        """Return all items without taking them, the oldest first."""
        return tuple(self._items)

    def close(self) -> None:
        """Accept no more items. Those inside can still be received. Idempotent."""
        self._closed = True
        self._changed.set()

    def clear(self) -> list[T]:
        """Take out all items, and return them."""
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
        # Nothing yields between the caller's check and this line, so clearing the event loses no change.
        self._changed.clear()
        await self._changed.wait()
