"""PreparedStates: what lip-sync backends prepared of avatars, kept for later sessions, and the line before it.

Preparing an avatar takes 0.1 to 5 s of a thread. So a state is prepared once for all who ask for it at the same time.
Askers take turns, and what nobody waits for any more leaves the line.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from avatars.bundle import AvatarBundle, BundleFiles
from models.errors import VivavoceError
from pipeline.device import DeviceWorker
from pipeline.fair_line import FairLine
from pipeline.interfaces import LipSync

__all__ = ["KEPT_STATES", "Place", "PreparedStates", "any_place"]

KEPT_STATES: Final = 8
"""Prepared avatars kept for later sessions. Running sessions hold their own, which do not count."""

Place = Callable[[str, int], AbstractContextManager[str]]
"""Holds a place in the line for an asker as long as its block runs, and gives the key by which the asker takes turns.
The number says how many avatars are in the line already. Raises a VivavoceError if there is no place."""

_Key = tuple[LipSync, BundleFiles, Hashable]


@contextmanager
def any_place(asker: str, _waiting: int) -> Iterator[str]:
    """Limit nobody."""
    yield asker


@dataclass(eq=False, slots=True)
class _Turn:
    """An asker's place in the line."""

    held: ExitStack
    task: asyncio.Task[None]

    def give_up(self) -> None:
        self.task.cancel()
        self.held.close()


@dataclass(eq=False, slots=True)
class _Preparation:
    """A state that is being prepared, or will be."""

    key: _Key
    prepare: Callable[[], object]
    worker: DeviceWorker
    made: asyncio.Future[object]
    awaited_by: Counter[str] = field(default_factory=Counter)
    turns: dict[str, _Turn] = field(default_factory=dict)
    """by asker. Each asker who waits for it has a place in the line, because others who asked first may have to wait
    longer. Who can have none waits in those of the others. The first turn that comes prepares it, and ends the others.
    """
    begun: bool = False

    def begin(self, asker: str) -> None:
        self.begun = True
        for other in [other for other in self.turns if other != asker]:
            self.turns.pop(other).give_up()

    def leave(self, asker: str) -> None:
        """Note that one who waited has left. What has begun goes on, because a thread cannot be stopped."""
        self.awaited_by[asker] -= 1
        if self.begun:
            return
        for other in [other for other in self.turns if not self.awaited_by[other]]:
            if len(self.turns) > 1 or not self.awaited_by.total():
                self.turns.pop(other).give_up()


class PreparedStates:
    """The states of all sessions. Each worker has a line of its own, and prepares one avatar at a time.

    place: limits how much of the lines an asker may have, and how long they are.
    """

    def __init__(self, place: Place = any_place) -> None:
        self._place = place
        self._kept: OrderedDict[_Key, object] = OrderedDict()
        self._preparing: dict[_Key, _Preparation] = {}
        self._lines: dict[DeviceWorker, FairLine] = {}

    async def of(
        self, lipsync: LipSync, bundle: AvatarBundle, made_from: Hashable, worker: DeviceWorker, asker: str
    ) -> object:
        """Return what `lipsync` prepared of an avatar, and prepare it first if it is not kept.

        made_from: the backend's key for what it would read. worker: whose thread prepares it. asker: for whom.

        Raises what prepare() and `place` raise, and SessionClosed. The next session then prepares again.
        """
        key = (lipsync, bundle.files, made_from)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        preparation = self._preparing.get(key)
        if preparation is None:
            made = asyncio.get_running_loop().create_future()
            preparation = self._preparing[key] = _Preparation(key, lambda: lipsync.prepare(bundle), worker, made)
        preparation.awaited_by[asker] += 1
        try:
            self._take_turn(preparation, asker)
            return await asyncio.shield(preparation.made)
        finally:
            preparation.leave(asker)
            if not preparation.turns:
                self._preparing.pop(key, None)

    @property
    def avatars(self) -> set[Path]:
        """Folders of the avatars that states are kept of; some may have been deleted since."""
        return {files.path for _lipsync, files, _made_from in self._kept}

    def forget(self, avatar: Path) -> None:
        """Drop what is kept of a deleted avatar. avatar: the folder it was in."""
        for key in [key for key in self._kept if key[1].path == avatar]:
            del self._kept[key]

    def _take_turn(self, preparation: _Preparation, asker: str) -> None:
        """Put an asker into the line, unless that is of no use. Raises what `place` raises."""
        if preparation.begun or asker in preparation.turns:
            return
        held, waiting = ExitStack(), len(self._preparing) - 1
        try:
            serves = held.enter_context(self._place(asker, waiting))
        except VivavoceError:
            if preparation.turns:
                return
            raise
        line = self._lines.setdefault(preparation.worker, FairLine(lambda: 1))

        async def in_turn() -> None:
            await line.enter(serves)
            try:
                preparation.begin(asker)
                await self._prepare(preparation)
            finally:
                line.leave(serves)

        task = asyncio.create_task(in_turn(), name=f"preparing {preparation.key[1].path.name}")
        task.add_done_callback(lambda _task: held.close())
        preparation.turns[asker] = _Turn(held, task)

    async def _prepare(self, preparation: _Preparation) -> None:
        try:
            state = await preparation.worker.call(preparation.prepare)
        except Exception as error:  # noqa: BLE001 - it is told to all who wait
            preparation.made.set_exception(error)
            preparation.made.exception()  # counts as read, in case nobody waits any more
        else:
            self._kept[preparation.key] = state
            while len(self._kept) > KEPT_STATES:
                self._kept.popitem(last=False)
            preparation.made.set_result(state)
        finally:
            self._preparing.pop(preparation.key, None)
