"""Who asked for which job, in the Postgres that several portals share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Final

from portal.errors import DatabaseUnreachable
from portal.jobs.askers import FileAskers
from portal.jobs.dbos_database import PostgresDatabase
from portal.jobs.postgres_tables import PostgresTables

__all__ = ["SharedAskers"]

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 2.0
"How long a call waits for the database: the person who asked for a job waits as well."
_TABLES = (
    "CREATE SCHEMA IF NOT EXISTS vivavoce",
    "CREATE TABLE IF NOT EXISTS vivavoce.askers (job text PRIMARY KEY, asker text NOT NULL)",
)


class SharedAskers:
    """Askers in the table `vivavoce.askers`.

    left: what earlier versions kept in the data folder; it is taken over when the next job is noted.
    """

    def __init__(self, database: PostgresDatabase, left: FileAskers) -> None:
        self._tables = PostgresTables(database, _TABLES, PATIENCE_S)
        self._left = left

    def known(self) -> Mapping[str, str]:
        with self._tables.transaction() as ask:
            return {row.job: row.asker for row in ask("SELECT job, asker FROM vivavoce.askers")}

    def note(self, job_id: str, asker: str, active: Callable[[], Collection[str]]) -> None:
        try:
            self._note(job_id, asker, active)
        except DatabaseUnreachable as error:
            logger.warning("Who asked for which job could not be kept: %s", error)

    def close(self) -> None:
        self._tables.close()

    def _note(self, job_id: str, asker: str, active: Callable[[], Collection[str]]) -> None:
        left = self._left.known()
        with self._tables.transaction() as ask:
            ask("LOCK TABLE vivavoce.askers IN SHARE ROW EXCLUSIVE MODE")  # reading goes on
            for one, address in left.items():
                insert = "INSERT INTO vivavoce.askers (job, asker) VALUES (:job, :asker) ON CONFLICT DO NOTHING"
                ask(insert, job=one, asker=address)
            noted = set(ask("SELECT job FROM vivavoce.askers").scalars())
            ended = noted - {*active()}
            if ended:
                ask("DELETE FROM vivavoce.askers WHERE job = ANY(:ended)", ended=[*ended])
            if asker:
                ask(
                    "INSERT INTO vivavoce.askers (job, asker) VALUES (:job, :asker) "
                    "ON CONFLICT (job) DO UPDATE SET asker = :asker",
                    job=job_id,
                    asker=asker,
                )
        self._left.remove()
