"""The two databases in which DBOS keeps jobs: `jobs.db` in the data folder, or a Postgres that several machines share.

Importing DBOS takes 0.6 s, so it is imported at the first use.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from avatars.disk import disk_full_explained
from portal.errors import DatabaseUnreachable

__all__ = ["APPLICATION", "APPLICATION_VERSION", "JobDatabase", "PostgresDatabase", "SqliteDatabase"]

logger = logging.getLogger(__name__)

APPLICATION = "vivavoce"
APPLICATION_VERSION = "jobs-1"
"A constant: DBOS recovers only jobs of its own version, and a newer Vivavoce must finish the jobs of an older one."

PATIENCE = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""With a server that is gone without a word: 5 s for a connection, 15 s (the last is in milliseconds) for an answer.
What the address itself says about these counts more."""


class JobDatabase(Protocol):
    """Where DBOS keeps jobs. Thread-safe."""

    @property
    def is_patient(self) -> bool:
        """Whether DBOS waits for one that is away, for as long as that takes, instead of raising its errors."""

    def open(self) -> str:
        """Make it or bring it up to date; gives its URL as DBOS takes it. Portal and workers may do so in any order.

        Raises DiskFull, DatabaseUnreachable.
        """

    def state(self) -> int | None:
        """A number that is another one after anybody has written; None where it is not known, as before open()."""

    def errors_explained(self) -> AbstractContextManager[None]:
        """A block in which it is asked for something. Raises DatabaseUnreachable where the block cannot reach it."""

    def close(self) -> None:
        """Let go of it; more than once does no harm."""


class SqliteDatabase:
    """`<data_dir>/jobs.db`: a JobDatabase that needs no server, for the processes of one machine."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "jobs.db"
        self._lock = threading.Lock()
        self._watch: sqlite3.Connection | None = None

    @property
    def is_patient(self) -> bool:
        return True

    @disk_full_explained("jobs cannot be kept")
    def open(self) -> str:
        import sqlalchemy
        from dbos import DBOS

        if not sqlalchemy.event.contains(sqlalchemy.Engine, "connect", _teach_subseconds):
            sqlalchemy.event.listen(sqlalchemy.Engine, "connect", _teach_subseconds)
        # At INFO it logs each of its hundred migrations, and that SQLite is for development.
        logging.getLogger("dbos").setLevel(logging.WARNING)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        path = self._path.resolve()
        connection = sqlite3.connect(path, timeout=30)
        # WAL: the page reads while the worker writes. The mode is kept in the file.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
        DBOS.migrate(url)
        with self._lock:
            if self._watch is None:
                self._watch = sqlite3.connect(path, timeout=30, check_same_thread=False)
        return url

    def state(self) -> int | None:
        with self._lock:
            if self._watch is None:
                return None
            (state,) = self._watch.execute("PRAGMA data_version").fetchone()
            return int(state)

    def errors_explained(self) -> AbstractContextManager[None]:
        return nullcontext()  # it is a file of ours

    def close(self) -> None:
        with self._lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None


class PostgresDatabase:
    """A JobDatabase for many machines. url: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, checked by the settings.

    is_patient: a worker is, for its job goes on when the database does; a portal is not, for somebody waits there.
    """

    def __init__(self, url: str, *, is_patient: bool = False) -> None:
        self._url = url
        self._is_patient = is_patient

    @property
    def is_patient(self) -> bool:
        return self._is_patient

    @property
    def address(self) -> str:
        """The URL as SQLAlchemy takes it, with the password in it."""
        import sqlalchemy

        url = sqlalchemy.make_url(self._url)
        return url.set(drivername="postgresql+psycopg", query={**PATIENCE, **url.query}).render_as_string(
            hide_password=False
        )

    def version(self) -> str:
        """Of the server. Changes nothing. Raises DatabaseUnreachable."""
        import sqlalchemy

        engine = sqlalchemy.create_engine(self.address)
        with self.errors_explained(), engine.connect() as connection:
            version = str(connection.execute(sqlalchemy.text("SHOW server_version")).scalar_one())
        engine.dispose()
        return version

    def open(self) -> str:
        from dbos import DBOS

        logging.getLogger("dbos").setLevel(logging.WARNING)
        with self.errors_explained():
            DBOS.migrate(self.address)
        return self.address

    def state(self) -> int | None:
        return None  # asking would cost as much as reading the list: 4 ms

    @contextmanager
    def errors_explained(self) -> Iterator[None]:
        import sqlalchemy

        try:
            yield
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError) as error:
            # Viewers need not know where it is: that is for the log. Passwords are in neither.
            logger.warning("The database of jobs: %s", _in_one_line(error))
            raise DatabaseUnreachable(
                "The database of jobs cannot be reached.", "Try again in a minute; the operator's log says more."
            ) from error

    def close(self) -> None:
        """It keeps nothing open."""


def _in_one_line(error: Exception) -> str:
    """What the driver said, without the statement and its values that SQLAlchemy adds."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _teach_subseconds(connection: object, _record: object) -> None:
    """Have a connection to SQLite older than 3.42 know unixepoch('subsec'), from which DBOS takes the time of a job.

    DBOS does so where Python is 3.12 or newer, and believes that SQLite is then as new. Python builds on a system's
    library, as on Debian 12 (3.40), have an older one: the time would be NULL, and no job could be queued.
    """
    if isinstance(connection, sqlite3.Connection) and sqlite3.sqlite_version_info < (3, 42):
        connection.create_function("unixepoch", -1, lambda *_of: time.time())
