"""Viewers of `launch.py chaos` who vanish: `python -m portal.commands.chaos_strangers URL COUNT`.

They open sessions in this process, which prints READY when all are open, and is then killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from portal.commands.chaos_viewer import chaos_viewer

__all__ = ["READY"]

READY = "ready"
AT_ONCE = 10


async def _stay(url: str, count: int) -> None:
    gate = asyncio.Semaphore(AT_ONCE)
    async with contextlib.AsyncExitStack() as stack:

        async def come(number: int) -> None:
            async with gate:
                await stack.enter_async_context(chaos_viewer(url, number))

        await asyncio.gather(*map(come, range(count)))
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_stay(sys.argv[1], int(sys.argv[2])))
