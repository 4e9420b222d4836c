"""TurnMarks: reports the marks of turns to the viewer, the metrics, the log and the trace."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pipeline.clock import Clock
from pipeline.metrics import EngineMetrics, TurnTimes
from pipeline.tracing import trace_turn
from pipeline.types import MetricsEvent, SessionEvent, TurnState

__all__ = ["TurnMarks"]

logger = logging.getLogger(__name__)


class TurnMarks:
    """Made by the Session. post: takes events for the viewer, in order."""

    def __init__(
        self, session_id: str, clock: Clock, metrics: EngineMetrics, post: Callable[[SessionEvent], object]
    ) -> None:
        self._session_id = session_id
        self._clock = clock
        self._metrics = metrics
        self._post = post

    def sounds(self, turn_id: int, times: TurnTimes) -> None:
        """Note that a turn's frames are being released.

        Called again after hold(), but only the first call sets marks.
        """
        times.mark("first_release")
        self._post(MetricsEvent(turn_id, times.marks_ms()))

    def seen(self, turn_id: int, times: TurnTimes, delay_s: float, *, ended: bool) -> None:
        """Note that the viewer saw a turn's first picture, delay_s seconds after its release. The first report counts.

        ended: the turn has ended. Its other marks are in the metrics already, and no event may follow.
        """
        released_s = times.at_s("first_release")
        if released_s is None or times.at_s("first_seen") is not None:
            return
        times.note("first_seen", released_s + delay_s)
        marks_ms = times.marks_ms()
        if ended:
            self._metrics.observe_turn({"first_seen": marks_ms["first_seen"]})
        else:
            self._post(MetricsEvent(turn_id, marks_ms))

    def failed(self, code: str) -> None:
        """Count an error in a turn. code: code of the error that the viewer is told."""
        self._metrics.turn_errors.labels(code).inc()

    def end(self, turn_id: int, outcome: TurnState, times: TurnTimes | None) -> None:
        """Report the outcome of a turn. times: None if it ended while it waited."""
        self._metrics.turns.labels(str(outcome)).inc()
        marks_ms = {} if times is None else times.marks_ms()
        self._metrics.observe_turn(marks_ms)
        marks = " ".join(f"{name}={ms:.0f}ms" for name, ms in marks_ms.items())
        logger.info("session %s turn %d %s %s", self._session_id, turn_id, outcome, marks)
        if times is not None:
            trace_turn(self._session_id, turn_id, str(outcome), times.start_s - self._clock.now_s(), marks_ms)
