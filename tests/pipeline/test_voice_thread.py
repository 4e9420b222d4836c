"""VoiceThread: a voice that can speak one thing at a time, and the turns of those who want it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from pipeline.fair_line import ASKER
from pipeline.tts.voice_thread import VoiceThread
from tests.session_room import MEASURED, Room


class Work:
    """What is done, in its order; the first piece lasts until go()."""

    def __init__(self, thread: VoiceThread) -> None:
        self.done: list[str] = []
        self._thread = thread
        self._begun, self._may_end = threading.Event(), threading.Event()

    def ask(self, asker: str, name: str) -> asyncio.Task[str]:
        async def asked() -> str:
            ASKER.set(asker)
            return await self._thread.run(lambda: self._do(name))

        return asyncio.create_task(asked())

    def _do(self, name: str) -> str:
        self._begun.set()
        assert self._may_end.wait(30)
        self.done.append(name)
        return name

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, 10)

    def go(self) -> None:
        self._may_end.set()


@pytest.fixture
async def thread() -> AsyncIterator[VoiceThread]:
    thread = VoiceThread("voice")
    yield thread
    thread.close()


async def test_whoever_was_served_longest_ago_speaks_first(thread: VoiceThread) -> None:
    """One asker with many pieces does not come before another with one."""
    work = Work(thread)
    asked = [work.ask("flood", f"flood{number}") for number in range(5)]
    await work.has_begun()
    asked.append(work.ask("victim", "victim"))
    await asyncio.sleep(0)
    work.go()
    assert await asyncio.gather(*asked) == ["flood0", "flood1", "flood2", "flood3", "flood4", "victim"]
    assert work.done[:2] == ["flood0", "victim"]


async def test_who_interrupts_what_is_at_work_does_not_come_next_again(thread: VoiceThread) -> None:
    """A piece that has begun is finished, and counts as a turn of whoever has gone."""
    work = Work(thread)
    first = work.ask("flood", "first")
    await work.has_begun()
    victim = work.ask("victim", "victim")
    await asyncio.sleep(0)
    first.cancel()
    again = work.ask("flood", "again")
    await asyncio.sleep(0)
    assert first.cancelled() and not work.done
    work.go()
    await asyncio.gather(victim, again)
    assert work.done == ["first", "victim", "again"]


async def test_a_failure_is_told_and_the_next_one_speaks(thread: VoiceThread) -> None:
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 / 0)
    assert await thread.run(lambda: 2) == 2


def test_it_serves_one_event_loop_after_another() -> None:
    """Also if the one before ended while something was at work."""
    thread = VoiceThread("voice")
    may_end = threading.Event()

    async def leave() -> None:
        asked = asyncio.create_task(thread.run(lambda: may_end.wait(30)))
        await asyncio.sleep(0)
        asked.cancel()

    asyncio.run(leave())
    may_end.set()
    assert asyncio.run(thread.run(lambda: 3)) == 3
    thread.close()


async def test_what_is_asked_after_its_end_is_refused(thread: VoiceThread) -> None:
    """Twice, so nobody is left in the line."""
    thread.close()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(thread.run(lambda: 1), 30)


async def test_the_turns_of_a_session_are_asked_for_by_its_viewer(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Voices find out in the context of the task that has them speak."""
    askers: list[str] = []
    voice = room.session.context.tts
    speak: Callable[..., object] = voice.synthesize

    def heard(*arguments: object) -> object:
        askers.append(ASKER.get())
        return speak(*arguments)

    monkeypatch.setattr(voice, "synthesize", heard)
    room.session.say("Hello.", "echo")
    await room.until(lambda: bool(askers))
    assert askers == [room.session.id]
    assert room.session.choice == MEASURED and ASKER.get() == ""
