"""Our own tables in the operator's Postgres, beside those of DBOS. They are created at the first use."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from portal.jobs.dbos_database import PostgresDatabase

if TYPE_CHECKING:
    import sqlalchemy

    Rows: TypeAlias = sqlalchemy.CursorResult[Any]

__all__ = ["LOCK_PATIENCE_S", "Ask", "PostgresTables"]

LOCK_PATIENCE_S = 10
"How long we wait for the advisory lock; after that the database counts as away."
_LOCK = 7_146_022_801
"Key of the advisory lock. Creating tables, joining, and taking over jobs hold it, so that these happen one by one."


class Ask(Protocol):
    """Executes a statement with values in a transaction."""

    def __call__(self, statement: str, **values: object) -> Rows: ...


class PostgresTables:
    """Creates tables and runs statements. Thread-safe.

    Calls block for milliseconds, or for some seconds if the database is away.

    statements: create what is missing; they must be harmless if it exists. patience_s: time limit for a statement; 0
    for the server's own limit.
    """

    def __init__(self, database: PostgresDatabase, statements: tuple[str, ...], patience_s: float = 0.0) -> None:
        self._database = database
        self._statements = statements
        self._patience_ms = round(1000 * patience_s)
        self._lock = threading.Lock()
        self._engine: sqlalchemy.Engine | None = None

    @contextmanager
    def transaction(self, *, alone: bool = False) -> Iterator[Ask]:
        """Run the block in a transaction. alone: hold the advisory lock, so that no other process does the same.

        Raises DatabaseUnreachable.
        """
        import sqlalchemy

        with self._database.errors_explained(), self._connected().begin() as connection:

            def ask(statement: str, **values: object) -> Rows:
                return connection.execute(sqlalchemy.text(statement), values)

            if self._patience_ms:
                ask(f"SET LOCAL statement_timeout = {self._patience_ms}")
            if alone:
                ask(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE_S}s'")
                ask("SELECT pg_advisory_xact_lock(:lock)", lock=_LOCK)
            yield ask

    def close(self) -> None:
        """Close the connections to the database. Idempotent."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _connected(self) -> sqlalchemy.Engine:
        import sqlalchemy

        with self._lock:
            if self._engine is None:
                engine = sqlalchemy.create_engine(
                    self._database.address, pool_size=2, max_overflow=0, pool_pre_ping=True
                )
                with engine.begin() as connection:
                    connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                    for statement in self._statements:
                        connection.execute(sqlalchemy.text(statement))
                self._engine = engine
            return self._engine
