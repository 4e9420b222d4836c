"""LiveTalking's avatar tasks, run as our jobs: an upload becomes an avatar whose id the caller chooses.

A task is a job whose id contains the model and the task's id. So tasks survive a restart as jobs do, and these routes
find only jobs that were ordered by them.
"""

from __future__ import annotations

import asyncio
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
from portal.api.schemas import MAX_FIELD_CHARACTERS, UploadForm
from portal.errors import JobNotFound
from portal.http.people import person_of
from portal.http.proxies import address_of
from portal.jobs.queue import JobQueue
from portal.jobs.records import PREPARE, Job
from portal.livetalking.answers import NO_SERVER_FILES, Body, LiveTalkingRoute, failed, ok, parse
from portal.livetalking.avatar_names import own_id
from portal.webhooks import Webhooks

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["avatar_tasks_router", "tell_of_task"]

ARE_OFF = "Avatar tasks are off: LiveTalking does not ask whether the person shown agrees."
MAX_LISTED_TASKS = 500
NOT_FOUND = 404
"The `code` in the body of the answer. The HTTP status is 200 all the same."
JOB_ID: Final = re.compile(r"task-(musetalk|wav2lip)-([A-Za-z0-9_-]{1,64})")
STATUS: Final = {
    "queued": "pending",
    "running": "running",
    "done": "completed",
    "failed": "failed",
    "cancelled": "failed",
}


class TaskWish(Body):
    """The fields of a task that have a meaning here. Crop options are not read; their defaults are the same as ours."""

    model: Literal["musetalk", "wav2lip"]
    avatar_id: Annotated[str, Field(min_length=1, max_length=64)]
    video_path: Annotated[str, Field(max_length=MAX_FIELD_CHARACTERS)] | None = None
    "A file on the server, which is refused."
    notifyurl: Annotated[str, Field(max_length=2000)] | None = None
    "The address that is notified of each change of the task."
    task_id: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")] | None = None


def avatar_tasks_router(orders: Orders, settings: Settings, webhooks: Webhooks) -> APIRouter:
    """Return LiveTalking's routes for tasks that make avatars. Each task is a job; files on the server are refused."""
    router = APIRouter(tags=["livetalking"], route_class=LiveTalkingRoute)
    queue = orders.queue

    def seen(task_id: str, request: Request) -> Job | None:
        """Return the job of a task; None if there is no such task, or if the sender may not see it."""
        job = _find(queue, task_id)
        return next(iter(seen_jobs(person_of(request.scope), orders.library, [] if job is None else [job])), None)

    @router.post("/api/avatar/task")
    async def add_task(request: Request) -> Response:
        """Add a task: a form with `model`, `avatar_id`, `video_file`, `task_id`? -> data.task_id."""
        if not settings.livetalking_avatars:
            raise BadRequest(ARE_OFF, "The operator can turn them on with livetalking_avatars.")
        return ok({"task_id": await _order_task(request, orders, settings.max_upload_bytes, webhooks)})

    @router.get("/api/avatar/tasks")
    def list_tasks(request: Request) -> Response:
        """List tasks, newest first, in data.tasks. If people log in here, only those that you may see."""
        jobs = [job for job in queue.list(limit=None, kind=PREPARE) if JOB_ID.fullmatch(job.id)]
        seen = seen_jobs(person_of(request.scope), orders.library, jobs)
        return ok({"tasks": [_view(job) for job in seen[:MAX_LISTED_TASKS]]})

    @router.get("/api/avatar/task/{task_id}")
    def show_task(task_id: str, request: Request) -> Response:
        job = seen(task_id, request)
        return failed("Task not found", NOT_FOUND) if job is None else ok(_view(job))

    @router.delete("/api/avatar/task/{task_id}")
    def delete_task(task_id: str, request: Request) -> Response:
        """Delete a task that has not begun."""
        job = seen(task_id, request)
        if job is None:
            return failed("Task not found", NOT_FOUND)
        if job.state != "queued":
            return failed("Only pending tasks can be deleted")
        queue.delete(job.id)
        return ok({"msg": "Task deleted"})

    return router


async def _order_task(request: Request, orders: Orders, max_upload_bytes: int, webhooks: Webhooks) -> str:
    """Queue the task that a form describes, and return its id."""
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
        if await asyncio.to_thread(_find, orders.queue, task_id) is not None:
            raise BadRequest(f"There is a task {task_id!r} already.", "Choose another id, or leave it out.")
        path, file_name = await orders.uploads.store(file, address_of(request.scope)), file.filename or ""
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
    """Return the wish. Raises BadRequest if it names a file on the server, or an address that may not be notified."""
    if wish.video_path:
        raise BadRequest(f"video_path: {NO_SERVER_FILES}", "Send the clip in the field `video_file` of a form.")
    if wish.notifyurl:
        webhooks.check_notifiable(wish.notifyurl)
    return wish


def tell_of_task(webhooks: Webhooks, job: Job) -> None:
    """Send a task's new state to the address that was given with it, as LiveTalking does."""
    if not job.notify:
        return
    with suppress(BadRequest):  # the operator has stopped allowing this address
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
    """Return a task in LiveTalking's form. Times are in seconds since the epoch, and `progress` is in percent."""
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
