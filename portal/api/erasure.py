"""HTTP route that erases an avatar with everything made from it."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from portal.erasure import Erasure
from portal.http.error_route import ErrorRoute

__all__ = ["erasure_router"]


class ErasedView(BaseModel):
    jobs: int = Field(description="that were removed, with their clips and uploads")
    recordings: int = Field(description="of sessions, that were removed")
    sessions: int = Field(description="that showed it, and were ended")


def erasure_router(erasure: Erasure) -> APIRouter:
    """Return the route that erases an avatar; see `portal/erasure.py`."""
    router = APIRouter(prefix="/api/avatars", tags=["avatars"], route_class=ErrorRoute)

    @router.delete("/{avatar_id}/everything")
    async def erase_avatar(avatar_id: str) -> ErasedView:
        """Delete an avatar with everything made from it: parts, gestures, clips, recordings, its jobs and uploads.

        Sessions that show it end. Clips and recordings go too if they belong to other people.
        """
        erased = await erasure.erase(avatar_id)
        return ErasedView(jobs=erased.jobs, recordings=erased.recordings, sessions=erased.sessions)

    return router
