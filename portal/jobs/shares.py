"""Limits how many jobs an address or a person may have waiting or running, so that nobody can fill the queue."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from starlette.types import Scope

from portal.errors import QueueFull
from portal.http.limits import WIDER, TooMany
from portal.http.people import person_of
from portal.http.proxies import address_of, network_of
from portal.jobs.records import Job

__all__ = [
    "VIEWERS",
    "JobShares",
    "is_person_key",
    "is_viewer_key",
    "person_key",
    "too_many_for_viewers",
    "viewer_key",
]

VIEWERS = 25
"Most jobs for sessions of viewers that wait or run: half of the line, so that those who order something find room."
_PERSON, _VIEWER = "person ", "viewer "


def person_key(name: str) -> str:
    """Return the key that stands for a person among keys that are addresses."""
    return f"{_PERSON}{name}"


def is_person_key(key: str) -> bool:
    """Whether person_key() made this key."""
    return key.startswith(_PERSON)


def viewer_key(address: str) -> str:
    """Return the key of an address that asked for a job only by opening or changing a session."""
    return f"{_VIEWER}{address}"


def is_viewer_key(key: str) -> bool:
    """Whether viewer_key() made this key."""
    return key.startswith(_VIEWER)


def too_many_for_viewers() -> QueueFull:
    """Return the error for a viewer whose avatar cannot be prepared now, because too many wait for that."""
    return QueueFull(
        "Too many avatars are being prepared for viewers already.",
        "Choose another avatar or lip-sync, or try again when some of them are done.",
        cause="viewers",
    )


class JobShares:
    """Limits the jobs of each address, person and IPv6 network. Thread-safe.

    askers: returns the asker's address for each job that waits or runs, and the owner's person_key() if it has one.
    max_each: most jobs of one address, and of one person. An IPv6 network (/48) may have WIDER times as many.
    """

    def __init__(self, askers: Callable[[], Collection[str]], max_each: int) -> None:
        self._askers = askers
        self._max_each = max_each
        self._lock = threading.Lock()
        self._asking: Counter[str] = Counter()
        "requests whose job is not queued yet, by address and person"

    def asked_by(self, scope: Scope, submit: Callable[[], Job]) -> Job:
        """Call submit() if the sender of a request may have another job. Raises TooMany, and what submit() raises."""
        address, name = address_of(scope), person_of(scope).name
        taken = (address, person_key(name)) if name else (address,)
        self._take_places(address, taken)
        try:
            return submit()
        finally:
            with self._lock:
                self._asking.subtract(taken)
                self._asking += Counter()  # drops the entries that are zero

    def admit_viewer(self, address: str) -> None:
        """Raise QueueFull if viewers from this address, or all viewers, have as many jobs as they may have.

        Call it while no other job can be queued. Such jobs do not count among those that the address orders.
        """
        asked = [key.removeprefix(_VIEWER) for key in self._askers() if is_viewer_key(key)]
        network = network_of(address)
        near = sum(network_of(other) == network for other in asked if network)
        most = self._max_each
        if asked.count(address) >= most or near >= WIDER * most or len(asked) >= VIEWERS:
            raise too_many_for_viewers()

    def _take_places(self, address: str, taken: Sequence[str]) -> None:
        with self._lock:
            has = Counter(self._askers())
            has.update(self._asking)
            network = network_of(address)
            near = sum(has[other] for other in has if network and " " not in other and network_of(other) == network)
            most = max(has[key] for key in taken)
            if most >= self._max_each or near >= WIDER * self._max_each:
                raise TooMany(
                    f"{max(most, near)} jobs of yours, or from your address, are waiting or running already.",
                    "Wait until one of them has ended, or cancel one under Jobs.",
                    cause="jobs",
                )
            self._asking.update(taken)
