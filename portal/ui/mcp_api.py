"""The tools for programs as MCP tools at /gradio_api/mcp, so that an assistant can make avatars and clips.

They are served by the official MCP SDK. Gradio's own MCP server is not used, because it calls the portal over HTTP for
each tool. So all assistants would come from this machine's address, which evades the limits by address, and none could
log in.
"""

# There is no `from __future__ import annotations` here: the SDK must evaluate the annotations of functions that are
# defined inside a function, and could not find their names.

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Annotated, TypeAlias

from mcp.server.fastmcp import Context, FastMCP
from mcp.server.fastmcp.server import StreamableHTTPASGIApp
from mcp.server.session import ServerSession
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import Field
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.api.schemas import ClipRequest, UploadForm, checked
from portal.api.tools import Report, Tools
from portal.errors import UploadTooLarge
from portal.http.bodies import allow_body
from portal.http.errors import error_response, error_response_for
from portal.http.limits import AskerShares, Shares, TooMany
from portal.http.people import person_of
from portal.http.proxies import address_of
from portal.jobs.records import MP4
from portal.ui.gradio_api import CALLS, CALLS_EACH, CLIP, View

__all__ = ["McpTools"]

Call: TypeAlias = Context[ServerSession, object, Request]
"The context of a tool's call."

PATH = "/gradio_api/mcp"
MAX_CALL_BYTES = 64 * 1024
"""Largest request. It is small because the SDK parses requests on the event loop. The longest text of a clip needs
60 kB if all its characters are escaped."""
TOO_LARGE = UploadTooLarge("The call is larger than 64 KiB.", "Send a shorter text.")
INSTRUCTIONS = (
    "Makes clips in which an avatar speaks a text. list_avatars names the avatars; render_clip makes a clip and gives "
    "its address. To make an avatar of a picture, first POST the file as the form field 'files' to "
    "/gradio_api/upload, then give what comes back to prepare_avatar."
)


class McpTools:
    """The MCP server. It may be built without an event loop. running() starts and ends it, and works only once."""

    def __init__(self, tools: Tools) -> None:
        # The SDK's own protection is off, because OriginGuard has already refused requests that come from other sites'
        # pages or use another host name.
        checked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        self._server = FastMCP("Vivavoce", INSTRUCTIONS, stateless_http=True, transport_security=checked)
        _add_tools(self._server, tools)
        self._server.streamable_http_app()  # called for its side effect: it makes session_manager
        self.route = Route(PATH, _Bounded(StreamableHTTPASGIApp(self._server.session_manager)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._server.session_manager.run():
            yield


class _Bounded:
    """Limits how many requests run at a time, per address or person and in total. More are answered with 429.

    A limit is needed because a request takes as long as its job. Its place is taken once its body has come, so that
    bodies that come slowly keep nobody else out. Only POST is allowed: the server is stateless, so a stream that a
    client opens by GET would hold a place and never carry anything.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._each, self._all = AskerShares(CALLS_EACH), Shares(CALLS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            allowed = {"Allow": "POST"}
            refusal = error_response("method_not_allowed", "Tools are called by POST.", status=405, headers=allowed)
            await refusal(scope, receive, send)
            return
        allow_body(scope, MAX_CALL_BYTES, TOO_LARGE)
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:  # or Bodies has refused the body, and answers
            return
        full = TooMany("Too many calls are under way already.", "Wait until one of them has ended.")
        with ExitStack() as places:
            try:
                places.enter_context(self._each.held(address_of(scope), person_of(scope).name, full))
                places.enter_context(self._all.held("", full))
            except TooMany as error:
                await error_response_for(error)(scope, receive, send)
                return
            await self._app(scope, _replay_body(body, receive), send)


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body which was read already, and then what else comes."""
    rest: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return rest.pop() if rest else await receive()

    return receiving


def _add_tools(server: FastMCP, tools: Tools) -> None:
    @server.tool()
    async def list_avatars(ctx: Call) -> list[View]:
        """List the avatars, the oldest first: id, name, kind."""
        views = await tools.list_avatars(_request(ctx).scope)
        return [view.model_dump(mode="json", include={"id", "name", "kind"}) for view in views]

    @server.tool()
    async def prepare_avatar(
        ctx: Call,
        upload: Annotated[str, Field(description="what POST /gradio_api/upload answered for a photo or a clip")],
        consent: Annotated[bool, Field(description="true: the person shown agrees; ask, never assume it")],
        name: Annotated[str, Field(description="what the avatar is called; empty: the name of the file")] = "",
        framing: Annotated[str, Field(description='"x,y,width,height" of what is used, 0 to 1; empty: all')] = "",
        cutout: Annotated[bool, Field(description="true: the person is cut out of a clip; of photos always")] = False,
    ) -> View:
        """Make an avatar of a photo or a clip, and wait until it is made. Takes a minute or more."""
        ticked = {"consent": "true" if consent else "", "cutout": "true" if cutout else ""}
        wish = checked(UploadForm, {"name": name, "framing": framing, **ticked})
        view = await tools.prepare_avatar(_request(ctx).scope, upload, wish, _report_to(ctx))
        return view.model_dump(mode="json", include={"id", "name", "kind"})

    @server.tool()
    async def render_clip(
        ctx: Call,
        avatar: Annotated[str, Field(description="id of the avatar that speaks; see list_avatars")],
        text: Annotated[str, Field(description="what it says, up to 5000 characters")],
        voice: Annotated[str, Field(description="what it speaks with; empty: the portal's own voice")] = "",
        name: Annotated[str, Field(description="what the clip is called; empty: its text")] = "",
        clip_format: Annotated[str, Field(description="mp4; or webm or mov: the person alone, with alpha")] = MP4,
    ) -> dict[str, str]:
        """Make a clip in which an avatar speaks a text, and wait for it. Answers with the address of its file."""
        request = _request(ctx)
        asked = {"avatar": avatar, "text": text, "voice": voice, "name": name, "format": clip_format}
        wish = checked(ClipRequest, asked)
        job = await tools.render_clip(request.scope, wish, _report_to(ctx))
        url = f"{request.base_url}{CLIP.format(job.id, job.format)}"
        return {"job": job.id, "url": url, "file_name": job.file_name}

    @server.tool()
    async def list_jobs(
        ctx: Call,
        limit: Annotated[int, Field(description="how many at most", ge=1, le=500)] = 20,
    ) -> list[View]:
        """List the jobs that make avatars and clips, the newest first."""
        return [view.model_dump(mode="json") for view in await tools.list_jobs(_request(ctx).scope, limit)]


def _request(ctx: Call) -> Request:
    request = ctx.request_context.request
    assert isinstance(request, Request)  # always true, because this server is only reached over HTTP
    return request


def _report_to(ctx: Call) -> Report:
    last = -1.0

    async def report(progress: float, step: str) -> None:
        nonlocal last
        if progress > last:  # MCP requires that progress increases with each report
            last = progress
            await ctx.report_progress(progress, 1.0, step or "waiting")

    return report
