"""Limits for each address: how often something may be done, and how much at one time. The tables cannot grow for ever.

Keys are those of `proxies.address_of()`. A household behind one address is one key, so limits leave room for several
people. An IPv6 network (/64) is one key too. The /48 network around it has a limit of its own, WIDER times as large,
because whoever has a /48 network has 65,536 keys.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from models.errors import VivavoceError
from pipeline.clock import Clock
from portal.http.proxies import network_of

__all__ = [
    "WIDER",
    "AddressAllowance",
    "AddressShares",
    "Allowance",
    "AskerShares",
    "SessionAllowance",
    "Shares",
    "TooMany",
    "TooOften",
    "Turns",
    "Turnstile",
]

Result = TypeVar("Result")

MAX_KEYS = 4096
"Most keys in a table of an Allowance."
WIDER = 4
"How many times as much a /48 network of IPv6 addresses may have as one address."
STRANGERS = "?"
"Key that all newcomers share while the table is full."


class TooOften(VivavoceError, code="too_often", http_status=429):
    """Somebody asks for the same thing too often. `retry_s`: seconds until it may be asked for again."""

    def __init__(self, message: str, hint: str, retry_s: float) -> None:
        super().__init__(message, hint)
        self.retry_s = retry_s


class TooMany(VivavoceError, code="too_many", http_status=429):
    """Somebody has as much of something as one address may have at a time."""


@dataclass(slots=True)
class _Bucket:
    left: float
    filled_s: float


class Allowance:
    """A token bucket for each key: `burst` at once, and `per_s` a second in the long run.

    Beyond `max_keys` keys, full buckets are forgotten, which makes no difference to their keys. If none is full,
    newcomers share one bucket, so that using many keys brings no fresh buckets.
    """

    def __init__(self, clock: Clock, *, burst: float, per_s: float, max_keys: int = MAX_KEYS) -> None:
        self._clock = clock
        self._burst = burst
        self._per_s = per_s
        self._max_keys = max_keys
        self._buckets: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, amount: float = 1.0) -> float:
        """Take an amount. Return 0.0 if it is granted; otherwise take nothing and return the seconds to wait.

        An amount above the burst is granted if the bucket is full, and leaves it below zero. So a large amount is never
        impossible, only followed by a longer pause.
        """
        bucket = self._bucket(key)
        wanted = min(amount, self._burst)
        if bucket.left < wanted:
            return (wanted - bucket.left) / self._per_s
        bucket.left -= amount
        return 0.0

    def charge(self, key: str, amount: float) -> None:
        """Take an amount that was used already, even if less is left; the bucket then goes below zero."""
        self._bucket(key).left -= amount

    def left(self, key: str) -> float:
        """Return how much may be taken now; below zero after a large amount. Newcomers have all of the burst."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return self._burst
        return min(self._burst, bucket.left + self._per_s * (self._clock.now_s() - bucket.filled_s))

    def _bucket(self, key: str) -> _Bucket:
        now_s = self._clock.now_s()
        if key not in self._buckets and len(self._buckets) >= self._max_keys:
            self._forget_full(now_s)
            if len(self._buckets) >= self._max_keys:
                key = STRANGERS
        bucket = self._buckets.setdefault(key, _Bucket(self._burst, now_s))
        bucket.left = min(self._burst, bucket.left + self._per_s * (now_s - bucket.filled_s))
        bucket.filled_s = now_s
        return bucket

    def _forget_full(self, now_s: float) -> None:
        def filled(bucket: _Bucket) -> bool:
            return bucket.left + self._per_s * (now_s - bucket.filled_s) >= self._burst

        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not filled(bucket)}


class AddressAllowance:
    """An Allowance for each address, and one WIDER times as large for each /48 network of IPv6 addresses."""

    def __init__(self, clock: Clock, *, burst: float, per_s: float) -> None:
        self._addresses = Allowance(clock, burst=burst, per_s=per_s)
        self._networks = Allowance(clock, burst=WIDER * burst, per_s=WIDER * per_s)

    def take(self, address: str, amount: float = 1.0) -> float:
        """Take an amount like Allowance.take(). If the address is refused, its network is not charged either."""
        # The network is asked first. Otherwise a network with nothing left could still fill the table of addresses.
        network = network_of(address)
        if network and (wait_s := self._networks.take(network, amount)):
            return wait_s
        wait_s = self._addresses.take(address, amount)
        if network and wait_s:
            self._networks.charge(network, -amount)
        return wait_s

    def charge(self, address: str, amount: float) -> None:
        """Take an amount that was used already, like Allowance.charge()."""
        self._addresses.charge(address, amount)
        if network := network_of(address):
            self._networks.charge(network, amount)

    def left(self, address: str) -> float:
        """Return how much the address has left; less if its network has used up more of what it may have."""
        left = self._addresses.left(address)
        network = network_of(address)
        return min(left, self._networks.left(network) / WIDER) if network else left


class SessionAllowance:
    """Limits how often something may be done in a session, and by one person and one address in all their sessions.

    refusal: message of the error. sessions: the allowance of each session. burst, per_s: those of each person and each
    address.
    """

    def __init__(self, clock: Clock, refusal: str, sessions: Allowance, *, burst: float, per_s: float) -> None:
        self._refusal = refusal
        self._sessions = sessions
        self._people = Allowance(clock, burst=burst, per_s=per_s)
        self._addresses = AddressAllowance(clock, burst=burst, per_s=per_s)

    def charge(self, session: str, address: str, person: str = "") -> None:
        """Count it once. address, person: "" if there is none, and then no such limit applies. Raises TooOften."""
        wait_s = self._sessions.take(session)
        if address and not wait_s:
            wait_s = self._addresses.take(address)
        if person and not wait_s:
            wait_s = self._people.take(person)
        if wait_s:
            raise TooOften(self._refusal, f"Wait {math.ceil(wait_s)} s, then try again.", wait_s)


class Shares:
    """Counts how many of a thing each key has now: at most `max_each`. Only keys that have any are kept."""

    def __init__(self, max_each: int) -> None:
        self._max_each = max_each
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._taken)

    def has(self, key: str) -> bool:
        """Whether the key has any."""
        return key in self._taken

    def has_all(self, key: str) -> bool:
        """Whether the key has as many as it may have."""
        return self._taken[key] >= self._max_each

    def take(self, key: str) -> bool:
        """Take one and return True, or return False if none is left. give() gives it back."""
        if self.has_all(key):
            return False
        self.add(key)
        return True

    def add(self, key: str) -> None:
        """Take one, even if none is left. give() gives it back."""
        self._taken[key] += 1

    def give(self, key: str) -> None:
        """Give one back."""
        self._taken[key] -= 1
        if self._taken[key] <= 0:
            del self._taken[key]

    @contextmanager
    def held(self, key: str, refusal: VivavoceError) -> Iterator[None]:
        """Hold one for as long as the block runs. Raises `refusal` if none is left."""
        if not self.take(key):
            raise refusal
        try:
            yield
        finally:
            self.give(key)


class AddressShares(Shares):
    """Shares of addresses. A /48 network of IPv6 addresses has WIDER times as many as one address."""

    def __init__(self, max_each: int) -> None:
        super().__init__(max_each)
        self._networks = Shares(WIDER * max_each)

    def has_all(self, key: str) -> bool:
        network = network_of(key)
        return super().has_all(key) or (bool(network) and self._networks.has_all(network))

    def add(self, key: str) -> None:
        super().add(key)
        if network := network_of(key):
            self._networks.add(network)

    def give(self, key: str) -> None:
        super().give(key)
        if network := network_of(key):
            self._networks.give(network)


class AskerShares:
    """At most `max_each` of a thing for each address, and for each person, who may have many addresses."""

    def __init__(self, max_each: int) -> None:
        self._addresses = AddressShares(max_each)
        self._people = Shares(max_each)

    @contextmanager
    def held(self, address: str, person: str, refusal: VivavoceError) -> Iterator[None]:
        """Hold one for as long as the block runs. address, person: "" if there is none; then no such limit applies.

        Raises `refusal` if none is left.
        """
        with ExitStack() as held:
            if address:
                held.enter_context(self._addresses.held(address, refusal))
            if person:
                held.enter_context(self._people.held(person, refusal))
            yield


@dataclass(slots=True)
class _Turn:
    """The turn of one key."""

    places: asyncio.Semaphore
    wanted: int = 0
    "how many wait for it or hold it"


class Turns:
    """One turn for each key. Somebody who asks for much waits only for themselves, and others do not wait for them.

    at_a_time: how many may hold the turn of one key at the same time.
    """

    def __init__(self, at_a_time: int = 1) -> None:
        self._at_a_time = at_a_time
        self._turns: dict[str, _Turn] = {}

    def __len__(self) -> int:
        """How many wait for a turn or hold one, of all keys together."""
        return sum(turn.wanted for turn in self._turns.values())

    def wanted(self, key: str) -> int:
        """Return how many wait for this key's turn or hold it."""
        return self._turns[key].wanted if key in self._turns else 0

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Wait for the key's turn, in order of arrival, and hold it for as long as the block runs."""
        turn = self._turns.setdefault(key, _Turn(asyncio.Semaphore(self._at_a_time)))
        turn.wanted += 1
        try:
            async with turn.places:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[key]


class Turnstile:
    """Runs work that takes a core for a moment, one piece at a time, so that live sessions keep their cores.

    Waiting takes no thread. Beyond `max_waiting`, callers are refused.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._waiting = 0
        self._one = asyncio.Lock()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run work() in a thread and return its result. Raises TooOften, and what work() raises."""
        if self._waiting >= self._max_waiting:
            raise TooOften("Too many ask for this at once.", "Try again in a moment.", 1.0)
        self._waiting += 1
        try:
            async with self._one:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
