"""Gradio's protocol for programs: `gradio_client.Client(url)` finds four endpoints here, and nothing else.

Gradio makes the description of the endpoints, and its message types report the progress of a call. But calls are run by
this module and not by Gradio's queue. That queue polls for work a thousand times per second while sessions are live. It
also fetches any URL that a caller gives as a file, copies results to a folder of its own, and never deletes results
that nobody fetches.
"""

# There is no `from __future__ import annotations` here: Gradio reads the annotation of a result, and needs the type
# itself, not a string.

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

import gradio as gr
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from gradio.data_classes import FileData
from gradio.events import api
from gradio.server_messages import (
    CloseStreamMessage,
    EventMessage,
    HeartbeatMessage,
    ProcessCompletedMessage,
    ProcessStartsMessage,
    ProgressMessage,
    ProgressUnit,
)
from gradio.utils import get_function_description
from pydantic import BaseModel, Field, ValidationError, validate_call
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from models.errors import VivavoceError
from pipeline.channel import Channel
from pipeline.errors import BadRequest
from portal.api.schemas import ClipRequest, UploadForm, checked
from portal.api.tools import Report, Tools
from portal.errors import JobNotFound
from portal.http.error_route import ErrorRoute
from portal.http.faults import first_fault, max_entries
from portal.http.limits import AskerShares, Shares, TooMany
from portal.http.people import person_of
from portal.http.proxies import address_of
from portal.jobs.records import CLIP_TYPES, MP4

__all__ = ["GradioCalls", "View", "gradio_router"]

logger = logging.getLogger(__name__)

CALLS_EACH, CALLS = 20, 200
"""Most calls of one address or person, and of all, that may run or have a result that was not read yet. More are
refused. If all places are taken, results that nobody reads are dropped to make room."""
UNREAD_S = 60.0
"How long a result waits to be read before it is dropped. The clip or avatar itself is kept."
MESSAGES = 100
"Most messages that may wait for one client. When half of them wait, progress is no longer reported."
KEEP_ALIVE_S = 15.0
CLIP = "api/clips/{}.{}"
"Path of a clip, relative to the portal's address. Gradio's client requests it as the path of a file."

View: TypeAlias = dict[str, Any]
"An answer as JSON."
MAX_ARGUMENTS = 20
"Most arguments of a call. No endpoint has so many."
Arguments: TypeAlias = Annotated[list[object], Field(max_length=MAX_ARGUMENTS), max_entries(MAX_ARGUMENTS)]
"The arguments of a call in their order, as the caller sent them."


class GradioCall:
    """One call, with Gradio's types. Programs see the names, arguments and docstrings of these methods."""

    NAMES = ("list_avatars", "prepare_avatar", "render_clip", "list_jobs")

    def __init__(self, tools: Tools, scope: Scope, report: Report) -> None:
        self._tools = tools
        self._scope = scope
        self._report = report

    async def list_avatars(self) -> list[View]:
        """List the avatars, the oldest first. `id` names an avatar elsewhere."""
        return [view.model_dump(mode="json") for view in await self._tools.list_avatars(self._scope)]

    async def prepare_avatar(
        self, file: FileData, consent: bool, name: str = "", framing: str = "", cutout: bool = False
    ) -> View:
        """Make an avatar of a photo or a clip, and wait until it is made. Takes a minute or more.

        Args:
            file: a photo or a clip of one person, or a zip of an avatar of LiveTalking, MuseTalk or OpenAvatarChat
            consent: true: the person shown agrees; without that nothing is made
            name: what the avatar is called; empty: the name of the file
            framing: "x,y,width,height" of what is used, in parts of the picture from 0 to 1; empty: all of it
            cutout: true: the person is cut out of a clip, which takes longer; out of photos always

        """
        ticked = {"consent": "true" if consent else "", "cutout": "true" if cutout else ""}
        wish = checked(UploadForm, {"name": name, "framing": framing, **ticked})
        view = await self._tools.prepare_avatar(self._scope, file.path, wish, self._report)
        return view.model_dump(mode="json")

    async def render_clip(
        self, avatar: str, text: str, voice: str = "", name: str = "", clip_format: str = MP4
    ) -> FileData:
        """Make a clip in which an avatar speaks a text, and wait until it is made. The result is its file.

        Args:
            avatar: id of the avatar that speaks; see /list_avatars
            text: what it says, up to 5000 characters
            voice: what it speaks with; empty: the portal's own voice
            name: what the clip is called; empty: its text
            clip_format: mp4; or webm or mov, which show the person alone, with alpha

        """
        asked = {"avatar": avatar, "text": text, "voice": voice, "name": name, "format": clip_format}
        wish = checked(ClipRequest, asked)
        job = await self._tools.render_clip(self._scope, wish, self._report)
        path = CLIP.format(job.id, job.format)
        return FileData(
            path=path,
            url=f"{Request(self._scope).base_url}{path}",
            orig_name=job.file_name,
            mime_type=CLIP_TYPES[job.format],
        )

    async def list_jobs(self, limit: int = 100) -> list[View]:
        """List the jobs that make avatars and clips, the newest first.

        Args:
            limit: how many at most, 1 to 500

        """
        if not 1 <= limit <= 500:
            raise BadRequest(f"{limit} jobs cannot be listed.", "Ask for 1 to 500.")
        return [view.model_dump(mode="json") for view in await self._tools.list_jobs(self._scope, limit)]


class Join(BaseModel):
    """The message by which Gradio's client begins a call. Its other fields are not needed here."""

    fn_index: int
    data: Arguments
    session_hash: str = Field(min_length=8, max_length=64)


@dataclass
class _Line:
    """The calls of one client that run or have an unread result. A client is known by its session hash."""

    messages: Channel[EventMessage] = field(default_factory=lambda: Channel(MESSAGES))
    unread: dict[str, asyncio.Event] = field(default_factory=dict)
    "Id of a call -> an event that is set once the call's result has been read."
    places: dict[str, ExitStack] = field(default_factory=dict)
    "Id of a call -> the places that it holds."
    working: int = 0
    "Number of calls that have no result yet."

    def give_up(self) -> None:
        """Free the places of all calls and drop their results. Followers are told that there is no more."""
        self.messages.close()
        for places in self.places.values():
            places.close()
        for read in self.unread.values():
            read.set()


class GradioCalls:
    """All calls. It may be built without an event loop, and must be used on one event loop only."""

    def __init__(self, tools: Tools, unread_s: float = UNREAD_S) -> None:
        self.tools = tools
        self._unread_s = unread_s
        self._lines: dict[tuple[str, str], _Line] = {}
        "Keyed by the person's name and the hash that their client chose, so that nobody can read others' results."
        self._tasks: set[asyncio.Task[None]] = set()
        self._each, self._all = AskerShares(CALLS_EACH), Shares(CALLS)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """End all calls when the block ends. Their jobs continue."""
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for line in self._lines.values():
                line.messages.close()
            await self.tools.parked.aclose()

    def begin(self, scope: Scope, session_hash: str, name: str, data: Arguments) -> str:
        """Begin a call and return its id. Its messages go to whoever calls follow(). Raises TooMany."""
        call_id = secrets.token_hex(16)
        held = self._places(scope)
        key = (person_of(scope).name, session_hash)
        line = self._lines.setdefault(key, _Line())
        line.unread[call_id] = asyncio.Event()
        line.places[call_id] = held
        line.working += 1

        async def carry_out() -> None:
            with held:
                line.messages.offer(ProcessStartsMessage(event_id=call_id))
                result = await self._result(scope, line, call_id, name, data)
                line.working -= 1
                line.messages.push(result)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._unread_s):
                        await line.unread[call_id].wait()
                del line.unread[call_id], line.places[call_id]
                if not line.unread and self._lines.get(key) is line:
                    del self._lines[key]

        task = asyncio.create_task(carry_out(), name=f"call of {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return call_id

    def _places(self, scope: Scope) -> ExitStack:
        """Take the places of a call. Close them once its result was read or dropped. Raises TooMany."""
        hint = "Wait until one of them has ended."
        mine = TooMany(f"{CALLS_EACH} calls of yours are under way already.", hint)
        with ExitStack() as places:
            places.enter_context(self._each.held(address_of(scope), person_of(scope).name, mine))
            if self._all.has_all(""):
                self._make_room()
            places.enter_context(self._all.held("", TooMany(f"{CALLS} calls are under way already.", hint)))
            return places.pop_all()

    def _make_room(self) -> None:
        """Give up the oldest line that has only unread results, if there is one."""
        for key, line in self._lines.items():
            if not line.working:
                del self._lines[key]
                line.give_up()
                return

    def follow(self, scope: Scope, session_hash: str) -> AsyncIterator[str]:
        """Yield server-sent events about a client's calls until it has none. Raises JobNotFound if it has none now."""
        line = self._lines.get((person_of(scope).name, session_hash))
        if line is None:
            raise JobNotFound("No call of yours is under way.", "Begin one first; a result is kept for a minute.")
        return self._events(line)

    async def _events(self, line: _Line) -> AsyncIterator[str]:
        while any(not read.is_set() for read in line.unread.values()):
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    if not await line.messages.ready():
                        return  # the portal is ending, or the line was given up
            except TimeoutError:
                yield _server_sent_event(HeartbeatMessage())
                continue
            message = line.messages.receive_nowait()
            if message is None:  # another reader of the same line has taken the message
                continue
            yield _server_sent_event(message)
            if isinstance(message, ProcessCompletedMessage) and message.event_id in line.unread:
                line.unread[message.event_id].set()
        yield _server_sent_event(CloseStreamMessage())

    async def _result(
        self, scope: Scope, line: _Line, call_id: str, name: str, data: Arguments
    ) -> ProcessCompletedMessage:
        last: tuple[float, str] | None = None

        async def report(progress: float, step: str) -> None:
            nonlocal last
            if (progress, step) != last and len(line.messages) < MESSAGES // 2:
                last = progress, step
                unit = ProgressUnit(progress=progress, index=None, desc=step or "waiting")
                line.messages.offer(ProgressMessage(event_id=call_id, progress_data=[unit]))

        try:
            result = await validate_call(getattr(GradioCall(self.tools, scope, report), name))(*data)
        except VivavoceError as error:
            return _failed(call_id, error)
        except ValidationError as error:
            fault = BadRequest(f"The call is malformed: {first_fault(error)[1]}.", "See view_api().")
            return _failed(call_id, fault)
        except Exception:  # whatever went wrong with this call, the caller has to learn of it
            logger.exception("the call of %s failed", name)
            hint = "Try again; if it stays so, the server's log has the details."
            return _failed(call_id, VivavoceError("Something went wrong in the server.", hint))
        told = result.model_dump() if isinstance(result, BaseModel) else result
        return ProcessCompletedMessage(event_id=call_id, output={"data": [told]}, success=True)


def gradio_router(calls: GradioCalls, max_upload_bytes: int) -> APIRouter:
    """Return the routes that Gradio's client needs. All other routes of Gradio stay closed."""
    router = APIRouter(route_class=ErrorRoute, include_in_schema=False)
    tools = calls.tools
    config, info = _description(tools)
    names = {one["id"]: one["api_name"] for one in config["dependencies"]}

    @router.get("/config")
    async def read_config(request: Request) -> View:
        return {**config, "root": str(request.base_url).rstrip("/")}

    @router.get("/gradio_api/info")
    async def read_info() -> View:
        return info

    @router.post("/gradio_api/upload")
    async def upload(request: Request) -> list[str]:
        """Store one file from the field `files`, and return the path that names it in a call."""
        async with tools.orders.uploads.form(request, max_upload_bytes) as form:
            file = form.get("files")
            if not isinstance(file, UploadFile):
                raise BadRequest("There is no file in the form.", "Send one in the field 'files'.", cause="no_file")
            address = address_of(request.scope)
            path, name = await tools.orders.uploads.store(file, address), file.filename or ""
        return [tools.parked.put(path, name, address)]

    @router.post("/gradio_api/queue/join")
    async def join(request: Request, wish: Join) -> dict[str, str]:
        if wish.fn_index not in names:
            raise BadRequest(f"There is no endpoint {wish.fn_index}.", "See /gradio_api/info.")
        return {"event_id": calls.begin(request.scope, wish.session_hash, names[wish.fn_index], wish.data)}

    @router.get("/gradio_api/queue/data")
    async def follow(request: Request, session_hash: str) -> Response:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            calls.follow(request.scope, session_hash), media_type="text/event-stream", headers=headers
        )

    @router.get("/gradio_api/file=api/clips/{clip}")
    async def fetch(request: Request, clip: str) -> Response:
        """Redirect to the address of a clip."""
        job_id, _, ending = clip.rpartition(".")
        return RedirectResponse(request.url_for("fetch_clip", job_id=job_id, ending=ending).path, 307)

    return router


def _description(tools: Tools) -> tuple[View, View]:
    """Return the configuration that Gradio's clients need, and the documentation of the endpoints."""
    described = GradioCall(tools, {}, _ignore_progress)
    with gr.Blocks(title="Vivavoce", analytics_enabled=False, mode="server") as blocks:
        for name in GradioCall.NAMES:
            api(getattr(described, name), api_name=name)
    blocks.config = blocks.get_config_file()
    info: View = blocks.get_api_info()
    for name in GradioCall.NAMES:
        _description_of, arguments, _returns = get_function_description(getattr(described, name))
        for parameter in info["named_endpoints"][f"/{name}"]["parameters"]:
            parameter["label"] = arguments[parameter["parameter_name"]]
    return dict(blocks.config), info


async def _ignore_progress(_progress: float, _step: str) -> None: ...


def _failed(call_id: str, error: VivavoceError) -> ProcessCompletedMessage:
    output = {"error": str(error), "title": error.code, "visible": True, "duration": None}
    return ProcessCompletedMessage(event_id=call_id, output=output, success=False, title=error.code)


def _server_sent_event(message: EventMessage) -> str:
    return f"data: {message.model_dump_json()}\n\n"
