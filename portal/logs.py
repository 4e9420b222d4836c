"""What is written to the log: one event a line, whatever is in it, and not more of the same than a person can read.

Much of what is logged comes from outside: reasons that browsers give, addresses that strangers ask for, libraries'
warnings about them. Unchecked, a line break in it forges a line, an escape sequence reaches the operator's terminal,
and a flood of requests fills the disk.
"""

from __future__ import annotations

import logging
import re

from pipeline.clock import Clock, SystemClock
from portal.http.limits import Allowance

__all__ = ["FloodFilter", "SafeFormatter", "begin_logging"]

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LONGEST_CHARACTERS = 4000
BURST = 60
PER_S = 1.0
"Lines of the same place in the code."
# Control characters, and what moves or hides text: line separators, directions, zero widths.
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
TRACEBACK_MARK = "    | "


class SafeFormatter(logging.Formatter):
    """Escapes what is no plain text. Lines of a traceback begin with a mark that no event can have."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _plain(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        return _marked(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:
        return _marked(stack_info)


class FloodFilter(logging.Filter):
    """BURST lines at once from one place in the code, then PER_S a second; the next one says how many were left out.

    Debugging is not limited. More places than the table holds share one allowance, see Allowance.
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
    """Log to stderr from `level` on: debug, info, warning or error. For the start of a process."""
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter(line))
    handler.addFilter(FloodFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    if level == "info":  # it tells of each step of finding a way to each viewer
        logging.getLogger("aioice").setLevel(logging.WARNING)


def _plain(text: str) -> str:
    safe = UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return safe if len(safe) <= LONGEST_CHARACTERS else f"{safe[:LONGEST_CHARACTERS]}..."


def _marked(text: str) -> str:
    return "\n".join(TRACEBACK_MARK + _plain(line) for line in text.split("\n"))
