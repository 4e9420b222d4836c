"""The log: one event a line whatever is in it, and no flood of the same."""

from __future__ import annotations

import logging
import sys

from pipeline.clock import ManualClock
from portal.logs import BURST, FORMAT, FloodFilter, SafeFormatter


def record(message: str, *args: object, line: int = 1, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("portal.test", level, "here.py", line, message, args, None)


def test_what_comes_from_outside_forges_no_line() -> None:
    """Line breaks of all kinds, escape sequences of terminals and what turns text around are shown, not done."""
    text = SafeFormatter(FORMAT).format(
        record("media (%s)", "x\n2026-01-01 ERROR root: forged\r\x1b[2J\u2028\u202e\x9b")
    )
    assert len(text.splitlines()) == 1 and "\\n2026" in text and "\\x1b[2J" in text and "\\u202e" in text
    assert text.isprintable()
    assert "头像 é" in SafeFormatter(FORMAT).format(record("%s", "头像 é"))
    assert len(SafeFormatter(FORMAT).format(record("%s", "x" * 100_000))) < 5000


def test_a_traceback_is_told_apart_from_events() -> None:
    """Its lines are marked, also those that an error's own words begin."""
    fault = record("it failed")
    try:
        raise ValueError("first\n2026-01-01 ERROR root: forged\x1b[2J")
    except ValueError:
        fault.exc_info = sys.exc_info()
    first, *others = SafeFormatter(FORMAT).format(fault).split("\n")
    assert first.endswith("it failed") and all(line.startswith("    | ") for line in others)
    assert "\x1b" not in "".join(others)


async def test_a_flood_of_the_same_is_counted() -> None:
    """So many at once and one a second from then on; other places in the code are heard; debugging has no limit."""
    clock = ManualClock()
    flood = FloodFilter(clock)
    assert sum(flood.filter(record("refused %d", number)) for number in range(1000)) == BURST
    assert flood.filter(record("another", line=2))
    assert all(flood.filter(record("detail", level=logging.DEBUG)) for _ in range(1000))
    await clock.advance(1.0)
    next_one = record("refused %d", 1001)
    assert flood.filter(next_one)
    assert next_one.getMessage() == f"refused 1001 ({1000 - BURST} more like this were left out)"
