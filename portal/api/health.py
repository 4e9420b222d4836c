"""Is it well? For load balancers, monitors and people."""

from __future__ import annotations

from fastapi import APIRouter

from avatars.library import AvatarLibrary
from portal.api.errors import ErrorRoute
from portal.api.schemas import HealthView, SessionCounts
from portal.jobs import JobQueue
from portal.sessions import SessionManager

__all__ = ["health_router"]


def health_router(sessions: SessionManager, library: AvatarLibrary, queue: JobQueue, *, version: str) -> APIRouter:
    router = APIRouter(tags=["health"], route_class=ErrorRoute)

    @router.get("/healthz")
    def health() -> HealthView:
        choice = sessions.choice
        return HealthView(
            status="ok",
            version=version,
            sessions=SessionCounts(live=sessions.live, capacity=sessions.capacity),
            jobs=queue.counts(),
            avatars=len(library.list()),
            backends={"llm": choice.llm, "tts": choice.tts, "lipsync": choice.lipsync},
        )

    return router
