"""Sessions that are kept for other nodes: what is written, when, and to whom it is given."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
import sqlalchemy

from pipeline.clock import ManualClock, SystemClock
from pipeline.types import SubtitleEvent, TurnEvent, TurnState
from portal.errors import DatabaseUnreachable
from portal.http.people import Person, Role
from portal.jobs.dbos_database import PostgresDatabase
from portal.session_keeper import (
    AWAY_S,
    BEAT_S,
    LARGE_BYTES,
    LARGE_PAUSE_S,
    MAX_PENDING_ERASURES,
    PAUSE_S,
    KeptState,
    SessionKeeper,
)
from portal.session_table import Claimed, KeptSession, Node, SessionTable, nodes_of
from tests.portal.kept_states import states_in
from tests.portal.session_house import House, open_house

KEEP_S = 600.0
UNWRITABLE = "a name that databases refuse"
LARGE = "人" * (LARGE_BYTES // 3 + 1)
ANNA, BERT = Person("anna", Role.VIEWER), Person("bert", Role.VIEWER)


class FakeTable:
    """In memory; away while it is told to be."""

    def __init__(self) -> None:
        self.rows: dict[str, KeptSession] = {}
        self.writes: list[list[str]] = []
        self.is_away = False
        self.gone: set[str] = set()
        self.counts: Counter[str] = Counter()
        "outcome -> how many sessions had it, of a keeper that calls count()"

    def count(self, outcome: str, sessions: int) -> None:
        self.counts[outcome] += sessions

    def write(
        self, node: str, rows: Sequence[KeptSession], back: Sequence[Claimed], erased: Collection[str]
    ) -> set[str]:
        self._look()
        if any(row.owner == UNWRITABLE for row in rows):
            raise ValueError(UNWRITABLE)
        for one in erased:
            self.rows.pop(one, None)
        self.writes.append([row.id for row in rows])
        self.rows |= {row.id: row for row in rows if row.id not in self.gone}
        return self.gone & {row.id for row in rows}

    def beat(self, node: Node, keep_s: float) -> set[str]:
        self._look()
        return set(self.gone)

    def claim(self, token: str, owner: str) -> Claimed | None:
        self._look()
        return None

    def close(self) -> None: ...

    def _look(self) -> None:
        if self.is_away:
            raise DatabaseUnreachable("The database is away.", "Start it.")


class Kept:
    """A keeper on such a table, with the sessions that it keeps."""

    def __init__(self) -> None:
        self.clock, self.table = ManualClock(), FakeTable()
        self.counts = self.table.counts
        self.left: list[str] = []
        self.keeper = SessionKeeper(
            cast(SessionTable, self.table), self.clock, KEEP_S, name="one", count=self.table.count
        )

    def keep(self, session_id: str, words: Callable[[], str] = lambda: "", owner: str = "") -> None:
        self.keeper.keep(
            session_id, lambda: KeptState("token", owner, "ada", words()), lambda: self.left.append(session_id)
        )

    async def until(self, reached: Callable[[], bool], step_s: float = 0.0) -> None:
        """Threads write in their own time; step_s: lets the clock run meanwhile."""
        async with asyncio.timeout(30):
            while not reached():
                await self.clock.advance(step_s)
                await asyncio.sleep(0.001)

    async def until_written(self, sessions: int) -> None:
        """No time passes. Then the keeper pauses."""
        await self.until(lambda: self.counts["written"] >= sessions)


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    kept = Kept()
    await kept.keeper.start()
    yield kept
    await kept.keeper.aclose()
    await kept.keeper.aclose()


async def test_what_changes_meanwhile_is_written_together_and_as_it_is_then(kept: Kept) -> None:
    """A session that changes a hundred times between two writes is written once, with its last state."""
    words = ["first"]
    kept.keep("a", lambda: words[-1])
    await kept.until(lambda: len(kept.table.writes) == 1)
    for number in range(100):
        words.append(f"word {number}")
        kept.keeper.changed("a")
    kept.keep("b")
    await kept.clock.advance(0)
    assert len(kept.table.writes) == 1
    await kept.until(lambda: len(kept.table.writes) == 2, PAUSE_S)
    assert sorted(kept.table.writes[1]) == ["a", "b"]
    assert kept.table.rows["a"].state == "word 99"
    assert kept.table.rows["a"].token != "token"


async def test_a_database_that_is_away_holds_nobody_up_and_nothing_is_lost(kept: Kept) -> None:
    """What waits is which sessions have changed; when it is back, they are written as they are then."""
    kept.table.is_away = True
    words = ["before"]
    kept.keep("a", lambda: words[-1])
    kept.keep("b")
    await kept.until(lambda: kept.counts.get("failed", 0) >= 4, AWAY_S)
    words.append("after")
    kept.keeper.forget("b")
    kept.table.is_away = False
    await kept.until(lambda: bool(kept.table.writes), AWAY_S)
    assert [row.state for row in kept.table.rows.values()] == ["after"]


async def test_what_waits_to_be_erased_is_bounded(kept: Kept) -> None:
    """While the database is away for days, sessions come and go: the oldest are left to their time."""
    kept.table.is_away = True
    for number in range(MAX_PENDING_ERASURES + 50):
        kept.keep(str(number))
        kept.keeper.forget(str(number))
    kept.table.rows = {"0": cast(Any, None), str(MAX_PENDING_ERASURES): cast(Any, None)}
    kept.table.is_away = False
    await kept.until(lambda: bool(kept.table.writes), AWAY_S)
    assert list(kept.table.rows) == ["0"]


async def test_a_session_that_goes_on_elsewhere_ends_here(kept: Kept) -> None:
    """Its node learns of it when it writes it, or by its next beat."""
    kept.keep("a")
    kept.keep("b")
    await kept.until(lambda: kept.table.rows.keys() == {"a", "b"})
    kept.table.gone = {"b"}
    await kept.until(lambda: kept.left == ["b"], BEAT_S)


async def test_a_session_whose_state_cannot_be_told_keeps_nobody_elses_from_being_written(kept: Kept) -> None:
    """A fault of ours is counted and logged; what changes next is written."""

    def broken() -> str:
        raise ZeroDivisionError

    kept.keep("a", broken)
    kept.keep("b")
    await kept.until(lambda: "b" in kept.table.rows)
    assert kept.counts.get("failed") == 1 and "a" not in kept.table.rows


async def test_a_row_that_the_database_refuses_keeps_nobody_elses_from_being_written(kept: Kept) -> None:
    """Whoever has a name that cannot be written would else cost everybody on that node their conversation."""
    kept.keep("a")
    kept.keep("b", owner=UNWRITABLE)
    kept.keep("c")
    await kept.until(lambda: kept.counts.keys() == {"written", "failed"})  # after they have been written
    assert kept.counts == {"written": 2, "failed": 1} and kept.table.rows.keys() == {"a", "c"}


async def test_a_node_that_ends_in_order_leaves_its_sessions_as_they_are(kept: Kept) -> None:
    """Also what has been said since the last sentence began; and nothing is erased any more."""
    words = ["a sentence"]
    kept.keep("a", lambda: words[-1])
    await kept.until(lambda: bool(kept.table.writes))
    words.append("a sentence and half a")
    await kept.keeper.aclose()
    kept.keeper.forget("a")
    kept.keeper.keep("b", lambda: KeptState("", "", "", ""), lambda: None)
    assert [row.state for row in kept.table.rows.values()] == ["a sentence and half a"]


async def test_a_session_with_much_to_keep_is_written_less_often(kept: Kept) -> None:
    """Each write is of all of it. Others are written as ever meanwhile, and its last state is written in the end."""
    words = [LARGE]
    kept.keep("large", lambda: words[-1])
    kept.keep("small")
    await kept.until_written(2)
    for number in range(round(LARGE_PAUSE_S / PAUSE_S) - 1):
        words.append(f"{LARGE}{number}")
        kept.keeper.changed("large")
        kept.keeper.changed("small")
        await kept.clock.advance(PAUSE_S)
        await kept.until_written(3 + number)
    assert kept.table.rows["large"].state == LARGE
    await kept.clock.advance(2 * PAUSE_S)
    await kept.until(lambda: kept.table.rows["large"].state == words[-1])


async def test_a_session_with_little_to_keep_again_is_written_as_ever(kept: Kept) -> None:
    words = [LARGE]
    kept.keep("a", lambda: words[-1])
    await kept.until_written(1)
    for number, pause_s in enumerate((LARGE_PAUSE_S + PAUSE_S, PAUSE_S), 2):
        words.append(f"little {number}")
        kept.keeper.changed("a")
        await kept.clock.advance(pause_s)
        await kept.until_written(number)
        assert kept.table.rows["a"].state == words[-1]


@pytest.mark.parametrize("end", ["its socket is lost", "its token is another one", "it is sent away", "the node ends"])
async def test_what_was_said_last_is_written_at_once_however_much_is_kept(kept: Kept, end: str) -> None:
    """Its viewer may come back to another node."""
    words = [LARGE]
    kept.keep("a", lambda: words[-1])
    await kept.until_written(1)
    words.append(LARGE + "The last word.")
    if end == "its socket is lost":
        kept.keeper.left("a")
    elif end == "its token is another one":
        kept.keep("a", lambda: words[-1])
    elif end == "it is sent away":
        await kept.keeper.write_now(["a"])
    else:
        await kept.keeper.aclose()
    await kept.clock.advance(PAUSE_S)
    await kept.until(lambda: kept.table.rows["a"].state == words[-1])


@pytest.fixture
def table(database_url: str) -> Iterator[SessionTable]:
    table = SessionTable(PostgresDatabase(database_url))
    yield table
    table.close()
    table.close()


def row(session_id: str, token: str, *, owner: str = "", avatar: str = "ada", state: str = "{}") -> KeptSession:
    return KeptSession(session_id, token, owner, avatar, state)


def silence(database_url: str, seconds: float) -> None:
    """As if all nodes had not been heard of for so long."""
    engine = sqlalchemy.create_engine(PostgresDatabase(database_url).address)
    with engine.begin() as connection:
        past = "UPDATE vivavoce.nodes SET seen_at = seen_at - make_interval(secs => :s)"
        connection.execute(sqlalchemy.text(past), {"s": seconds})
    engine.dispose()


def test_a_token_leads_to_its_session_once_and_for_its_owner_only(table: SessionTable) -> None:
    """Another person's token gives nothing, and does not use it up; what is given back can be claimed again."""
    state = json.dumps({"said": "quote ' \" \\ 你好 \u0000"})
    table.write("one", [row("s1", "t1", owner="anna", state=state), row("s2", "t2")], [], [])
    assert table.claim("t1", "bert") is None and table.claim("t1", "") is None and table.claim("", "") is None
    claimed = table.claim("t1", "anna")
    assert claimed == Claimed("s1", "t1", state)
    assert table.claim("t1", "anna") is None
    table.write("two", [], [claimed], [])
    assert table.claim("t1", "anna") == claimed


def test_the_node_of_before_cannot_take_a_session_back(table: SessionTable) -> None:
    """It was only cut off: what it writes of a claimed session is not kept, and it is told."""
    one = Node("one", "one", 1, 8)
    table.beat(one, KEEP_S)
    table.write("one", [row("s1", "t1"), row("s2", "t2")], [], [])
    table.claim("t1", "")
    assert table.write("one", [row("s1", "t3"), row("s2", "t4")], [], []) == {"s1"}
    assert table.beat(one, KEEP_S) == {"s1"}
    assert table.claim("t3", "") is None and table.claim("t4", "") is not None


def test_sessions_outlive_their_node_for_the_time_that_was_set(table: SessionTable, database_url: str) -> None:
    """Those of nodes that live stay, however long nothing is said in them."""
    table.beat(Node("dead", "a", 1, 8), KEEP_S)
    table.write("dead", [row("s1", "t1"), row("s2", "t2")], [], [])
    silence(database_url, KEEP_S - 60)
    table.beat(Node("alive", "b", 2, 8), KEEP_S)
    table.write("alive", [row("s3", "t3")], [], [])
    assert [node.id for node in nodes_of(PostgresDatabase(database_url))] == ["alive"]
    assert table.claim("t1", "") is not None
    silence(database_url, 61)
    table.beat(Node("alive", "b", 2, 8), KEEP_S)
    assert table.claim("t2", "") is None and table.claim("t3", "") is not None


def test_of_an_erased_avatar_nothing_is_left(table: SessionTable, database_url: str) -> None:
    """At whichever node it is shown; those of other avatars stay."""
    table.beat(Node("one", "one", 2, 8), KEEP_S)
    table.write("one", [row("s1", "t1", state="secret"), row("s2", "t2", avatar="grey")], [], [])
    assert table.erase_all_of("ada") == 1
    assert table.claim("t1", "") is None
    assert states_in(database_url) == ["", "{}"]
    assert table.beat(Node("one", "one", 2, 8), KEEP_S) == {"s1"}


class Portals:
    """Houses that share a database, each with a keeper of its own."""

    def __init__(self, database_url: str, stack: AsyncExitStack) -> None:
        self._database_url = database_url
        self._stack = stack

    async def open(self) -> House:
        table = SessionTable(PostgresDatabase(self._database_url))
        keeper = SessionKeeper(table, SystemClock(), KEEP_S, name="house")
        await keeper.start()
        return await self._stack.enter_async_context(open_house(keeper=keeper, sessions=f"{keeper.id}-s"))


@pytest.fixture
async def portals(database_url: str) -> AsyncIterator[Portals]:
    async with AsyncExitStack() as stack:
        yield Portals(database_url, stack)


async def until(database_url: str, reached: Callable[[list[str]], bool]) -> None:
    """Until the states that are kept are like that."""
    async with asyncio.timeout(60):
        while not reached(await asyncio.to_thread(states_in, database_url)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def written(database_url: str, part: str) -> None:
    await until(database_url, lambda states: any(part in state for state in states))


async def test_a_viewer_goes_on_at_another_node(portals: Portals, database_url: str) -> None:
    """With history, avatar, voice and persona; they are told where the answer broke off. The token works once."""
    first, second = await portals.open(), await portals.open()
    viewer = await first.viewer(person=ANNA)
    wish = {"avatar": "grey", "voice": "low", "prompt": "Be brief.", "greeting": "Hi!", "identity": {"user": "anna"}}
    history = [{"role": "user", "content": "Earlier?"}, {"role": "assistant", "content": "Yes."}]
    token = (await viewer.hello(**wish, history=history))["token"]
    first.session.played = "One sentence."
    viewer.tell("say", text="And now?")
    await viewer.hear("turn")
    first.session.events.offer(SubtitleEvent(1, "Two.", 0.0, 1.0))
    first.session.events.offer(TurnEvent(1, TurnState.SPEAKING))
    await written(database_url, "One sentence.")

    stranger = await second.viewer(person=BERT)
    stranger.tell("hello", token=token)
    assert (await stranger.hear("error"))["code"] == "unknown_token"
    assert not second.sessions.opened

    back = await second.viewer(person=ANNA)
    welcome = await back.hello(token=token)
    assert (welcome["resumed"], welcome["restored"]) == (False, {"cut": "One sentence."})
    assert welcome["avatar"]["id"] == "grey" and welcome["token"] != token
    session = second.session
    assert [one.content for one in session.recalled] == ["Earlier?", "Yes.", "And now?"]
    assert (session.persona.prompt, session.persona.greeting) == ("Be brief.", "")
    assert (session.choice.persona.voice, session.identity) == ("low", {"user": "anna"})

    again = await second.viewer(person=ANNA)
    again.tell("hello", token=token)
    assert (await again.hear("error"))["code"] == "unknown_token"


async def test_a_viewer_whose_avatar_is_loading_elsewhere_may_try_again(portals: Portals, database_url: str) -> None:
    """There is no place: the session is not lost by that."""
    first, second = await portals.open(), await portals.open()
    viewer = await first.viewer()
    token = (await viewer.hello(lipsync="flash"))["token"]
    viewer.tell("say", text="Remember this.")
    await viewer.hear("turn")
    await written(database_url, "Remember this.")
    second.sessions.full = {"flash"}
    back = await second.viewer()
    back.tell("hello", token=token)
    assert (await back.hear("error"))["code"] == "at_capacity"
    await written(database_url, "Remember this.")
    second.sessions.full = set()
    assert (await back.hello(token=token))["restored"] == {"cut": None}


@pytest.mark.parametrize("end", ["bye", "idle"])
async def test_what_has_ended_is_erased(portals: Portals, database_url: str, end: str) -> None:
    """By its viewer ("New conversation" on the page) or by the portal: nothing is kept of it."""
    first, second = await portals.open(), await portals.open()
    viewer = await first.viewer()
    token = (await viewer.hello())["token"]
    viewer.tell("say", text="Forget this.")
    await viewer.hear("turn")
    await written(database_url, "Forget this.")
    if end == "bye":
        viewer.tell("bye")
    else:
        await first.sessions.close(first.session)
    await until(database_url, lambda states: not states)
    back = await second.viewer()
    back.tell("hello", token=token)
    assert (await back.hear("error"))["code"] == "unknown_token"


async def test_a_portal_that_stops_hands_its_viewers_over(portals: Portals) -> None:
    """As a restart does. What they said last comes along."""
    first, second = await portals.open(), await portals.open()
    viewer = await first.viewer()
    token = (await viewer.hello())["token"]
    viewer.tell("say", text="Just before.")
    await viewer.hear("turn")
    await viewer.break_off(1012)
    await first.socket.aclose()
    back = await second.viewer()
    await back.hello(token=token)
    assert [one.content for one in second.session.recalled] == ["Just before."]
