"""The line in front of the recogniser: turns between those who ask, room for a few, nobody forgotten."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from pipeline.ears.recognition import MAX_WAITING, MAX_WAITING_EACH, Recognition
from pipeline.errors import EarsBusy, RecognitionError
from pipeline.types import Transcript
from tests.microphone import RecordingRecognizer, speech


class Line:
    """A recogniser that is held up until answer(), and people who ask for words."""

    def __init__(self, at_once: int = 1) -> None:
        self.recognizer = RecordingRecognizer()
        self.recognizer.at_once = at_once
        self.recognizer.may_answer.clear()
        self.recognition = Recognition(self.recognizer)
        self.served: list[str] = []
        self.tasks: dict[str, asyncio.Task[Transcript]] = {}

    async def ask(self, *askers: str) -> None:
        for asker in askers:
            name = f"{asker}{sum(one.startswith(asker) for one in self.tasks)}"
            task = asyncio.create_task(self.recognition.transcribe(speech(1), "en", asker), name=name)
            task.add_done_callback(lambda done: None if done.cancelled() else self.served.append(done.get_name()))
            self.tasks[name] = task
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def answer_all(self) -> None:
        self.recognizer.may_answer.set()
        with suppress(EarsBusy):
            await asyncio.wait_for(asyncio.gather(*self.tasks.values(), return_exceptions=True), 30)


@pytest.fixture
def line() -> Line:
    return Line()


async def test_askers_take_turns(line: Line) -> None:
    """One who asks four times before the others have spoken does not come before them."""
    await line.ask("a", "a", "a", "a", "b", "c", "b")
    await line.answer_all()
    assert line.served == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


async def test_who_was_served_long_ago_comes_first(line: Line) -> None:
    """Turns are remembered when nobody waits any more, so that asking again and again is no advantage."""
    line.recognizer.may_answer.set()
    for asker in ("victim", "flood"):
        await line.ask(asker)
        await line.tasks[f"{asker}0"]
    line.recognizer.may_answer.clear()
    await line.ask("other", "flood", "victim")
    await line.answer_all()
    assert line.served[-3:] == ["other0", "victim1", "flood1"]


async def test_one_asker_cannot_fill_the_line(line: Line) -> None:
    """Beyond its own share an asker is refused at once, and others have room."""
    await line.ask(*["flood"] * (MAX_WAITING + 5))
    refused = [task for task in line.tasks.values() if task.done()]
    assert len(refused) == MAX_WAITING + 5 - 1 - MAX_WAITING_EACH
    assert all(isinstance(task.exception(), EarsBusy) for task in refused)
    await line.ask("victim")
    await line.answer_all()
    assert line.tasks["victim0"].result() == Transcript("hello", "en")
    assert [name for name in line.served if name in ("victim0", "flood1")] == ["victim0", "flood1"]


async def test_the_line_has_an_end(line: Line) -> None:
    """Many askers together fill it; the next is told that it is full."""
    await line.ask("first", *[f"{number}x" for number in range(MAX_WAITING)], "late")
    assert isinstance(line.tasks["late0"].exception(), EarsBusy)
    await line.answer_all()
    assert sum(task.exception() is None for task in line.tasks.values()) == MAX_WAITING + 1


async def test_two_at_once_are_of_different_askers() -> None:
    """With room for two, an asker who has one running waits for one who has none."""
    line = Line(at_once=2)
    await line.ask("a", "b", "a", "b")
    assert len(line.recognizer.heard_s) == 2
    line.tasks["b0"].cancel()
    await line.ask()
    assert len(line.recognizer.heard_s) == 3
    await line.answer_all()
    assert line.served == ["a0", "b1", "a1"]


async def test_those_who_leave_give_their_turn_back(line: Line) -> None:
    """Whether they waited, were just called, or were being served: the next one is called, and the line is empty."""
    await line.ask("a", "b", "c", "d")
    line.tasks["b0"].cancel()  # waits
    await line.ask()
    line.tasks["a0"].cancel()  # is being served; c is called in the same step of the loop
    await asyncio.sleep(0)
    line.tasks["c0"].cancel()
    await line.ask()
    await line.answer_all()
    assert line.served == ["d0"]
    assert line.recognition.is_idle


async def test_a_failure_gives_the_turn_back(line: Line) -> None:
    """What went wrong is the asker's to tell; the next is served."""
    line.recognizer.texts = [RecognitionError("It failed.", "Say it again."), "fine"]
    await line.ask("a", "b")
    await line.answer_all()
    assert line.tasks["b0"].result().text == "fine"
    assert line.recognition.is_idle
