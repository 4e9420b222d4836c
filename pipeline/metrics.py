"""Where time goes: the marks of a turn, and the counters that /metrics shows. Names of metrics live here only."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipeline.clock import Clock

__all__ = ["EngineMetrics", "TurnTimes"]

STAGE_BUCKETS_S = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class TurnTimes:
    """When each stage of one turn gave its first result."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start_s = clock.now_s()
        self._first_s: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        """Note the first time a stage gives something; later marks of the same stage are ignored."""
        if stage not in self._first_s:
            self._first_s[stage] = self._clock.now_s() - self._start_s

    def stages_ms(self) -> dict[str, float]:
        """Milliseconds from the start of the turn, by stage, in the order they happened."""
        return {stage: round(1000 * seconds, 1) for stage, seconds in self._first_s.items()}


class EngineMetrics:
    """Prometheus metrics of one engine (its own registry: two engines in one process do not mix)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sessions = Gauge("vivavoce_sessions", "Live sessions", registry=self.registry)
        self.turns = Counter("vivavoce_turns", "Turns by outcome", ["outcome"], registry=self.registry)
        self.starved_pictures = Counter(
            "vivavoce_starved_pictures", "Idle pictures shown while late speech was waited for", registry=self.registry
        )
        self.slipped_seconds = Counter(
            "vivavoce_slipped_seconds", "Time by which media clocks gave up catching up", registry=self.registry
        )
        self.stage_seconds = Histogram(
            "vivavoce_turn_stage_seconds",
            "From say() to the first result of a stage",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=self.registry,
        )

    def observe_turn(self, stages_ms: dict[str, float]) -> None:
        for stage, milliseconds in stages_ms.items():
            self.stage_seconds.labels(stage).observe(milliseconds / 1000)

    def exposition(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self.registry)
