"""VoiceThread: the one thread of a voice that can speak one thing at a time, and the line in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pipeline.fair_line import ASKER, FairLine

__all__ = ["VoiceThread"]

_Result = TypeVar("_Result")


class VoiceThread:
    """Speakers take turns by the piece: whoever was served longest ago comes first.

    A session has one piece here at a time, so as many wait as there are sessions. Who was interrupted leaves the line
    without being worked for.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._line = FairLine(lambda: 1)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """What the work gives. A caller who is cancelled goes at once; work that has begun is finished before the next.

        Raises what the work raises.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # of a program that runs one event loop after another
            self._loop, self._line = loop, FairLine(lambda: 1)
        asker, line = ASKER.get(), self._line
        await line.enter(asker)
        try:
            working = loop.run_in_executor(self._thread, work)
        except RuntimeError:  # it is closed
            line.leave(asker)
            raise

        def left(done: asyncio.Future[_Result]) -> None:
            if not done.cancelled():
                done.exception()  # whoever asked may have gone, and then nobody else looks at it
            line.leave(asker)

        working.add_done_callback(left)
        return await asyncio.shield(working)

    def close(self) -> None:
        """The piece at work is finished, nothing after it. Idempotent."""
        self._thread.shutdown(wait=False, cancel_futures=True)
