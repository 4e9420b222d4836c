"""Webhooks on real sockets: what is told, how it is signed, and receivers that are slow, broken or hostile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pipeline.clock import ManualClock
from pipeline.errors import BadRequest
from pipeline.types import HoldEvent, SessionEvent, TurnEvent, TurnState
from portal.api.turn_news import TurnNews
from portal.http.addresses import parse_networks
from portal.http.outgoing import NotPosted, Poster, leads_inwards
from portal.jobs.news import JobNews
from portal.jobs.queue import JobQueue
from portal.jobs.records import CLIP, PREPARE, Job, JobFailure, JobFolders, JobOrder
from portal.livetalking.avatar_tasks import tell_of_task
from portal.setting_loading import load_settings
from portal.setting_sources import SettingsError
from portal.settings import Settings
from portal.webhook_line import PAUSES_S, WAITING_BOUND, WAITING_BYTES
from portal.webhooks import Webhooks
from tests.portal.memory_store import MemoryStore
from tests.web_receiver import Received, WebReceiver, receiving, until

SECRET = "a secret of more than thirty-two bytes"
AT_S = 1_800_000_000.25


class House:
    """Webhooks on a manual clock, and what became of their requests."""

    def __init__(self, timeout_s: float, **chosen: Any) -> None:
        self.clock = ManualClock()
        self.outcomes: Counter[str] = Counter()
        self.webhooks = Webhooks(
            Settings(data_dir=Path("/nowhere"), **chosen),
            self.clock,
            lambda outcome: self.outcomes.update([outcome]),
            wall_s=lambda: AT_S,
            timeout_s=timeout_s,
            last_s=0.2,
        )


@asynccontextmanager
async def house(timeout_s: float = 5.0, **chosen: Any) -> AsyncIterator[House]:
    made = House(timeout_s, **chosen)
    await made.webhooks.start()
    try:
        yield made
    finally:
        await made.webhooks.aclose()
        await made.webhooks.aclose()


def waits_after(tries: int, receiver: WebReceiver, here: House) -> bool:
    """Whether so many tries were made, and the pause after the last of them has begun."""
    return len(receiver.received) == tries and here.clock.sleepers == 1


def types_of(received: list[Received]) -> list[str]:
    return [json.loads(one.body)["type"] for one in received]


async def test_events_come_in_order_and_signed() -> None:
    """As JSON with type, time and facts; whoever has the secret can tell that they are ours."""
    async with receiving() as receiver, house(webhook=(receiver.address,), webhook_secret=SECRET) as here:
        here.webhooks.tell("session.opened", {"session": "s1", "avatar": "ada"})
        here.webhooks.tell("session.closed", {"session": "s1", "avatar": "ada"})
        await until(lambda: here.outcomes["delivered"] == 2)
    assert types_of(receiver.received) == ["session.opened", "session.closed"]
    first = receiver.received[0]
    assert json.loads(first.body) == {
        "type": "session.opened",
        "timestamp": "2027-01-15T08:00:00.250+00:00",
        "data": {"session": "s1", "avatar": "ada"},
    }
    assert first.headers["content-type"] == "application/json"
    assert first.headers["webhook-timestamp"] == "1800000000"
    signed = f"{first.headers['webhook-id']}.1800000000.".encode() + first.body
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert first.headers["webhook-signature"] == f"v1,{expected}"
    assert first.headers["webhook-id"] != receiver.received[1].headers["webhook-id"]


async def test_a_secret_in_the_standards_form_is_its_base64() -> None:
    """`whsec_...`, as libraries for receivers make and take it."""
    key = bytes(range(32))
    secret = f"whsec_{base64.b64encode(key).decode()}"
    async with receiving() as receiver, house(webhook=(receiver.address,), webhook_secret=secret) as here:
        here.webhooks.tell("turn.started", {})
        await until(lambda: here.outcomes["delivered"] == 1)
    (one,) = receiver.received
    signed = f"{one.headers['webhook-id']}.{one.headers['webhook-timestamp']}.".encode() + one.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert one.headers["webhook-signature"] == f"v1,{expected}"


async def test_what_fails_is_sent_again_later_under_its_id() -> None:
    """After one second, then after five; what comes behind it waits, so the order stays."""
    async with receiving(500, 503, 204) as receiver, house(webhook=(receiver.address,)) as here:
        here.webhooks.tell("turn.started", {})
        here.webhooks.tell("turn.ended", {})
        for tries, pause_s in ((1, 1.0), (2, 5.0)):
            await until(partial(waits_after, tries, receiver, here))
            await here.clock.advance(pause_s - 0.01)
            assert len(receiver.received) == tries
            await here.clock.advance(0.01)
        await until(lambda: here.outcomes["delivered"] == 2)
    assert types_of(receiver.received) == ["turn.started"] * 3 + ["turn.ended"]
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 2
    assert "webhook-signature" not in receiver.received[0].headers


async def test_what_a_receiver_cannot_take_delays_nobody_elses_news() -> None:
    """Later news of the same session wait behind it, in their order; those of others go on."""
    async with receiving(500, 204, 500, 204, 204) as receiver, house(webhook=(receiver.address,)) as here:

        def came(tries: int) -> bool:
            return len(receiver.received) == tries

        here.webhooks.tell("session.opened", {"session": "poison"})
        here.webhooks.tell("session.closed", {"session": "poison"})
        here.webhooks.tell("session.opened", {"session": "fine"})
        await until(partial(waits_after, 2, receiver, here))
        assert types_of(receiver.received) == ["session.opened", "session.opened"]
        for tries, pause_s in ((3, 1.0), (5, 5.0)):
            await here.clock.advance(pause_s)
            await until(partial(came, tries))
        await until(lambda: here.outcomes["delivered"] == 3)
    told = [json.loads(one.body) for one in receiver.received]
    assert [(one["type"], one["data"]["session"]) for one in told] == [
        ("session.opened", "poison"),
        ("session.opened", "fine"),
        ("session.opened", "poison"),
        ("session.opened", "poison"),
        ("session.closed", "poison"),
    ]


async def test_all_wait_for_a_receiver_that_is_away() -> None:
    """It would take none of them, and the order stays."""
    async with receiving(503, 204, 204) as receiver, house(webhook=(receiver.address,)) as here:
        here.webhooks.tell("session.opened", {"session": "first"})
        here.webhooks.tell("session.opened", {"session": "second"})
        await until(partial(waits_after, 1, receiver, here))
        await here.clock.advance(1.0)
        await until(lambda: here.outcomes["delivered"] == 2)
    told = [json.loads(one.body)["data"]["session"] for one in receiver.received]
    assert told == ["first", "first", "second"]


async def test_what_waits_beside_the_line_has_a_bound() -> None:
    """One session tells of many turns while its first news is refused."""
    async with receiving(500) as receiver, house(webhook=(receiver.address,)) as here:
        for _ in range(WAITING_BOUND + 10):
            here.webhooks.tell("turn.started", {"session": "poison"})
            await asyncio.sleep(0)
        await until(lambda: here.outcomes["dropped"] >= 10)


async def test_a_session_of_many_turns_delays_nobody_elses_news() -> None:
    """They take turns, however many wait; each session's own news keep their order."""
    async with receiving() as receiver, house(webhook=(receiver.address,)) as here:
        for turn in range(200):
            here.webhooks.tell("turn.started", {"session": "busy", "turn": turn})
        here.webhooks.tell("session.opened", {"session": "quiet"})
        here.webhooks.tell("session.closed", {"session": "quiet"})
        await until(lambda: here.outcomes["delivered"] == 202)
    told = [json.loads(one.body)["data"] for one in receiver.received]
    assert [one["session"] for one in told[:4]] == ["busy", "quiet", "busy", "quiet"]
    assert [one["turn"] for one in told if one["session"] == "busy"] == list(range(200))


async def test_a_session_of_many_turns_drops_its_own_news_first() -> None:
    """Beyond the bound, although those of others are older."""
    async with receiving() as receiver, house(webhook=(receiver.address,)) as here:
        here.webhooks.tell("session.opened", {"session": "quiet"})
        for turn in range(WAITING_BOUND + 7):
            here.webhooks.tell("turn.started", {"session": "busy", "turn": turn})
        assert here.outcomes["dropped"] == 8
        await until(lambda: here.outcomes["delivered"] == WAITING_BOUND)
    assert any(b"quiet" in one.body for one in receiver.received)


async def test_it_is_given_up_after_four_tries() -> None:
    """Then the next one has its turn."""
    async with receiving(500, 500, 500, 500, 204) as receiver, house(webhook=(receiver.address,)) as here:
        here.webhooks.tell("turn.started", {})
        here.webhooks.tell("turn.ended", {})
        for tries, pause_s in enumerate(PAUSES_S, 1):
            await until(partial(waits_after, tries, receiver, here))
            await here.clock.advance(pause_s)
        await until(lambda: here.outcomes["delivered"] == 1)
    assert here.outcomes == {"failed": 1, "delivered": 1}
    assert types_of(receiver.received) == ["turn.started"] * 4 + ["turn.ended"]


async def test_a_refusal_is_not_sent_again() -> None:
    """404 will be 404."""
    async with receiving(404, 204) as receiver, house(webhook=(receiver.address,)) as here:
        here.webhooks.tell("turn.started", {})
        here.webhooks.tell("turn.ended", {})
        await until(lambda: here.outcomes["delivered"] == 1)
    assert types_of(receiver.received) == ["turn.started", "turn.ended"] and here.outcomes["failed"] == 1


async def test_a_redirect_is_not_followed() -> None:
    """Nobody leads us to a machine of this house."""
    async with (
        receiving() as inside,
        receiving(307, Location=inside.address) as receiver,
        house(webhook=(receiver.address,)) as here,
    ):
        here.webhooks.tell("turn.started", {})
        await until(lambda: here.outcomes["failed"] == 1)
    assert len(receiver.received) == 1 and inside.received == []


async def test_a_hanging_receiver_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    """tell() returns at once, another receiver has everything meanwhile, the end comes; only its host is logged."""
    async with (
        receiving(0) as hanging,
        receiving() as well,
        house(0.1, webhook=(f"{hanging.address}/key", well.address)) as here,
    ):
        for number in range(20):
            here.webhooks.tell("turn.started", {"turn": number})
        await until(lambda: here.outcomes["delivered"] == 20)
        for tries, pause_s in enumerate(PAUSES_S, 1):
            await until(partial(waits_after, tries, hanging, here))
            await here.clock.advance(pause_s)
        await until(lambda: here.outcomes["failed"] == 1)
    assert "no answer within 0.1 s" in caplog.text and "127.0.0.1" in caplog.text and "/key" not in caplog.text


async def test_beyond_the_bound_the_oldest_is_dropped_and_counted() -> None:
    """What is newest is kept."""
    async with receiving(0) as hanging, house(webhook=(hanging.address,)) as here:
        here.webhooks.tell("first", {})
        await until(lambda: len(hanging.received) == 1)
        for number in range(WAITING_BOUND + 7):
            here.webhooks.tell("turn.started", {"turn": number})
        assert here.outcomes["dropped"] == 7


async def test_what_waits_has_a_bound_in_bytes() -> None:
    """Events may carry what a viewer says of who this is: some hundred large ones would fill the memory."""
    async with receiving(0) as hanging, house(webhook=(hanging.address,)) as here:
        for number in range(WAITING_BYTES // 100_000 + 5):
            here.webhooks.tell("session.opened", {"session": number, "identity": {"name": "🙂" * 25_000}})
        assert here.outcomes["dropped"] == 5


async def test_text_that_is_no_unicode_is_told_all_the_same() -> None:
    """Half of a pair of surrogates, which JSON can carry."""
    async with receiving() as receiver, house(webhook=(receiver.address,)) as here:
        here.webhooks.tell("session.opened", {"identity": {"name": "\ud800🙂"}})
        await until(lambda: len(receiver.received) == 1)
        assert json.loads(receiver.received[0].body)["data"] == {"identity": {"name": "?🙂"}}


async def test_many_turns_keep_nobody_from_hearing_of_their_file() -> None:
    """A viewer who says and interrupts all the time fills the line: what goes are turns."""
    async with receiving() as receiver, house(webhook=(receiver.address,)) as here:
        here.webhooks.tell("job.finished", {"id": "somebody else's"})
        for number in range(WAITING_BOUND + 7):
            here.webhooks.tell("turn.started", {"turn": number})
        assert here.outcomes["dropped"] == 8
        await until(lambda: any(b"somebody else's" in each.body for each in receiver.received))


async def test_what_waits_is_sent_at_the_end() -> None:
    """The end of each session is told, although the portal ends with them."""
    async with receiving() as receiver:
        async with house(webhook=(receiver.address,)) as here:
            for number in range(30):
                here.webhooks.tell("session.closed", {"session": number})
        assert len(receiver.received) == 30


async def test_nobody_is_told_where_nobody_listens() -> None:
    """Then there is no task and no connection."""
    tasks = len(asyncio.all_tasks())
    async with house() as here:
        here.webhooks.tell("turn.started", {})
        assert len(asyncio.all_tasks()) == tasks and not here.webhooks.has_listeners


class Names:
    """A resolver for which every name leads to this machine."""

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[dict[str, Any]]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


async def test_a_public_name_that_leads_inwards_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the operator has named the network; local names and addresses in digits were named as they are."""
    monkeypatch.setattr(aiohttp, "ThreadedResolver", Names)
    async with receiving() as receiver:
        port = receiver.address.rpartition(":")[2]
        open_to_it, closed = Poster(["127.0.0.0/8"]), Poster()
        with pytest.raises(NotPosted, match=r"private address 127\.0\.0\.1"):
            await closed.post(f"http://hooks.example.org:{port}", b"{}", {})
        assert receiver.received == []
        for poster, host in ((open_to_it, "hooks.example.org"), (closed, "nas.lan"), (closed, "127.0.0.1")):
            assert await poster.post(f"http://{host}:{port}", b"{}", {}) == 204
        for poster in (open_to_it, closed):
            await poster.aclose()
            await poster.aclose()


@pytest.mark.parametrize(
    ("name", "address", "expected"),
    [
        ("hooks.example.org", "93.184.216.34", False),
        ("hooks.example.org", "2606:2800:21f:cb07::1", False),
        ("hooks.example.org", "10.0.0.5", True),
        ("hooks.example.org", "169.254.169.254", True),
        ("hooks.example.org", "100.64.0.1", True),
        ("hooks.example.org", "::1", True),
        ("hooks.example.org", "fd00::1", True),
        ("hooks.example.org", "::ffff:127.0.0.1", True),
        ("hooks.example.org", "0.0.0.0", True),
        ("hooks.example.org", "224.0.0.1", True),
        ("hooks.example.org", "192.168.7.1", False),
        ("localhost", "127.0.0.1", False),
        ("nas.lan", "192.168.1.1", False),
    ],
)
def test_which_addresses_are_of_this_house(name: str, address: str, expected: bool) -> None:
    """192.168.7.0/24 is allowed here."""
    assert leads_inwards(name, address, parse_networks(["192.168.7.0/24"])) is expected


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.example.org/other",
        "https://hooks.example.org/tasks/../admin",
        "https://hooks.example.org/tasks/%2e%2E/admin",
        "https://hooks.example.org/tasksandmore",
        "http://hooks.example.org/tasks",
        "https://hooks.example.org:8443/tasks",
        "https://hooks.example.org@127.0.0.1/tasks",
        "https://hooks.example.org\\@127.0.0.1/tasks",
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "https://",
        "nonsense",
    ],
)
async def test_callers_reach_only_what_the_operator_allows(address: str) -> None:
    """What is the allowed address or below it, and nothing that only looks so."""
    async with house(livetalking_notify=("https://hooks.example.org/tasks",)) as here:
        here.webhooks.check_notifiable("https://hooks.example.org/tasks")
        here.webhooks.check_notifiable("https://hooks.example.org:443/tasks/7?key=8")
        with pytest.raises(BadRequest):
            here.webhooks.check_notifiable(address)


async def test_a_caller_is_notified_of_the_plain_facts() -> None:
    """Without an envelope, because LiveTalking has none."""
    async with receiving() as receiver, house(livetalking_notify=(receiver.address,)) as here:
        here.webhooks.tell("turn.started", {})
        here.webhooks.notify(f"{receiver.address}/7", "task", {"task_id": "7", "status": "running"})
        await until(lambda: here.outcomes["delivered"] == 1)
    assert [json.loads(one.body) for one in receiver.received] == [{"task_id": "7", "status": "running"}]


async def test_a_task_of_livetalking_is_told_to_the_address_that_came_with_it() -> None:
    """In its own fields; a task without an address, or with one that is no longer allowed, is told to nobody."""
    store = MemoryStore()
    async with receiving() as receiver, house(livetalking_notify=(receiver.address,)) as here:
        for number, address in enumerate((f"{receiver.address}/7", "", "https://elsewhere.example/")):
            avatar = f"ada-{number}"
            order = JobOrder(PREPARE, "Ada", avatar, {"avatar": avatar}, notify=address)
            tell_of_task(here.webhooks, store.add(f"task-musetalk-{number}", order))
        await until(lambda: here.outcomes["delivered"] == 1)
    (one,) = receiver.received
    told = json.loads(one.body)
    assert told["task_id"] == "0" and told["status"] == "pending" and told["notify_url"] == f"{receiver.address}/7"


def news_of(*events: SessionEvent) -> list[tuple[Any, ...]]:
    told: list[tuple[Any, ...]] = []
    news = TurnNews("s1", lambda event, facts: told.append((event, facts["turn"], facts.get("outcome"))))
    for event in events:
        news.take(event)
    return told


def test_turns_and_speech_are_told_once_each() -> None:
    """Speech stops while it is held, and with its turn; a turn that never began has no end."""
    started, ended, speaking, silent = "turn.started", "turn.ended", "speaking.started", "speaking.stopped"
    assert news_of(
        TurnEvent(1, TurnState.QUEUED),
        TurnEvent(2, TurnState.QUEUED),
        TurnEvent(1, TurnState.THINKING),
        TurnEvent(1, TurnState.SPEAKING),
        HoldEvent(1, held=True),
        HoldEvent(1, held=False),
        TurnEvent(1, TurnState.SPEAKING),
        TurnEvent(1, TurnState.INTERRUPTED),
        TurnEvent(2, TurnState.INTERRUPTED),
    ) == [
        (started, 1, None),
        (speaking, 1, None),
        (silent, 1, None),
        (speaking, 1, None),
        (silent, 1, None),
        (ended, 1, "interrupted"),
    ]
    assert news_of(TurnEvent(3, TurnState.THINKING), TurnEvent(3, TurnState.DONE)) == [
        (started, 3, None),
        (ended, 3, "done"),
    ]


async def test_jobs_are_told_as_they_change(tmp_path: Path) -> None:
    """Not those that had ended before; one that is run again is told again."""
    clock, told = ManualClock(), list[Job]()
    store = MemoryStore(clock.now_s)
    queue = JobQueue(store, JobFolders(tmp_path), {"ada"})
    order = JobOrder(CLIP, "Hello", "ada", {"avatar": "ada"})
    store.add("old", order)
    store.fail("old", JobFailure("no_face", "There is none."))
    news = JobNews(queue, clock, told.append)
    await news.start()
    await until(lambda: clock.sleepers == 1)

    async def states() -> list[tuple[str, str]]:
        await clock.advance(2)
        await until(lambda: clock.sleepers == 1)
        seen = [(job.id, job.state) for job in told]
        told.clear()
        return seen

    store.add("new", order)
    assert await states() == [("new", "queued")]
    store.take("new")
    assert await states() == [("new", "running")]
    store.report("new", "render", 0.5)
    assert await states() == []
    store.fail("new", JobFailure("no_face", "There is none."))
    assert await states() == [("new", "failed")]
    store.run_again("new")
    assert await states() == [("new", "queued")]
    store.cancel("new")
    await news.aclose()
    await news.aclose()
    assert [(job.id, job.state) for job in told] == [("new", "cancelled")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook", "ftp://example.org/"),
        ("webhook", "https://user:word@example.org/"),
        ("livetalking_notify", "example.org/hook"),
        ("webhook_secret", "short"),
        ("webhook_secret", "whsec_this is no base64, though it is long"),
    ],
)
def test_bad_settings_are_told_at_the_start(name: str, value: str, tmp_path: Path) -> None:
    """By their names."""
    with pytest.raises(SettingsError, match=name.replace("_", "-")):
        load_settings({name: value, "data_dir": tmp_path})
