"""A JobSource on DBOS. A step that has finished is never run again, whatever process dies."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping

from portal.jobs.dbos_database import APPLICATION, APPLICATION_VERSION, JobDatabase
from portal.jobs.records import KINDS, LONG_LINES, JobInputs
from portal.jobs.store import TakenJob

__all__ = ["DbosSource"]

MAX_ATTEMPTS = 5
"How often a job that kills its process is tried. It is not lower, because a stop of the portal counts as a try too."
POLLING_INTERVAL_S = 0.5
"How often DBOS looks for waiting jobs."
POOL_SIZE = 8
"Most connections to the database. DBOS keeps as many open as it has used at one time."

_LOST = re.compile(r"Workflow \S+ (is|outcome was not recorded: the workflow is) no longer owned by this execution")
"What DBOS logs when a running job was cancelled."


class DbosSource:
    """A JobSource on DBOS. DBOS has global state, so a process can have only one."""

    def __init__(self, database: JobDatabase, worker: str) -> None:
        """worker: name of this worker. A worker that restarts with the same name takes up its own unfinished jobs."""
        self._database = database
        self._worker = worker

    def serve(self, kinds: Mapping[str, Callable[[TakenJob], object]]) -> None:
        with self._database.errors_explained():
            self._launch(kinds)

    def leave(self) -> None:
        """Do nothing: there are no other workers to tell."""

    def workers_with_jobs(self) -> set[str]:
        """Return the names of all workers that have jobs in hand according to the database, alive or not."""
        from dbos import DBOS

        with self._database.errors_explained():
            rows = DBOS.list_workflows(status="PENDING", name=[*KINDS], load_input=False, load_output=False)
        return {row.executor_id for row in rows if row.executor_id}

    def take_over_from(self, workers: Collection[str]) -> int:
        """Queue the jobs of these workers again, each to go on at the step it was in. Return how many there were.

        The caller makes sure that the workers are dead. Repeating this is harmless: a job that another worker has begun
        since stays with that worker.
        """
        from dbos import DBOS

        # DBOS has no public function for this: the admin server of its version 2 is gone, and its replacement is a paid
        # service. Resuming a workflow would reset its attempts, and would not check which worker has it by then.
        return len(DBOS._recover_pending_workflows([*workers]))

    def _launch(self, kinds: Mapping[str, Callable[[TakenJob], object]]) -> None:
        from dbos import DBOS

        logging.getLogger("dbos").addFilter(_is_news)
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": self._database.open(),
                "application_version": APPLICATION_VERSION,
                "executor_id": self._worker,
                "log_level": "WARNING",
                "sys_db_pool_size": POOL_SIZE,
                # Nothing here waits for notifications or runs on a schedule.
                "notification_listener_polling_interval_sec": 60.0,
                "scheduler_polling_interval_sec": 3600.0,
            }
        )
        for kind, perform in kinds.items():
            DBOS.workflow(name=kind, max_recovery_attempts=MAX_ATTEMPTS)(_workflow_of(perform))
        DBOS.launch()
        for line in (*kinds, *(LONG_LINES[kind] for kind in kinds if kind in LONG_LINES)):
            DBOS.register_queue(line, worker_concurrency=1, polling_interval_sec=POLLING_INTERVAL_S)


def _workflow_of(perform: Callable[[TakenJob], object]) -> Callable[[JobInputs], object]:
    from dbos import DBOS

    def once(name: str, step: Callable[[], object]) -> object:
        return DBOS.run_step({"name": name}, step)

    def workflow(inputs: JobInputs) -> object:
        job_id = DBOS.workflow_id
        assert job_id is not None
        return perform(TakenJob(job_id, inputs, once))

    return workflow


def _is_news(record: logging.LogRecord) -> bool:
    """Logging filter for DBOS: drop its lines about failed and cancelled jobs, which the worker logs in plain words."""
    message = record.getMessage()
    return not message.startswith("Exception encountered in background workflow") and not _LOST.match(message)
