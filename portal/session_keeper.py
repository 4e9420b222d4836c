"""Keeps what sessions would need to go on at another node, and never has a session wait for that.

What has changed is written together, one transaction at a time: while one is under way, or the database is away, only
which sessions have changed is remembered, and what is written next is how they are then. So what waits is bounded by
the number of sessions.
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
"After a write: what changes meanwhile is written together."
AWAY_S = 2.0
"After a write that failed."
BEAT_S = 5.0
MOST_TOGETHER = 200
MOST_ERASED = 10_000
"Ended sessions that may wait for a database that is away. Beyond it they are erased when their time is over."


@dataclass(frozen=True, slots=True)
class KeptState:
    """What there is to keep of a session. token: in clear; only its hash is written."""

    token: str
    owner: str
    avatar: str
    state: str


class Keeper(Protocol):
    """What seats need. keep(), changed(), forget(), let_go() and give_back() return at once and raise nothing."""

    hands_over: bool
    "whether there may be other nodes on which a session goes on"

    def keep(self, session_id: str, state: Callable[[], KeptState], leave: Callable[[], None]) -> None:
        """From now on. state: how it is now; asked for on the event loop. leave: it must end here."""

    def changed(self, session_id: str) -> None:
        """Write it again. No effect if it is not kept."""

    def forget(self, session_id: str) -> None:
        """Erase it. No effect if it is not kept."""

    def let_go(self, session_id: str) -> None:
        """Leave it as it is written, to other nodes. No effect if it is not kept."""

    async def write_now(self, session_ids: Iterable[str]) -> None:
        """Return when these are written as they are now, or cannot be."""

    async def claim(self, token: str, owner: str) -> Claimed | None:
        """The session of another node that the token leads to, for good; None: there is none for this owner."""

    def give_back(self, claimed: Claimed) -> None:
        """It could not go on here: let its token lead to it again."""

    async def erase_all_of(self, avatar: str) -> None:
        """Erase the sessions of all nodes that show an avatar. Raises DatabaseUnreachable."""

    async def aclose(self) -> None:
        """Write how all are now, and leave them to other nodes. Idempotent."""


@dataclass(frozen=True, slots=True)
class _Kept:
    state: Callable[[], KeptState]
    leave: Callable[[], None]


class NoKeeper:
    """Without a shared database nothing is kept: a Keeper."""

    hands_over = False

    def keep(self, session_id: str, state: Callable[[], KeptState], leave: Callable[[], None]) -> None: ...
    def changed(self, session_id: str) -> None: ...
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
    """A Keeper on Postgres. start() before use.

    keep_s: how long after its node's last sign of life a session can be taken up elsewhere. name: of this node, for
    people. load: places that are taken, and how many there are. count: told "written" or "failed" for each session that
    was to be written, "claimed" for each that goes on here.
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
        self._erased: dict[str, None] = {}  # in order, so that the oldest can be left out
        self._back: dict[str, Claimed] = {}
        self._wanted = asyncio.Event()
        self._is_away = False
        # One each, so that a later write never overtakes an earlier one, and nobody who comes back waits for writes.
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
            self.changed(session_id)

    def changed(self, session_id: str) -> None:
        if session_id in self._kept:
            self._changed.add(session_id)
            self._wanted.set()

    def forget(self, session_id: str) -> None:
        if self._closed or self._kept.pop(session_id, None) is None:
            return
        self._changed.discard(session_id)
        self._erased[session_id] = None
        if len(self._erased) > MOST_ERASED:
            del self._erased[next(iter(self._erased))]
        self._wanted.set()

    def let_go(self, session_id: str) -> None:
        self._kept.pop(session_id, None)
        self._changed.discard(session_id)

    async def write_now(self, session_ids: Iterable[str]) -> None:
        wanted = self._kept.keys() & set(session_ids)
        self._changed |= wanted
        while self._changed & wanted and await self._write():
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
        self._changed |= self._kept.keys()  # an answer has gone on since its last sentence began
        while self._has_work and await self._write():
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
            done = await self._write()
            if self._has_work:
                self._wanted.set()
            await self._clock.sleep_until(self._clock.now_s() + (PAUSE_S if done else AWAY_S))

    async def _write(self) -> bool:
        """Write what waits, or a good part of it; whether that went well."""
        ids = list(self._changed)[:MOST_TOGETHER]
        self._changed.difference_update(ids)
        back, erased = tuple(self._back.values()), tuple(self._erased)
        try:
            moved, written = await self._in(self._writing, partial(self._write_rows, self._rows(ids), back, erased))
        except DatabaseUnreachable as error:
            self._changed.update(self._kept.keys() & set(ids))
            self._count("failed", len(ids))
            self._say_away(error)
            return False
        except Exception:  # nobody foresaw it, and it would come again: these are written when they change
            self._count("failed", len(ids))
            logger.exception("%d sessions could not be kept", len(ids))
            return False
        self._say_back()
        self._count("written", written)
        self._leave(moved)
        for session_id in erased:
            self._erased.pop(session_id, None)
        for one in back:
            if self._back.get(one.id) is one:
                del self._back[one.id]
        return True

    def _write_rows(
        self, rows: Sequence[KeptSession], back: Sequence[Claimed], erased: Sequence[str]
    ) -> tuple[set[str], int]:
        """In the thread that writes. A row that the database refuses keeps nobody else's from being written.

        Returns the ids of rows that are not kept because they moved, and how many were written.
        Raises DatabaseUnreachable.
        """
        try:
            moved = self._table.write(self.id, rows, back, erased)
        except DatabaseUnreachable:
            raise
        except Exception:  # nobody foresaw it; alone, each that is sound goes through
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
            except Exception:  # it would come again: it is written when it changes
                self._count("failed", 1)
                logger.exception("the session %s could not be kept", row.id)
            else:
                moved |= gone
                written += 1 - len(gone)
        return moved, written

    def _rows(self, session_ids: Sequence[str]) -> list[KeptSession]:
        """What is to be written of sessions; one whose state cannot be told keeps nobody else's from being written."""
        rows: list[KeptSession] = []
        for session_id in session_ids:
            try:
                rows.append(_row(session_id, self._kept[session_id].state()))
            except Exception:  # nobody foresaw it, and it would come again: it is written when it changes
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
            except Exception:  # whatever it is passes, or the operator reads of it
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
