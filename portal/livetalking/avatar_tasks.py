"""LiveTalking's avatar tasks, as jobs of ours: an upload becomes an avatar of the id that the caller has chosen.

A task is a job whose id holds the model and the id of the task. So tasks outlive a restart as jobs do, and only jobs
that were asked for here are found here.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.responses import Response

from pipeline.errors import BadRequest
from portal.api.orders import Orders
from portal.api.owners import seen_jobs
from portal.api.schemas import MOST_NAME, UploadForm
from portal.errors import JobNotFound
from portal.http.people import person_of
from portal.jobs.queue import JobQueue
from portal.jobs.records import PREPARE, Job
from portal.livetalking.answers import NO_SERVER_FILES, Body, LiveTalkingRoute, failed, ok, parse
from portal.livetalking.avatar_names import own_id
from portal.webhooks import Webhooks

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["avatar_tasks_router", "tell_of_task"]

ARE_OFF = "Avatar tasks are off: LiveTalking does not ask whether the person shown agrees."
MOST_LISTED = 500
NOT_FOUND = 404
"In the body; the answer itself is HTTP 200."
JOB_ID: Final = re.compile(r"task-(musetalk|wav2lip)-([A-Za-z0-9_-]{1,64})")
STATUS: Final = {
    "queued": "pending",
    "running": "running",
    "done": "completed",
    "failed": "failed",
    "cancelled": "failed",
}


class TaskWish(Body):
    """What of a task means something here; its crop options have the same defaults as ours and are not read."""

    model: Literal["musetalk", "wav2lip"]
    avatar_id: Annotated[str, Field(min_length=1, max_length=64)]
    video_path: Annotated[str, Field(max_length=MOST_NAME)] | None = None
    "a file on the server"
    notifyurl: Annotated[str, Field(max_length=2000)] | None = None
    "told of each change of the task"
    task_id: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")] | None = None


def avatar_tasks_router(orders: Orders, settings: Settings, webhooks: Webhooks) -> APIRouter:
    """Tasks that make avatars, as LiveTalking has them. Each is one of our jobs, and takes no file of the server."""
    router = APIRouter(tags=["livetalking"], route_class=LiveTalkingRoute)
    queue = orders.queue

    def seen(task_id: str, request: Request) -> Job | None:
        """None: there is no such task, or it is somebody else's."""
        job = _find(queue, task_id)
        return next(iter(seen_jobs(person_of(request.scope), orders.library, [] if job is None else [job])), None)

    @router.post("/api/avatar/task")
    async def add_task(request: Request) -> Response:
        """A form with `model`, `avatar_id`, `video_file`, `task_id`? -> data.task_id."""
        if not settings.livetalking_avatars:
            raise BadRequest(ARE_OFF, "The operator can turn them on with livetalking_avatars.")
        return ok({"task_id": await _order_task(request, orders, settings.max_upload_bytes, webhooks)})

    @router.get("/api/avatar/tasks")
    def list_tasks(request: Request) -> Response:
        """-> data.tasks, the newest first. Where people log in: those that you may see."""
        jobs = [job for job in queue.list(limit=None, kind=PREPARE) if JOB_ID.fullmatch(job.id)]
        seen = seen_jobs(person_of(request.scope), orders.library, jobs)
        return ok({"tasks": [_view(job) for job in seen[:MOST_LISTED]]})

    @router.get("/api/avatar/task/{task_id}")
    def show_task(task_id: str, request: Request) -> Response:
        job = seen(task_id, request)
        return failed("Task not found", NOT_FOUND) if job is None else ok(_view(job))

    @router.delete("/api/avatar/task/{task_id}")
    def delete_task(task_id: str, request: Request) -> Response:
        """One that has not begun."""
        job = seen(task_id, request)
        if job is None:
            return failed("Task not found", NOT_FOUND)
        if job.state != "queued":
            return failed("Only pending tasks can be deleted")
        queue.delete(job.id)
        return ok({"msg": "Task deleted"})

    return router


async def _order_task(request: Request, orders: Orders, max_upload_bytes: int, webhooks: Webhooks) -> str:
    """Queue what a form asks for. Gives the id of the task."""
    if not request.headers.get("content-type", "").startswith("multipart/"):
        _checked(parse(TaskWish, await request.body()), webhooks)
        raise BadRequest("There is no clip.", "Send it in the field `video_file` of a form.")
    async with orders.uploads.form(request, max_upload_bytes) as form:
        fields = {key: value for key, value in form.items() if isinstance(value, str) and value}
        wish = _checked(parse(TaskWish, fields), webhooks)
        file = form.get("video_file")
        if not isinstance(file, UploadFile):
            raise BadRequest("There is no clip.", "Send it in the field `video_file`.")
        task_id = wish.task_id or str(uuid.uuid4())
        if _find(orders.queue, task_id) is not None:
            raise BadRequest(f"There is a task {task_id!r} already.", "Choose another id, or leave it out.")
        path, file_name = await orders.uploads.store(file), file.filename or ""
    await orders.avatar(
        request.scope,
        path,
        file_name,
        UploadForm(name=wish.avatar_id, consent="true", framing=""),
        avatar_id=own_id(wish.avatar_id),
        job_id=f"task-{wish.model}-{task_id}",
        notify=wish.notifyurl or "",
    )
    return task_id


def _checked(wish: TaskWish, webhooks: Webhooks) -> TaskWish:
    """Raises BadRequest for what would let a caller reach further than this server's door."""
    if wish.video_path:
        raise BadRequest(f"video_path: {NO_SERVER_FILES}", "Send the clip in the field `video_file` of a form.")
    if wish.notifyurl:
        webhooks.check_notifiable(wish.notifyurl)
    return wish


def tell_of_task(webhooks: Webhooks, job: Job) -> None:
    """Send the task to the address that was named with it, as LiveTalking does at each change of its state."""
    if not job.notify:
        return
    with suppress(BadRequest):  # the operator allows it no longer
        webhooks.notify(job.notify, "task", _view(job))


def _find(queue: JobQueue, task_id: str) -> Job | None:
    for model in ("musetalk", "wav2lip"):
        job_id = f"task-{model}-{task_id}"
        if JOB_ID.fullmatch(job_id):
            try:
                return queue.get(job_id)
            except JobNotFound:
                continue
    return None


def _view(job: Job) -> Mapping[str, object]:
    """As LiveTalking tells a task. Times are in seconds since the epoch, `progress` is in percent."""
    found = JOB_ID.fullmatch(job.id)
    assert found is not None, "it was found as a task"
    model, task_id = found.groups()
    error = "" if job.error is None else f"{job.error.message} {job.error.hint}".strip()
    if job.state == "cancelled":
        error = "The task was cancelled."
    duration_s = 0.0 if job.started_at is None else (job.finished_at or time.time()) - job.started_at
    return {
        "task_id": task_id,
        "model_type": model,
        "avatar_id": job.name if own_id(job.name) == job.avatar else job.avatar,
        "status": STATUS[job.state],
        "progress": round(100 * job.progress),
        "error_msg": error,
        "notify_url": job.notify,
        "start_time": job.started_at,
        "end_time": job.finished_at,
        "duration": round(duration_s, 2),
    }
