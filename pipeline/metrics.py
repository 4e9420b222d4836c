"""The marks of a turn, and the counters that /metrics shows. Names of metrics are defined only here."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from pipeline.clock import Clock
from pipeline.interfaces import Transport
from pipeline.playout import Playout
from pipeline.transports.stats import TransportStats

__all__ = ["EngineMetrics", "Losses", "TurnTimes"]

STAGE_BUCKETS_S = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class TurnTimes:
    """The marks of one turn: when each part gave its first result.

    They count from the moment a person asked. A turn that waited for another one counts from its own start, because
    time in a queue says nothing about speed.
    """

    def __init__(self, clock: Clock, start_s: float | None = None) -> None:
        """start_s: clock time from which the marks count; None: now."""
        self._clock = clock
        self.start_s = clock.now_s() if start_s is None else start_s
        self._first_s: dict[str, float] = {}

    def mark(self, name: str) -> None:
        """Set a mark to the present. Only the first mark of a name counts."""
        self.note(name, self._clock.now_s())

    def note(self, name: str, at_s: float) -> None:
        """Set a mark to the clock time `at_s`. Only the first mark of a name counts."""
        self._first_s.setdefault(name, at_s - self.start_s)

    def at_s(self, name: str) -> float | None:
        """Return the clock time of a mark; None if it is not set."""
        after_s = self._first_s.get(name)
        return None if after_s is None else self.start_s + after_s

    def marks_ms(self) -> dict[str, float]:
        """Return the marks in milliseconds from the start of the turn, in order of time."""
        in_order = sorted(self._first_s.items(), key=lambda mark: mark[1])
        return {name: round(1000 * seconds, 1) for name, seconds in in_order}


class EngineMetrics:
    """Prometheus metrics of one engine. It has its own registry, so that two engines in a process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sessions = Gauge("vivavoce_sessions", "Live sessions", registry=self.registry)
        self.tasks = Gauge("vivavoce_tasks", "Tasks of the event loop", registry=self.registry)
        self.turns = Counter("vivavoce_turns", "Turns by outcome", ["outcome"], registry=self.registry)
        self.turn_errors = Counter(
            "vivavoce_turn_errors", "What went wrong in turns, by the error's code", ["code"], registry=self.registry
        )
        self.starved_pictures = Counter(
            "vivavoce_starved_pictures", "Idle pictures shown while late speech was waited for", registry=self.registry
        )
        self.repeated_pictures = Counter(
            "vivavoce_repeated_pictures",
            "Pictures of speech shown again in place of others, because drawing was too slow",
            registry=self.registry,
        )
        self.slipped_seconds = Counter(
            "vivavoce_slipped_seconds", "Time by which media clocks gave up catching up", registry=self.registry
        )
        self.sent_pictures = self._of_transports("vivavoce_sent_pictures", "Pictures that left for a viewer")
        self.sent_bytes = self._of_transports("vivavoce_sent_bytes", "Encoded pictures and sound that left")
        self.dropped_pictures = self._of_transports(
            "vivavoce_dropped_pictures", "Pictures that were too late for a viewer; their sound was kept"
        )
        self.dropped_sound = self._of_transports(
            "vivavoce_dropped_sound_frames",
            "Frames whose sound was given up, because a viewer took nothing for seconds",
        )
        self.webhooks = Counter(
            "vivavoce_webhooks",
            "Requests to webhooks by outcome: delivered, failed, dropped",
            ["outcome"],
            registry=self.registry,
        )
        self.kept_sessions = Counter(
            "vivavoce_kept_sessions",
            "Sessions kept for other portals, by outcome: written, failed; claimed: one of another portal goes on here",
            ["outcome"],
            registry=self.registry,
        )
        self.node = Info("vivavoce_node", "Which of several portals this is", registry=self.registry)
        self.stage_seconds = Histogram(
            "vivavoce_turn_stage_seconds",
            "From the question to each mark of a turn",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=self.registry,
        )

    def observe_turn(self, marks_ms: dict[str, float]) -> None:
        """Add the marks of a turn to the histogram."""
        for name, milliseconds in marks_ms.items():
            self.stage_seconds.labels(name).observe(milliseconds / 1000)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _of_transports(self, name: str, meaning: str) -> Counter:
        return Counter(name, meaning, ["transport"], registry=self.registry)


class Losses:
    """Adds to the metrics what one session lost, and what its transports sent, since the last count."""

    def __init__(self, metrics: EngineMetrics) -> None:
        self._metrics = metrics
        self._starved_pictures = 0
        self._repeated_pictures = 0
        self._slipped_s = 0.0
        self._transport: Transport | None = None
        self._sent = TransportStats()

    def count(self, playout: Playout, transport: Transport | None) -> None:
        """Count. transport: the present one. Call it once more before another transport takes its place."""
        self._metrics.starved_pictures.inc(playout.starved_pictures - self._starved_pictures)
        self._metrics.repeated_pictures.inc(playout.repeated_pictures - self._repeated_pictures)
        self._metrics.slipped_seconds.inc(playout.slipped_s - self._slipped_s)
        self._starved_pictures, self._slipped_s = playout.starved_pictures, playout.slipped_s
        self._repeated_pictures = playout.repeated_pictures
        if transport is None:
            return
        before = self._sent if transport is self._transport else TransportStats()
        self._transport, self._sent = transport, transport.stats()
        self._count_sent(transport.name, before, self._sent)

    def _count_sent(self, name: str, before: TransportStats, now: TransportStats) -> None:
        metrics = self._metrics
        metrics.sent_pictures.labels(name).inc(now.pictures_sent - before.pictures_sent)
        metrics.sent_bytes.labels(name).inc(now.bytes_sent - before.bytes_sent)
        metrics.dropped_pictures.labels(name).inc(now.pictures_dropped - before.pictures_dropped)
        metrics.dropped_sound.labels(name).inc(now.audio_dropped - before.audio_dropped)
