"""The audit log: who changed what and when, as a line of JSON for each request that changes something and each login.

Refused requests, logins and logouts go to a file of their own, because anybody can cause many such lines.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.http.origins import HARMLESS
from portal.http.people import person_of
from portal.http.proxies import address_of, path_below

__all__ = ["AUDIT_FILE", "TRIED_FILE", "AuditLog", "Audited"]

logger = logging.getLogger(__name__)

AUDIT_FILE, TRIED_FILE = "audit.jsonl", "audit_tried.jsonl"
"""Files in the data folder. The first has what was done; the second what was refused, and who logged in or out or tried
to."""
FILE_BYTES = 10_000_000
"Size at which a file is rotated."
OLDER_FILES = 5
DOORS = ("/login", "/logout")
"Addresses that the Gate answers itself, so they have no route."
NAMED = ("avatar_id", "job_id", "name", "backend")
"Parameters of addresses that are logged. Others are secrets (of sessions, watch links, recordings) and are left out."
LONGEST = 80
"Longest value of a parameter that is logged, in characters."
Now = Callable[[], datetime]


class AuditLog:
    """Writes lines to two files in a folder. A file is rotated at 10 MB, and five older ones are kept. Thread-safe.

    If a line cannot be written (the disk is full), it is left out, and the portal's log says so once. Requests are
    served all the same.
    """

    def __init__(self, folder: Path) -> None:
        self._done, self._tried = _Lines(folder / AUDIT_FILE), _Lines(folder / TRIED_FILE)

    def write(self, line: dict[str, object], *, is_done: bool) -> None:
        """Write a line. is_done: it changed something, so it goes to the file that refused requests cannot fill."""
        text = json.dumps(line, ensure_ascii=True)  # escapes line separators, so it stays one line
        file = self._done if is_done else self._tried
        file.handle(logging.makeLogRecord({"msg": "%s", "args": (text,)}))
        file.close()  # it opens again for the next line, which may come in a week


class _Lines(RotatingFileHandler):
    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8", delay=True)
        self._failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as logging calls it
        """Warn once. The default would write a traceback to stderr for each line."""
        if not self._failed:
            logger.warning("The audit log %s cannot be written; what follows is left out.", self.baseFilename)
        self._failed = True


class Audited:
    """ASGI middleware around the Gate: logs what was asked, by whom, and how it was answered."""

    def __init__(self, app: ASGIApp, log: AuditLog, now: Now = lambda: datetime.now(UTC)) -> None:
        self._app = app
        self._log = log
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in HARMLESS:
            await self._app(scope, receive, send)
            return
        status = 0  # stays 0 if the connection broke before there was an answer

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            if (route := _route_of(scope)) is not None:
                is_done = 200 <= status < 400 and route not in DOORS
                self._log.write(self._line(scope, route, status), is_done=is_done)

    def _line(self, scope: Scope, route: str, status: int) -> dict[str, object]:
        person = person_of(scope)
        line: dict[str, object] = {"time": self._now().isoformat(timespec="milliseconds"), "address": address_of(scope)}
        if person.logged_in:
            line |= {"person": person.name, "role": person.role.name.lower()}
        line |= {"method": scope["method"], "route": route, "status": status}
        named = scope.get("path_params", {})
        return line | {name: str(named[name])[:LONGEST] for name in NAMED if name in named}


def _route_of(scope: Scope) -> str | None:
    """Return the address's route, with names of parameters instead of values; None if nothing is at that address."""
    if "route" in scope:
        return str(scope["route"].path)
    path = path_below(scope)
    return path if path in DOORS else None
