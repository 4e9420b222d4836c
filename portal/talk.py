"""The half of the portal for live sessions: sessions, their engine and transports. Jobs never make it wait."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from fastapi import APIRouter, Response

from avatars.library import AvatarLibrary, presets
from pipeline.engine import Engine
from pipeline.transports.ice import IceServer
from pipeline.transports.loops import LoopCache
from pipeline.transports.port_shares import PortShares
from pipeline.transports.turn_service import LentServers
from portal.admission import Admission
from portal.api.allowances import OFFERS_EACH
from portal.api.backends import backends_router
from portal.api.programs import Programs
from portal.api.recordings import recordings_router
from portal.api.session_socket import SessionSocket
from portal.api.sessions import sessions_router, watch_router
from portal.api.transports import BackendTransports
from portal.api.voice_previews import voice_previews_router
from portal.avatar_memory import AvatarMemory
from portal.backends import BackendCatalogue, default_choice, new_engine
from portal.jobs.dbos_database import PostgresDatabase
from portal.jobs.records import Job
from portal.kept_recordings import KeptRecordings
from portal.livetalking.clients import Clients
from portal.preparation_places import PreparationPlaces
from portal.pushes import Pushes
from portal.recordings import Recordings
from portal.session_keeper import NoKeeper, SessionKeeper
from portal.session_table import SessionTable
from portal.sessions import SessionManager
from portal.settings import Settings
from portal.voice_previews import VoicePreviews
from portal.webhooks import Webhooks

__all__ = ["Talk"]

SPARE_SOCKETS, SPARE_SOCKETS_EACH = 256, 32
"""How many session sockets may be open beyond the places for sessions, in all and for one address. Such sockets wait in
line, or have not sent their hello yet."""


@dataclass(frozen=True)
class Talk:
    """Everything for live sessions. build() starts nothing; running() starts and ends it."""

    settings: Settings
    engine: Engine
    backends: BackendCatalogue
    sessions: SessionManager
    loops: LoopCache
    memory: AvatarMemory
    keeper: SessionKeeper | NoKeeper
    socket: SessionSocket
    recordings: Recordings
    previews: VoicePreviews
    programs: Programs
    webhooks: Webhooks
    clients: Clients
    "sessions of LiveTalking's API; there are none unless that API is on"
    lent: LentServers | None
    "TURN servers borrowed from a company, if set up"

    @classmethod
    def build(
        cls,
        settings: Settings,
        library: AvatarLibrary,
        prepare_for: Callable[[str, str, str], Job],
        kept: KeptRecordings | None = None,
    ) -> Talk:
        """Build it without starting anything. prepare_for: see SessionManager. kept: see Recordings."""
        engine = new_engine(settings, place=PreparationPlaces().held)
        if settings.node:
            engine.metrics.node.info({"name": settings.node})
        previews = VoicePreviews(engine.backends, settings.tts_timeout_s)
        webhooks = Webhooks(settings, engine.clock, lambda outcome: engine.metrics.webhooks.labels(outcome).inc())
        sessions = SessionManager(
            engine,
            library,
            Admission(settings.max_sessions, settings.places_each),
            default_avatar=settings.avatar or presets()[0].id,
            choice=default_choice(settings),
            idle_timeout_s=settings.session_idle_timeout_s,
            prepare_for=prepare_for,
            try_voice=lambda tts, voice, session: previews.of(tts, voice, "en", session),
            tell=webhooks.tell,
        )
        loops = LoopCache(engine.executor)
        keeper = _keeper(settings, engine, sessions.admission)
        recordings = Recordings(settings, engine.clock, webhooks.tell, kept)
        lender = settings.turn_lender()
        lent = LentServers(lender, settings.turn_lifetime_s, engine.clock) if lender else None
        socket = _socket(settings, sessions, loops, recordings, lent, webhooks, keeper)
        return cls(
            settings=settings,
            engine=engine,
            backends=BackendCatalogue(settings, engine.clock),
            sessions=sessions,
            loops=loops,
            memory=AvatarMemory(engine, loops),
            keeper=keeper,
            socket=socket,
            recordings=recordings,
            previews=previews,
            programs=Programs(socket.seating, engine.clock),
            webhooks=webhooks,
            clients=Clients(socket.seating, settings.max_sessions),
            lent=lent,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything; sessions may be opened inside the block. At its end, close in reverse order."""
        async with AsyncExitStack() as stack:
            await self.engine.start()
            stack.push_async_callback(self.engine.aclose)
            await self.webhooks.start()
            stack.push_async_callback(self.webhooks.aclose)
            stack.push_async_callback(self.previews.aclose)
            if self.lent is not None:
                await self.lent.start()
                stack.push_async_callback(self.lent.aclose)
            await self.recordings.start()
            stack.push_async_callback(self.recordings.aclose)
            await self.keeper.start()
            stack.push_async_callback(self.keeper.aclose)
            await self.sessions.start()
            stack.push_async_callback(self.sessions.aclose)
            stack.push_async_callback(self.socket.aclose)
            stack.push_async_callback(self.programs.aclose)
            stack.push_async_callback(self.clients.aclose)
            stack.push_async_callback(self.loops.aclose)
            await self.memory.start()
            stack.push_async_callback(self.memory.aclose)
            yield

    async def drain(self) -> None:
        """Open no more sessions, and let running ones leave once their answers were heard, within `drain_s`."""
        self.sessions.admission.is_closed = True
        await self.socket.drain(self.settings.drain_s)

    def routers(self) -> list[APIRouter]:
        """Return the routers of its part of the API."""
        metrics = APIRouter()

        @metrics.get("/metrics", include_in_schema=False)
        async def exposition() -> Response:
            return Response(self.engine.exposition(), media_type="text/plain; version=0.0.4")

        return [
            self.socket.router,
            sessions_router(self.programs, self.socket.browser_ice_servers),
            watch_router(self.programs),
            recordings_router(self.recordings),
            backends_router(self.backends),
            voice_previews_router(self.previews),
            metrics,
        ]


def _socket(
    settings: Settings,
    sessions: SessionManager,
    loops: LoopCache,
    recordings: Recordings,
    lent: LentServers | None,
    webhooks: Webhooks,
    keeper: SessionKeeper | NoKeeper,
) -> SessionSocket:
    """Return the session socket, with the transports for pictures and sound."""
    engine = sessions.engine

    def ice_servers() -> tuple[IceServer, ...]:
        own = settings.ice_servers(time.time())  # the wall clock, because the TURN server checks the expiry against it
        return own + (lent.servers() if lent else ())

    transports = BackendTransports(
        loops,
        engine.executor,
        ice_servers=ice_servers,
        reach=settings.reach,
        ports=None if settings.reach.ports is None else PortShares(len(settings.reach.ports), settings.ports_each),
        bitrate_bps=settings.video_bitrate_bps,
        jpeg_quality=settings.jpeg_quality,
    )
    return SessionSocket(
        sessions,
        transports,
        recordings,
        engine.clock,
        Pushes(settings, engine.clock),
        ice_servers,
        sockets=settings.max_sessions + SPARE_SOCKETS,
        sockets_each=settings.places_each + SPARE_SOCKETS_EACH,
        watch_links=settings.watch_links and not settings.kiosk,
        offers_each=max(OFFERS_EACH, 2 * settings.places_each),  # a whole class may reload its pages at once
        tell=webhooks.tell,
        keeper=keeper,
    )


def _keeper(settings: Settings, engine: Engine, admission: Admission) -> SessionKeeper | NoKeeper:
    url = settings.database_url.get_secret_value()
    if not url or not settings.sessions_keep_s:
        return NoKeeper()
    return SessionKeeper(
        SessionTable(PostgresDatabase(url)),
        engine.clock,
        settings.sessions_keep_s,
        name=settings.node,
        load=lambda: (admission.taken, admission.capacity),
        count=lambda outcome, sessions: engine.metrics.kept_sessions.labels(outcome).inc(sessions),
    )
