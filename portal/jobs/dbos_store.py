"""A JobStore on DBOS, with either of the two databases (`dbos_database.py`).

Importing DBOS takes 0.6 s, so it is imported at the first use.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from portal.errors import JobNotFound
from portal.jobs.dbos_database import APPLICATION, APPLICATION_VERSION, JobDatabase
from portal.jobs.records import KINDS, MP4, PREPARE, Job, JobFailure, JobOrder, Joins, line_of
from portal.jobs.store import being_made, id_taken

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions, WorkflowHandle, WorkflowStatus

__all__ = ["DbosStore"]

MAX_LISTS = 16
"Most results of list() that are kept until something is written."
URGENT, ORDINARY = 1, 10
"Priorities in DBOS; the lower comes first."

_ACTIVE = ["ENQUEUED", "DELAYED", "PENDING"]
"States in DBOS of jobs that wait or run."
_STATES = {
    "DELAYED": "queued",
    "ENQUEUED": "queued",
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}


class DbosStore:
    """A JobStore on DBOS. A job is a workflow; what has no column in DBOS is an attribute (see _attributes_of())."""

    def __init__(self, database: JobDatabase, worker: str = "") -> None:
        """worker: name of the worker that uses this store, and reports only on jobs it has; "" for the portal."""
        self._database = database
        self._worker = worker
        self._lock = threading.Lock()
        self._connection: DBOSClient | None = None
        self._lists: dict[tuple[int | None, str | None, bool], tuple[int, Sequence[Job]]] = {}
        "kept results of list(): arguments -> (state of the database before reading, jobs)"

    def add(self, job_id: str, order: JobOrder) -> Job:
        from dbos import error as refusals

        # DBOS looks for another job of this avatar in the same line only, and there are two lines. So we look, too.
        if order.kind == PREPARE and (other := self._other_making(order.avatar, job_id)) is not None:
            return _joined(other, order)
        with self._client() as client:
            try:
                handle: WorkflowHandle[object] = client.enqueue(_options_of(job_id, order), dict(order.inputs))
            except refusals.DBOSWorkflowIDInUseError as error:
                raise id_taken(job_id) from error
            except refusals.DBOSQueueDeduplicatedError as error:
                raise being_made(order.avatar) from error
        found = handle.get_workflow_id()
        if found != job_id and order.joins is not Joins.ANY:
            raise being_made(order.avatar)
        if order.kind == PREPARE and found == job_id:
            # Another portal may have been asked at the same time. At least one of the two sees the other's job now, and
            # gives way. If both do, nobody's avatar is made, but nobody's is replaced either.
            other = self._other_making(order.avatar, job_id)
            if other is not None:
                self.cancel(job_id)
                self.delete(job_id)
                return _joined(other, order)
        return self.get(found)

    def _other_making(self, avatar: str, job_id: str) -> Job | None:
        """Return a job that makes an avatar, if it is not this one."""
        making = self._read_list(kind=PREPARE, active=True)
        return next((job for job in making if job.avatar == avatar and job.id != job_id), None)

    def get(self, job_id: str) -> Job:
        jobs = self.get_many([job_id])
        if not jobs:
            raise JobNotFound(f"There is no job {job_id[:64]!r}.", "It may have been deleted; see the list of jobs.")
        return jobs[0]

    def get_many(self, ids: Collection[str]) -> Sequence[Job]:
        return [*self._read_list(ids=ids)] if ids else []

    def list(self, *, limit: int | None = None, kind: str | None = None, active: bool = False) -> list[Job]:
        # The state is read before the list. If somebody writes in between, the kept list has the older state and is
        # read again next time.
        # DBOS takes 10 ms for a list, and many clients ask for the same list while nothing changes.
        asked, state = (limit, kind, active), self._database.state()
        kept = self._lists.get(asked)
        if kept is not None and kept[0] == state:
            return [*kept[1]]
        jobs = self._read_list(limit=limit, kind=kind, active=active)
        if state is not None:
            with self._lock:
                if len(self._lists) >= MAX_LISTS:
                    self._lists.clear()
                self._lists[asked] = state, jobs
        return [*jobs]

    def _read_list(
        self,
        *,
        limit: int | None = None,
        kind: str | None = None,
        active: bool = False,
        ids: Collection[str] | None = None,
    ) -> Sequence[Job]:
        with self._client() as client:
            rows = client.list_workflows(
                workflow_ids=None if ids is None else [*ids],
                name=kind or [*KINDS],
                status=_ACTIVE if active else None,
                sort_desc=True,
                limit=limit,
                load_input=False,
                load_output=not active,
            )
        # DBOS keeps whole seconds only. Ids contain the time of creation in ms, except those of test clips.
        return sorted(map(_job_of, rows), key=lambda job: (job.created_at, job.id), reverse=True)

    def report(self, job_id: str, step: str, progress: float) -> bool:
        with self._client() as client:
            rows = client.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
        if not rows or rows[0].status == "CANCELLED" or not self._has(rows[0]):
            return False
        self._note(job_id, {"stage": step, "progress": progress, "told_at": time.time()})
        return True

    def _has(self, row: WorkflowStatus) -> bool:
        """Whether the reporting worker still has the job; it may wait again, or another worker may have it."""
        return not self._worker or (row.status == "PENDING" and row.executor_id == self._worker)

    def cancel(self, job_id: str) -> None:
        with self._client() as client:
            client.cancel_workflow(job_id)

    def fail(self, job_id: str, failure: JobFailure) -> None:
        # From outside, DBOS can only end a running workflow as cancelled. The attribute makes it a failure for us.
        given_up = {"code": failure.code, "message": failure.message, "hint": failure.hint}
        self._note(job_id, {"given_up": given_up})
        self.cancel(job_id)

    def run_again(self, job_id: str) -> None:
        job = self.get(job_id)
        self._note(job_id, {"stage": "", "progress": 0.0, "given_up": None})
        with self._client() as client:
            client.rewind_workflow(
                job_id, start_step=1, application_version=APPLICATION_VERSION, queue_name=line_of(job)
            )

    def delete(self, job_id: str) -> None:
        with self._client() as client:
            client.delete_workflow(job_id)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.destroy()
                self._connection = None
            self._database.close()
            self._lists.clear()

    @contextmanager
    def _client(self) -> Iterator[DBOSClient]:
        """Give the connection for one call. It is made at the first use. Raises DatabaseUnreachable."""
        with self._database.errors_explained():
            yield self._connected()

    def _connected(self) -> DBOSClient:
        with self._lock:
            if self._connection is None:
                from dbos import DBOSClient

                self._connection = DBOSClient(
                    system_database_url=self._database.open(),
                    application_name=APPLICATION,
                    retry_connection_errors=self._database.is_patient,
                )
            return self._connection

    def _note(self, job_id: str, attributes: dict[str, object]) -> None:
        with self._client() as client:
            client.update_workflow_attributes(job_id, attributes, merge=True)


def _joined(made: Job, order: JobOrder) -> Job:
    """Return the job that makes the order's avatar already, if the order may join it. Raises BadRequest."""
    if order.joins is not Joins.ANY:
        raise being_made(order.avatar)
    return made


def _options_of(job_id: str, order: JobOrder) -> EnqueueOptions:
    """Return DBOS's options for an order. Everything is stored as JSON ("portable"), so nothing is ever unpickled."""
    from dbos import EnqueueOptions, WorkflowSerializationFormat

    options = EnqueueOptions(
        workflow_name=order.kind,
        queue_name=line_of(order),
        workflow_id=job_id,
        app_version=APPLICATION_VERSION,
        application_name=APPLICATION,
        serialization_type=WorkflowSerializationFormat.PORTABLE,
        priority=URGENT if order.urgent else ORDINARY + order.rank,
        attributes=_attributes_of(order),
    )
    if order.joins is Joins.ANY or order.kind == PREPARE:
        options["deduplication_id"] = f"{order.kind}:{order.avatar}:{order.backend}"
        options["duplication_policy"] = "return-existing" if order.upload is None else "reject"
    if order.upload is not None:
        options["workflow_id_reuse_policy"] = "reject"
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
    attributes |= {"is_long": True} if order.is_long else {}
    attributes |= {"owner": order.owner} if order.owner else {}
    attributes |= {"notify": order.notify} if order.notify else {}
    attributes |= {"format": order.format} if order.format != MP4 else {}
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
        is_long=bool(attributes.get("is_long")),
        owner=attributes.get("owner", ""),
        notify=attributes.get("notify", ""),
        format=attributes.get("format", MP4),
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
            details.get("cause", ""),  # missing in jobs of earlier versions
        )
    return JobFailure("internal", f"The job failed: {row.error}", "The worker's log has the details.")


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
