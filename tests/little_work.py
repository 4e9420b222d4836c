"""Checks that code does so little work that its time cannot grow faster than its input."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

MAX_CPU_S = 0.3
"""Processor time. Code that looks once at 8,000 characters takes a tenth of it at most, however busy the machine is."""


class TooMuchWork(Exception):
    """The code was still running when its time was over."""


@contextmanager
def little_work() -> Iterator[None]:
    """Raise TooMuchWork in code that takes more than MAX_CPU_S of processor time; waiting does not count."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise TooMuchWork

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
