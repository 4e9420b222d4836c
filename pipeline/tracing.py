"""OpenTelemetry spans of turns, if its API package is installed. Without an SDK, too, the spans are discarded.

conversation.turn           from the question to the end of the turn
        first_audio, ...        one span per mark, from the mark before it
"""

from __future__ import annotations

import importlib
import time
from types import ModuleType

__all__ = ["trace_turn"]

trace: ModuleType | None
"""The package opentelemetry.trace, or None."""
try:  # at start-up, because the import takes as long as two pictures, which a live session cannot spare
    trace = importlib.import_module("opentelemetry.trace")
except ImportError:
    trace = None


def trace_turn(session: str, turn: int, outcome: str, start_s: float, marks_ms: dict[str, float]) -> None:
    """Report a turn that has just ended to the tracer. Does nothing without the package.

    start_s: when it began, relative to now in seconds, so negative. marks_ms: milliseconds from there, in order.
    """
    if trace is None:
        return
    now_ns = time.time_ns()
    start_ns = now_ns + round(start_s * 1e9)
    tracer = trace.get_tracer("vivavoce")
    facts: dict[str, str | int] = {"session.id": session, "vivavoce.turn": turn, "vivavoce.outcome": outcome}
    whole = tracer.start_span("conversation.turn", attributes=facts, start_time=start_ns)
    within = trace.set_span_in_context(whole)
    since_ns = start_ns
    for name, milliseconds in marks_ms.items():
        reached_ns = start_ns + round(milliseconds * 1e6)
        tracer.start_span(name, within, start_time=since_ns).end(reached_ns)
        since_ns = reached_ns
    whole.end(now_ns)
