"""Admission: limits, the line, and who gets a place that becomes free."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.errors import AtCapacity
from portal.admission import Admission, Ticket, Wish
from portal.errors import AddressFull

CAPACITY, EACH, LINE, LINE_EACH = 3, 1, 5, 3
DEVICE_OF = {"small": "cpu", "large": "gpu", "huge": "gpu"}
ROOM: dict[Hashable, int] = {"cpu": 2, "gpu": 1}
"""Sessions that a device carries."""


class AdmissionMachine(RuleBasedStateMachine):
    """Viewers come, open sessions on devices of little room, give up and leave, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(CAPACITY, EACH, line=LINE, line_each=LINE_EACH)
        self.line: list[Ticket] = []  # whoever had to wait, until the session is open
        self.opening: list[Ticket] = []
        self.settled: list[Ticket] = []
        self.patient: set[Ticket] = set()  # these would rather wait than be refused
        self.kept_out: set[Ticket] = set()  # refused by a device that no session has left since

    @rule(
        lipsync=st.sampled_from(sorted(DEVICE_OF)),
        address=st.sampled_from(["", "home", "office"]),
        wait=st.booleans(),
    )
    def come(self, lipsync: str, address: str, wait: bool) -> None:
        """A new viewer overtakes nobody who waits for the same."""
        wish = Wish(lipsync, frozenset({DEVICE_OF[lipsync]}), address)
        first = self.must_go_first(wish, self.line)
        try:
            ticket = self.admission.ask(wish, wait=wait)
        except AtCapacity:
            return
        if wait:
            self.patient.add(ticket)
        if ticket.has_place:
            assert not first
            self.opening.append(ticket)
        else:
            assert wait
            self.line.append(ticket)

    @precondition(lambda self: self.opening)
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        self.try_device(data.draw(st.sampled_from(self.opening)))

    @precondition(lambda self: self.settled)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.end_session(data.draw(st.sampled_from(self.settled)))

    @precondition(lambda self: self.opening or self.line)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """A viewer leaves the line, or a session cannot be opened."""
        self.forget(data.draw(st.sampled_from([*self.opening, *self.line])))

    @invariant()
    def limits_hold(self) -> None:
        """Places are counted as they are, and never more are taken than there are."""
        assert self.admission.taken == len(self.opening) + len(self.settled) <= CAPACITY
        assert all(self.places_of(address) <= EACH for address in ("home", "office"))
        assert self.admission.waiting == len(self.line) <= LINE
        assert [self.admission.position(ticket) for ticket in self.line] == list(range(1, len(self.line) + 1))

    @invariant()
    def no_place_is_left_over(self) -> None:
        """Whoever has no place could not use one, or has to let somebody else go first."""
        for index, ticket in enumerate(self.line):
            assert (
                ticket.has_place
                or self.admission.taken == CAPACITY
                or self.is_held_up_by_address(ticket)
                or ticket in self.kept_out
                or self.must_go_first(ticket.wish, self.line[:index])
            )

    @invariant()
    def no_device_is_tried_in_vain(self) -> None:
        """A ticket that a device refused gets no place until a session has left that device."""
        assert not any(ticket.has_place for ticket in self.kept_out)

    def teardown(self) -> None:
        """Nobody starves: when sessions end, everybody who waits gets in, and no device is tried for ever."""
        for _ in range(100):
            if self.opening:
                self.try_device(self.opening[0])
            elif self.settled:
                self.end_session(self.settled[0])
        assert (self.admission.taken, self.admission.waiting, self.line) == (0, 0, [])

    def try_device(self, ticket: Ticket) -> None:
        self.opening.remove(ticket)
        (device,) = ticket.wish.devices
        if [device in other.wish.devices for other in self.settled].count(True) < ROOM[device]:
            if ticket in self.line:
                self.line.remove(ticket)
            self.settled.append(ticket)
            self.admission.settle(ticket)
            self.notice_places()
        elif ticket in self.patient:
            self.kept_out.add(ticket)
            try:
                self.admission.refused_by_device(ticket)
            except AtCapacity:
                self.forget(ticket)
            else:
                self.line += [] if ticket in self.line else [ticket]
            self.notice_places()
        else:
            self.forget(ticket)

    def end_session(self, ticket: Ticket) -> None:
        self.settled.remove(ticket)
        self.kept_out = {other for other in self.kept_out if other.wish.devices != ticket.wish.devices}
        self.admission.leave(ticket)
        self.notice_places()

    def forget(self, ticket: Ticket) -> None:
        self.line = [other for other in self.line if other is not ticket]
        self.opening = [other for other in self.opening if other is not ticket]
        self.kept_out.discard(ticket)
        self.admission.leave(ticket)
        self.admission.leave(ticket)
        self.notice_places()

    def notice_places(self) -> None:
        """Among viewers who want the same, a place goes to who came first."""
        given = [ticket for ticket in self.line if ticket.has_place and ticket not in self.opening]
        self.opening += given
        for ticket in given:
            assert not self.must_go_first(ticket.wish, self.line[: self.line.index(ticket)])

    def places_of(self, address: str) -> int:
        return [ticket.wish.address for ticket in (*self.opening, *self.settled)].count(address)

    def is_held_up_by_address(self, ticket: Ticket) -> bool:
        address = ticket.wish.address
        return not ticket.has_place and bool(address) and self.places_of(address) >= EACH

    def must_go_first(self, wish: Wish, ahead: list[Ticket]) -> list[Ticket]:
        return [
            other for other in ahead if other.wish.lipsync == wish.lipsync and not self.is_held_up_by_address(other)
        ]


AdmissionMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestAdmission = AdmissionMachine.TestCase


class Sessions:
    """Opens sessions by name, on devices of which some are full."""

    def __init__(self) -> None:
        self.admission = Admission(capacity=1, places_each=1)
        self.opened: list[str] = []
        self.ended: list[str] = []
        self.full: set[str] = set()
        self.tried: Counter[str] = Counter()

    @asynccontextmanager
    async def open(self, name: str, device: str) -> AsyncIterator[str]:
        self.tried[name] += 1
        await asyncio.sleep(0)
        if device in self.full:
            raise AtCapacity("The device is full.")
        self.opened.append(name)
        yield name
        assert self.admission.taken, "the place is given back before its session has ended"
        self.ended.append(name)

    def hold(self, name: str, until: asyncio.Event, *, device: str = "cpu", wait: bool = True) -> asyncio.Task[None]:
        """A viewer who has a place, or waits for one, until then."""
        wish = Wish(device, frozenset({device}))

        async def report(position: int) -> None: ...

        async def held() -> None:
            async with self.admission.place(wish, lambda: self.open(name, device), report if wait else None) as opened:
                assert opened == name
                await until.wait()

        return asyncio.create_task(held())


async def pass_steps() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_place_is_held_while_the_block_runs() -> None:
    """The session ends first, then its place is free; a fault in the block changes nothing of that."""
    sessions = Sessions()
    with pytest.raises(ZeroDivisionError):
        async with sessions.admission.place(Wish("cpu", frozenset()), lambda: sessions.open("a", "cpu")):
            assert sessions.admission.taken == 1
            raise ZeroDivisionError
    assert sessions.admission.taken == 0


async def test_a_waiter_who_is_cancelled_gives_the_turn_to_the_next() -> None:
    """Also one who was given a place at this moment and has not noticed yet."""
    sessions, first_leaves, never = Sessions(), asyncio.Event(), asyncio.Event()
    first = sessions.hold("first", first_leaves)
    await pass_steps()
    bored, late, patient = [sessions.hold(name, never) for name in ("bored", "late", "patient")]
    await pass_steps()
    bored.cancel()
    first_leaves.set()
    await first
    assert sessions.admission.taken == 1, "the place went to the next in the same step"
    late.cancel()
    await pass_steps()
    assert sessions.opened == ["first", "patient"]
    assert sessions.admission.waiting == 0
    patient.cancel()
    await asyncio.gather(bored, late, patient, return_exceptions=True)
    assert sessions.admission.taken == 0


async def test_a_full_device_is_tried_again_when_a_session_there_has_ended() -> None:
    """Not when a place becomes free whose session was on another device."""
    sessions, leave_gpu, leave_cpu, never = Sessions(), asyncio.Event(), asyncio.Event(), asyncio.Event()
    sessions.admission.capacity = 3
    on_gpu = sessions.hold("on gpu", leave_gpu, device="gpu")
    on_cpu = sessions.hold("on cpu", leave_cpu, device="cpu")
    await pass_steps()
    sessions.full.add("gpu")
    waits = sessions.hold("waits", never, device="gpu")
    await pass_steps()
    leave_cpu.set()
    await on_cpu
    await pass_steps()
    assert (sessions.tried["waits"], sessions.admission.taken) == (1, 1)
    sessions.full.clear()
    leave_gpu.set()
    await on_gpu
    await pass_steps()
    assert sessions.opened[-1] == "waits"
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)


async def test_nobody_waits_who_did_not_ask_for_it() -> None:
    """Without a report, a full server and a full device are refusals."""
    sessions, leaves = Sessions(), asyncio.Event()
    first = sessions.hold("first", leaves)
    await pass_steps()
    with pytest.raises(AtCapacity, match="places"):
        await sessions.hold("second", leaves, wait=False)
    leaves.set()
    await first
    sessions.full.add("cpu")
    with pytest.raises(AtCapacity, match="device"):
        await sessions.hold("third", leaves, wait=False)
    assert (sessions.admission.taken, sessions.admission.waiting) == (0, 0)


@pytest.mark.parametrize(
    "whose",
    [
        [{"address": "203.0.113.1", "person": "vic"}, {"address": "198.51.100.7", "person": "vic"}],
        [{"address": "2001:db8:1:1::/64"}, {"address": "2001:db8:1:2::/64"}],
    ],
    ids=["one name", "one network"],
)
def test_a_name_or_a_network_takes_no_more_than_an_address(whose: list[dict[str, str]]) -> None:
    """Whoever comes from many addresses leaves places to others, and in the line as well."""
    admission = Admission(capacity=4, places_each=2, line=4, line_each=1)
    wishes = [Wish("cpu", frozenset(), **one) for one in whose]
    mine = [admission.ask(wish, wait=False) for wish in wishes]
    for wish in wishes:
        with pytest.raises(AddressFull):
            admission.ask(wish, wait=False)
    waiting = admission.ask(wishes[0], wait=True)
    with pytest.raises(AtCapacity):
        admission.ask(wishes[1], wait=True)
    assert admission.ask(Wish("cpu", frozenset(), "192.0.2.9", "max"), wait=False).has_place
    admission.leave(mine[1])
    assert waiting.has_place
