"""Limits how often a viewer may ask the language model, even one who opens a new session to get around it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from pipeline.clock import Clock
from pipeline.errors import AskedTooOften

__all__ = ["QuestionPace", "QuestionPaces"]

MINUTE_S: Final = 60.0
MAX_REMEMBERED_PACES: Final = 4096
"""Most paces of ended sessions that are remembered. Beyond it the oldest is dropped."""


class QuestionPace:
    """The questions of one viewer within the last minute."""

    def __init__(self, clock: Clock, max_a_minute: int) -> None:
        self._clock = clock
        self._asked_s: deque[float] = deque(maxlen=max_a_minute)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing was asked within the last minute."""
        return not self._asked_s or self._clock.now_s() - self._asked_s[-1] >= MINUTE_S

    def count(self) -> None:
        """Count one more question. Raises AskedTooOften."""
        asked_s, now_s = self._asked_s, self._clock.now_s()
        if len(asked_s) == asked_s.maxlen and now_s - asked_s[0] < MINUTE_S:
            wait_s = round(MINUTE_S - (now_s - asked_s[0])) + 1
            raise AskedTooOften(
                f"Those were {len(asked_s)} questions within a minute.", f"Ask again in {wait_s} seconds."
            )
        asked_s.append(now_s)


@dataclass(slots=True)
class QuestionPaces:
    """The paces of sessions that have ended. The asker's next session continues with one of them.

    So a new session does not allow more questions, and an address has as many paces as sessions at one time.
    """

    clock: Clock
    max_a_minute: int
    _ended: deque[tuple[str, QuestionPace]] = field(default_factory=lambda: deque(maxlen=MAX_REMEMBERED_PACES))

    def take(self, asker: str) -> QuestionPace:
        """Return the pace for a new session of that asker. give() it back when the session ends."""
        while self._ended and self._ended[0][1].is_fresh:
            self._ended.popleft()
        for one in self._ended:
            if one[0] == asker:
                self._ended.remove(one)
                return one[1]
        return QuestionPace(self.clock, self.max_a_minute)

    def give(self, asker: str, pace: QuestionPace) -> None:
        """Keep the pace of a session that has ended, for the asker's next one."""
        if not pace.is_fresh:
            self._ended.append((asker, pace))
