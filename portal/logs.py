"""Logging: one line per event, whatever its text contains, and a limit on repeated lines.

Much of what is logged comes from outside: reasons that browsers give, addresses that strangers ask for, libraries'
warnings about both. Unchecked, a line break could forge a line, an escape sequence could reach the operator's terminal,
and a flood of requests could fill the disk.
"""

from __future__ import annotations

import logging
import re

from pipeline.clock import Clock, SystemClock
from portal.http.limits import Allowance

__all__ = ["FloodFilter", "SafeFormatter", "begin_logging"]

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LONGEST_CHARACTERS = 4000
"Longest line; the rest is cut off."
BURST = 60
PER_S = 1.0
"Limits on the lines that one place in the code may log: at once, and per second after that."
# Control characters, and characters that move or hide text: line separators, text direction marks, zero widths.
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
TRACEBACK_MARK = "    | "


class SafeFormatter(logging.Formatter):
    """Escapes all characters that are not plain text.

    Lines of a traceback begin with TRACEBACK_MARK. No event's line begins with it, so the two cannot be confused.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _plain(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        return _marked(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:
        return _marked(stack_info)


class FloodFilter(logging.Filter):
    """Lets through BURST lines at once from one place in the code, then PER_S lines a second.

    The next line let through says how many were left out. Debug lines are not limited. Once the table of places is
    full, further places share one allowance; see Allowance.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__()
        self._allowance = Allowance(clock or SystemClock(), burst=BURST, per_s=PER_S)
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG:
            return True
        place = f"{record.pathname}:{record.lineno}"
        if self._allowance.take(place) > 0:
            self._left_out[place] = self._left_out.get(place, 0) + 1
            return False
        left_out = self._left_out.pop(place, 0)
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out} more like this were left out)"
            record.args = ()
        return True


def begin_logging(level: str, line: str = FORMAT) -> None:
    """Log to stderr. Call at the start of a process. level: least serious level logged: debug, info, warning, error."""
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter(line))
    handler.addFilter(FloodFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    if level == "info":  # aioice logs every step of finding a route to each viewer at this level
        logging.getLogger("aioice").setLevel(logging.WARNING)


def _plain(text: str) -> str:
    safe = UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return safe if len(safe) <= LONGEST_CHARACTERS else f"{safe[:LONGEST_CHARACTERS]}..."


def _marked(text: str) -> str:
    return "\n".join(TRACEBACK_MARK + _plain(line) for line in text.split("\n"))
