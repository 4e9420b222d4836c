"""How many jobs an address may have waiting or running, so that one visitor cannot fill the queue for all others."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection

from starlette.types import Scope

from portal.http.limits import WIDER, TooMany
from portal.http.proxies import address_of, network_of
from portal.jobs.records import Job

__all__ = ["JobShares"]


class JobShares:
    """Thread-safe.

    askers: the address of who asked for each job that waits or runs; most_each: how many of these one address may have.
    A network of IPv6 has WIDER times as many.
    """

    def __init__(self, askers: Callable[[], Collection[str]], most_each: int) -> None:
        self._askers = askers
        self._most_each = most_each
        self._lock = threading.Lock()
        self._asking: Counter[str] = Counter()
        "requests of each address whose job is not queued yet"

    def asked_by(self, scope: Scope, submit: Callable[[], Job]) -> Job:
        """Call submit() on behalf of the address that sent this request. Raises TooMany, and what submit() raises."""
        address = address_of(scope)
        self._take_place(address)
        try:
            return submit()
        finally:
            with self._lock:
                self._asking[address] -= 1
                self._asking += Counter()  # forgets those at zero

    def _take_place(self, address: str) -> None:
        with self._lock:
            has = Counter(self._askers())
            has.update(self._asking)
            network = network_of(address)
            near = sum(count for other, count in has.items() if network_of(other) == network) if network else 0
            if has[address] >= self._most_each or near >= WIDER * self._most_each:
                raise TooMany(
                    f"{max(has[address], near)} jobs from your address are waiting or running already.",
                    "Wait until one of them has ended, or cancel one under Jobs.",
                    cause="jobs",
                )
            self._asking[address] += 1
