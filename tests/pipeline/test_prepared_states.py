"""What was prepared of avatars: made once for all who wait, in turns, and not for those who left."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from session_room import MEASURED

from avatars.bundle import AvatarBundle
from avatars.library import AvatarLibrary
from pipeline.clock import ManualClock
from pipeline.device import DeviceWorker
from pipeline.engine import Engine
from pipeline.errors import AskedTooOften, SessionClosed
from pipeline.lipsync.flash import FlashLipSync
from pipeline.prepared_states import KEPT_STATES, Place, PreparedStates, any_place
from tests.backend_rows import replace_backend
from tests.pipeline.conftest import make_small_bundle


class Gated(FlashLipSync):
    """Prepares an avatar when the test lets it: opened.release() for each. began is released when one begins."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[str] = []
        self.began, self.opened = threading.Semaphore(0), threading.Semaphore(0)
        self.damaged: set[str] = set()

    def prepare(self, bundle: AvatarBundle) -> AvatarBundle:
        self.prepared.append(bundle.id)
        self.began.release()
        assert self.opened.acquire(timeout=30)
        if bundle.id in self.damaged:
            raise ValueError(f"{bundle.id} is damaged")
        return super().prepare(bundle)

    def let_all(self) -> None:
        self.opened.release(1000)

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.began.acquire, timeout=30)


class Line:
    """The states, with askers who wait for avatars by name."""

    def __init__(self, folder: Path, worker: DeviceWorker, place: Place) -> None:
        self.lips = Gated()
        self.worker = worker
        self.states = PreparedStates(place)
        self._folder = folder
        self._bundles: dict[str, AvatarBundle] = {}

    def bundle(self, avatar: str) -> AvatarBundle:
        if avatar not in self._bundles:
            self._bundles[avatar] = make_small_bundle(self._folder / avatar)
        return self._bundles[avatar]

    async def ask(self, asker: str, avatar: str) -> asyncio.Task[object]:
        """Wait for an avatar; returns once the asker is in the line."""
        waiting = asyncio.create_task(self.states.of(self.lips, self.bundle(avatar), None, self.worker, asker))
        await some_steps()
        return waiting

    async def holds_the_thread(self) -> asyncio.Task[object]:
        """One whose avatar is being prepared until the test lets it, so that everybody else waits."""
        first = await self.ask("first", "first")
        await self.lips.has_begun()
        return first


@asynccontextmanager
async def line_of(folder: Path, place: Place = any_place) -> AsyncIterator[Line]:
    worker = DeviceWorker("cpu", ManualClock().now_s)
    worker.start()
    line = Line(folder, worker, place)
    try:
        yield line
    finally:
        line.lips.let_all()
        await worker.aclose()


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    async with line_of(tmp_path) as line:
        yield line


async def some_steps() -> None:
    """Let everything run that waits for nothing but the event loop."""
    for _ in range(10):
        await asyncio.sleep(0)


async def leave(*waiting: asyncio.Task[object]) -> None:
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_an_avatar_is_prepared_once_for_all_who_wait_for_it(line: Line) -> None:
    """Also when more avatars wait than are kept, and whoever began it."""
    names = [f"avatar-{number}" for number in range(2 * KEPT_STATES)]
    first = await line.holds_the_thread()
    waiting = [await line.ask(asker, name) for name in names for asker in ("ada", "bob", "ada")]
    line.lips.let_all()
    states = await asyncio.gather(first, *waiting)
    assert Counter(line.lips.prepared) == Counter(["first", *names])
    assert states == [line.bundle(name) for name in ("first", *(name for name in names for _ in range(3)))]


async def test_what_was_used_last_is_kept(line: Line) -> None:
    names = [f"avatar-{number}" for number in range(KEPT_STATES + 1)]
    line.lips.let_all()
    for name in (*names[:-1], names[0], names[-1]):
        await (await line.ask("ada", name))
    assert line.lips.prepared == names
    assert line.states.avatars == {line.bundle(name).path for name in names if name != names[1]}
    await (await line.ask("ada", names[0]))
    await (await line.ask("ada", names[1]))
    assert line.lips.prepared == [*names, names[1]]


async def test_what_nobody_waits_for_any_more_is_not_prepared(line: Line) -> None:
    """As long as one who asked for it is there, it is; also for the same avatar asked for again."""
    first = await line.holds_the_thread()
    gone = [await line.ask("ada", "left"), await line.ask("bob", "left"), await line.ask("ada", "left again")]
    half = await line.ask("ada", "half left")
    stays = [await line.ask("bob", "half left")]
    await leave(*gone, half)
    stays.append(await line.ask("eve", "left again"))
    line.lips.let_all()
    await asyncio.gather(first, *stays)
    await (await line.ask("eve", "last"))
    assert line.lips.prepared == ["first", "half left", "left again", "last"]


async def test_what_has_begun_is_finished_and_kept(line: Line) -> None:
    """A thread cannot be stopped, and somebody may come back for it."""
    await leave(await line.holds_the_thread())
    comes_back = await line.ask("first", "first")
    line.lips.let_all()
    await comes_back
    await (await line.ask("ada", "first"))
    assert line.lips.prepared == ["first"]


async def test_askers_take_turns(line: Line) -> None:
    """One who asks for many avatars does not hold up one who asks for one."""
    first = await line.holds_the_thread()
    waiting = [await line.ask("many", f"many-{number}") for number in range(4)]
    waiting += [await line.ask("bob", "bobs"), await line.ask("eve", "eves")]
    line.lips.let_all()
    await asyncio.gather(first, *waiting)
    assert line.lips.prepared == ["first", "many-0", "bobs", "eves", "many-1", "many-2", "many-3"]


async def test_an_avatar_comes_in_the_first_turn_of_those_who_wait_for_it(line: Line) -> None:
    """It does not wait in the place of somebody who asked for it first, after many others."""
    first = await line.holds_the_thread()
    waiting = [await line.ask("many", f"many-{number}") for number in range(4)]
    waiting.append(await line.ask("bob", "many-3"))
    line.lips.let_all()
    await asyncio.gather(first, *waiting)
    assert line.lips.prepared == ["first", "many-0", "many-3", "many-1", "many-2"]


class Counted:
    """At most two places for each asker."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.waiting = 0

    @contextmanager
    def place(self, asker: str, waiting: int) -> Iterator[str]:
        self.waiting = waiting
        if self.taken[asker] == 2:
            raise AskedTooOften("Too many.")
        self.taken[asker] += 1
        try:
            yield asker
        finally:
            self.taken[asker] -= 1


async def test_who_has_no_place_left_is_refused(tmp_path: Path) -> None:
    """Places are those of avatars that wait or are being prepared; each counts once, and is given back."""
    counted = Counted()
    async with line_of(tmp_path, counted.place) as line:
        first = await line.holds_the_thread()
        twice = [await line.ask("ada", name) for name in ("one", "two", "two")]
        assert counted.taken == {"first": 1, "ada": 2}
        with pytest.raises(AskedTooOften):
            await (await line.ask("ada", "three"))
        others = await line.ask("bob", "three")
        twice[0].cancel()
        fourth = await line.ask("ada", "four")  # its place is free at once
        assert counted.taken == {"first": 1, "ada": 2, "bob": 1}
        line.lips.let_all()
        await asyncio.gather(first, *twice[1:], others, fourth)
        await some_steps()
        assert +counted.taken == Counter()
        assert "one" not in line.lips.prepared


async def test_who_has_no_place_left_may_wait_for_what_others_wait_for(tmp_path: Path) -> None:
    """It makes nobody more work. It is prepared for them also when all the others have left."""
    counted = Counted()
    async with line_of(tmp_path, counted.place) as line:
        first = await line.holds_the_thread()
        waiting = [await line.ask("ada", name) for name in ("one", "two")]
        bob, ada = await line.ask("bob", "three"), await line.ask("ada", "three")
        assert counted.waiting == 3
        await leave(bob)
        assert counted.taken == {"first": 1, "ada": 2, "bob": 1}
        eve = await line.ask("eve", "three")
        await leave(ada)
        assert +counted.taken == Counter(first=1, ada=2, eve=1)
        await leave(eve)
        assert +counted.taken == Counter(first=1, ada=2)
        ends = [await line.ask(asker, "four") for asker in ("bob", "ada")]
        await leave(ends[0])
        line.lips.let_all()
        assert await asyncio.gather(first, *waiting, ends[1])
        assert sorted(line.lips.prepared) == ["first", "four", "one", "two"]


async def test_what_is_ready_or_has_begun_takes_no_place(tmp_path: Path) -> None:
    counted = Counted()
    async with line_of(tmp_path, counted.place) as line:
        first = await line.holds_the_thread()
        beside = [await line.ask("ada", name) for name in ("one", "two", "first")]
        assert counted.taken == {"first": 1, "ada": 2}
        line.lips.let_all()
        await asyncio.gather(first, *beside)
        await some_steps()
        await (await line.ask("eve", "one"))
        assert "eve" not in counted.taken


async def test_all_are_told_of_a_failure_and_the_next_one_prepares_again(line: Line) -> None:
    line.lips.damaged = {"bad"}
    first = await line.holds_the_thread()
    waiting = [await line.ask(asker, "bad") for asker in ("ada", "bob")]
    line.lips.let_all()
    await first
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in told] == [ValueError, ValueError]
    line.lips.damaged.clear()
    assert await (await line.ask("eve", "bad")) is line.bundle("bad")
    assert line.lips.prepared == ["first", "bad", "bad"]


async def test_all_who_wait_are_told_when_the_thread_ends(line: Line) -> None:
    first = await line.holds_the_thread()
    waiting = [await line.ask("ada", f"avatar-{number}") for number in range(3)]
    line.lips.let_all()
    await line.worker.aclose()
    told = await asyncio.gather(first, *waiting, return_exceptions=True)
    assert [type(one) for one in told[1:]] == [SessionClosed] * 3


async def test_the_asker_of_a_session_is_the_asker_of_its_avatars(tmp_path: Path) -> None:
    """When it is opened, and when it changes."""
    asked: list[str] = []

    @contextmanager
    def place(asker: str, _waiting: int) -> Iterator[str]:
        asked.append(asker)
        yield asker

    engine = Engine(clock=ManualClock(), measure=False, place=place)
    await engine.start()
    try:
        one, other = (make_small_bundle(tmp_path / name) for name in ("one", "other"))
        session = await engine.open_session("s", one, MEASURED, "ada")
        await engine.change(session, bundle=other)
        await engine.change(session, replace(MEASURED, lipsync="null"))
        assert asked == ["ada"] * 3
    finally:
        await engine.aclose()


class Prepares(FlashLipSync):
    """Says how often it has prepared an avatar."""

    times = 0

    def prepare(self, bundle: AvatarBundle) -> AvatarBundle:
        Prepares.times += 1
        return super().prepare(bundle)


def rename(library: AvatarLibrary) -> None:
    library.rename("ada", "Another")


def share(library: AvatarLibrary) -> None:
    library.share("ada", shared=True)


@pytest.mark.parametrize("change", [rename, share])
async def test_a_name_makes_nothing_to_prepare(
    change: Callable[[AvatarLibrary], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next session shows the avatar by its new name, and all that is seen of it is what there was."""
    replace_backend(monkeypatch, "lipsync", "flash", f"{__name__}:Prepares")
    monkeypatch.setattr(Prepares, "times", 0)
    library = AvatarLibrary(tmp_path)
    make_small_bundle(tmp_path / "ada")
    engine = Engine(clock=ManualClock(), measure=False)
    await engine.start()
    try:
        before = await engine.open_session("before", library.open("ada"), MEASURED)
        change(library)
        after = await engine.open_session("after", library.open("ada"), MEASURED)
        assert Prepares.times == 1 and after.context.loop is before.context.loop
        assert after.bundle.name == library.summary("ada").name
        assert after.bundle.manifest.get("shared", False) is library.summary("ada").ownership.shared
        assert before.bundle.name == "ada" and after.bundle.files == before.bundle.files
        make_small_bundle(tmp_path / "ada", level=64)
        again = await engine.open_session("again", library.open("ada"), MEASURED)
        assert Prepares.times == 2 and again.context.loop.frame(0).max() < before.context.loop.frame(0).max()
    finally:
        await engine.aclose()
