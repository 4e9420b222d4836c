"""Jobs as DBOS hands them to a worker process. A step that has finished is never run again, whatever dies."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping

from portal.jobs.dbos_database import APPLICATION, APPLICATION_VERSION, JobDatabase
from portal.jobs.records import CLIP, KINDS, LONG_CLIPS, JobInputs
from portal.jobs.store import TakenJob

__all__ = ["DbosSource"]

MAX_ATTEMPTS = 5
"A job that takes the process down with it is not tried for ever; but a stop of the portal counts as an attempt too."
POLLING_INTERVAL_S = 0.5
POOL_SIZE = 8
"connections at most; it keeps as many as it has used at one time"

_LOST = re.compile(r"Workflow \S+ (is|outcome was not recorded: the workflow is) no longer owned by this execution")
"What DBOS says when a running job has been cancelled."


class DbosSource:
    """A JobSource. DBOS is global to its process, so there is one at most."""

    def __init__(self, database: JobDatabase, worker: str) -> None:
        """worker: its name. One that is restarted with the same name takes up what the killed one left."""
        self._database = database
        self._worker = worker

    def serve(self, kinds: Mapping[str, Callable[[TakenJob], object]]) -> None:
        with self._database.errors_explained():
            self._launch(kinds)

    def leave(self) -> None:
        """Nobody has to be told."""

    def workers_with_jobs(self) -> set[str]:
        """Names of all that have jobs in hand, by the database, whether they live or not."""
        from dbos import DBOS

        with self._database.errors_explained():
            rows = DBOS.list_workflows(status="PENDING", name=[*KINDS], load_input=False, load_output=False)
        return {row.executor_id for row in rows if row.executor_id}

    def take_over_from(self, workers: Collection[str]) -> int:
        """Let the jobs of these wait again, each to go on at the step in which it was; how many there were.

        Who calls makes sure that they are dead. Asked for twice it is done once: a job that another worker has begun
        since is that one's.
        """
        from dbos import DBOS

        # DBOS has no public function for this: the admin server of its version 2 is gone, and what stands for it is not
        # free. Resuming a workflow would give it new attempts, and would not look whose it is by then.
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
        for line in (*kinds, *([LONG_CLIPS] if CLIP in kinds else [])):
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
    """Whether a record of DBOS is new. Failed and cancelled jobs are not: the worker logs them once, in plain words."""
    message = record.getMessage()
    return not message.startswith("Exception encountered in background workflow") and not _LOST.match(message)
