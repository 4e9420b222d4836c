"""A JobSource for one of several workers: it gives signs of life, and takes over the jobs of dead workers.

A killed worker's last sign of life is up to BEAT_S old. The worker counts as dead after SILENT_S, and the others notice
within another BEAT_S. So its jobs go on after 25 to 35 s, at the step they were in.

A worker that is only cut off from the database, or was suspended for a while, must not go on with jobs that others have
taken over. So it ends itself after OWN_END_S, long before others take its jobs. If the machine was asleep, the worker
finds out at its first beat.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from portal.errors import DatabaseUnreachable, WorkerLeftOut
from portal.jobs.dbos_source import DbosSource
from portal.jobs.fleet import SILENT_S, Fleet
from portal.jobs.store import TakenJob

__all__ = ["BEAT_S", "OWN_END_S", "SharedSource"]

logger = logging.getLogger(__name__)

BEAT_S = 5.0
"How often a worker gives a sign of life, and looks for dead workers."
OWN_END_S = 20.0
"A worker whose last successful beat is this long ago ends itself."
GUARD_S = 1.0
"How often a worker checks that."
assert OWN_END_S + 2 * GUARD_S < SILENT_S


def awake_or_asleep_s() -> float:
    """Return monotonic seconds, which count on while the machine sleeps if the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


@dataclass(eq=False)
class SharedSource:
    """A JobSource for one of several workers."""

    source: DbosSource
    fleet: Fleet
    worker: str
    "unique name of this worker"
    on_end: Callable[[WorkerLeftOut], None]
    "called once, from a thread, when this worker may no longer have jobs"
    clock_s: Callable[[], float] = awake_or_asleep_s
    "clock in seconds that goes on while the machine sleeps"
    _is_serving: threading.Event = field(default_factory=threading.Event, init=False)
    _heard_s: float = field(init=False)
    "when the last successful beat began"

    def __post_init__(self) -> None:
        self._heard_s = self.clock_s()

    def serve(self, kinds: Mapping[str, Callable[[TakenJob], object]]) -> None:
        self._heard_s = self.clock_s()
        self.fleet.join(self.worker)
        for run in (self._beat_on, self._guard):
            threading.Thread(target=run, name=f"worker {run.__name__.strip('_')}", daemon=True).start()
        self.source.serve(kinds)
        self._is_serving.set()

    def leave(self) -> None:
        try:
            self.fleet.leave(self.worker)
        except DatabaseUnreachable:  # then the others find out after SILENT_S
            return

    def beat(self) -> None:
        """Give a sign of life, and take over jobs of dead workers. Raises WorkerLeftOut, DatabaseUnreachable."""
        began_s = self.clock_s()
        self.fleet.beat(self.worker)
        self._heard_s = began_s
        if not self._is_serving.is_set() or not self.source.workers_with_jobs() - {self.worker}:
            return
        with self.fleet.without_the_dead() as alive:
            dead = self.source.workers_with_jobs() - alive
            if dead and (taken := self.source.take_over_from(dead)):
                logger.warning("Jobs of workers that are gone (%s) go on: %d.", ", ".join(sorted(dead)), taken)

    @property
    def is_cut_off(self) -> bool:
        """Whether the last successful beat is so long ago that this worker has to end."""
        return self.clock_s() - self._heard_s > OWN_END_S

    def _beat_on(self) -> None:
        while True:
            time.sleep(BEAT_S)
            try:
                self.beat()
            except WorkerLeftOut as error:
                self.on_end(error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is passes, or ends this worker as cut off
                logger.warning("Other workers cannot be heard: %s", error)

    def _guard(self) -> None:
        while not self.is_cut_off:
            time.sleep(GUARD_S)
        away = f"The database of jobs was out of reach for {OWN_END_S:.0f} s, so others may have this worker's jobs."
        self.on_end(WorkerLeftOut(away, "This worker ends."))
