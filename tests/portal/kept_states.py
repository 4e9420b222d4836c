"""Reads what a database keeps of sessions, for tests."""

from __future__ import annotations

import sqlalchemy

from portal.jobs.dbos_database import PostgresDatabase

__all__ = ["nodes_in", "states_in"]


def states_in(database_url: str) -> list[str]:
    """Return the states of all kept sessions; empty before the table exists."""
    return _asked(database_url, "SELECT state FROM vivavoce.sessions ORDER BY id")


def nodes_in(database_url: str) -> list[str]:
    """Return the node of each session that was neither taken over nor erased."""
    return _asked(database_url, "SELECT node FROM vivavoce.sessions WHERE token <> '' ORDER BY id")


def _asked(database_url: str, question: str) -> list[str]:
    engine = sqlalchemy.create_engine(PostgresDatabase(database_url).address)
    try:
        with engine.connect() as connection:
            if connection.execute(sqlalchemy.text("SELECT to_regclass('vivavoce.sessions')")).scalar() is None:
                return []
            return list(connection.execute(sqlalchemy.text(question)).scalars())
    finally:
        engine.dispose()
