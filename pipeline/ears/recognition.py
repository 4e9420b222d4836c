"""One recogniser for all sessions: who waits for it, in which order, and for how many it has room."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass

from pipeline.errors import EarsBusy
from pipeline.interfaces import SpeechRecognizer
from pipeline.types import FloatArray, Transcript

__all__ = ["MOST_WAITING", "MOST_WAITING_EACH", "Recognition"]

MOST_WAITING = 16
"""Utterances of all sessions. Only several addresses together can fill the line."""
MOST_WAITING_EACH = 4
"""Utterances of one asker. With a second of work each, the last of them waits as long as people have patience."""
_REMEMBERED = 1000
"""Askers whose last turn is known. One who is forgotten comes first, as a new one does."""


@dataclass(eq=False)
class _Waiting:
    asker: str
    granted: asyncio.Future[None]


class Recognition:
    """The line in front of a loaded recogniser.

    Those who ask take turns: whoever was served longest ago comes first. So nobody waits long because somebody else
    says a lot.
    """

    def __init__(self, recognizer: SpeechRecognizer) -> None:
        self.recognizer = recognizer
        self._running: Counter[str] = Counter()  # by asker
        self._line: list[_Waiting] = []  # in order of arrival
        self._served: OrderedDict[str, None] = OrderedDict()  # askers; the one served last is the last

    @property
    def is_idle(self) -> bool:
        """Whether nobody would have to wait for a run that is only nice to have."""
        return not self._line and self._has_room

    async def transcribe(self, samples: FloatArray, language: str | None, asker: str) -> Transcript:
        """asker: who takes turns with others, as limits count: an address, or one session.

        Raises EarsBusy, RecognitionError.
        """
        await self._place(asker)
        try:
            return await self.recognizer.transcribe(samples, language)
        finally:
            self._running[asker] -= 1
            self._running += Counter()  # forgets those at zero
            self._call_next()

    @property
    def _has_room(self) -> bool:
        return self._running.total() < self.recognizer.at_once

    async def _place(self, asker: str) -> None:
        if self.is_idle:
            self._begin(asker)
            return
        own = sum(waiting.asker == asker for waiting in self._line)
        if own >= MOST_WAITING_EACH or len(self._line) >= MOST_WAITING:
            raise EarsBusy("What was said before is still being recognised.", "Say it again in a moment.")
        waiting = _Waiting(asker, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        try:
            await waiting.granted
        except asyncio.CancelledError:
            if waiting in self._line:
                self._line.remove(waiting)
            else:  # its turn came in the same moment
                self._running[asker] -= 1
                self._call_next()
            raise

    def _call_next(self) -> None:
        while self._line and self._has_room:
            order = {asker: place for place, asker in enumerate(self._served)}
            following = min(
                self._line, key=lambda waiting: (self._running[waiting.asker], order.get(waiting.asker, -1))
            )
            self._line.remove(following)
            self._begin(following.asker)
            following.granted.set_result(None)

    def _begin(self, asker: str) -> None:
        self._running[asker] += 1
        self._served[asker] = None
        self._served.move_to_end(asker)
        if len(self._served) > _REMEMBERED:
            self._served.popitem(last=False)
