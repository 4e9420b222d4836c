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
"Never changes: DBOS recovers only jobs of the same version, and a newer Vivavoce must finish the jobs of an older one."

PATIENCE = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Connection parameters of libpq, for a server that silently disappears: 5 s to connect, 15 s for an answer (the last
is in milliseconds). Parameters in the database's URL override them."""


class JobDatabase(Protocol):
    """The database in which DBOS keeps jobs. Thread-safe."""

    @property
    def is_patient(self) -> bool:
        """Whether DBOS waits while the database is away, however long, instead of raising errors."""

    def open(self) -> str:
        """Create or migrate the database, and return its URL for DBOS. Portal and workers may do so in any order.

        Raises DiskFull, DatabaseUnreachable.
        """

    def state(self) -> int | None:
        """Return a number that changes whenever anybody writes; None if it is not known, for instance before open()."""

    def errors_explained(self) -> AbstractContextManager[None]:
        """Return a context manager that turns the driver's connection errors in its block into DatabaseUnreachable."""

    def close(self) -> None:
        """Close the connections to the database. Idempotent."""


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
        # At INFO, DBOS logs each of its hundred migrations, and that SQLite is meant for development.
        logging.getLogger("dbos").setLevel(logging.WARNING)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        path = self._path.resolve()
        connection = sqlite3.connect(path, timeout=30)
        # With WAL, the portal can read while the worker writes. The mode is kept in the file.
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
        return nullcontext()  # a local file is always reachable

    def close(self) -> None:
        with self._lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None


class PostgresDatabase:
    """A JobDatabase for many machines. url: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, checked by the settings.

    is_patient: true for a worker, whose job goes on when the database is back; false for the portal, where people wait.
    """

    def __init__(self, url: str, *, is_patient: bool = False) -> None:
        self._url = url
        self._is_patient = is_patient

    @property
    def is_patient(self) -> bool:
        return self._is_patient

    @property
    def address(self) -> str:
        """The URL for SQLAlchemy, with the password in it."""
        import sqlalchemy

        url = sqlalchemy.make_url(self._url)
        return url.set(drivername="postgresql+psycopg", query={**PATIENCE, **url.query}).render_as_string(
            hide_password=False
        )

    def version(self) -> str:
        """Return the version of the server. Changes nothing. Raises DatabaseUnreachable."""
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
            # The database's address goes into the log only, not to viewers. Neither gets the password.
            logger.warning("The database of jobs: %s", _in_one_line(error))
            raise DatabaseUnreachable(
                "The database of jobs cannot be reached.", "Try again in a minute; the operator's log says more."
            ) from error

    def close(self) -> None:
        """Do nothing: no connection stays open."""


def _in_one_line(error: Exception) -> str:
    """Return the driver's message, without the statement and its values that SQLAlchemy adds."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _teach_subseconds(connection: object, _record: object) -> None:
    """Give a connection to SQLite before 3.42 the function unixepoch('subsec'), which DBOS uses for a job's time.

    DBOS uses it with Python 3.12 and newer, and assumes that SQLite is as new. But a Python that uses the system's
    library may have an older SQLite (3.40 on Debian 12). Then the time would be NULL, and no job could be queued.
    """
    if isinstance(connection, sqlite3.Connection) and sqlite3.sqlite_version_info < (3, 42):
        connection.create_function("unixepoch", -1, lambda *_of: time.time())
