"""create_app(settings): one ASGI application on one port; serve(settings): run it until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse
from starlette.types import ASGIApp

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotFound, AvatarNotPrepared
from avatars.library import AvatarLibrary, presets
from models.errors import VivavoceError
from pipeline import registry
from pipeline.engine import Engine
from pipeline.transports.loops import LoopCache, LoopCoding
from portal.admission import Admission
from portal.api.allowances import OFFERS_EACH
from portal.api.avatars import avatars_router
from portal.api.backends import backends_router
from portal.api.clips import clips_router
from portal.api.health import find_trouble, health_router
from portal.api.jobs import jobs_router
from portal.api.session_socket import SessionSocket
from portal.api.transports import BackendTransports
from portal.backends import BackendCatalogue, default_choice, new_engine
from portal.http.docs import add_docs
from portal.http.door import front_door
from portal.http.errors import answer_errors
from portal.http.page_files import PageFiles
from portal.http.server import bound_socket, server_config
from portal.intake.submissions import ensure_parts, ensure_presets
from portal.intake.uploads import Uploads
from portal.jobs.opening import open_queue
from portal.jobs.queue import JobQueue
from portal.jobs.records import PREPARE
from portal.jobs.shares import JobShares
from portal.process import connections_that_fit, give_pictures_back, leave_settled_objects_alone, let_the_loop_in
from portal.sessions import SessionManager
from portal.settings import Settings
from portal.ui.context import PageContext
from portal.ui.texts_module import texts_module
from portal.worker.process import WorkerProcess

__all__ = ["Portal", "create_app", "serve"]

logger = logging.getLogger(__name__)

VERSION = "0.1.0"
STATIC = Path(__file__).parent / "static"
FIRST_AVATAR_S = 180.0
LOOK_S = 0.2
SPARE_SOCKETS, SPARE_SOCKETS_EACH = 256, 32
"""Session sockets without a session: of all, and of one address. They wait in line, or have not greeted yet."""


@dataclass(frozen=True)
class Portal:
    """Everything that lives as long as the server. Built at rest, started and ended by running()."""

    settings: Settings
    engine: Engine
    library: AvatarLibrary
    queue: JobQueue
    worker: WorkerProcess
    sessions: SessionManager
    loops: LoopCache
    socket: SessionSocket
    warmed: asyncio.Event
    "set once the default avatar is there, its loops are encoded and the backends loaded, or will not be"
    troubles: list[str]
    "why they will not be, for the operator"

    @classmethod
    def build(cls, settings: Settings) -> Portal:
        engine = new_engine(settings)
        library = AvatarLibrary(settings.data_dir / "avatars")
        queue = open_queue(settings.data_dir, library)
        sessions = SessionManager(
            engine,
            library,
            Admission(settings.max_sessions, settings.places_each),
            default_avatar=settings.avatar or presets()[0].id,
            choice=default_choice(settings),
            idle_timeout_s=settings.session_idle_timeout_s,
            prepare_for=lambda avatar, backend: ensure_parts(library, queue, settings, avatar=avatar, backend=backend),
        )
        loops = LoopCache(engine.executor)
        transports = BackendTransports(
            loops,
            engine.executor,
            ice_servers=settings.ice_servers,
            bitrate_bps=settings.video_bitrate_bps,
            jpeg_quality=settings.jpeg_quality,
        )
        socket = SessionSocket(
            sessions,
            transports,
            engine.clock,
            settings.ice_servers,
            sockets=settings.max_sessions + SPARE_SOCKETS,
            sockets_each=settings.places_each + SPARE_SOCKETS_EACH,
            offers_each=max(OFFERS_EACH, 2 * settings.places_each),  # all of a class may reload their pages at once
        )
        worker = WorkerProcess(settings, queue)
        return cls(settings, engine, library, queue, worker, sessions, loops, socket, asyncio.Event(), [])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything; end it in reverse."""
        async with AsyncExitStack() as stack:
            await self.engine.start()
            stack.push_async_callback(self.engine.aclose)
            stack.callback(self.queue.close)
            await asyncio.to_thread(self.library.sweep)
            await self.sessions.start()
            stack.push_async_callback(self.sessions.aclose)
            stack.push_async_callback(self.socket.aclose)
            if self.settings.worker:
                await self.worker.start()
                stack.push_async_callback(self.worker.aclose)
            warming = asyncio.create_task(self._warm_up(), name="warm-up")
            stack.push_async_callback(_cancelled, warming)
            stack.push_async_callback(self.loops.aclose)
            yield

    async def _warm_up(self) -> None:
        """Make the presets if they are missing, then load what the first viewer will need."""
        try:
            await asyncio.to_thread(ensure_presets, self.library, self.queue)
            bundle = await self._first_avatar()
            await self._warm_up_engine(bundle)
            await asyncio.to_thread(registry.backend_class, "transport", "webrtc")  # imports aiortc off the loop
            # They take some two seconds of two cores; the first turn would be half a second late beside them.
            await self.loops.wait(bundle, LoopCoding.of("H264"))
            await self.loops.wait(bundle, LoopCoding("JPEG", self.settings.jpeg_quality))
            leave_settled_objects_alone()
        except (VivavoceError, OSError) as error:
            self.troubles.append(str(error))  # who started the portal is told: see _announce
        except Exception as error:  # sessions will tell their viewers; the operator should know now
            logger.exception("warming up failed")
            self.troubles.append(f"{type(error).__name__}: {error}")
        finally:
            self.warmed.set()

    async def _warm_up_engine(self, bundle: AvatarBundle) -> None:
        try:
            await self.engine.warm_up(self.sessions.choice, bundle)
        except AvatarNotPrepared as error:
            logger.info("%s That is queued.", error.message)
            await asyncio.to_thread(
                ensure_parts, self.library, self.queue, self.settings, avatar=error.avatar, backend=error.backend
            )

    async def _first_avatar(self) -> AvatarBundle:
        """The default avatar; the worker process makes it, once in the life of a data folder.

        Raises AvatarNotFound: nobody is making it, or that takes very long.
        """
        avatar, clock = self.sessions.default_avatar, self.engine.clock
        until_s = clock.now_s() + FIRST_AVATAR_S
        while avatar not in self.library:
            being_made = await asyncio.to_thread(self.queue.active, avatar, PREPARE)
            if not being_made and avatar not in self.library:  # it may have been finished since
                raise _no_such_avatar(avatar, self.library)
            if clock.now_s() >= until_s:
                raise AvatarNotFound(f"The avatar '{avatar}' is still not made.", "See the list of jobs; one makes it.")
            await clock.sleep_until(clock.now_s() + LOOK_S)
        return await asyncio.to_thread(self.library.open, avatar)


def _no_such_avatar(avatar: str, library: AvatarLibrary) -> AvatarNotFound:
    there = {preset.id for preset in presets()} | {summary.id for summary in library.list()}
    return AvatarNotFound(
        f"There is no avatar '{avatar}', and none of that id is being made.",
        f"Choose another with --avatar: {', '.join(sorted(there - {avatar}))}. If its job has failed, see its error.",
    )


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def create_app(settings: Settings, portal: Portal | None = None) -> ASGIApp:
    """The whole portal as one ASGI application: API, session socket, static files, and the page at /."""
    from portal.ui.mount import mount_page  # Gradio takes seconds to import: not for the worker, not for --help

    home = portal or Portal.build(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with home.running():
            yield

    app = FastAPI(title="Vivavoce", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None)
    answer_errors(app)
    app.include_router(home.socket.router)
    uploads = Uploads(settings.data_dir)
    shares = JobShares(home.queue.active_ids, settings.jobs_per_address)
    app.include_router(avatars_router(home.library, home.queue, settings, uploads, shares))
    app.include_router(backends_router(BackendCatalogue(settings, home.engine.clock)))
    app.include_router(clips_router(home.library, home.queue, settings, uploads, shares))
    app.include_router(jobs_router(home.queue, shares))
    app.include_router(
        health_router(
            home.sessions,
            home.library,
            home.queue,
            version=VERSION,
            trouble=lambda: find_trouble(settings.data_dir, home.queue, home.worker.trouble),
        )
    )

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(home.engine.metrics.exposition(), media_type="text/plain; version=0.0.4")

    @app.get("/favicon.ico", include_in_schema=False)
    def favicon() -> FileResponse:
        return FileResponse(STATIC / "icons" / "favicon.ico")  # asked for by what does not read the page

    add_docs(app)
    files = PageFiles(STATIC, {"texts.js": texts_module()})
    app.mount("/static", files, name="static")
    mount_page(
        app,
        PageContext(
            library=home.library,
            queue=home.queue,
            settings=settings,
            sessions=home.sessions,
            files=f"static/{files.version}",
        ),
    )
    return front_door(app, settings)


def serve(settings: Settings, say: Callable[[str], None]) -> int:
    """Run the portal until it is told to stop; 0 then, 1 if it could not start. say: prints a line for a person.

    Raises AddressTaken before anything is made.
    """
    give_pictures_back()
    let_the_loop_in()
    with bound_socket(settings.host, settings.port) as listener:
        portal = Portal.build(settings)
        # It takes seconds. Ctrl-C ends them here; a loop would put it off, and then be torn down with many tracebacks.
        app = create_app(settings, portal)
        return asyncio.run(_serve(settings, portal, app, listener, say))


async def _serve(
    settings: Settings, portal: Portal, app: ASGIApp, listener: socket.socket, say: Callable[[str], None]
) -> int:
    server = uvicorn.Server(
        server_config(
            app,
            most_connections=connections_that_fit(settings.max_connections),
            framed_by=settings.allowed_origins,
        )
    )
    announcing = asyncio.create_task(_announce(settings, portal, say), name="announce")
    try:
        await server.serve(sockets=[listener])
    finally:
        announcing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await announcing
    return 0 if server.started else 1


async def _announce(settings: Settings, portal: Portal, say: Callable[[str], None]) -> None:
    await portal.warmed.wait()
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    url = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    for trouble in portal.troubles:
        say(f"Something is wrong: {trouble}")
    say(f"Vivavoce runs all the same: {url}" if portal.troubles else f"Vivavoce is ready: {url}")
    if settings.open_browser:
        # webbrowser may block until a text browser ends
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
