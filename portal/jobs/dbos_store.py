"""Jobs in `<data_dir>/jobs.db`: DBOS on SQLite. A step that has finished is never run again, whatever dies.

Importing DBOS takes 0.6 s, so it is imported at the first use.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avatars.disk import disk_full_explained
from portal.errors import JobNotFound
from portal.jobs.records import KINDS, Job, JobFailure, JobInputs, JobOrder, Joins
from portal.jobs.store import TakenJob

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions, WorkflowHandle, WorkflowStatus

__all__ = ["DbosSource", "DbosStore"]

APPLICATION = "vivavoce"
APPLICATION_VERSION = "jobs-1"
"A constant: DBOS recovers only jobs of its own version, and a newer Vivavoce must finish the jobs of an older one."
EXECUTOR_ID = "worker"
"A constant: a restarted worker takes up what the killed one left."
MAX_ATTEMPTS = 5
"A job that takes the process down with it is not tried for ever; but a stop of the portal counts as an attempt too."
POLLING_INTERVAL_S = 0.5

MOST_LISTS = 16
"that are kept while nothing has been written"
URGENT, ORDINARY = 1, 10
"priorities, the lower first"

_ACTIVE = ["ENQUEUED", "DELAYED", "PENDING"]
_STATES = {
    "DELAYED": "queued",
    "ENQUEUED": "queued",
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}
_LOST = re.compile(r"Workflow \S+ (is|outcome was not recorded: the workflow is) no longer owned by this execution")
"What DBOS says when a running job has been cancelled."


class DbosStore:
    """A JobStore. What it keeps for us beside DBOS' own columns are the attributes that _attributes_of() makes."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._connection: DBOSClient | None = None
        self._watch: sqlite3.Connection | None = None
        self._lists: dict[tuple[int | None, str | None, bool], tuple[int, Sequence[Job]]] = {}
        "what list() gave last, by what was asked for, with the state of the database before it was read"

    def add(self, job_id: str, order: JobOrder) -> Job:
        handle: WorkflowHandle[object] = self._client.enqueue(_options_of(job_id, order), dict(order.inputs))
        return self.get(handle.get_workflow_id())

    def get(self, job_id: str) -> Job:
        jobs = self.list(ids=[job_id])
        if not jobs:
            raise JobNotFound(f"There is no job {job_id[:64]!r}.", "It may have been deleted; see the list of jobs.")
        return jobs[0]

    def list(
        self,
        *,
        limit: int | None = None,
        kind: str | None = None,
        ids: Collection[str] | None = None,
        active: bool = False,
    ) -> list[Job]:
        if ids is not None:
            return [*self._read_list(limit=limit, kind=kind, ids=ids, active=active)] if ids else []
        # DBOS takes 10 ms for a list, and many ask for the same one while nothing happens.
        asked, state = (limit, kind, active), self._state()
        kept = self._lists.get(asked)
        if kept is not None and kept[0] == state:
            return [*kept[1]]
        jobs = self._read_list(limit=limit, kind=kind, active=active)
        if state is not None:
            with self._lock:
                if len(self._lists) >= MOST_LISTS:
                    self._lists.clear()
                self._lists[asked] = state, jobs
        return [*jobs]

    def _state(self) -> int | None:
        """A number that is another one after anybody has written to the database; None before the first use of it."""
        with self._lock:
            if self._watch is None:
                return None
            (state,) = self._watch.execute("PRAGMA data_version").fetchone()
            return int(state)

    def _read_list(
        self, *, limit: int | None, kind: str | None, active: bool, ids: Collection[str] | None = None
    ) -> Sequence[Job]:
        rows = self._client.list_workflows(
            workflow_ids=None if ids is None else [*ids],
            name=kind or [*KINDS],
            status=_ACTIVE if active else None,
            sort_desc=True,
            limit=limit,
            load_input=False,
            load_output=not active,
        )
        # DBOS keeps whole seconds. Ids tell of birth more exactly, except those of test clips.
        return sorted(map(_job_of, rows), key=lambda job: (job.created_at, job.id), reverse=True)

    def report(self, job_id: str, step: str, progress: float) -> bool:
        rows = self._client.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
        if not rows or rows[0].status == "CANCELLED":
            return False
        self._note(job_id, {"stage": step, "progress": progress, "told_at": time.time()})
        return True

    def cancel(self, job_id: str) -> None:
        self._client.cancel_workflow(job_id)

    def fail(self, job_id: str, failure: JobFailure) -> None:
        # DBOS can end a running workflow from outside in one way only: as cancelled. The attribute says why.
        given_up = {"code": failure.code, "message": failure.message, "hint": failure.hint}
        self._note(job_id, {"given_up": given_up})
        self._client.cancel_workflow(job_id)

    def run_again(self, job_id: str) -> None:
        job = self.get(job_id)
        self._note(job_id, {"stage": "", "progress": 0.0, "given_up": None})
        self._client.rewind_workflow(job_id, start_step=1, application_version=APPLICATION_VERSION, queue_name=job.kind)

    def delete(self, job_id: str) -> None:
        self._client.delete_workflow(job_id)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.destroy()
                self._connection = None
            if self._watch is not None:
                self._watch.close()
                self._watch = None
            self._lists.clear()

    @property
    def _client(self) -> DBOSClient:
        with self._lock:
            if self._connection is None:
                from dbos import DBOSClient

                with disk_full_explained("jobs cannot be kept"):
                    url = _open_database(self._data_dir)
                self._connection = DBOSClient(system_database_url=url, application_name=APPLICATION)
                path = (self._data_dir / "jobs.db").resolve()
                self._watch = sqlite3.connect(path, timeout=30, check_same_thread=False)
            return self._connection

    def _note(self, job_id: str, attributes: dict[str, object]) -> None:
        self._client.update_workflow_attributes(job_id, attributes, merge=True)


class DbosSource:
    """A JobSource. DBOS is global to its process, so there is one at most."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def serve(self, kinds: Mapping[str, Callable[[TakenJob], object]]) -> None:
        from dbos import DBOS

        logging.getLogger("dbos").addFilter(_is_news)
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": _open_database(self._data_dir),
                "application_version": APPLICATION_VERSION,
                "executor_id": EXECUTOR_ID,
                "log_level": "WARNING",
                # Nothing here waits for notifications or runs on a schedule.
                "notification_listener_polling_interval_sec": 60.0,
                "scheduler_polling_interval_sec": 3600.0,
            }
        )
        for kind, perform in kinds.items():
            DBOS.workflow(name=kind, max_recovery_attempts=MAX_ATTEMPTS)(_workflow_of(perform))
        DBOS.launch()
        for kind in kinds:
            DBOS.register_queue(kind, worker_concurrency=1, polling_interval_sec=POLLING_INTERVAL_S)


def _workflow_of(perform: Callable[[TakenJob], object]) -> Callable[[JobInputs], object]:
    from dbos import DBOS

    def once(name: str, step: Callable[[], object]) -> object:
        return DBOS.run_step({"name": name}, step)

    def workflow(inputs: JobInputs) -> object:
        job_id = DBOS.workflow_id
        assert job_id is not None
        return perform(TakenJob(job_id, inputs, once))

    return workflow


def _teach_subseconds(connection: object, _record: object) -> None:
    """Have a connection to SQLite older than 3.42 know unixepoch('subsec'), from which DBOS takes the time of a job.

    DBOS does so where Python is 3.12 or newer, and believes that SQLite is then as new. Python builds on a system's
    library, as on Debian 12 (3.40), have an older one: the time would be NULL, and no job could be queued.
    """
    if isinstance(connection, sqlite3.Connection) and sqlite3.sqlite_version_info < (3, 42):
        connection.create_function("unixepoch", -1, lambda *_of: time.time())


def _open_database(data_dir: Path) -> str:
    """Make or migrate `jobs.db`; gives its URL. Portal and worker may both do it, in any order."""
    import sqlalchemy
    from dbos import DBOS

    if not sqlalchemy.event.contains(sqlalchemy.Engine, "connect", _teach_subseconds):
        sqlalchemy.event.listen(sqlalchemy.Engine, "connect", _teach_subseconds)
    # At INFO it logs each of its hundred migrations, and that SQLite is for development.
    logging.getLogger("dbos").setLevel(logging.WARNING)
    data_dir.mkdir(parents=True, exist_ok=True)
    path = (data_dir / "jobs.db").resolve()
    connection = sqlite3.connect(path, timeout=30)
    # WAL: the page reads while the worker writes. The mode is kept in the file.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    DBOS.migrate(url)
    return url


def _options_of(job_id: str, order: JobOrder) -> EnqueueOptions:
    """JSON ("portable") all through: nothing in the database is ever unpickled."""
    from dbos import EnqueueOptions, WorkflowSerializationFormat

    options = EnqueueOptions(
        workflow_name=order.kind,
        queue_name=order.kind,
        workflow_id=job_id,
        app_version=APPLICATION_VERSION,
        application_name=APPLICATION,
        serialization_type=WorkflowSerializationFormat.PORTABLE,
        priority=URGENT if order.urgent else ORDINARY + order.rank,
        attributes=_attributes_of(order),
    )
    if order.joins is Joins.ANY:
        options["deduplication_id"] = f"{order.kind}:{order.avatar}:{order.backend}"
        options["duplication_policy"] = "return-existing"
    return options


def _attributes_of(order: JobOrder) -> dict[str, object]:
    attributes: dict[str, object] = {
        "name": order.name,
        "avatar": order.avatar,
        "upload": order.upload is not None,
        "stage": "",
        "progress": 0.0,
    }
    attributes |= {"backend": order.backend, "parameters": dict(order.parameters)} if order.backend else {}
    attributes |= {"speaker": order.speaker} if order.speaker else {}
    attributes |= {"speech_s": order.speech_s} if order.speech_s else {}
    attributes |= {"owner": order.owner} if order.owner else {}
    attributes |= {"notify": order.notify} if order.notify else {}
    return attributes


def _job_of(row: WorkflowStatus) -> Job:
    attributes = row.attributes or {}
    state = "failed" if attributes.get("given_up") and row.status == "CANCELLED" else _STATES[row.status]
    return Job(
        id=row.workflow_id,
        kind=row.name,
        name=attributes.get("name", ""),
        state=state,
        step=attributes.get("stage", ""),
        progress=1.0 if state == "done" else float(attributes.get("progress", 0.0)),
        avatar=attributes.get("avatar", ""),
        backend=attributes.get("backend", ""),
        parameters=attributes.get("parameters", {}),
        speaker=attributes.get("speaker", ""),
        uploaded=bool(attributes.get("upload")),
        error=_failure_of(row) if state == "failed" else None,
        result=row.output if state == "done" else None,
        created_at=_seconds(row.created_at) or 0.0,
        started_at=_seconds(row.dequeued_at),
        finished_at=_seconds(row.completed_at),
        reported_at=float(attributes.get("told_at", 0.0)),
        rank=max(0, (row.priority or 0) - ORDINARY),
        speech_s=float(attributes.get("speech_s", 0.0)),
        owner=attributes.get("owner", ""),
        notify=attributes.get("notify", ""),
    )


def _failure_of(row: WorkflowStatus) -> JobFailure:
    given_up = (row.attributes or {}).get("given_up")
    if given_up:
        return JobFailure(given_up["code"], given_up["message"], given_up["hint"])
    if row.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return JobFailure(
            "worker_died",
            "The worker process died each time it tried this job.",
            "The file may be damaged, or memory too short: try a smaller one.",
        )
    details = getattr(row.error, "data", None)
    if isinstance(details, Mapping):
        return JobFailure(
            details["code"],
            details["message"],
            details["hint"],
            details.get("report"),
            details.get("cause", ""),  # there was none in earlier versions
        )
    return JobFailure("internal", f"The job failed: {row.error}", "The worker's log has the details.")


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record of DBOS is new. Failed and cancelled jobs are not: the worker logs them once, in plain words."""
    message = record.getMessage()
    return not message.startswith("Exception encountered in background workflow") and not _LOST.match(message)
