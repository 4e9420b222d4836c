"""The line of passwords that wait to be checked: who comes first, and who has to leave it."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.clock import ManualClock
from portal.http.limits import MAX_KEYS, TooOften
from portal.http.login_line import (
    AT_A_TIME,
    FORGOTTEN_S,
    LONG_S,
    MAX_WAITING,
    MAX_WAITING_EACH,
    WRONG_BURST,
    LoginLine,
)


class People:
    """Logins that are checked until the test says that they are done. Each is named by its address, and a word."""

    def __init__(self, clock: ManualClock) -> None:
        self.line = LoginLine(clock)
        self.checked: list[str] = []
        self.refused: list[str] = []
        self._done: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *addresses: str) -> None:
        for address in addresses:
            self._done[address] = asyncio.Event()
            self._tasks[address] = asyncio.create_task(self._log_in(address, self._done[address]))
        await self._settle()

    async def end(self, *addresses: str) -> None:
        for address in addresses:
            self._done[address].set()
        await self._settle()

    async def go(self, address: str) -> None:
        self._tasks[address].cancel()
        await self._settle()

    async def _log_in(self, address: str, done: asyncio.Event) -> None:
        try:
            async with self.line.turn(address.partition(" ")[0]):
                self.checked.append(address)
                await done.wait()
        except TooOften:
            self.refused.append(address)

    async def _settle(self) -> None:
        for _ in range(100):
            await asyncio.sleep(0)


@pytest.fixture
async def people(clock: ManualClock) -> People:
    return People(clock)


GUESSERS = [f"2001:db8:{number}::" for number in range(MAX_WAITING)]


async def test_a_newcomer_comes_before_those_who_guess(people: People) -> None:
    """However many networks they have: the last of them leaves the full line, and the newcomer is checked next."""
    for guesser in GUESSERS:
        people.line.note_wrong(guesser)
    people.line.note_wrong(GUESSERS[5])
    await people.come(*GUESSERS)
    assert people.checked == GUESSERS[:AT_A_TIME]
    await people.come("203.0.113.7")
    assert people.refused == [GUESSERS[5]]
    await people.end(GUESSERS[0])
    assert people.checked[-1] == "203.0.113.7"


async def test_who_is_as_good_as_all_others_does_not_push_in(people: People) -> None:
    """In a full line of newcomers the next one is refused, and the line goes on in order."""
    await people.come(*GUESSERS, "203.0.113.7")
    assert people.refused == ["203.0.113.7"]
    await people.end(*GUESSERS)
    assert people.checked == GUESSERS


async def test_wrong_passwords_are_forgotten_one_by_one(people: People, clock: ManualClock) -> None:
    """Of any number only ten count: an office whose program sends an old password all day is not last for a month."""
    for _ in range(1000):
        people.line.note_wrong("203.0.113.7")
    await clock.advance((WRONG_BURST - 1) * FORGOTTEN_S)
    await people.come("a", "b", "203.0.113.7", "c")
    await people.end("a")
    assert people.checked == ["a", "b", "c"]
    await people.end("b", "c", "203.0.113.7")
    await clock.advance(FORGOTTEN_S)
    await people.come("d", "e", "203.0.113.7 again", "f")
    await people.end("d")
    assert people.checked[-1] == "203.0.113.7 again"


async def test_nobody_is_overtaken_for_long(people: People, clock: ManualClock) -> None:
    """Who mistyped once comes before all others after a few seconds."""
    people.line.note_wrong("203.0.113.7")
    await people.come("a", "b", "203.0.113.7")
    await clock.advance(0.1)
    await people.come("c", "d")
    await people.end("a")
    assert people.checked[-1] == "c"
    await clock.advance(LONG_S)
    await people.come("e")
    await people.end("b")
    assert people.checked[-1] == "203.0.113.7"


async def test_many_addresses_that_were_wrong_do_not_make_a_newcomer_look_wrong(people: People) -> None:
    """The table of addresses has an end. Beyond it nobody knows anything bad of an address."""
    for number in range(MAX_KEYS + 200):
        people.line.note_wrong(f"10.0.{number // 256}.{number % 256}")
    await people.come(*(f"10.0.0.{number}" for number in range(MAX_WAITING)), "203.0.113.7")
    assert people.refused == [f"10.0.0.{MAX_WAITING - 1}"]


async def test_guesses_of_a_whole_network_count_against_its_addresses(people: People) -> None:
    """A /48 network has 65,536 addresses that were never wrong."""
    for number in range(8 * WRONG_BURST):
        people.line.note_wrong(f"2001:db8:1:{number:x}::")
    await people.come("a", "b", "2001:db8:1:ffff::", "c")
    await people.end("a")
    assert people.checked == ["a", "b", "c"]


async def test_each_address_is_checked_once_at_a_time_and_has_two_places(people: People) -> None:
    await people.come(*(f"a {number}" for number in range(MAX_WAITING_EACH + 3)), "b")
    assert people.checked == ["a 0", "b"]
    assert people.refused == ["a 2", "a 3", "a 4"]
    await people.end("b")
    assert people.checked == ["a 0", "b"]
    await people.end("a 0")
    assert people.checked == ["a 0", "b", "a 1"]


async def test_who_hangs_up_leaves_the_line(people: People) -> None:
    """Waiting or being checked: the next one comes at once, and the place is free."""
    await people.come(*GUESSERS)
    await people.go(GUESSERS[4])
    await people.go(GUESSERS[0])
    await people.come("x", "y")
    assert people.refused == []
    await people.end(*GUESSERS, "x", "y")
    assert people.checked == [*GUESSERS[:4], *GUESSERS[5:], "x", "y"]
