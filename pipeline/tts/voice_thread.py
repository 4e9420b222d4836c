"""VoiceThread: the thread of a voice that can speak one thing at a time, and the queue in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pipeline.fair_line import ASKER, FairLine

__all__ = ["VoiceThread"]

_Result = TypeVar("_Result")


class VoiceThread:
    """Speakers take turns piece by piece: whoever was served longest ago comes first.

    Each session has at most one piece here, so the queue is as long as there are sessions. Interrupted sessions leave
    it, and cost no work.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._line = FairLine(lambda: 1)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Run work on the thread, and return its result. If cancelled, it returns at once.

        Work that has begun is finished before the next. Raises what the work raises.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # some programs run several event loops in a row
            self._loop, self._line = loop, FairLine(lambda: 1)
        asker, line = ASKER.get(), self._line
        await line.enter(asker)
        try:
            working = loop.run_in_executor(self._thread, work)
        except RuntimeError:  # the pool is closed
            line.leave(asker)
            raise

        def left(done: asyncio.Future[_Result]) -> None:
            if not done.cancelled():
                done.exception()  # marks it as seen, because the caller may be gone
            line.leave(asker)

        working.add_done_callback(left)
        return await asyncio.shield(working)

    def close(self) -> None:
        """Let the current piece finish, and start no other. Idempotent."""
        self._thread.shutdown(wait=False, cancel_futures=True)
