"""The line of logins whose passwords wait to be checked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pipeline.clock import Clock
from portal.http.limits import AddressAllowance, TooOften

__all__ = ["LoginLine"]

AT_A_TIME = 2
"Passwords that are checked at the same time. Each takes a core for a quarter of a second."
MAX_WAITING, MAX_WAITING_EACH = 16, 2
"Most logins in the line, in all and of one address, with those being checked."
LONG_S = 4.0
"Whoever has waited this long comes before all others."
WRONG_BURST, FORGOTTEN_S = 10, 300.0
"Wrong passwords that count against an address at most, and the time after which one of them is forgotten."


@dataclass(eq=False, slots=True)
class _Login:
    address: str
    came_s: float
    begins: asyncio.Future[bool]
    "True: it is checked now. False: it had to leave the line."


class LoginLine:
    """Lets logins be checked a few at a time, and one at a time for each address.

    Addresses with fewer wrong passwords lately come first, but nobody is overtaken for long. If the line is full, a
    login of the address with most of them leaves it. So those who guess passwords from many networks fill the line for
    each other, and not for people who know theirs.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[_Login] = []
        self._checked: list[_Login] = []
        self._blameless = AddressAllowance(clock, burst=WRONG_BURST, per_s=1 / FORGOTTEN_S)

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for the turn of a login, and hold it for as long as the block runs.

        Raises TooOften: the line is full, now or later.
        """
        if sum(login.address == address for login in (*self._waiting, *self._checked)) >= MAX_WAITING_EACH:
            raise _refusal()
        mine = _Login(address, self._clock.now_s(), asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        if len(self._waiting) + len(self._checked) > MAX_WAITING:
            last = self._in_order()[-1]
            self._waiting.remove(last)
            last.begins.set_result(False)
        self._begin()
        try:
            if not await mine.begins:
                raise _refusal()
            yield
        finally:
            for line in (self._waiting, self._checked):
                if mine in line:
                    line.remove(mine)
            self._begin()

    def note_wrong(self, address: str) -> None:
        """Count a wrong password against an address."""
        self._blameless.take(address)  # takes nothing from an address that has nothing left

    def _in_order(self) -> list[_Login]:
        """Return who waits, those to be checked first at the front. Cancelled ones are on their way out."""
        waiting = [login for login in self._waiting if not login.begins.done()]
        long_since_s = self._clock.now_s() - LONG_S

        def place(login: _Login) -> tuple[float, float]:
            waits_long = login.came_s <= long_since_s
            return login.came_s if waits_long else math.inf, -self._blameless.left(login.address)

        return sorted(waiting, key=place)

    def _begin(self) -> None:
        for login in self._in_order():
            if len(self._checked) >= AT_A_TIME:
                return
            if not any(other.address == login.address for other in self._checked):
                self._waiting.remove(login)
                self._checked.append(login)
                login.begins.set_result(True)


def _refusal() -> TooOften:
    return TooOften("Too many people log in at this moment.", "Wait a few seconds, then try again.", 5.0)
