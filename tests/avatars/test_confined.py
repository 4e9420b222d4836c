"""A file can take over the process that reads it, and that is all it can do."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avatars.confined import TOOK_TOO_LONG, Confined, Limits, run_confined
from avatars.errors import BadImport, BadMedia
from tests import hostile_tasks

pytestmark = pytest.mark.thorough

LIMITS = Limits(patience_s=60, cpu_s=30, memory_bytes=64 * 2**20, written_bytes=2**20)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process' memory")
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")


def told_of(task: Callable[..., Any], *arguments: Any, limits: Limits = LIMITS) -> str:
    with pytest.raises(BadMedia) as caught:
        run_confined(task, limits, lambda _item: None, *arguments)
    assert caught.value.hint
    return caught.value.message


def test_what_a_task_emits_comes_in_order_and_then_its_result() -> None:
    """Bytes come as bytes, everything else as JSON can say it."""
    seen: list[Any] = []
    result = run_confined(hostile_tasks.echo, LIMITS, seen.append, 1, b"\x00\xff", {"a": [0.5, None]})
    assert (seen, result) == ([1, b"\x00\xff", {"a": [0.5, None]}], "done")


@on_linux
@pytest.mark.parametrize("task", [hostile_tasks.eat_memory, hostile_tasks.eat_memory_of_opencv])
def test_a_task_that_eats_memory_is_told(task: Callable[..., Any]) -> None:
    """It gets no more than its limit, however much the machine has. The file is not called damaged."""
    assert "64 MB of memory" in told_of(task)


@on_posix
def test_a_task_that_computes_for_ever_is_ended() -> None:
    """Processor time is limited by the system."""
    assert "used more than it may" in told_of(hostile_tasks.spin, limits=replace(LIMITS, cpu_s=1))


@on_posix
@pytest.mark.parametrize("task", [hostile_tasks.spin, hostile_tasks.spin_for_ever_after])
def test_who_ran_out_of_time_is_known(task: Callable[..., Any]) -> None:
    """So there can be a longer look; a task that does not let itself be told is killed a second later."""
    with pytest.raises(BadMedia) as caught:
        run_confined(task, replace(LIMITS, cpu_s=1), lambda _item: None)
    assert (caught.value.cause == TOOK_TOO_LONG) == (task is hostile_tasks.spin)


def test_a_task_that_says_nothing_is_ended() -> None:
    """Nothing waits longer for a message than the limit says."""
    assert "more than 2 seconds" in told_of(hostile_tasks.sleep_for_ever, limits=replace(LIMITS, patience_s=2))


@on_posix
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_task_that_dies_is_told(by: signal.Signals) -> None:
    """A crash of a decoder is a refusal of the file."""
    assert "cannot be read" in told_of(hostile_tasks.die, by)


@on_posix
@pytest.mark.parametrize("task", [hostile_tasks.write_much, hostile_tasks.open_many])
def test_a_task_cannot_fill_the_disk_or_take_all_descriptors(task: Callable[..., Any], tmp_path: Path) -> None:
    """Files and their size are limited."""
    path = tmp_path / "written"
    path.touch()
    told_of(task, path)
    assert path.stat().st_size <= LIMITS.written_bytes


def test_what_a_task_raises_is_raised_here() -> None:
    """Our own errors keep their kind and words; any other is told as a file that cannot be read."""
    with pytest.raises(BadImport, match="It is no avatar") as caught:
        run_confined(hostile_tasks.fail, LIMITS, lambda _item: None, "told")
    assert caught.value.hint == "Use another one."
    assert "cannot be read" in told_of(hostile_tasks.fail, "not told")


def test_what_libraries_print_does_not_disturb_the_messages() -> None:
    """Standard output belongs to them."""
    assert run_confined(hostile_tasks.chatter, LIMITS, lambda _item: None) == "whole"


def test_a_forged_message_is_a_failure() -> None:
    """A length beyond all bounds is not waited for, and nothing is allocated for it."""
    assert "cannot be read" in told_of(hostile_tasks.forged)


def test_a_task_sees_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment only what an interpreter needs is passed on."""
    monkeypatch.setenv("VIVAVOCE_LLM_API_KEY", "secret")
    seen = run_confined(hostile_tasks.environment, LIMITS, lambda _item: None)
    assert "PYTHONPATH" in seen and not [name for name in seen if "KEY" in name]


def test_closing_ends_the_process_while_another_thread_waits_for_it() -> None:
    """Who gives a job up need not wait; closing again is quiet."""
    with Confined(hostile_tasks.sleep_for_ever, LIMITS) as work:
        items = iter(work)
        pid = next(items)
        failures: list[Exception] = []

        def wait() -> None:
            try:
                next(items)
            except BadMedia as error:
                failures.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        work.close()
        work.close()
        waiting.join(30)
    assert len(failures) == 1
    if sys.platform != "win32":
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
