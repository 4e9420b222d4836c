"""Pauses: one end-of-turn detector for all sessions, and the queue in front of it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from pipeline.fair_line import FairLine
from pipeline.interfaces import EndOfTurnDetector
from pipeline.types import FloatArray

__all__ = ["Pauses"]


class Pauses:
    """A loaded end-of-turn detector and its queue. A session asks about one pause at a time, so it has a bound."""

    def __init__(self, detector: EndOfTurnDetector, executor: Executor, at_once: int) -> None:
        """executor: runs the detector. at_once: pauses judged at a time; fewer than the executor has threads, so that
        the beginning of speech is noticed meanwhile.
        """
        self.detector = detector
        self._executor = executor
        self._line = FairLine(lambda: at_once)

    async def probability(self, samples: FloatArray, asker: str) -> float:
        """Return the probability that the speaker is done. samples: float32 (n,) at 16 kHz, up to the pause.

        asker: who is served, an address or one session; askers take turns.
        """
        await self._line.enter(asker)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self.detector.probability, samples)
        finally:
            self._line.leave(asker)
