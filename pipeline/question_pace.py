"""How often a viewer may ask the language model, also one who begins a new session for it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from pipeline.clock import Clock
from pipeline.errors import AskedTooOften

__all__ = ["QuestionPace", "QuestionPaces"]

MINUTE_S: Final = 60.0
MOST_REMEMBERED: Final = 4096
"""Paces of sessions that have ended; beyond it the oldest is forgotten."""


class QuestionPace:
    """The questions of one viewer within the last minute."""

    def __init__(self, clock: Clock, most_a_minute: int) -> None:
        self._clock = clock
        self._asked_s: deque[float] = deque(maxlen=most_a_minute)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing was asked within the last minute."""
        return not self._asked_s or self._clock.now_s() - self._asked_s[-1] >= MINUTE_S

    def count(self) -> None:
        """One more question. Raises AskedTooOften."""
        asked_s, now_s = self._asked_s, self._clock.now_s()
        if len(asked_s) == asked_s.maxlen and now_s - asked_s[0] < MINUTE_S:
            wait_s = round(MINUTE_S - (now_s - asked_s[0])) + 1
            raise AskedTooOften(
                f"That were {len(asked_s)} questions within a minute.", f"Ask again in {wait_s} seconds."
            )
        asked_s.append(now_s)


@dataclass(slots=True)
class QuestionPaces:
    """Paces of sessions that have ended. The next session of the same asker goes on with one of them.

    So a new session gives nobody more questions, and an address has as many paces as it has sessions at one time.
    """

    clock: Clock
    most_a_minute: int
    _ended: deque[tuple[str, QuestionPace]] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))

    def take(self, asker: str) -> QuestionPace:
        """For a session that begins; give() it back at its end."""
        while self._ended and self._ended[0][1].is_fresh:
            self._ended.popleft()
        for one in self._ended:
            if one[0] == asker:
                self._ended.remove(one)
                return one[1]
        return QuestionPace(self.clock, self.most_a_minute)

    def give(self, asker: str, pace: QuestionPace) -> None:
        if not pace.is_fresh:
            self._ended.append((asker, pace))
