"""Writes the state that sessions need to go on at another node, without ever making a session wait.

Changed sessions are written together, in one transaction at a time. While a transaction is under way, or the database
is away, only the ids of changed sessions are noted; the next transaction writes the state they have by then. So the
backlog never exceeds the number of sessions.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from pipeline.clock import Clock
from portal.errors import DatabaseUnreachable
from portal.session_table import Claimed, KeptSession, Node, SessionTable

__all__ = ["BEAT_S", "Keeper", "KeptState", "NoKeeper", "SessionKeeper"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

PAUSE_S = 0.2
"Pause after a write; whatever changes during it is written together."
AWAY_S = 2.0
"Pause after a write that failed."
BEAT_S = 5.0
"How often this node reports that it is alive, and learns which of its sessions have moved to another node."
LARGE_BYTES = 32_000
LARGE_PAUSE_S = 2.0
"""A session whose state is larger than LARGE_BYTES is written at most every LARGE_PAUSE_S, as each change writes all of
it again. What a viewer says of themselves can make a state ten times as large."""
MAX_BATCH = 200
"Most sessions written in one transaction."
MAX_PENDING_ERASURES = 10_000
"Most ended sessions that wait for the database to erase them. Rows of older ones stay until this node is gone."


@dataclass(frozen=True, slots=True)
class KeptState:
    """The state of a session that is kept. token: in clear text here; only its hash is written."""

    token: str
    owner: str
    avatar: str
    state: str


class Keeper(Protocol):
    """What seats need from a keeper of sessions.

    keep(), changed(), left(), forget(), let_go() and give_back() return at once and raise nothing.
    """

    hands_over: bool
    "whether sessions can go on at other nodes"

    def keep(self, session_id: str, state: Callable[[], KeptState], leave: Callable[[], None]) -> None:
        """Keep a session from now on.

        state: returns its current state; called on the event loop.
        leave: called when the session must end here, because it goes on elsewhere or its avatar was erased.
        """

    def changed(self, session_id: str) -> None:
        """Write the session's new state soon. No effect if it is not kept."""

    def left(self, session_id: str) -> None:
        """Write the session's state at once: its socket is lost, and its viewer may come back to another node."""

    def forget(self, session_id: str) -> None:
        """Erase what is written of the session. No effect if it is not kept."""

    def let_go(self, session_id: str) -> None:
        """Stop keeping the session, and leave what is written of it to other nodes. No effect if it is not kept."""

    async def write_now(self, session_ids: Iterable[str]) -> None:
        """Write the current state of these sessions. Returns when that is done or has failed."""

    async def claim(self, token: str, owner: str) -> Claimed | None:
        """Take over the session of another node that the token leads to, so that no other node can.

        Returns None if there is none for this owner, or the database is away.
        """

    def give_back(self, claimed: Claimed) -> None:
        """Undo claim() for a session that could not be opened here: its token leads to it again."""

    async def erase_all_of(self, avatar: str) -> None:
        """Erase the sessions of all nodes that show an avatar. Raises DatabaseUnreachable."""

    async def aclose(self) -> None:
        """Write the current state of all sessions, and leave them to other nodes. Idempotent."""


@dataclass(frozen=True, slots=True)
class _Kept:
    state: Callable[[], KeptState]
    leave: Callable[[], None]


class NoKeeper:
    """A Keeper that keeps nothing, for a portal without a shared database."""

    hands_over = False

    def keep(self, session_id: str, state: Callable[[], KeptState], leave: Callable[[], None]) -> None: ...
    def changed(self, session_id: str) -> None: ...
    def left(self, session_id: str) -> None: ...
    def forget(self, session_id: str) -> None: ...
    def let_go(self, session_id: str) -> None: ...
    async def write_now(self, session_ids: Iterable[str]) -> None: ...
    def give_back(self, claimed: Claimed) -> None: ...
    async def erase_all_of(self, avatar: str) -> None: ...
    async def start(self) -> None: ...
    async def aclose(self) -> None: ...

    async def claim(self, token: str, owner: str) -> Claimed | None:
        return None


class SessionKeeper:
    """A Keeper on Postgres. Call start() before use.

    keep_s: how long after its node's last sign of life a session can go on elsewhere.
    name: this node's name, for people.
    load: returns how many places are taken and how many there are.
    count: called with an outcome and a number of sessions: "written", "failed" (to be written), or "claimed" (from
        another node, to go on here).
    """

    hands_over = True

    def __init__(
        self,
        table: SessionTable,
        clock: Clock,
        keep_s: float,
        *,
        name: str,
        load: Callable[[], tuple[int, int]] = lambda: (0, 0),
        count: Callable[[str, int], object] = lambda _outcome, _sessions: None,
    ) -> None:
        self.id = f"{name}-{secrets.token_hex(4)}"
        self._table = table
        self._clock = clock
        self._keep_s = keep_s
        self._name = name
        self._load = load
        self._count = count
        self._kept: dict[str, _Kept] = {}
        self._changed: set[str] = set()
        self._paused_until_s: dict[str, float] = {}
        "ids of sessions whose state is large -> clock time before which a change is not written"
        self._erased: dict[str, None] = {}  # a dict keeps the order, so that the oldest can be dropped
        self._back: dict[str, Claimed] = {}
        self._wanted = asyncio.Event()
        self._is_away = False
        # A single thread for writing, so that a later write never overtakes an earlier one. Another for questions, so
        # that a viewer who comes back does not wait for writes.
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="kept-sessions")
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="asked-sessions")
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def start(self) -> None:
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._write_on(), name="kept-sessions"),
                asyncio.create_task(self._beat_on(), name="node-beat"),
            ]

    def keep(self, session_id: str, state: Callable[[], KeptState], leave: Callable[[], None]) -> None:
        if not self._closed:
            self._kept[session_id] = _Kept(state, leave)
            self._paused_until_s.pop(session_id, None)  # without its new token it could not go on elsewhere
            self.changed(session_id)

    def changed(self, session_id: str) -> None:
        if session_id in self._kept:
            self._changed.add(session_id)
            self._wanted.set()

    def left(self, session_id: str) -> None:
        self._paused_until_s.pop(session_id, None)
        self.changed(session_id)

    def forget(self, session_id: str) -> None:
        if self._closed or self._kept.pop(session_id, None) is None:
            return
        self._unnote(session_id)
        self._erased[session_id] = None
        if len(self._erased) > MAX_PENDING_ERASURES:
            del self._erased[next(iter(self._erased))]
        self._wanted.set()

    def let_go(self, session_id: str) -> None:
        self._kept.pop(session_id, None)
        self._unnote(session_id)

    async def write_now(self, session_ids: Iterable[str]) -> None:
        wanted = self._kept.keys() & set(session_ids)
        self._changed |= wanted
        # Several writes may be needed, since each writes MAX_BATCH sessions at most. A failed one ends the wait.
        while (waiting := self._changed & wanted) and await self._write(waiting):
            pass

    async def claim(self, token: str, owner: str) -> Claimed | None:
        try:
            claimed = await self._in(self._asking, lambda: self._table.claim(_hashed(token), owner))
        except DatabaseUnreachable as error:
            logger.warning("Whether a viewer has a session elsewhere is not known: %s", error)
            return None
        if claimed is not None:
            self._count("claimed", 1)
        return claimed

    def give_back(self, claimed: Claimed) -> None:
        self._back[claimed.id] = claimed
        self._wanted.set()

    async def erase_all_of(self, avatar: str) -> None:
        await self._in(self._asking, lambda: self._table.erase_all_of(avatar))

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._changed |= self._kept.keys()  # a change is noted when a sentence begins; more of it was played since
        while self._has_work and await self._write(self._changed):
            pass
        self._kept.clear()
        self._writing.shutdown(wait=False)
        self._asking.shutdown(wait=False)
        await asyncio.to_thread(self._table.close)

    @property
    def _has_work(self) -> bool:
        return bool(self._changed or self._erased or self._back)

    async def _write_on(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            done = await self._write(self._due())
            if self._has_work:
                self._wanted.set()
            await self._clock.sleep_until(self._clock.now_s() + (PAUSE_S if done else AWAY_S))

    def _due(self) -> list[str]:
        """Return the ids of changed sessions that may be written now."""
        now_s = self._clock.now_s()
        return [one for one in self._changed if self._paused_until_s.get(one, now_s) <= now_s]

    def _unnote(self, session_id: str) -> None:
        self._changed.discard(session_id)
        self._paused_until_s.pop(session_id, None)

    async def _write(self, changed: Collection[str]) -> bool:
        """Write these changed sessions, MAX_BATCH at most, and all else that waits. Return whether that succeeded.

        The database is not asked if there is nothing to write.
        """
        # The ids are removed before the states are read. A session that changes during the write is then noted again,
        # and its new state is written next time.
        ids = list(changed)[:MAX_BATCH]
        self._changed.difference_update(ids)
        back, erased = tuple(self._back.values()), tuple(self._erased)
        if not (ids or back or erased):
            return True
        rows = self._rows(ids)
        self._pause_large(rows)
        try:
            moved, written = await self._in(self._writing, partial(self._write_rows, rows, back, erased))
        except DatabaseUnreachable as error:
            self._changed.update(self._kept.keys() & set(ids))
            self._count("failed", len(ids))
            self._say_away(error)
            return False
        except Exception:  # unforeseen, and it would fail again at once: these are written when they next change
            self._count("failed", len(ids))
            logger.exception("%d sessions could not be kept", len(ids))
            return False
        self._say_back()
        self._count("written", written)
        self._leave(moved)
        for session_id in erased:
            self._erased.pop(session_id, None)
        for one in back:
            if self._back.get(one.id) is one:  # it may have been claimed and given back again meanwhile
                del self._back[one.id]
        return True

    def _write_rows(
        self, rows: Sequence[KeptSession], back: Sequence[Claimed], erased: Sequence[str]
    ) -> tuple[set[str], int]:
        """Write rows, in the writing thread. If the database refuses a row, the others are still written.

        Returns the ids of rows that were not written because their sessions have moved, and how many were written.
        Raises DatabaseUnreachable.
        """
        try:
            moved = self._table.write(self.id, rows, back, erased)
        except DatabaseUnreachable:
            raise
        except Exception:  # unforeseen; written one by one, all sound rows get through
            if len(rows) < 2:
                raise
            logger.exception("%d sessions could not be kept together", len(rows))
        else:
            return moved, len(rows) - len(moved)
        moved, written = self._table.write(self.id, (), back, erased), 0
        for row in rows:
            try:
                gone = self._table.write(self.id, (row,), (), ())
            except DatabaseUnreachable:
                raise
            except Exception:  # it would fail again at once: this one is written when it next changes
                self._count("failed", 1)
                logger.exception("the session %s could not be kept", row.id)
            else:
                moved |= gone
                written += 1 - len(gone)
        return moved, written

    def _pause_large(self, rows: Iterable[KeptSession]) -> None:
        until_s = self._clock.now_s() + LARGE_PAUSE_S
        for row in rows:
            self._paused_until_s.pop(row.id, None)
            if len(row.state.encode()) > LARGE_BYTES:
                self._paused_until_s[row.id] = until_s

    def _rows(self, session_ids: Sequence[str]) -> list[KeptSession]:
        """Return the rows for sessions. One whose state cannot be read is left out, so that the others are written."""
        rows: list[KeptSession] = []
        for session_id in session_ids:
            try:
                rows.append(_row(session_id, self._kept[session_id].state()))
            except Exception:  # unforeseen, and it would fail again at once: it is written when it next changes
                self._count("failed", 1)
                logger.exception("the session %s could not be kept", session_id)
        return rows

    def _leave(self, session_ids: Collection[str]) -> None:
        for session_id in session_ids:
            if kept := self._kept.get(session_id):
                logger.info("session %s goes on at another node, or its avatar was erased there", session_id)
                kept.leave()

    async def _beat_on(self) -> None:
        while True:
            taken, places = self._load()
            try:
                node = Node(self.id, self._name, taken, places)
                self._leave(await self._in(self._asking, partial(self._table.beat, node, self._keep_s)))
            except DatabaseUnreachable as error:
                self._say_away(error)
            except Exception:  # either it passes, or the operator sees it in the log; the beat must go on
                logger.exception("this node could not say that it lives")
            await self._clock.sleep_until(self._clock.now_s() + BEAT_S)

    async def _in(self, threads: ThreadPoolExecutor, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(threads, call)

    def _say_away(self, error: DatabaseUnreachable) -> None:
        if not self._is_away:
            logger.warning("What sessions need to go on at another node is not kept now: %s", error)
        self._is_away = True

    def _say_back(self) -> None:
        if self._is_away:
            logger.warning("What sessions need to go on at another node is kept again.")
        self._is_away = False


def _row(session_id: str, kept: KeptState) -> KeptSession:
    return KeptSession(session_id, _hashed(kept.token), kept.owner, kept.avatar, kept.state)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
