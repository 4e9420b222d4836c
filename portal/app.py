"""The portal as one ASGI application on one port: create_app() builds it, serve() runs it until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse
from starlette.types import ASGIApp

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotFound, AvatarNotPrepared
from avatars.library import AvatarLibrary, presets
from models.errors import VivavoceError
from pipeline import registry
from pipeline.errors import NotMarked, NotSigned
from pipeline.transports.loops import LoopCoding
from portal.api.erasure import erasure_router
from portal.api.health import health_router, stopping_router
from portal.api.jobs import view_of
from portal.api.orders import Orders
from portal.api.owners import OwnersGuard
from portal.api.people import people_router
from portal.api.tools import Tools
from portal.clip_finish import ClipFinish
from portal.desk import Desk
from portal.erasure import Erasure, ErasureNotes
from portal.http.docs import add_docs
from portal.http.door import front_door
from portal.http.errors import answer_errors
from portal.http.kiosk import KioskGuard
from portal.http.page_files import PageFiles
from portal.http.server import Server, bound_socket, server_config
from portal.intake.submissions import ensure_presets
from portal.jobs.news import JobNews
from portal.jobs.queue import JobQueue
from portal.jobs.records import PREPARE, Job
from portal.livetalking.asr import asr_router
from portal.livetalking.avatar_tasks import avatar_tasks_router, tell_of_task
from portal.livetalking.pages import Pages
from portal.livetalking.routes import livetalking_router
from portal.process import (
    connections_that_fit,
    give_pictures_back,
    leave_settled_objects_alone,
    let_the_loop_in,
    without_collections,
)
from portal.settings import OPEN_TO_ALL, Settings, is_open_to_all
from portal.shared_erasure import SharedErasureNotes
from portal.stopping import Stopping
from portal.talk import Talk
from portal.ui.context import PageContext
from portal.ui.page_scripts import BUNDLES
from portal.ui.stage import stage_router
from portal.ui.texts_module import texts_module
from portal.ui.watch import watch_page_router
from portal.webhooks import Webhooks

if TYPE_CHECKING:
    from portal.ui.mcp_api import McpTools

__all__ = ["Portal", "create_app", "serve"]

logger = logging.getLogger(__name__)

VERSION = "0.1.0"
STATIC = Path(__file__).parent / "static"
FIRST_AVATAR_S = 180.0
"How long the start waits for the default avatar to be made."
LOOK_S = 0.2
"How often it looks whether that avatar exists."


@dataclass(frozen=True)
class Portal:
    """Everything that lives as long as the server. build() starts nothing; running() starts and ends it."""

    settings: Settings
    desk: Desk
    talk: Talk
    news: JobNews
    "tells webhooks about jobs"
    stopping: Stopping
    warmed: asyncio.Event
    "set when warming up has ended: default avatar made, its loops encoded, backends loaded, or one of these failed"
    troubles: list[str]
    "what went wrong while warming up, for the operator"

    @classmethod
    def build(cls, settings: Settings) -> Portal:
        """Build both halves, without starting anything. Raises what Desk.build() and Talk.build() raise."""
        desk = Desk.build(settings)
        talk = Talk.build(settings, desk.library, desk.prepare_for, desk.storage.recordings)
        desk.storage.keep_copies_of(talk.sessions.shown)
        news = JobNews(desk.queue, talk.engine.clock, partial(_tell_of_job, desk.queue, talk.webhooks))
        return cls(settings, desk, talk, news, Stopping(talk.drain), asyncio.Event(), [])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything; at the end of the block, stop it in reverse order."""
        async with self.desk.running(), self.talk.running():
            warming = asyncio.create_task(self._warm_up(), name="warm-up")
            if self.talk.webhooks.has_listeners:
                await self.news.start()
            try:
                yield
            finally:
                await self.stopping.aclose()
                await self.news.aclose()
                warming.cancel()
                await asyncio.gather(warming, return_exceptions=True)

    async def _warm_up(self) -> None:
        """Queue the making of missing presets, then load what the first viewer will need."""
        await asyncio.to_thread(self._check_signature)
        try:
            await asyncio.to_thread(ensure_presets, self.desk.library, self.desk.queue)
            bundle = await self._first_avatar()
            await self._warm_up_engine(bundle)
            await asyncio.to_thread(registry.backend_class, "transport", "webrtc")  # imports aiortc, outside the loop
            # Encoding the idle loops takes two cores about two seconds. If it ran beside the first turn, that turn
            # would be half a second late.
            await self.talk.loops.wait(bundle, LoopCoding.of("H264"))
            await self.talk.loops.wait(bundle, LoopCoding("JPEG", self.settings.jpeg_quality))
            leave_settled_objects_alone()
        except (VivavoceError, OSError) as error:
            self.troubles.append(str(error))  # _announce() prints it for the person who started the portal
        except Exception as error:  # viewers would meet this error when they start; the operator should know now
            logger.exception("warming up failed")
            self.troubles.append(f"{type(error).__name__}: {error}")
        finally:
            self.warmed.set()

    def _check_signature(self) -> None:
        try:
            ClipFinish(self.settings).check()
        except NotSigned as error:
            self.troubles.append(f"Clips and recordings will have no signature. {error}")
        except NotMarked as error:
            self.troubles.append(f"Clips and recordings will have no mark in their sound. {error}")

    async def _warm_up_engine(self, bundle: AvatarBundle) -> None:
        if self.settings.ears_preload:
            await self.talk.engine.hearing.loaded()
        try:
            await self.talk.engine.warm_up(self.talk.sessions.choice, bundle)
        except AvatarNotPrepared as error:
            logger.info("%s That is queued.", error.message)
            await asyncio.to_thread(self.desk.prepare_for, error.avatar, error.backend)

    async def _first_avatar(self) -> AvatarBundle:
        """Return the default avatar. On the first start with a data folder, wait until the worker has made it.

        Raises AvatarNotFound: no job is making it, or it is not ready after FIRST_AVATAR_S.
        """
        avatar, clock, library = self.talk.sessions.default_avatar, self.talk.engine.clock, self.desk.library
        until_s = clock.now_s() + FIRST_AVATAR_S
        while avatar not in library:
            being_made = await asyncio.to_thread(self.desk.queue.active, avatar, PREPARE)
            if not being_made and avatar not in library:  # look again: the job may have finished in between
                raise _no_such_avatar(avatar, library, self.desk.queue)
            if clock.now_s() >= until_s:
                raise AvatarNotFound(f"The avatar '{avatar}' is still not made.", "See the list of jobs; one makes it.")
            await clock.sleep_until(clock.now_s() + LOOK_S)
        return await asyncio.to_thread(library.open, avatar)


def _tell_of_job(queue: JobQueue, webhooks: Webhooks, job: Job) -> None:
    if not job.active:
        webhooks.tell("job.finished", view_of(queue, job).model_dump(mode="json"))
    tell_of_task(webhooks, job)


def _no_such_avatar(avatar: str, library: AvatarLibrary, queue: JobQueue) -> AvatarNotFound:
    failure = next((job.error for job in queue.list(limit=None, kind=PREPARE) if job.avatar == avatar), None)
    if failure is not None:
        return AvatarNotFound(f"The avatar '{avatar}' could not be made. {failure.message}", failure.hint)
    there = {preset.id for preset in presets()} | {summary.id for summary in library.list()}
    return AvatarNotFound(
        f"There is no avatar '{avatar}', and none of that id is being made.",
        f"Choose another with --avatar: {', '.join(sorted(there - {avatar}))}",
    )


def create_app(settings: Settings, portal: Portal | None = None) -> ASGIApp:
    """Return the whole portal as one ASGI application: API, session socket, static files, and the page at /."""
    # Imported here because Gradio takes seconds to import, and the worker and --help do not need it.
    from portal.ui.gradio_api import GradioCalls, gradio_router
    from portal.ui.mount import mount_page

    home = portal or Portal.build(settings)
    erasure = _erasure_of(home)
    tools = home.desk.tools(home.talk.engine.clock) if settings.gradio_api and not settings.kiosk else None
    calls = GradioCalls(tools) if tools is not None else None
    assistants = _mcp_tools(tools) if tools is not None else None

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(home.running())
            await stack.enter_async_context(erasure.following())
            for door in (calls, assistants):
                if door is not None:
                    await stack.enter_async_context(door.running())
            yield

    app = FastAPI(
        title="Vivavoce",
        version=VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(OwnersGuard(home.desk.library, home.desk.queue, home.talk.recordings))],
    )
    answer_errors(app)
    _add_api(app, home, erasure)
    if settings.livetalking:
        _add_livetalking(app, home, settings)
    if calls is not None:
        app.include_router(gradio_router(calls, settings.max_upload_bytes))
    if assistants is not None:
        app.router.routes.append(assistants.route)
    files = PageFiles(STATIC, {"texts.js": texts_module()}, BUNDLES)
    app.mount("/static", files, name="static")
    context = _page_context(home, files, settings)
    app.include_router(stage_router(context))
    if settings.watch_links and not settings.kiosk:
        app.include_router(watch_page_router(context.files))
    mount_page(app, context)
    if settings.pages is not None:
        app.router.default = Pages(settings.pages, app.router.default)
    return front_door(KioskGuard(app) if settings.kiosk else app, settings)


def _erasure_of(home: Portal) -> Erasure:
    desk, talk = home.desk, home.talk
    data_dir, store = home.settings.data_dir, desk.storage.store
    notes = ErasureNotes(data_dir)
    if store is not None:
        are_jobs_apart = not home.settings.database_url.get_secret_value()
        notes = SharedErasureNotes(data_dir, store, are_jobs_apart=are_jobs_apart)
    return Erasure(desk.library, desk.queue, talk.sessions, talk.memory, talk.recordings, talk.keeper, notes)


def _add_api(app: FastAPI, home: Portal, erasure: Erasure) -> None:
    """Add our own API and the pages that document it."""
    desk, talk = home.desk, home.talk
    for router in (*talk.routers(), *desk.routers(), erasure_router(erasure), people_router()):
        app.include_router(router)
    app.include_router(
        health_router(
            talk.sessions,
            desk.library,
            desk.queue,
            version=VERSION,
            node=home.settings.node,
            trouble=desk.find_trouble,
            is_stopping=lambda: home.stopping.has_begun,
        )
    )
    app.include_router(stopping_router(home.stopping.begin))

    @app.get("/favicon.ico", include_in_schema=False)
    def favicon() -> FileResponse:
        return FileResponse(STATIC / "icons" / "favicon.ico")  # for clients that do not read the page's <link>

    add_docs(app)


def _add_livetalking(app: FastAPI, home: Portal, settings: Settings) -> None:
    """Add LiveTalking's API, for clients that were written for it."""
    desk, talk = home.desk, home.talk
    app.include_router(
        livetalking_router(
            talk.clients, talk.recordings, desk.uploads, desk.library, talk.socket.browser_ice_servers, settings
        )
    )
    orders = Orders(desk.library, desk.queue, desk.uploads, desk.shares)
    app.include_router(avatar_tasks_router(orders, settings, talk.webhooks))
    app.include_router(asr_router(talk.engine.hearing, settings.asr_language or None, talk.engine.clock))


def _page_context(home: Portal, files: PageFiles, settings: Settings) -> PageContext:
    """Return what the page is built from."""
    return PageContext(
        library=home.desk.library,
        queue=home.desk.queue,
        settings=settings,
        sessions=home.talk.sessions,
        backends=home.talk.backends,
        files=f"static/{files.version}",
    )


def _mcp_tools(tools: Tools) -> McpTools | None:
    """Return the MCP server, or None if the extra `mcp` is not installed."""
    if find_spec("mcp") is None:
        return None
    from portal.ui.mcp_api import McpTools

    return McpTools(tools)


def serve(settings: Settings, say: Callable[[str], None]) -> int:
    """Run the portal until it is told to stop. Return the exit status: 0, or 1 if it could not start.

    say: prints a line for a person.

    Raises AddressTaken, before anything is built.
    """
    give_pictures_back()
    let_the_loop_in()
    settings = settings.model_copy(update={"max_connections": connections_that_fit(settings.max_connections)})
    with bound_socket(settings.host, settings.port) as listener:
        # Building takes seconds. Outside an event loop, Ctrl-C ends it at once; inside, Ctrl-C would come late and
        # tear the loop down with many tracebacks.
        with without_collections():
            portal = Portal.build(settings)
            app = create_app(settings, portal)
        return asyncio.run(_serve(settings, portal, app, listener, say))


async def _serve(
    settings: Settings, portal: Portal, app: ASGIApp, listener: socket.socket, say: Callable[[str], None]
) -> int:
    config = server_config(app, max_connections=settings.max_connections, framed_by=settings.allowed_origins)
    server = Server(config, portal.stopping.begin)
    beside = [
        asyncio.create_task(_announce(settings, portal, say), name="announce"),
        asyncio.create_task(_end_when_over(server, portal.stopping), name="end"),
    ]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    return 0 if server.started else 1


async def _end_when_over(server: Server, stopping: Stopping) -> None:
    await stopping.over.wait()
    server.end()


async def _announce(settings: Settings, portal: Portal, say: Callable[[str], None]) -> None:
    await portal.warmed.wait()
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
    url = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    for trouble in portal.troubles:
        say(f"Something is wrong: {trouble}")
    if is_open_to_all(settings):
        say(OPEN_TO_ALL)
    say(f"Vivavoce runs all the same: {url}" if portal.troubles else f"Vivavoce is ready: {url}")
    if settings.open_browser:
        # In a thread, because webbrowser.open() with a text browser blocks until that is closed.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
