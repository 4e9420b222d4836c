"""Waits on a stream, and reports its pauses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

from models.errors import VivavoceError
from pipeline.clock import Clock

__all__ = ["each_within", "items_and_pauses"]

T = TypeVar("T")


async def items_and_pauses(
    items: AsyncIterator[T], patience_s: Callable[[], float | None], clock: Clock
) -> AsyncGenerator[T | None, None]:
    """Yield the items, and a None whenever no item has come for patience_s() seconds (None: wait for ever).

    A pause does not disturb the stream: the pending item is still awaited. Closing this generator closes the stream.
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


async def each_within(
    items: AsyncIterator[T], timeout_s: float, failure: type[VivavoceError], what: str
) -> AsyncGenerator[T, None]:
    """Pass items on. If the source gives nothing for timeout_s, close it and raise `failure`."""
    try:
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    item = await anext(items)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise failure(
                    f"{what} gave nothing for {timeout_s:g} seconds.",
                    "Try again, or choose another one in the settings.",
                ) from None
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def _within(coming: asyncio.Future[T], patience_s: float | None, clock: Clock) -> bool:
    """Wait for it, for so long at most. Returns whether it came."""
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
