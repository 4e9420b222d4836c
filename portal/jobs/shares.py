"""How many jobs an address may have waiting or running, so that one visitor cannot fill the queue for all others."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection

from starlette.types import Scope

from portal.http.limits import TooMany
from portal.http.proxies import address_of
from portal.jobs.records import Job

__all__ = ["JobShares"]


class JobShares:
    """Thread-safe. It remembers who asked for a job while the job is active, and forgets it at a restart.

    active_ids: ids of the jobs that wait or run; most_each: how many of these one address may have.
    """

    def __init__(self, active_ids: Callable[[], Collection[str]], most_each: int) -> None:
        self._active_ids = active_ids
        self._most_each = most_each
        self._lock = threading.Lock()
        self._askers: dict[str, str] = {}
        "job -> address"
        self._asking: Counter[str] = Counter()
        "requests of each address whose job is not queued yet"

    def asked_by(self, scope: Scope, submit: Callable[[], Job]) -> Job:
        """Call submit() on behalf of the address that sent this request. Raises TooMany, and what submit() raises."""
        address = address_of(scope)
        self._take_place(address)
        try:
            job = submit()
            with self._lock:
                self._askers.setdefault(job.id, address)  # a job that others wanted too stays the first one's
            return job
        finally:
            with self._lock:
                self._asking[address] -= 1
                self._asking += Counter()  # forgets those at zero

    def _take_place(self, address: str) -> None:
        with self._lock:
            active = frozenset(self._active_ids())
            self._askers = {job: asker for job, asker in self._askers.items() if job in active}
            has = self._asking[address] + sum(asker == address for asker in self._askers.values())
            if has >= self._most_each:
                raise TooMany(
                    f"{has} jobs from your address are waiting or running already.",
                    "Wait until one of them has ended, or cancel one under Jobs.",
                    cause="jobs",
                )
            self._asking[address] += 1
