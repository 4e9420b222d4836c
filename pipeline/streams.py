"""Waiting on a stream: what comes, and that nothing has come for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

from pipeline.clock import Clock

__all__ = ["items_and_pauses"]

T = TypeVar("T")


async def items_and_pauses(
    items: AsyncIterator[T], patience_s: Callable[[], float | None], clock: Clock
) -> AsyncGenerator[T | None, None]:
    """The items, and a None each time none has come for patience_s() seconds of the clock (None: wait for ever).

    The stream is not disturbed by a pause: the next item is still waited for. Closed with this generator.
    """
    coming: asyncio.Future[T] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(items))
            if not await _within(coming, patience_s(), clock):
                yield None
                continue
            come, coming = coming, None
            try:
                item = come.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def _within(coming: asyncio.Future[T], patience_s: float | None, clock: Clock) -> bool:
    """Whether it came in time."""
    if patience_s is None:
        await asyncio.wait([coming])
        return True
    patience = asyncio.ensure_future(clock.sleep_until(clock.now_s() + patience_s))
    try:
        waited: list[asyncio.Future[T] | asyncio.Future[None]] = [coming, patience]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        patience.cancel()
    return coming.done()
